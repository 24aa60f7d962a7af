"""What continues in a run besides its function: what it waits for, and what it is doing.

A run that does nothing but wait leaves memory after a while; what it waits for wakes it again.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dama import clock
from dama.run.waiting import Wait, parking

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from dama.domain.outcome import Waiting

TURNS = 12  # of the loop, in which what has come to an end reaches whoever awaits it
ADVANCE_SECONDS = 0.2  # in which a function goes from one wait or step to the next


class Pending:
    """What one run waits for, and what it is doing.

    Args:
        park_after: Seconds after which the run leaves memory while it waits.
        on_waiting: Called with 1 and -1 when the run begins and ceases to wait.
        can_continue: Whether the function may do something by itself: a branch of it, or a timer.

    Attributes:
        waits: What it waits for.
        busy: How many steps and starts of subtasks it is doing.
        advanced_at: When a wait or a step ended; then the function does something else.
        park_after: As given.
        count_waiting: As `on_waiting`: a run that waits holds no slot.
    """

    def __init__(
        self,
        park_after: float,
        on_waiting: Callable[[int], None],
        can_continue: Callable[[], bool],
    ) -> None:
        self.waits: list[Wait] = []
        self.busy = 0
        self.advanced_at = -ADVANCE_SECONDS
        self.park_after = park_after
        self.count_waiting = on_waiting
        self._can_continue = can_continue
        self._idle = asyncio.Event()
        self._left: dict[Wait, None] = {}  # what it waited for when it left memory

    def leave(self) -> None:
        """Remember what is waited for now: the run leaves memory."""
        self._left |= dict.fromkeys(self.waits)

    @contextmanager
    def acting(self) -> Generator[None]:
        """Something is done that the run does not leave memory in."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
            self.advanced_at = clock.monotonic()
            self._idle.set()

    async def completed(self) -> None:
        """Wait for the steps and starts that are under way."""
        while self.busy:
            self._idle.clear()
            await self._idle.wait()

    @contextmanager
    def waiting(self, wait: Wait) -> Generator[None]:
        """Hold no slot meanwhile; what is waited for is remembered when the run is parked."""
        self.waits.append(wait)
        if len(self.waits) == 1:
            self.count_waiting(1)
        try:
            yield
            self.advanced_at = clock.monotonic()
        finally:
            self.waits.remove(wait)
            if not self.waits:
                self.count_waiting(-1)

    def parked(self) -> Waiting:
        """What the run was waiting for when it left memory."""
        return parking([*self._left])

    async def may_park(self) -> bool:
        """Whether nothing but waits continues in the run, and each of them could wake it.

        What has just come to an end continues in the function, which then waits for something else.
        """
        for _ in range(TURNS):
            if not self._is_idle():
                return False
            await asyncio.sleep(0)
        return self._is_idle()

    def _is_idle(self) -> bool:
        pause = min(ADVANCE_SECONDS, self.park_after)
        if self.busy or clock.monotonic() - self.advanced_at < pause:
            return False
        return all(wait.is_known for wait in self.waits) and not self._can_continue()
