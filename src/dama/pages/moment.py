"""The moment that the page of a context stands at: all of its parts show what was then."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dama.domain.event import StoredEvent
from dama.errors import DamaError
from dama.operations import contexts, moments, timelines
from dama.pages.gantt import gantt

if TYPE_CHECKING:
    from datetime import datetime

    from dama.pages.visit import Visit
    from dama.store.rows import ContextRow

CHILDREN = 50
ZOOM = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)-([0-9]{1,12}(?:\.[0-9]{1,6})?)", re.ASCII)
FAILED = 20


@dataclass(frozen=True)
class Moment:
    """The event that the page stands at.

    Attributes:
        version: Its place in the context.
        last: How many events there are.
        is_live: Whether it is the latest, and the page follows what comes.
        event: Itself; None in a context without events.
    """

    version: int
    last: int
    is_live: bool
    event: StoredEvent | None

    @property
    def event_id(self) -> int | None:
        """The event whose moment is shown; None for now."""
        return None if self.is_live or self.event is None else self.event.event_id

    @property
    def at(self) -> datetime | None:
        """When it happened."""
        return None if self.event is None else self.event.created_at


async def moment_of(visit: Visit, row: ContextRow) -> Moment:
    """The event that the address names, or the latest."""
    asked = visit.number("at")
    version = min(asked, row.version) if asked else row.version
    found = await contexts.events(
        visit.app, row.context_id, after_version=max(version - 1, 0), limit=1
    )
    event = found.events[0] if found.events else None
    return Moment(version, max(row.version, version), asked is None, event)


async def tree(visit: Visit, row: ContextRow, moment: Moment, limit: int) -> dict[str, Any]:
    """Where it hangs, and a window of what it had started in time, the failed first."""
    after = visit.number("after") or 0
    failed = await contexts.children(visit.app, row.context_id, status="ERROR", limit=FAILED)
    lost, event_id, problem = failed.contexts, moment.event_id, ""
    try:
        if event_id is not None:
            lost = await moments.as_of(visit.app, lost, event_id)
    except DamaError as error:  # the log no longer has it
        problem, event_id = error.message, None
    told = await timelines.timeline(
        visit.app, row.context_id, at=event_id, after=after, limit=limit
    )
    return {
        "after": after,
        "parents": await _above(visit, row),
        "more": told.next_after,
        "failed": [each for each in lost if each.status == "ERROR"] if not after else [],
        "timeline": told,
        "rolled_up": await contexts.rolled_up(visit.app, row.context_id) if moment.is_live else {},
        "gantt": gantt(told, _zoom(visit), is_true="true" in visit.query),
        "tree_problem": problem,
    }


def _zoom(visit: Visit) -> tuple[float, float] | None:
    """The seconds that the address asks for: `12.5-40`; None for all of them."""
    found = ZOOM.fullmatch(visit.query.get("zoom", ""))
    return None if found is None else (float(found[1]), float(found[2]))


async def _above(visit: Visit, row: ContextRow) -> list[ContextRow]:
    parents: list[ContextRow] = []
    above = row.parent_id
    while above is not None and len(parents) < CHILDREN:
        parents.insert(0, await contexts.row_of(visit.app, above))
        above = parents[0].parent_id
    return parents
