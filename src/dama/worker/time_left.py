"""Time left: the end of the place that a worker has, as a batch job has one.

A run that would not fit into it is left to others. What has no timeout may take any time: it is
taken as long as there is any, and a task continues after its last step wherever it is claimed next.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MARGIN = 60.0  # seconds that are kept for the end
SHARE = 0.1  # of a short time


class TimeLeft:
    """How long a worker may still work.

    Args:
        seconds: From now on; None for no limit.
        limits: What each task may take at most, in seconds; those without a limit are left out.
    """

    def __init__(self, seconds: float | None, limits: Mapping[str, float]) -> None:
        self._limits = limits
        margin = 0.0 if seconds is None else min(MARGIN, SHARE * seconds)
        # Of the clock on the wall: a host that was asleep has lost the time.
        self._ends_at = None if seconds is None else time.time() + seconds - margin

    @property
    def seconds(self) -> float | None:
        """Until it has to end; None for no limit, 0 when it is late."""
        return None if self._ends_at is None else max(self._ends_at - time.time(), 0.0)

    def fitting(self, tasks: Sequence[str]) -> Sequence[str]:
        """Those of some tasks that end in time."""
        left = self.seconds
        if left is None:
            return tasks
        return [task for task in tasks if left > self._limits.get(task, 0.0)]
