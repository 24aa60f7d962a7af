"""Overview: what runs, what failed lately, what waits, what comes next."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dama.operations import activity, contexts, queues, schedules
from dama.pages import chart
from dama.pages.contexts import service_of
from dama.pages.elsewhere import of_list
from dama.store.windows import ContextFilter

if TYPE_CHECKING:
    from starlette.responses import Response

    from dama.pages.visit import Visit

SHOWN = 10
DEMO = "flights.load"  # what `make demo` runs


async def show(visit: Visit) -> Response:
    """The first page."""
    visit.demand("viewer", service_of(visit) or "")
    app, service = visit.app, service_of(visit)
    chosen = {
        "running": ContextFilter(service=service, state="running"),
        "failed": ContextFilter(service=service, status="ERROR"),
        "latest": ContextFilter(service=service),
    }
    found = {n: await contexts.all_of(app, each, limit=SHOWN) for n, each in chosen.items()}
    is_for_all = visit.identity.services is None
    rows = await schedules.all_of(app) if is_for_all else []
    upcoming = sorted((row for row in rows if not row.paused), key=lambda row: row.next_at)
    return visit.page(
        "overview.html",
        charts=await _charts(visit) if is_for_all else [],
        running=found["running"],
        failed=found["failed"],
        latest=found["latest"],
        elsewhere={name: of_list(each, SHOWN) for name, each in chosen.items()},
        width=(await activity.span(app))[1],
        queues=await queues.all_of(app) if is_for_all else [],
        workers=[w for w in await queues.workers(app) if w.alive] if is_for_all else [],
        upcoming=upcoming[:SHOWN],
        paused=[row for row in rows if row.paused],
        tasks=sorted(visit.app.registry.tasks),
        demo=DEMO,
        key=secrets.token_hex(16),
    )


async def _charts(visit: Visit) -> list[chart.Chart]:
    found = await activity.read(visit.app)
    ended, failed, took = chart.of_activity(found)
    history = await activity.queues(visit.app)
    return [ended, failed, took, chart.of_ages(history, ended.begin, ended.end)]
