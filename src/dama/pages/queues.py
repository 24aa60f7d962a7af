"""Queues: how much waits in each, and pausing, resuming and limiting them."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dama.gateway.errors import RequestError
from dama.operations import activity, queues
from dama.pages import chart
from dama.pages.visit import see

if TYPE_CHECKING:
    from starlette.responses import Response

    from dama.pages.visit import Visit


async def show(visit: Visit) -> Response:
    """All queues."""
    visit.demand("viewer", "queues")
    history = await activity.queues(visit.app)
    end = (await activity.now(visit.app)) + timedelta(seconds=activity.GRAIN)
    begin = end - timedelta(hours=activity.HOURS)
    begun, width, _ = await activity.span(visit.app)
    return visit.page(
        "queues.html",
        queues=await queues.all_of(visit.app),
        begin=begun,
        width=width,
        charts={each.queue: chart.of_queue(each, begin, end) for each in history},
    )


async def pause(visit: Visit) -> Response:
    """Start nothing of a queue until it is resumed."""
    visit.demand("operator", "queues")
    await queues.pause(visit.app, visit.parts["queue"], visit.by())
    return see("/queues")


async def resume(visit: Visit) -> Response:
    """Let a paused queue continue."""
    visit.demand("operator", "queues")
    await queues.resume(visit.app, visit.parts["queue"], visit.by())
    return see("/queues")


async def limit(visit: Visit) -> Response:
    """Limit how much of a queue runs at once, and starts a second."""
    visit.demand("operator", "queues")
    concurrency = _number(visit, "concurrency")
    await queues.limit(
        visit.app,
        visit.parts["queue"],
        concurrency=None if concurrency is None else int(concurrency),
        rate=_number(visit, "rate"),
        by=visit.by(),
    )
    return see("/queues")


def _number(visit: Visit, name: str) -> float | None:
    text = visit.form.get(name, "").strip()
    try:
        found = float(text) if text else None
    except ValueError as error:
        raise RequestError(
            "BAD_REQUEST", f"{name} is {text[:40]!r}, not a number.", "0 is no limit."
        ) from error
    if found is not None and name == "concurrency" and not found.is_integer():
        raise RequestError(
            "BAD_REQUEST", f"{name} is {text[:40]!r}, not a whole number.", "0 is no limit."
        )
    return found
