"""The moment that the page of a context stands at: all of its parts show what was then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dama.domain.event import StoredEvent
from dama.errors import DamaError
from dama.operations import contexts, moments
from dama.pages.gantt import bars

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dama.pages.visit import Visit
    from dama.store.rows import ContextRow

CHILDREN = 50
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
    """Where it hangs, and a window of what it had started, the failed first."""
    after = visit.number("after") or 0
    page = await contexts.children(visit.app, row.context_id, after=after, limit=limit)
    failed = await contexts.children(visit.app, row.context_id, status="ERROR", limit=FAILED)
    shown, lost, problem = [row, *page.contexts], failed.contexts, ""
    if moment.event_id is not None:
        try:
            shown, lost = [await _then(visit, rows, moment.event_id) for rows in (shown, lost)]
        except DamaError as error:  # the log no longer has it
            problem = error.message
    own, *children = shown or [row]
    # Ids rise with time: where the last one was not there yet, no later one was.
    is_whole = len(children) == len(page.contexts)
    return {
        "parents": await _above(visit, row),
        "children": children,
        "more": page.next_after if is_whole else None,
        "failed": [each for each in lost if each.status == "ERROR"] if not after else [],
        "bars": bars([own, *children], None if moment.is_live else moment.at),
        "tree_problem": problem,
    }


async def _then(visit: Visit, rows: Sequence[ContextRow], event_id: int) -> list[ContextRow]:
    return await moments.as_of(visit.app, rows, event_id)


async def _above(visit: Visit, row: ContextRow) -> list[ContextRow]:
    parents: list[ContextRow] = []
    above = row.parent_id
    while above is not None and len(parents) < CHILDREN:
        parents.insert(0, await visit.app.store.context(above))
        above = parents[0].parent_id
    return parents
