"""Claims: where in its queues a worker looks for runs.

A claimed run leaves an entry in the index of the queue for as long as any transaction in the
database is older. While one is open for hours, a normal day in ETL, a look from the start of the
queue meets all of them again. So a worker continues where its last claim stopped, and looks from
the start only now and then: runs that came back, and those of a higher priority, are found there.

The longer such a look took, the later is the next one. But one that took long may have waited: for
a connection, a lock, a server that stood still. So the pause grows step by step, look by look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dama import clock
from dama.store.queue import Place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dama.store import Claim
    from dama.store.queue import RunQueue

SHARE = 0.05  # of the time: a look from the start that took long is seldom repeated
SHORT_PAUSE = 0.5  # what follows the first that took long


class Claims:
    """The claims of one worker.

    Args:
        queue: Of the database.
        queues: The names of those that it claims from.
        tasks: What it knows.
        root: Only runs of this tree; None for all.
        labels: What it offers.
        fitting: Leaves out the tasks that it has no time for.
    """

    def __init__(
        self,
        queue: RunQueue,
        queues: Sequence[str],
        tasks: Sequence[str],
        root: int | None,
        labels: Sequence[str] = (),
        fitting: Callable[[Sequence[str]], Sequence[str]] = lambda tasks: tasks,
    ) -> None:
        self._queue = queue
        self._queues = queues
        self._tasks = tasks
        self._root = root
        self._labels = labels
        self._fitting = fitting
        self._places: dict[str, Place] = {}
        self._whole_at = 0.0
        self._pause = 0.0

    def places(self) -> dict[str, Place]:
        """Behind which to look until the next look from the start; any thread may ask."""
        return dict(self._places) if clock.monotonic() <= self._whole_at else {}

    async def take(self, worker_id: int, demand: int) -> list[Claim]:
        """Up to `demand` runs for a worker; none when nothing is queued for it."""
        if clock.monotonic() <= self._whole_at:
            claims = await self._claim(worker_id, demand, self._places)
            if claims:
                return claims
        begun = clock.monotonic()
        claims = await self._claim(worker_id, demand, None)
        now = clock.monotonic()
        self._pause = min((now - begun) / SHARE, max(SHORT_PAUSE, 2 * self._pause))
        self._whole_at = now + self._pause
        return claims

    async def _claim(
        self, worker_id: int, demand: int, after: Mapping[str, Place] | None
    ) -> list[Claim]:
        claims = await self._queue.claim(
            worker_id,
            queues=self._queues,
            tasks=self._fitting(self._tasks),
            root=self._root,
            demand=demand,
            labels=self._labels,
            after=after,
        )
        queued = [claim for claim in claims if claim.program_epoch is None]  # others come first
        for name in {claim.queue for claim in queued}:
            places = [Place(c.priority, c.context_id) for c in queued if c.queue == name]
            self._places[name] = max(places, key=lambda place: (-place.priority, place.context_id))
        return claims
