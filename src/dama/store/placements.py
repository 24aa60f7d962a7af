"""Placements: runs that were given to an engine, which starts a worker for each somewhere else.

A run is placed before the engine is asked for a job, and taken by the worker that the engine has
started, once. What the engine says in between explains; it decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from dama.store.items import encode_json
from dama.store.queue import claim_of

if TYPE_CHECKING:
    from datetime import timedelta

    from dama.shapes import Json
    from dama.store.database import Database
    from dama.store.rows import Claim


class Placed(NamedTuple):
    """A run that was given to an engine."""

    context_id: int
    epoch: int
    name: str
    element: int
    task: str


@dataclass(frozen=True)
class Placement:
    """What is known of a run that was given to an engine.

    Attributes:
        context_id: Its context.
        epoch: Its epoch.
        name: Of the job.
        element: Its place in the job, which may be an array.
        task: What it executes.
        native_id: What the engine calls the job; None when it has not said.
        state: pending, running or ended, as the engine said last; None before it has.
        reason: Why, in the engine's words.
        node: Where it runs.
        submissions: How often the engine was asked for it.
        age: Seconds since it was placed.
        run: The state of the run; None when it has ended, or a later epoch has it.
        quiet: Seconds since the worker that executes it was heard of; None where there is none.
    """

    context_id: int
    epoch: int
    name: str
    element: int
    task: str
    native_id: str | None
    state: str | None
    reason: str | None
    node: str | None
    submissions: int
    age: float
    run: str | None
    quiet: float | None


@dataclass(frozen=True)
class Demand:
    """The runs that a launcher would place.

    Attributes:
        queues: From which.
        resources: What each task of the launcher needs, by its name.
        offered: The labels of the place.
        runs: How many.
        prefix: Of the names of the jobs.
        grouped: Whether one job may have several runs of a task.
    """

    queues: Sequence[str]
    resources: Mapping[str, Mapping[str, Any]]
    offered: Sequence[str]
    runs: int
    prefix: str
    grouped: bool


class Seen(NamedTuple):
    """What an engine says of a run."""

    context_id: int
    epoch: int
    native_id: str | None
    state: str | None
    reason: str | None
    node: str | None


class PlacedCount(NamedTuple):
    """How many runs a launcher has placed, by what its engine says of them."""

    launcher: str
    state: str
    reason: str | None
    runs: int


class Placements:
    """The placements of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def lead(self, launcher: str, worker_id: int) -> bool:
        """Look after a launcher, unless another live worker does; whether it is this one's."""
        params = {"launcher": launcher, "worker_id": worker_id}
        return bool(await self._database.rows("lead_launcher", params))

    async def place(
        self,
        launcher: str,
        worker_id: int,
        demand: Demand,
    ) -> list[Placed]:
        """Claim queued runs for an engine.

        Args:
            launcher: Its name.
            worker_id: Who does it.
            demand: Which runs, and how many.
        """
        params = {
            "launcher": launcher,
            "worker_id": worker_id,
            "queues": list(demand.queues),
            "tasks": list(demand.resources),
            "offered": list(demand.offered),
            "demand": demand.runs,
            "prefix": demand.prefix,
            "resources": encode_json(demand.resources),
            "grouped": demand.grouped,
        }
        # Never sent again: what was placed and not heard of is found by the next look.
        rows = await self._database.rows("place_runs", params, again=False)
        return [Placed(*row) for row in rows]

    async def take(self, context_id: int, epoch: int, worker_id: int) -> list[Claim]:
        """Take a placed run; none when another one has it, or nobody wants it any more."""
        params = {"context_id": context_id, "epoch": epoch, "worker_id": worker_id}
        rows = await self._database.rows("take_placed", params, again=False)
        return [claim_of(row) for row in rows]

    async def list(self, launcher: str, lease: timedelta) -> list[Placement]:
        """What a launcher has placed and not heard the end of."""
        params = {"launcher": launcher, "lease": lease}
        return [Placement(*row) for row in await self._database.rows("list_placements", params)]

    async def counts(self) -> list[PlacedCount]:
        """How many runs each launcher has placed."""
        return [PlacedCount(*row) for row in await self._database.rows("count_placements")]

    async def memory_losses(self, contexts: Iterable[int]) -> dict[int, int]:
        """How often the jobs of contexts had too little memory and were asked for with more."""
        rows = await self._database.rows("count_memory_losses", {"contexts": [*contexts]})
        return dict(rows)

    async def note(self, seen: Iterable[Seen]) -> None:
        """Keep what an engine says of runs."""
        columns = [list(column) for column in zip(*seen, strict=True)]
        names = ("contexts", "epochs", "native_ids", "states", "reasons", "nodes")
        if columns:
            await self._database.rows("note_placements", dict(zip(names, columns, strict=True)))

    async def note_submissions(self, submitted: Mapping[tuple[int, int], str | None]) -> None:
        """Keep that an engine was asked for the jobs of runs, and what it calls them."""
        params = {
            "contexts": [context_id for context_id, _ in submitted],
            "epochs": [epoch for _, epoch in submitted],
            "native_ids": list(submitted.values()),
        }
        await self._database.rows("note_submissions", params, again=False)

    async def note_trouble(self, launcher: str, trouble: str | None) -> None:
        """Keep why an engine does not answer; None when it does."""
        params = {"launcher": launcher, "trouble": trouble}
        await self._database.rows("note_launcher", params)

    async def unplace(
        self,
        placement: Placement,
        facts: Mapping[str, Json],
        *,
        failed: bool,
        losses: int,
        quiet: timedelta,
        lease: timedelta,
        pause: timedelta,
    ) -> bool:
        """End the placement of a run whose job is over, if nobody executes the run.

        Args:
            placement: Of the run.
            facts: What is kept of it: a message and what the engine said.
            failed: It has failed; else it is queued again, and no attempt is spent.
            losses: So many times in a row are a failure too.
            quiet: How long the worker of a running one must not have been heard of.
            lease: What the workers have that the launcher starts.
            pause: Before it is queued again; three times that with each further loss.
        """
        params = {
            "context_id": placement.context_id,
            "epoch": placement.epoch,
            "failed": failed,
            "facts": encode_json(facts),
            "losses": losses,
            "quiet": quiet,
            "lease": lease,
            "pause": pause,
        }
        ((is_over,),) = await self._database.rows("unplace_run", params)
        return is_over

    async def forget(self, placements: Sequence[Placement]) -> None:
        """Keep no more of these: their jobs are over."""
        if placements:
            params = {
                "contexts": [each.context_id for each in placements],
                "epochs": [each.epoch for each in placements],
            }
            await self._database.rows("forget_placements", params)
