"""Subtasks: their handles, and how a run learns that they have ended.

Ends in this process are told at once; ends elsewhere are found by asking the database, seldom at
first and for all waiters in one statement.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from dama import clock
from dama.run.asks import asked
from dama.run.errors import SubtaskError
from dama.run.patience import until_answered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Container, Sequence

    from dama.definitions.task import TaskDefinition
    from dama.run.asks import Asks
    from dama.store import Outcome, Store

R = TypeVar("R")

POLL_SECONDS = 0.5
LOOK = 1000
PARK_AFTER = 60.0


class Subtask(Generic[R]):
    """A subtask that was started.

    Attributes:
        context_id: Its context.
        task: Its definition.
        asks: What its task was asked.
    """

    def __init__(
        self,
        context_id: int,
        task: TaskDefinition[R],
        wait: Callable[[Sequence[int], TaskDefinition[R]], Awaitable[list[R]]],
        cancel: Callable[[int, TaskDefinition[Any], str], Awaitable[None]],
        asks: Asks,
    ) -> None:
        self.context_id = context_id
        self.task = task
        self.asks = asks
        self._wait = wait
        self._cancel = cancel

    @asked
    async def result(self) -> R:
        """Wait for its end and give its result.

        Raises:
            SubtaskError: It failed for good or was cancelled.
        """
        (result,) = await self._wait([self.context_id], self.task)
        return result

    @asked
    async def cancel(self, why: str = "its parent cancelled it") -> None:
        """Cancel it and all below it, once; nothing when it has ended."""
        await self._cancel(self.context_id, self.task, why)


@dataclass(frozen=True)
class Ended(Generic[R]):
    """How a subtask has ended.

    Attributes:
        context_id: Its context.
        result: What it returned; None when it failed.
        error: Why it failed or that it was cancelled; None when it did not.
    """

    context_id: int
    result: R | None = None
    error: SubtaskError | None = None

    @property
    def ok(self) -> bool:
        """Whether it has a result."""
        return self.error is None


class Parking(Protocol):
    """When somebody who waits gives up waiting here.

    Attributes:
        park_after: Seconds after which they may.
    """

    park_after: float

    async def may_park(self) -> bool:
        """Whether they do so now."""
        ...


class Endings:
    """Tells the runs of one worker when the contexts that they wait for have ended.

    Args:
        store: Where to look.
        on_start: Called when subtasks were started, so that the worker looks for them.
        park_after: Seconds after which a waiting run leaves memory.
    """

    def __init__(
        self, store: Store, on_start: Callable[[], None], *, park_after: float = PARK_AFTER
    ) -> None:
        self._store = store
        self._on_start = on_start
        self.park_after = park_after
        self._changed = asyncio.Event()
        self._awaited: set[_Awaited] = set()

    def started(self) -> None:
        """Subtasks were started in this process."""
        self._on_start()

    def ended(self, context_id: int | None = None) -> None:
        """A context ended in this process, or somebody says that one may have ended elsewhere."""
        if context_id is not None:
            for awaited in self._awaited:
                awaited.heard.append(context_id)
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait(
        self,
        ids: Sequence[int],
        parking: Parking | None = None,
        *,
        fail_fast: bool,
        found: dict[int, Outcome] | None = None,
    ) -> dict[int, Outcome] | None:
        """Wait until all have ended, or one has failed; None when the run should be parked.

        A run that is parked tells what it does besides; who waits outside of a run never is. The
        ends are put into `found` as they are found.

        However many there are, a look is at a thousand of them: at first at one thousand after the
        other, then at those that are known to have ended here, or in turn.
        """
        awaited = _Awaited(ids)
        self._awaited.add(awaited)
        try:
            begun = clock.monotonic()
            found = {} if found is None else found
            while True:
                changed = self._changed
                window = awaited.window()
                ends = await until_answered(partial(self._store.outcomes, window), "a parent")
                found |= ends
                awaited.looked_at(window, ends)
                failed = fail_fast and any(outcome.status != "DONE" for outcome in ends.values())
                if not awaited.left or failed:
                    return found
                if awaited.is_behind:
                    continue
                waited = clock.monotonic() - begun
                if parking and waited > parking.park_after and await parking.may_park():
                    return None
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS):
                        await changed.wait()
        finally:
            self._awaited.discard(awaited)


class _Awaited:
    """The contexts that one run waits for, and which of them to look at next.

    Attributes:
        left: Those that have not ended, as far as is known; what was looked at last is last.
        heard: Those that have ended in this process, perhaps among others.
    """

    def __init__(self, ids: Sequence[int]) -> None:
        self.left = dict.fromkeys(ids)
        self.heard: list[int] = []
        self._unseen = len(self.left)

    @property
    def is_behind(self) -> bool:
        """Whether there is something to look at before anything else happens."""
        return self._unseen > 0 or bool(self.heard)

    def window(self) -> list[int]:
        """What to look at: all of them once, then those that ended here, or the next in turn."""
        if self._unseen > 0:
            return [*islice(self.left, LOOK)]
        here = [context_id for context_id in self.heard if context_id in self.left]
        self.heard = here[LOOK:]
        return here[:LOOK] or [*islice(self.left, LOOK)]

    def looked_at(self, window: Sequence[int], ends: Container[int]) -> None:
        """What has not ended is looked at again when it is its turn."""
        for context_id in window:
            self.left.pop(context_id, None)
            if context_id not in ends:
                self.left[context_id] = None
        self._unseen -= len(window)
