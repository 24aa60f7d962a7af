"""A log line that may come thousands of times a second, and is written once in a while."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

QUIET_SECONDS = 10.0


class Seldom:
    """Writes the first line of a kind, then at most one in ten seconds, with how many were not.

    Args:
        log: Where to.
    """

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._written_at: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def write(self, level: int, kind: str, text: str, *values: object) -> None:
        """Write a line, or count it.

        Args:
            level: Of `logging`.
            kind: Lines of one kind are counted together; there should be few kinds.
            text: As for `logging`.
            *values: As for `logging`.
        """
        now = monotonic()
        if now - self._written_at.get(kind, -QUIET_SECONDS) < QUIET_SECONDS:
            self._left_out[kind] = self._left_out.get(kind, 0) + 1
            return
        self._written_at[kind] = now
        if left_out := self._left_out.pop(kind, 0):
            text, values = f"{text} (and %d more like it before)", (*values, left_out)
        self._log.log(level, text, *values)
