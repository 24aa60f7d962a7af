"""Levels of log lines: which lines of a run's log say enough to be shown.

A line that a task logged begins with its time and its level, and what follows it, such as a
traceback, is indented. What has no level, such as the output of a program, is always shown.
"""

from __future__ import annotations

import logging
import re

from dama.errors import UsageError

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ ([A-Z]+) ")


def level_of(name: object, otherwise: int | None = None) -> int:
    """The number of a level.

    Args:
        name: Such as "warning".
        otherwise: The number where there is no such level; None for an error.

    Raises:
        UsageError: There is no such level.
    """
    known = logging.getLevelNamesMapping()
    number = known.get(name.upper(), otherwise) if isinstance(name, str) else otherwise
    if number is None:
        raise UsageError(f"level is {name!r}: expected 'debug', 'info', 'warning' or 'error'.")
    return number


class FromLevel:
    """Picks the lines of a log from a level on, one after the other.

    Args:
        level: The number of the least level; None for all lines.
    """

    def __init__(self, level: int | None) -> None:
        self._level = level
        self._is_shown = True

    @property
    def are_all(self) -> bool:
        """Whether every line is shown."""
        return self._level is None

    def shows(self, line: str) -> bool:
        """Whether a line is shown; called with each line, in their order."""
        if self._level is None:
            return True
        if line.startswith("  "):
            return self._is_shown
        stamp = _STAMP.match(line)
        self._is_shown = stamp is None or level_of(stamp[1], self._level) >= self._level
        return self._is_shown
