"""Claiming: a worker takes runs for its free slots, and sees that it executes what it holds."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from dama import clock

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.store import Claim
    from dama.store.queue import Place, RunQueue
    from dama.worker.claims import Claims
    from dama.worker.holding import Holding
    from dama.worker.membership import Membership
    from dama.worker.placed import ClaimOfPlaced

RECONCILE_SECONDS = 5.0
SHORTEST_WAIT = 0.05

_log = logging.getLogger("dama.worker")


class Claiming:
    """The claims of one worker.

    Args:
        queue: Of the database.
        claims: Where it looks for runs.
        membership: Who it is.
        holding: What it executes.
        begin: Executes a claimed run.
        drop: Stops earlier runs of contexts that were claimed again.

    Attributes:
        well: Called after each claim that was answered.
    """

    def __init__(
        self,
        queue: RunQueue,
        claims: Claims | ClaimOfPlaced,
        membership: Membership,
        holding: Holding,
        begin: Callable[[Claim], None],
        drop: Callable[[list[int]], None],
    ) -> None:
        self._queue = queue
        self._claims = claims
        self._idle_since: float | None = None
        self._membership = membership
        self._holding = holding
        self._begin = begin
        self._drop = drop
        self._wake = asyncio.Event()
        self._is_unsure = True
        self._draining = False
        self._looked = asyncio.Event()
        self.well: Callable[[], None] = lambda: None

    def places(self) -> dict[str, Place]:
        """Where the worker looks for work now, by queue; any thread may ask."""
        return self._claims.places()

    def wake(self) -> None:
        """There may be something to claim."""
        self._wake.set()

    def drain(self) -> None:
        """Claim no more."""
        self._draining = True

    def forget(self) -> None:
        """What the worker held is no longer its own."""
        self._is_unsure = False

    async def idle(self, seconds: float = 0.0) -> None:
        """Wait until nothing has been queued for the worker, and nothing has run, for some time."""
        while self._idle_since is None or clock.monotonic() - self._idle_since < seconds:
            self._looked.clear()
            since = clock.monotonic() if self._idle_since is None else self._idle_since
            with suppress(TimeoutError):
                async with asyncio.timeout(max(since + seconds - clock.monotonic(), SHORTEST_WAIT)):
                    await self._looked.wait()

    async def always(self) -> None:
        """Claim whenever there may be something, and see now and then whether all held is executed.

        A claim whose answer was lost, and whatever nobody thought of, leave runs that the worker
        holds and does not execute. They are handed back here, between two claims: then the queue
        and this process must agree.
        """
        reconciled_at = clock.monotonic()
        while True:
            self._wake.clear()
            if self._is_unsure or clock.monotonic() - reconciled_at > RECONCILE_SECONDS:
                await self._reconcile()
                reconciled_at = clock.monotonic()
            held = bool(self._holding)  # what ends during the claim may be queued again after it
            claimed = await self._claim_once()
            self.well()
            self._note(is_idle=not (held or claimed or self._holding))
            if not claimed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(RECONCILE_SECONDS):
                        await self._wake.wait()

    def _note(self, *, is_idle: bool) -> None:
        if not is_idle:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = clock.monotonic()
        self._looked.set()

    async def _reconcile(self) -> None:
        # Later each time: what is handed back for the second time may come back a third.
        dropped = await self._queue.hand_back(
            self._membership.id,
            kept=self._holding.contexts(),
            delay=None if self._is_unsure else RECONCILE_SECONDS,
        )
        self._is_unsure = False
        if dropped:
            _log.warning("contexts %s were held and not executed; handed back", dropped)

    async def _claim_once(self) -> bool:
        free = self._holding.free()
        if free <= 0 or self._draining:
            return False
        self._is_unsure = True  # until the answer is here
        claims = await self._claims.take(self._membership.id, free)
        # One that was cancelled and resumed is here before a renewal tells that it was cancelled.
        self._drop([each.context_id for each in claims if each.context_id in self._holding])
        for claim in claims:
            self._begin(claim)
        self._is_unsure = False
        return bool(claims)
