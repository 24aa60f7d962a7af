"""Failures: how an error is kept, and how a replay raises it again.

A step that failed and whose error the function caught belongs to the history as one that succeeded
does: a later run meets the same error and takes the same way. What an attempt failed with is tried
again instead.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from dama.domain.event import error_payload
from dama.run.errors import ReportedError, StepFailedError
from dama.shapes import Json, as_object

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MOST_KEYS = 1000
LONGEST_ARGUMENT = 1000
WORDS = {
    "CancelledError": "It was cancelled, and not by its worker: something that it awaited was.",
    "GeneratorExit": "GeneratorExit was raised in the task.",
    "MemoryError": "There was not enough memory.",
    "TimeoutError": "Something took too long.",
}


def payload_of(error: BaseException) -> dict[str, Any]:
    """The payload of the event of a failure."""
    if isinstance(error, ReportedError):
        return error.payload
    payload = error_payload(error)
    if not payload["message"]:
        payload["message"] = WORDS.get(type(error).__name__, f"{type(error).__name__}, no text.")
    return payload


def kind_of_error(error: Exception) -> dict[str, Any]:
    """What tells a later run which error it was: its class, and its arguments if they are plain."""
    cls = type(error)
    args: tuple[object, ...] = error.args
    is_plain = all(
        arg is None
        or type(arg) in {bool, int}
        or (type(arg) is str and len(arg) < LONGEST_ARGUMENT)
        for arg in args
    )
    kind = f"{cls.__module__}:{cls.__qualname__}"
    return {"class": kind, "args": list(args)} if is_plain else {"class": kind}


def rebuilt(payload: object, meta: Mapping[str, Json]) -> Exception:
    """The error of a failure that was recorded: of the same class where that is possible."""
    said, raised = _object(payload), _object(meta.get("raised"))
    message = str(said.get("message", ""))
    cls = _class_of(str(raised.get("class", "")))
    if cls is None:
        return StepFailedError(str(said.get("name", "Error")), message)
    error = cls.__new__(cls)
    error.args = tuple(raised.get("args", [message]))
    return error


def failed_with(error: BaseException, failed: Iterable[tuple[str, Exception]]) -> list[str]:
    """The keys of the steps whose failures an error is, or came from."""
    family: dict[int, BaseException] = {}
    left: list[BaseException | None] = [error]
    while left:
        member = left.pop()
        if member is None or id(member) in family:
            continue
        family[id(member)] = member
        left += [member.__cause__, member.__context__]
        if isinstance(member, BaseExceptionGroup):
            left += cast("Sequence[BaseException]", member.exceptions)
    return [key for key, other in failed if id(other) in family][:MOST_KEYS]


def _class_of(name: str) -> type[Exception] | None:
    module, _, path = name.partition(":")
    try:
        found: Any = import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception:  # noqa: BLE001 - a class within a function, or a module that is gone
        return None
    if not isinstance(found, type) or not issubclass(found, Exception):
        return None
    return None if issubclass(found, BaseExceptionGroup) else found


def _object(value: object) -> Mapping[str, Any]:
    return as_object(value)
