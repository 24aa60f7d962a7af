"""Timelines: when a context and what it started were queued, ran and waited, and its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dama.domain.timeline import Mark, Span, Try, course, total_usage
from dama.operations import contexts, moments
from dama.store import ContextRow

if TYPE_CHECKING:
    from dama.app import App

LOOKED_OWN = 1000  # events of the context, the latest
LOOKED_EACH = 100  # of each that it started


@dataclass(frozen=True)
class Lane:
    """One context in time.

    Attributes:
        context: As it was at the moment that is shown.
        begin: Its creation.
        end: Its end; None while it is open.
        spans: What it did, as far as it is known.
        is_whole: Whether the spans begin with its first event: of a long history, only the
            latest events are looked at.
    """

    context: ContextRow
    begin: datetime
    end: datetime | None
    spans: Sequence[Span]
    is_whole: bool


@dataclass(frozen=True)
class Timeline:
    """A context in time, with a window of what it started.

    Attributes:
        now: The end of what is shown: by the clock of the database, or the moment asked for.
        own: Itself.
        steps: Its steps, in the order of their ends.
        attempts: Its attempts.
        usage: What the programs of all these attempts used; None where that is not known.
        children: What it started, by their ids.
        next_after: Reads on after these children; None where nothing is left.
    """

    now: datetime
    own: Lane
    steps: Sequence[Span]
    attempts: Sequence[Try]
    usage: Mapping[str, float] | None
    children: Sequence[Lane]
    next_after: int | None


async def timeline(
    app: App, context_id: int, *, at: int | None = None, after: int = 0, limit: int = 50
) -> Timeline:
    """Read a context in time.

    Args:
        app: Where it is.
        context_id: Which.
        at: The id of an event: as it was after it.
        after: Only children with a greater id, to read on.
        limit: How many children at most.

    Raises:
        UnknownContextError: There is no such context.
        UnknownEventError: The log has no such event.
    """
    row = await app.store.context(context_id)
    page = await contexts.children(app, context_id, after=after, limit=limit)
    rows, now, following = [row, *page.contexts], await app.store.now(), page.next_after
    if at is not None:
        rows = await moments.as_of(app, rows, at)
        now = max((each.modified_at for each in rows), default=row.created_at)
        following = following if len(rows) == len(page.contexts) + 1 else None
    own, *children = rows or [row]
    marks = await app.store.windows.marks([own], LOOKED_OWN)
    marks |= await app.store.windows.marks(children, LOOKED_EACH)
    found = course(marks.get(context_id, ()))
    return Timeline(
        now=now,
        own=_lane(own, marks.get(context_id, ()), LOOKED_OWN, found.spans),
        steps=found.steps,
        attempts=found.attempts,
        usage=total_usage(found.attempts),
        children=[
            _lane(child, known := marks.get(child.context_id, ()), LOOKED_EACH, course(known).spans)
            for child in children
        ],
        next_after=following,
    )


def _lane(row: ContextRow, marks: Sequence[Mark], looked: int, spans: Sequence[Span]) -> Lane:
    is_open = row.status in (None, "OPEN")
    whole = row.version <= looked or bool(marks and marks[0].version == 1)
    return Lane(row, row.created_at, None if is_open else row.modified_at, spans, whole)
