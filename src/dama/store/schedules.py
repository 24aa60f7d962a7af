"""The schedules of one database: who they are, and the one way to start what is due."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dama.domain.exact import decode_stored
from dama.domain.schedule import Schedule
from dama.store.acts import kept
from dama.store.errors import ScheduleExistsError, UnknownScheduleError
from dama.store.items import as_json, start_item

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.domain.event import Event
    from dama.store.database import Database
    from dama.store.rows import Start


@dataclass(frozen=True)
class ScheduleRow:
    """A schedule and how far it is.

    Attributes:
        schedule: What it starts and when.
        paused: Whether it does.
        next_at: The next firing.
        last_at: The latest firing that was started; None for none.
        started: How many runs it has started.
        skipped: How many firings have no run: an earlier one was open, or they were missed.
        failure: Why it was paused: its last firing could not be started.
    """

    schedule: Schedule
    paused: bool
    next_at: datetime
    last_at: datetime | None
    started: int
    skipped: int
    failure: str | None


class Schedules:
    """The schedules of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, schedule: Schedule, next_at: datetime, *, act: Event | None = None) -> None:
        """Keep a new schedule.

        Raises:
            ScheduleExistsError: There is one of its name.
        """
        params = {**asdict(schedule), "params": as_json(schedule.params), "next_at": next_at}
        params["act"] = kept(act)
        if not await self._database.rows("add_schedule", params, again=False):
            raise ScheduleExistsError(
                f"There is a schedule {schedule.name!r} already.",
                f"`dama schedule show {schedule.name}` shows it; take another name, or remove it.",
            )

    async def all(self) -> list[ScheduleRow]:
        """All of them, by name."""
        return [_row(row) for row in await self._database.rows("list_schedules", {"name": None})]

    async def get(self, name: str) -> ScheduleRow:
        """One of them.

        Raises:
            UnknownScheduleError: There is none of this name.
        """
        rows = await self._database.rows("list_schedules", {"name": name})
        if not rows:
            raise _unknown(name)
        return _row(rows[0])

    async def fired(self, name: str, keys: Sequence[str]) -> tuple[datetime, set[str]]:
        """The keys of firings that have a context, and the time before which none is known.

        Raises:
            UnknownScheduleError: There is none of this name.
        """
        rows = await self._database.rows("find_firings", {"name": name, "keys": list(keys)})
        if not rows:
            raise _unknown(name)
        since = next(begin for begin, _ in rows)
        return since, {key for _, key in rows if key is not None}

    async def due(self, tasks: Sequence[str]) -> list[ScheduleRow]:
        """Those of some tasks whose next firing has come."""
        rows = await self._database.rows("list_due_schedules", {"tasks": list(tasks)})
        return [_row(row) for row in rows]

    async def fire(
        self,
        name: str,
        seen: datetime,
        starts: Sequence[Start],
        *,
        latest: datetime | None,
        following: datetime,
        missed: int,
    ) -> list[int] | None:
        """Start what is due and move the schedule on, all or nothing.

        Args:
            name: Of the schedule.
            seen: Its next firing as it was read: nothing is done when it is another meanwhile.
            starts: What to start; those with a known key are not started again.
            latest: The last of the firings that are started.
            following: The next firing.
            missed: How many firings are not made up for.

        Returns:
            The contexts that were started; None when another scheduler came first.
        """
        params = {
            "name": name,
            "seen": seen,
            "batch": as_json([start_item(start) for start in starts]),
            "latest": latest,
            "following": following,
            "missed": missed,
        }
        ((contexts,),) = await self._database.rows("fire_schedule", params, waits=False)
        return contexts

    async def set(
        self,
        name: str,
        *,
        paused: bool,
        next_at: datetime | None = None,
        act: Event | None = None,
    ) -> None:
        """Pause a schedule, or let it continue.

        Raises:
            UnknownScheduleError: There is none of this name.
        """
        params = {"name": name, "paused": paused, "next_at": next_at, "act": kept(act)}
        if not await self._database.rows("set_schedule", params):
            raise _unknown(name)

    async def fail(self, row: ScheduleRow, failure: str) -> None:
        """Pause a schedule whose firing cannot be started.

        Nothing is done when somebody removed it or added another one of its name meanwhile.
        """
        schedule = row.schedule
        params = {"name": schedule.name, "task": schedule.task, "failure": failure}
        params |= {"params": as_json(schedule.params), "seen": row.next_at}
        await self._database.rows("fail_schedule", params)

    async def remove(self, name: str, *, act: Event | None = None) -> None:
        """Forget a schedule; what it started is kept.

        Raises:
            UnknownScheduleError: There is none of this name.
        """
        if not await self._database.rows(
            "remove_schedule", {"name": name, "act": kept(act)}, again=False
        ):
            raise _unknown(name)


def _row(row: Sequence[Any]) -> ScheduleRow:
    name, task, cron, zone, params, catch_up, overlap, jitter, *rest = row
    schedule = Schedule(name, task, cron, zone, decode_stored(params), catch_up, overlap, jitter)
    return ScheduleRow(schedule, *rest)


def _unknown(name: str) -> UnknownScheduleError:
    return UnknownScheduleError(f"There is no schedule {name!r}.", "`dama schedule ls` lists them.")
