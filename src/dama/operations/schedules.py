"""Schedules: tasks that start by the clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from dama.beside import off_loop
from dama.domain.schedule import firings_between, latest_firings, zone_of
from dama.operations.acts import act
from dama.operations.who import person
from dama.store.schedules import ScheduleRow
from dama.worker.scheduler import start_at

if TYPE_CHECKING:
    from dama.app import App
    from dama.domain.schedule import Schedule
    from dama.shapes import Json
    from dama.store.rows import Start

SHOWN_FIRINGS = 5
PAST = timedelta(days=62)
PAST_FIRINGS = 200
START_BATCH = 1000


async def add(app: App, schedule: Schedule, by: Mapping[str, Json] | None = None) -> datetime:
    """Start a task by a schedule from now on; returns the first firing.

    Raises:
        InvalidScheduleError: Its name, its expression, its zone, its jitter or a text of its params
            is wrong.
        UnknownTaskError: No module of this project has its task.
        InvalidParamsError: The task does not take its params.
        ScheduleExistsError: There is one of its name.
    """
    schedule.check()
    first = next(schedule.firings(await app.store.now()))
    start_at(schedule, first, app.registry)  # raises here what would pause it later
    facts = {"task": schedule.task, "cron": schedule.cron, "zone": schedule.zone}
    done = act("schedule/added", {"schedule": schedule.name, **facts}, by)
    await app.store.schedules.add(schedule, first, act=done)
    return first


@dataclass(frozen=True)
class ScheduleReport(ScheduleRow):
    """A schedule with what comes of it.

    Attributes:
        firings: The next ones.
        missed: Firings of the latest 62 days, among the latest 200, that started nothing: an
            earlier run was open, the schedule was paused, or nobody looked. The latest first.
    """

    firings: tuple[datetime, ...] = ()
    missed: tuple[datetime, ...] = ()


async def all_of(app: App) -> list[ScheduleRow]:
    """All schedules, by name."""
    return await app.store.schedules.all()


async def read(app: App, name: str) -> ScheduleReport:
    """A schedule and when it fires next.

    Raises:
        UnknownScheduleError: There is none of this name.
    """
    row = await app.store.schedules.get(name)
    following = islice(row.schedule.firings(row.next_at), SHOWN_FIRINGS - 1)
    firings = (row.next_at, *following)
    return ScheduleReport(**vars(row), firings=firings, missed=await _missed(app, row))


async def _missed(app: App, row: ScheduleRow) -> tuple[datetime, ...]:
    schedule, now = row.schedule, await app.store.now()
    end = min(now, row.next_at)  # what is due now is about to be started
    passed = await off_loop(latest_firings, schedule, now - PAST, end, PAST_FIRINGS)
    keys = {schedule.key(each): each for each in reversed(passed)}
    since, known = await app.store.schedules.fired(schedule.name, list(keys))
    return tuple(at for key, at in keys.items() if key not in known and at > since)


async def pause(app: App, name: str, by: Mapping[str, Json] | None = None) -> None:
    """Let a schedule fire no more; what runs continues.

    Raises:
        UnknownScheduleError: There is none of this name.
    """
    done = act("schedule/paused", {"schedule": name}, by)
    await app.store.schedules.set(name, paused=True, act=done)


async def remove(app: App, name: str, by: Mapping[str, Json] | None = None) -> None:
    """Remove a schedule; what it started is kept.

    Raises:
        UnknownScheduleError: There is none of this name.
    """
    await app.store.schedules.remove(name, act=act("schedule/removed", {"schedule": name}, by))


async def resume(app: App, name: str, by: Mapping[str, Json] | None = None) -> datetime:
    """Let a paused schedule continue from now; what passed meanwhile is not made up for.

    Raises:
        UnknownScheduleError: There is none of this name.
    """
    row = await app.store.schedules.get(name)
    following = next(row.schedule.firings(await app.store.now()))
    done = act("schedule/resumed", {"schedule": name}, by)
    await app.store.schedules.set(name, paused=False, next_at=following, act=done)
    return following


@dataclass(frozen=True)
class Backfill:
    """A range of firings.

    Attributes:
        firings: All of them, by the zone of the schedule.
        contexts: Those of them, in the same order; none when nothing was to be started.
    """

    firings: Sequence[datetime]
    contexts: Sequence[int] = ()


async def backfill(
    app: App,
    name: str,
    begin: datetime,
    end: datetime,
    *,
    dry_run: bool = False,
    by: Mapping[str, Json] | None = None,
) -> Backfill:
    """Start the firings of a range that have no context yet.

    Args:
        app: Where.
        name: Of the schedule.
        begin: The first moment; by the zone of the schedule when it says none.
        end: The first moment beyond the range.
        dry_run: Only say which firings there are.
        by: Who does it, and why; by default the user of this process.

    Raises:
        UnknownScheduleError: There is none of this name.
        EmptyRangeError: The range ends before it begins, or where it begins.
        InvalidScheduleError: The range has more than 10,000 firings.
    """
    schedule = (await app.store.schedules.get(name)).schedule
    zone = zone_of(schedule.zone)
    begin, end = (each if each.tzinfo else each.replace(tzinfo=zone) for each in (begin, end))
    firings = firings_between(schedule, begin, end)
    if dry_run:
        return Backfill(firings)
    each = replace(schedule, overlap="queue") if schedule.overlap == "skip" else schedule
    by = by or person()
    starts = [_made_up(start_at(each, firing, app.registry), by) for firing in firings]
    contexts: list[int] = []
    for place in range(0, len(starts), START_BATCH):
        contexts += await app.store.start(starts[place : place + START_BATCH])
    span = {"begin": begin.isoformat(), "end": end.isoformat(), "firings": len(firings)}
    await app.store.acts.keep(act("schedule/backfilled", {"schedule": name, **span}, by))
    return Backfill(firings, contexts)


def _made_up(start: Start, by: Mapping[str, Json]) -> Start:
    """The start of a firing that somebody makes up for, and not a scheduler."""
    return replace(start, delay=None, meta={**by, **(start.meta or {})})
