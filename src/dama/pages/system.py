"""The system: workers, the log of all events, what the doctor finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dama.operations import acts, health, queues
from dama.operations import log as positions
from dama.operations.adoptions import adoptions

if TYPE_CHECKING:
    from starlette.responses import Response

    from dama.pages.visit import Visit

EVENTS = 100


async def workers(visit: Visit) -> Response:
    """Who performs what is queued."""
    visit.demand("viewer", "workers")
    rows = await queues.workers(visit.app)
    rows.sort(key=lambda row: (not row.alive, row.host, row.pid))
    return visit.page("workers.html", workers=rows)


async def log(visit: Visit) -> Response:
    """A window of the log, the newest events first."""
    visit.demand("viewer", "events")
    told = await positions.status(visit.app)
    last = told.position
    end = min(visit.number("to") or last, last)
    begin = max(end - EVENTS, 0)
    return visit.page(
        "log.html",
        events=list(reversed(await positions.window(visit.app, begin, EVENTS))),
        last=last,
        begin=begin,
        size=EVENTS,
        newest="to" not in visit.query,
        older=begin or None,
        newer=min(end + EVENTS, last) if end < last else None,
        subscriptions=told.subscriptions,
        parked=told.parked,
        acts=await acts.latest(visit.app),
    )


async def doctor(visit: Visit) -> Response:
    """What `dama doctor` says."""
    visit.demand("viewer", "")
    findings = await health.examine(visit.app, visit.config)
    order = {"fail": 0, "warn": 1, "ok": 2}
    return visit.page(
        "doctor.html",
        adoptions=await adoptions(visit.app),
        findings=sorted(findings, key=lambda each: order[each.level]),
    )
