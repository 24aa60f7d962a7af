"""Durations as people write them: 45, "45s", "30m", "2h", "1h30m", "1d", "500ms"."""

from __future__ import annotations

import math
import re

from dama.errors import InvalidDefinitionError

SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhd])")


def parse_duration(value: float | str, *, of: str) -> float:
    """Turn a duration into seconds.

    Args:
        value: A number of seconds, or numbers with the units ms, s, m, h, d.
        of: What it is the duration of, for the error.

    Raises:
        InvalidDefinitionError: It is neither, or below zero.
    """
    seconds = _parse(value) if isinstance(value, str) else float(value)
    if seconds is None or not math.isfinite(seconds) or seconds < 0:
        raise InvalidDefinitionError(
            f"{of} is {value!r}: expected seconds (90) or a string such as '45s', '30m', '1h30m'."
        )
    return seconds


def _parse(text: str) -> float | None:
    compact = text.replace(" ", "")
    if not compact or _PART.sub("", compact):
        return None
    return sum(float(number) * SECONDS[unit] for number, unit in _PART.findall(compact))
