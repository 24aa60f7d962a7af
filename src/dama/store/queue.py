"""The run queue: claims, leases, and the outcome of the runs of workers that died.

A lease covers all that a worker holds; it is kept by the clock of the database. Nothing holds a
transaction or a lock while a task runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from dama.domain.circle import WaitsFor, find_circle, find_circles
from dama.domain.exact import decode_stored
from dama.store.acts import kept
from dama.store.errors import InvalidValueError
from dama.store.items import check_name
from dama.store.queue_rows import Obstacle, QueueRow, WorkerIdentity, WorkerRow
from dama.store.rows import Claim

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.domain.event import Event
    from dama.domain.outcome import Waiting
    from dama.store.database import Database, Row


class Place(NamedTuple):
    """A place in a queue; behind it are lower priorities, and later contexts of the same."""

    priority: int
    context_id: int


START = Place(1 << 40, 0)
MOST_AT_ONCE = 2**31 - 1
MOST_QUEUES = 1000
LEAST_RATE, MOST_RATE = 1e-6, 1e6  # as the table checks


class RunQueue:
    """The runs of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def register(
        self,
        identity: WorkerIdentity,
        *,
        queues: Sequence[str],
        root: int | None,
        slots: int,
        lease: timedelta,
        labels: Sequence[str] = (),
        tasks: Sequence[str] | None = None,
    ) -> int:
        """Make a worker known; returns its id."""
        params = {
            **asdict(identity),
            "queues": list(queues),
            "root": root,
            "slots": slots,
            "labels": list(labels),
            "tasks": None if tasks is None else list(tasks),
            "lease": lease,
        }
        ((worker_id,),) = await self._database.rows("register_worker", params)
        return worker_id

    async def workers_of_host(self, host: str) -> list[tuple[int, str, int, str]]:
        """The workers that a host has or had: id, boot_id, pid, pid_started."""
        rows = await self._database.rows("find_workers_of_host", {"host": host})
        return [(id_, boot_id, pid, started) for id_, boot_id, pid, started in rows]

    async def neighbours(self, identity: WorkerIdentity) -> list[tuple[int, int, str]]:
        """The workers of a place whose processes can be seen there: id, pid, pid_started."""
        rows = await self._database.rows("find_neighbours", asdict(identity))
        return [(id_, pid, started) for id_, pid, started in rows]

    async def take_place(
        self, programs: Sequence[tuple[int, int]], identity: WorkerIdentity
    ) -> None:
        """Bind programs to the place that has their files, not to the name of its host."""
        params = {
            "contexts": [context_id for context_id, _ in programs],
            "epochs": [epoch for _, epoch in programs],
            "host": identity.host,
            "place": identity.place,
        }
        await self._database.rows("take_place", params)

    async def queues(self, after: str = "") -> list[QueueRow]:
        """The queues that have runs or settings, by name: the first 1,000 after a name."""
        params = {"after": after, "limit": MOST_QUEUES}
        return [QueueRow(*row) for row in await self._database.rows("list_queues", params)]

    async def set_queue(
        self,
        queue: str,
        *,
        paused: bool | None = None,
        concurrency: int | None = None,
        rate: float | None = None,
        by: str | None = None,
        act: Event | None = None,
    ) -> None:
        """Pause, resume or limit a queue, for all workers.

        Args:
            queue: Its name; it need not have any run yet.
            paused: Nothing of it is started meanwhile; what runs continues.
            concurrency: At most so many runs at once; 0 for no limit.
            rate: At most so many starts a second; 0 for no limit.
            by: Who does it.
            act: What is kept of it.

        Raises:
            InvalidValueError: A limit is not a number to count with, or the name cannot be kept.
        """
        check_name(queue, "a queue")
        _check_limits(concurrency, rate)
        limits = {"concurrency": concurrency, "rate": rate}
        params = {"queue": queue, "paused": paused, **limits, "by": by, "act": kept(act)}
        await self._database.rows("set_queue", params)

    async def workers(self) -> list[WorkerRow]:
        """The workers that are known, the oldest first."""
        return [WorkerRow(*row) for row in await self._database.rows("list_workers")]

    async def release(self, worker_ids: Sequence[int], *, died: bool = True) -> None:
        """Workers are gone: their runs are queued again.

        Args:
            worker_ids: Which.
            died: Whether they were killed or lost, which is counted for each run that they held.
        """
        params = {"worker_ids": list(worker_ids), "died": died}
        await self._database.rows("release_worker", params)

    async def set_trouble(self, worker_id: int, trouble: str | None) -> None:
        """Say what fails in the background of a worker; None when it is well again."""
        params = {"worker_id": worker_id, "trouble": trouble}
        await self._database.rows("set_trouble", params)

    async def claim(
        self,
        worker_id: int,
        *,
        queues: Sequence[str],
        tasks: Sequence[str],
        root: int | None,
        demand: int,
        labels: Sequence[str] = (),
        after: Mapping[str, Place] | None = None,
    ) -> list[Claim]:
        """Reserve up to `demand` queued runs of these tasks.

        Args:
            worker_id: Who reserves.
            queues: From which, in this order.
            tasks: What the worker knows.
            root: Only runs of this tree; None for all.
            demand: How many.
            labels: What the worker offers; a run that needs others is left.
            after: Only what is behind these places of their queues.
        """
        params = {
            "worker_id": worker_id,
            "queues": list(queues),
            **marks_of(queues, after or {}),
            "tasks": list(tasks),
            "offered": list(labels),
            "root": root,
            "demand": demand,
        }
        # Never sent again: a claim whose answer was lost is handed back by the worker.
        rows = await self._database.rows("claim_runs", params, again=False)
        return [claim_of(row) for row in rows]

    async def bind_program(self, context_id: int, worker_id: int, epoch: int) -> bool:
        """Bind a run to this host, before its program starts; False when it is no longer its own.

        From then on only workers of this host claim it, until theirs have been gone for minutes.
        """
        params = {"context_id": context_id, "worker_id": worker_id, "epoch": epoch}
        return bool(await self._database.rows("bind_program", params))

    async def bound_programs(self, contexts: Sequence[int]) -> dict[int, int]:
        """The epochs of the programs that still belong to their contexts, on whatever host."""
        params = {"contexts": list(contexts)}
        rows = await self._database.rows("find_bound_programs", params)
        return dict(rows)

    async def park(self, context_id: int, worker_id: int, waiting: Waiting) -> bool:
        """Let a run wait without a worker; False when it is no longer its own."""
        params = {"context_id": context_id, "worker_id": worker_id, **asdict(waiting)}
        ((parked,),) = await self._database.rows("park_run", params)
        return parked

    async def obstacles(self, context_id: int) -> list[Obstacle]:
        """What keeps a run from running."""
        rows = await self._database.rows("read_obstacles", {"context_id": context_id})
        return [Obstacle(reason, facts) for reason, facts in rows]

    async def without_worker(self, contexts: Sequence[int]) -> dict[int, str]:
        """Those whose run is queued, and that no live worker would claim; each with its task."""
        if not contexts:
            return {}
        params = {"contexts": list(contexts)}
        return dict(await self._database.rows("find_without_worker", params))

    async def circle(self, context_id: int) -> list[WaitsFor]:
        """The circle of waits that a run is in or behind; empty when it can continue."""
        return find_circle(await self._waits([context_id]), context_id)

    async def circles(self) -> list[list[WaitsFor]]:
        """All circles of waits, each once."""
        return find_circles(await self._waits(None))

    async def _waits(self, contexts: Sequence[int] | None) -> list[WaitsFor]:
        params = {"contexts": None if contexts is None else list(contexts)}
        rows = await self._database.rows("read_waits", params)
        return [WaitsFor(waiter, awaited, key, limit or 0) for waiter, awaited, key, limit in rows]

    async def retry(
        self, context_id: int, worker_id: int, delay: float, epoch: int | None = None
    ) -> None:
        """Queue a run again after some seconds; with its epoch it may be said twice."""
        params = {
            "context_id": context_id,
            "worker_id": worker_id,
            "epoch": epoch,
            "delay": timedelta(seconds=delay),
        }
        await self._database.rows("retry_run", params)

    async def hand_back(
        self,
        worker_id: int,
        *,
        kept: Sequence[int] = (),
        only: Sequence[int] | None = None,
        delay: float | None = None,
    ) -> list[int]:
        """Queue what a worker holds and does not execute again; returns the contexts.

        Args:
            worker_id: The worker.
            kept: What it executes.
            only: No others than these; None for all.
            delay: Seconds before they are queued; None for at once.
        """
        params = {
            "worker_id": worker_id,
            "kept": list(kept),
            "only": None if only is None else list(only),
            "delay": None if delay is None else timedelta(seconds=delay),
        }
        return [context_id for (context_id,) in await self._database.rows("hand_back_runs", params)]


def marks_of(queues: Sequence[str], after: Mapping[str, Place]) -> dict[str, list[int]]:
    """The places of some queues as statements have them."""
    places = [after.get(queue, START) for queue in queues]
    return {
        "ranks": [-place.priority for place in places],
        "marks": [place.context_id for place in places],
    }


def _check_limits(concurrency: int | None, rate: float | None) -> None:
    if concurrency is not None and not 0 <= concurrency <= MOST_AT_ONCE:
        raise InvalidValueError(
            f"The concurrency must be 0 (no limit) to {MOST_AT_ONCE:,}, got {concurrency}."
        )
    if rate is not None and rate != 0 and not LEAST_RATE <= rate <= MOST_RATE:
        raise InvalidValueError(
            f"The rate must be 0 (no limit) or {LEAST_RATE} to {MOST_RATE:,.0f} a second, "
            f"got {rate}."
        )


def claim_of(row: Row) -> Claim:
    """A claimed run. One whose params cannot be read is a claim too: it fails alone."""
    *facts, has_params, text, program_epoch, deaths, deaths_alone, is_limited = row
    params: Any = {}
    flaw: str | None = None
    try:
        params = decode_stored(text) if has_params else {}
    except (ValueError, RecursionError, MemoryError) as error:
        flaw = f"{type(error).__name__}: {error}"
    if not isinstance(params, Mapping | None):
        flaw = f"they are no object with names, but {str(params)[:100]}"
    return Claim(
        *facts,
        params=params,
        program_epoch=program_epoch,
        deaths=deaths,
        deaths_alone=deaths_alone,
        flaw=flaw,
        is_limited=is_limited,
    )
