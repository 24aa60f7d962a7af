"""What runs beside all else on a node, and is held until it ends."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dama.duty import DutyError

_log = logging.getLogger("dama.broker")


class Background:
    """The tasks in the background of a node; one that dies is logged.

    Args:
        node_id: Whose they are.
    """

    def __init__(self, node_id: str) -> None:
        self._node_id = node_id
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Start one."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel(self) -> list[asyncio.Task[Any]]:
        """Cancel all; returns those that have not ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        return tasks

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("something in the background of %s died", self._node_id, exc_info=error)


def log_failed_duty(error: DutyError) -> None:
    """What is done of a duty that failed for good where nobody ends the process for it."""
    _log.critical("%s Other nodes will hold this one to be gone.", error)
