"""Durations as people write them: 45, "45s", "30m", "2h", "1h30m", "1d", "500ms", a timedelta."""

from __future__ import annotations

import re
from datetime import timedelta
from numbers import Real

from dama.errors import InvalidDefinitionError

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LONGEST = 36_500 * SECONDS["d"]  # a century, which every clock can add to now

Duration = float | str | timedelta
"""Seconds, numbers with the units ms, s, m, h and d, or a timedelta."""

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def parse_duration(value: Duration, *, of: str) -> float:
    """Turn a duration into seconds.

    Args:
        value: A number of seconds, numbers with the units ms, s, m, h, d, or a timedelta.
        of: What it is the duration of, for the error.

    Raises:
        InvalidDefinitionError: It is none of them, below zero, or longer than a century.
    """
    seconds = _parse(value)
    if seconds is None or not 0 <= seconds <= LONGEST:
        beside = "" if isinstance(value, str) else ", or a timedelta"
        limits = "" if seconds is None else " of at least 0 and at most 36500d"
        raise InvalidDefinitionError(
            f"{of} is {value!r}: expected seconds (90) or a string such as '45s', '30m', '1h30m'"
            f"{beside}{limits}."
        )
    return seconds


def optional_duration(value: Duration | None, *, of: str) -> float | None:
    """Turn a duration into seconds; None stays None. See `parse_duration`."""
    return None if value is None else parse_duration(value, of=of)


def _parse(value: object) -> float | None:
    if isinstance(value, str):
        compact = value.replace(" ", "")
        if not compact or _PART.sub("", compact):
            return None
        return sum(float(number) * SECONDS[unit] for number, unit in _PART.findall(compact))
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool):
        return None
    return float(value) if isinstance(value, Real) else None


class Seconds:
    """A field of a dataclass that takes any duration, and is read as seconds.

    Args:
        default: Seconds where nothing is given.
    """

    def __init__(self, default: float) -> None:
        self._default = default
        self._name = ""

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object | None, _owner: type | None = None) -> float:
        return self._default if instance is None else vars(instance)[self._name]

    def __set__(self, instance: object, value: Duration) -> None:
        of = f"{type(instance).__name__}: {self._name}"
        vars(instance)[self._name] = parse_duration(value, of=of)
