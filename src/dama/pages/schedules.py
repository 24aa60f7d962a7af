"""Schedules: when tasks start by the clock; pausing, resuming and backfilling."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from dama.gateway.errors import RequestError
from dama.operations import contexts, schedules
from dama.pages.elsewhere import of_list
from dama.pages.visit import see
from dama.store.windows import ContextFilter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from dama.pages.visit import Visit
    from dama.store.rows import ContextRow

STARTED = 62


async def show_all(visit: Visit) -> Response:
    """All schedules; those that a failure has paused come first."""
    visit.demand("viewer", "schedules")
    rows = await schedules.all_of(visit.app)
    rows.sort(key=lambda row: (row.failure is None, not row.paused, row.schedule.name))
    return visit.page("schedules.html", schedules=rows)


async def show(visit: Visit, *, backfill: schedules.Backfill | None = None) -> Response:
    """One schedule, what it started lately and when it fires next."""
    visit.demand("viewer", "schedules")
    row = await schedules.read(visit.app, visit.parts["name"])
    chosen = ContextFilter(schedule=row.schedule.name)
    started = await contexts.all_of(visit.app, chosen, limit=STARTED)
    return visit.page(
        "schedule.html",
        row=row,
        started=started,
        elsewhere=of_list(chosen, STARTED),
        days=_by_day(started.contexts, ZoneInfo(row.schedule.zone)),
        backfill=backfill,
        begin=visit.form.get("begin", ""),
        end=visit.form.get("end", ""),
    )


def _by_day(rows: Sequence[ContextRow], zone: ZoneInfo) -> Sequence[tuple[date, list[ContextRow]]]:
    """What was started on each day by the clock of the schedule, the latest day first."""
    days: dict[date, list[ContextRow]] = {}
    for row in reversed(rows):
        days.setdefault(row.created_at.astimezone(zone).date(), []).append(row)
    return sorted(days.items(), reverse=True)


async def pause(visit: Visit) -> Response:
    """Let it fire no more."""
    visit.demand("operator", "schedules")
    await schedules.pause(visit.app, visit.parts["name"], visit.by())
    return see(visit.request.scope["path"].rpartition("/")[0])


async def resume(visit: Visit) -> Response:
    """Let it continue from now."""
    visit.demand("operator", "schedules")
    await schedules.resume(visit.app, visit.parts["name"], visit.by())
    return see(visit.request.scope["path"].rpartition("/")[0])


async def backfill(visit: Visit) -> Response:
    """Start the firings of a range: at first which they are, then the starts."""
    visit.demand("operator", "schedules")
    name = visit.parts["name"]
    row = await schedules.read(visit.app, name)
    begin, end = (_day(visit, field, row.schedule.zone) for field in ("begin", "end"))
    is_look = "confirmed" not in visit.form
    by = None if is_look else visit.by()
    found = await schedules.backfill(
        visit.app, name, begin, end + timedelta(days=1), dry_run=is_look, by=by
    )
    return await show(visit, backfill=found)


def _day(visit: Visit, name: str, zone: str) -> datetime:
    text = visit.form.get(name, "")
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=ZoneInfo(zone))
    except ValueError as error:
        raise RequestError(
            "BAD_REQUEST", f"{name} is {text[:40]!r}, not a day.", "Write it as 2026-01-31."
        ) from error
