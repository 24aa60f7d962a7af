"""A step as it is defined: a function with `@step`, which a task calls as it is.

Within a run a call is a step of the run; elsewhere it is the function itself, as in a test. What a
call does within a run is said by `dama.run`, for the time that it calls the task.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, fields
from functools import partial, update_wrapper
from string import Formatter
from types import MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Protocol,
    TypedDict,
    Unpack,
    cast,
    final,
    overload,
)

from typing_extensions import ParamSpec, TypeVar, override

from dama.definitions.signature import read_signature
from dama.definitions.written import Exceptions, Written, chosen_name
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.config.duration import Duration

P = ParamSpec("P")
Q = ParamSpec("Q")
V = TypeVar("V")


@dataclass(frozen=True)
class StepOptions:
    """How often a step is tried, and how long a try may take.

    Attributes:
        retries: How many further tries follow a first one that failed, within one attempt of its
            task; a try is not an attempt, and leaves the retries of the task alone.
        backoff: Seconds before the second try; doubled for each one after it.
        max_backoff: The longest wait between two tries, in seconds.
        timeout: Seconds that one try may take; None for no limit.
        retry_on: Only these errors are worth a further try.
        fail_on: These never are, whatever `retry_on` says.
    """

    retries: int = 0
    backoff: float = 1.0
    max_backoff: float = 300.0
    timeout: float | None = None
    retry_on: Exceptions = (Exception,)
    fail_on: Exceptions = ()


class StepSettings(TypedDict, total=False):
    """What may be written in `@step(...)`; see `StepOptions`."""

    retries: int
    backoff: Duration
    max_backoff: Duration
    timeout: Duration | None
    retry_on: Exceptions | type[BaseException]
    fail_on: Exceptions | type[BaseException]


NO_OPTIONS = StepOptions()

Perform = Callable[["StepDefinition[..., Any]", tuple[Any, ...], dict[str, Any]], Any]

performing: ContextVar[Perform | None] = ContextVar("performing", default=None)
"""Does a step for the run whose code calls it; None outside of runs."""


@final
class StepDefinition(Generic[P, V]):
    """A function that is a step wherever a task calls it.

    Attributes:
        name: Of the step; `{page}` in it is an argument.
        function: What was decorated.
        options: How often it is tried.
    """

    def __init__(self, name: str, function: Callable[P, V], options: StepOptions) -> None:
        self.name = name
        self.function = function
        self.options = options
        self._fields = [field for _, field, *_ in Formatter().parse(name) if field is not None]
        _refuse(name, function, self._fields)
        update_wrapper(self, function, updated=())
        self.__qualname__: str = getattr(function, "__qualname__", name)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> V:
        """Do the step in the run of the caller, or call the function where there is none."""
        perform = performing.get()
        if perform is None:
            return self.function(*args, **kwargs)
        return perform(self, args, kwargs)

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> StepDefinition[P, V]: ...

    @overload
    def __get__(
        self: StepDefinition[Concatenate[Any, Q], V], instance: object, owner: type | None = None, /
    ) -> Callable[Q, V]: ...

    def __get__(self, instance: object, owner: type | None = None, /) -> Any:
        """A step that was decorated in a class is a method."""
        return self if instance is None else MethodType(self, instance)

    @override
    def __repr__(self) -> str:
        return f"<step {self.name}>"

    @override
    def __reduce__(self) -> str:
        """Pickled as functions are: by where it is found."""
        return self.__qualname__

    @property
    def is_async(self) -> bool:
        """Whether it is awaited."""
        return inspect.iscoroutinefunction(self.function)

    def named(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """The name of a call.

        Raises:
            TypeError: The function does not take these arguments.
        """
        if not self._fields:
            return self.name
        bound = read_signature(self.function).bind(*args, **kwargs)
        bound.apply_defaults()
        return self.name.format_map(bound.arguments)


class StepDecorator(Protocol):
    """What `step(...)` gives: it makes a step of a function."""

    def __call__(self, function: Callable[P, V], /) -> StepDefinition[P, V]:
        """Make one."""
        ...


@overload
def step(
    function: Callable[P, V], /, *, name: str | None = None, **settings: Unpack[StepSettings]
) -> StepDefinition[P, V]: ...


@overload
def step(
    function: None = None, /, *, name: str | None = None, **settings: Unpack[StepSettings]
) -> StepDecorator: ...


def step(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    **settings: Unpack[StepSettings],
) -> Any:
    """Make a step of a function, as `@step` or `@step(retries=3, timeout="30s")`.

    A task then calls it as the function that it is: `rows = await fetch(url)`; each call is a step
    of its run, which is done once and has its result from its event in later runs. Outside of a run
    it is the function.

    Args:
        function: An `async def`, which an `async def` awaits; or a `def`, which a `def` calls. The
            other way round it is `task.step("fetch", fetch, ...)`, where its options hold as well.
        name: Of the step; by default that of the function. `{page}` in it is an argument.
        **settings: See `StepOptions`; durations as seconds, as text ("2h", "30m") or timedelta.

    Raises:
        InvalidDefinitionError: The function, the name or a setting cannot be used.
    """

    def define(function: Callable[..., Any]) -> StepDefinition[..., Any]:
        own = getattr(function, "__name__", type(function).__name__)
        chosen = chosen_name(f"The step {own}", name, own)
        return StepDefinition(chosen, function, _read_options(chosen, settings))

    return define if function is None else define(function)


def opened(function: Callable[..., Any]) -> tuple[Callable[..., Any], StepOptions]:
    """A function as it was before it was decorated, and the options of its step."""
    if isinstance(function, StepDefinition):
        return function.function, function.options
    if isinstance(function, partial):
        inner, options = opened(function.func)
        return partial(inner, *function.args, **function.keywords), options
    if isinstance(function, MethodType) and isinstance(function.__func__, StepDefinition):
        step = cast("StepDefinition[..., Any]", function.__func__)
        return MethodType(step.function, function.__self__), step.options
    return function, NO_OPTIONS


def _read_options(name: str, settings: StepSettings) -> StepOptions:
    written = Written(f"The step {name}", settings, [field.name for field in fields(StepOptions)])
    return StepOptions(
        retries=written.number("retries", 0),
        backoff=written.duration("backoff", 1.0),
        max_backoff=written.duration("max_backoff", 300.0),
        timeout=written.limit("timeout"),
        retry_on=written.errors("retry_on", (Exception,)),
        fail_on=written.errors("fail_on", ()),
    )


def _refuse(name: str, function: Callable[..., Any], names: list[str]) -> None:
    is_method = isinstance(function, staticmethod)
    if inspect.isclass(function) or not callable(function) or is_method:
        raise InvalidDefinitionError(
            f"{function!r} cannot be a step; expected a function.", "Put @step above a `def`."
        )
    if hasattr(function, "options"):  # of a task or of a step
        what = "step" if isinstance(function, StepDefinition) else "task"
        raise InvalidDefinitionError(f"{name} is a {what} already.", "Leave out one decorator.")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidDefinitionError(
            f"The step {name} yields, and a step returns its result once.", "Return a list."
        )
    if not names:
        return
    known = read_signature(function).parameters
    for field in names:
        argument = field.partition(".")[0].partition("[")[0]
        if argument not in known:
            raise InvalidDefinitionError(
                f"The name of the step {name!r} names {argument!r}, which is not one of its "
                "arguments.",
                f"It has {', '.join(known) or 'none'}.",
            )
