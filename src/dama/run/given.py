"""What a function gives to its task, checked before anything is asked or recorded."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NoReturn

from dama.definitions.task import TaskDefinition
from dama.domain.event import Event
from dama.domain.event_creator import EventCreator
from dama.domain.slice import Slice
from dama.run.errors import TaskUsageError
from dama.shapes import is_array, is_name

if TYPE_CHECKING:
    from collections.abc import Callable


def _refuse(what: str, found: object, wanted: str, hint: str | None = None) -> NoReturn:
    raise TaskUsageError(f"{what} was given {found!r}: expected {wanted}.", hint)


def check_text(what: str, of: str, value: object) -> None:
    """A string that is not blank: a name, the type of an event.

    Raises:
        TaskUsageError: It is something else.
    """
    if is_name(value):
        return
    hint = "Write them one after the other, without the list." if is_array(value) else None
    _refuse(what, value, f"the {of}, a string that is not empty", hint)


def check_step(what: str, name: object, function: object) -> None:
    """The name of a step, and what it does.

    Raises:
        TaskUsageError: The name is none, or the function cannot be called.
    """
    if not is_name(name):
        own = getattr(name, "__name__", "fetch")
        hint = f'The name comes first: {what}("{own}", {own}, ...).' if callable(name) else None
        _refuse(what, name, "the name of a step, a string that is not empty", hint)
    given: object = function
    if isinstance(function, TaskDefinition):
        _refuse(what, given, "a function", "A task is started with task.run or task.start.")
    if callable(function):
        return
    hint = f'Write {what}("{name}", function, argument): it is called by the step.'
    if inspect.iscoroutine(function):
        own = getattr(function, "__name__", "function")
        function.close()
        hint = f'Leave the call to the step: {what}("{name}", {own}, ...).'
    _refuse(what, function, "a function", hint)


def refuse_awaitable(name: str, value: object) -> None:
    """What a `def` in a transaction returned: it would be awaited after its connection is gone.

    Raises:
        TaskUsageError: It is a coroutine, or another awaitable.
    """
    if not inspect.isawaitable(value):
        return
    if inspect.iscoroutine(value):
        value.close()
    raise TaskUsageError(
        f"The function of the transaction {name} returned {type(value).__name__}: it is a `def`, "
        "which got a blocking connection.",
        "Give the `async def` itself, which gets an asynchronous one, or a functools.partial of "
        "it; a decorator around it is an `async def`, too.",
    )


def check_function(what: str, of: str, value: Callable[..., Any] | None) -> None:
    """A function, or None.

    Raises:
        TaskUsageError: It cannot be called.
    """
    if value is not None and not callable(value):
        _refuse(f"{what}: {of}", value, "a function")


def event_of(event: object, payload: Any) -> Event:
    """An event, or one made of a type and a payload.

    Raises:
        TaskUsageError: It is neither.
    """
    given: object = event
    if isinstance(event, Event):
        return event
    if is_name(event):
        return Event(event, payload)
    wanted = "an event, or the type of one"
    hint = "Call it with the payload." if isinstance(event, EventCreator) else None
    _refuse("task.dispatch", given, wanted, hint)


def check_slice(what: str, slice_: object) -> None:
    """A slice.

    Raises:
        TaskUsageError: It is something else.
    """
    if not isinstance(slice_, Slice):
        hint = 'Give the slice itself: the value of Slice("name", ...).'
        _refuse(what, slice_, "a Slice", hint)
