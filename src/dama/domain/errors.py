"""Errors of the domain: what is not an event, and what is not a slice."""

from __future__ import annotations

from dama.errors import DamaError, RefusedError, UsageError

MOST_SHOWN = 80  # characters of a name


class InvalidEventError(RefusedError):
    """A value is not a Flux Standard Action of this store's profile."""

    code = "INVALID_EVENT"


class ReservedEventError(InvalidEventError):
    """Only the controller writes such an event, and somebody else tried to."""

    code = "RESERVED_EVENT"


class UnreadableEventError(DamaError):
    """The payload of a stored event does not have the type that a reducer declares."""

    code = "UNREADABLE_EVENT"
    exit_code = 6


class InvalidSliceError(UsageError):
    """A slice or one of its reducers is defined in a way that cannot work."""

    code = "INVALID_SLICE"


class ReducerError(InvalidSliceError):
    """A function of a slice raised where recorded history was folded."""

    code = "REDUCER"


class UnknownSliceError(UsageError):
    """No slice has the name that was asked for."""

    code = "UNKNOWN_SLICE"


class InvalidScheduleError(UsageError):
    """A schedule is defined in a way that cannot work."""

    code = "INVALID_SCHEDULE"


class EmptyRangeError(UsageError):
    """A range ends before it begins, so that nothing can be in it."""

    code = "EMPTY_RANGE"


class InvalidJsonError(UsageError, ValueError):
    """A text is not JSON, or nested too deeply to be read."""

    code = "INVALID_JSON"


class RepeatedMemberError(InvalidJsonError):
    """An object of JSON names a member twice."""

    def __init__(self, name: str) -> None:
        super().__init__(f'an object has "{name[:MOST_SHOWN]}" twice')
