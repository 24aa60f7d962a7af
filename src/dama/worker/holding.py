"""Holding: the runs that a worker executes, and the slots that they take."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Coroutine, Iterable
    from typing import Any

    from dama.store import Claim
    from dama.worker.performance import Performance


class Held(NamedTuple):
    """A run that the worker executes.

    Attributes:
        performance: Executes it.
        task: Of the loop, in which it does.
        number: How many runs the worker had begun with it.
    """

    performance: Performance
    task: asyncio.Task[None]
    number: int

    def stop(self) -> None:
        """Tell it to stop."""
        self.performance.stop()
        self.task.cancel()


class Holding:
    """The runs of one worker.

    Args:
        slots: How many it executes at once.
        on_change: Called when slots may have become free.

    Attributes:
        begun: How many runs the worker has begun; any thread may ask.
    """

    def __init__(self, slots: int, on_change: Callable[[], None]) -> None:
        self._slots = slots
        self._on_change = on_change
        self._running: dict[int, Held] = {}
        self._ending: set[asyncio.Task[None]] = set()  # all of them, also those that are let go
        self._waiting = self._settling = 0
        self.begun = 0

    def __contains__(self, context_id: int) -> bool:
        return context_id in self._running

    def __bool__(self) -> bool:
        return bool(self._running)

    def contexts(self) -> list[int]:
        """Whose runs they are."""
        return list(self._running)

    def free(self) -> int:
        """How many more may be claimed.

        A run whose function is done needs no slot while its FINAL is written, so the next functions
        run during the commit; as many again may settle, no more.
        """
        settling = min(self._settling, self._slots)
        return self._slots - (len(self._running) - self._waiting - settling)

    def begin(
        self, claim: Claim, performance: Performance, work: Coroutine[Any, Any, None]
    ) -> None:
        """Execute a run."""
        task = asyncio.create_task(work)
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        self.begun += 1
        self._running[claim.context_id] = Held(performance, task, self.begun)
        # One that is stopped before its first step never comes to let go by itself.
        task.add_done_callback(lambda _: self.let_go(claim.context_id, performance))

    def let_go(self, context_id: int, performance: Performance) -> None:
        """A run is executed no longer."""
        held = self._running.get(context_id)
        if held is not None and held.performance is performance:  # it may be back already
            del self._running[context_id]
        self._on_change()

    def drop(self, contexts: Iterable[int], *, begun: int | None = None) -> None:
        """Stop those of these contexts that have not parked.

        Args:
            contexts: Whose runs are not the worker's any more.
            begun: How many runs it had begun when that was asked. A context that has parked since,
                and was claimed again, has a newer run, of which nothing was said.
        """
        upto = self.begun if begun is None else begun
        for context_id in contexts:
            held = self._running.get(context_id)
            if held and held.number <= upto and not held.performance.has_parked:
                held.stop()

    async def drain(self, grace: float, besides: Container[int]) -> bool:
        """Let what runs come to its end, besides some; whether it did within the grace."""
        running = [held.task for key, held in self._running.items() if key not in besides]
        if running:
            await asyncio.wait(running, timeout=grace)
        return not any(not task.done() for task in running)

    async def stop(self) -> None:
        """Stop all, and wait for it.

        A context that was cancelled and resumed is held again while its earlier run still ends.
        """
        for held in self._running.values():
            held.stop()
        await asyncio.gather(*self._ending, return_exceptions=True)

    def count_waiting(self, change: int) -> None:
        """A run began (1) or ended (-1) to wait for subtasks, for which it needs no slot."""
        self._waiting += change
        self._on_change()

    def count_settling(self, change: int) -> None:
        """A run began (1) or ended (-1) to settle, for which it needs no slot."""
        self._settling += change
        self._on_change()
