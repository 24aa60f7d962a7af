"""The place of a moment in a log: how far a program had printed when an event happened.

Logs are files without times. An event that the program printed has the place of its line in its
key; behind the end of a run all of its log was printed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama.operations import contexts
from dama.shapes import is_object

if TYPE_CHECKING:
    from dama.domain.event import StoredEvent
    from dama.domain.lifecycle import Lifecycle
    from dama.pages.moment import Moment
    from dama.pages.visit import Visit

LOOKED_AT = 1000
NOTHING = -1


@dataclass(frozen=True)
class LogPlace:
    """How far a log went at a moment.

    Attributes:
        epoch: Of the run that had begun last; None when none had.
        line: The place of the last line that is known to have been there; None for the whole log,
            NOTHING for none of it.
        note: How that is known.
    """

    epoch: int | None
    line: int | None
    note: str


async def place_of(
    visit: Visit, context_id: int, moment: Moment, life: Lifecycle, stream: str
) -> LogPlace:
    """How far a stream of a context's programs went when an event happened."""
    if not life.attempts:
        return LogPlace(None, NOTHING, "No run had begun.")
    run = life.attempts[-1]
    if run.ended_at is not None:
        return LogPlace(run.epoch, None, f"All of it: run {run.epoch} had ended.")
    after = max(moment.version - LOOKED_AT, 0)
    page = await contexts.events(visit.app, context_id, after_version=after, limit=LOOKED_AT)
    for event in reversed([each for each in page.events if each.version <= moment.version]):
        if (line := line_of(event, run.epoch, stream)) is not None:
            note = f"Up to the line of event {event.version}, the last one that it printed by then."
            return LogPlace(run.epoch, line, note)
    note = "All of it: no event tells how much of it was there by then."
    return LogPlace(run.epoch, None, note)


def line_of(event: StoredEvent, epoch: int, stream: str) -> int | None:
    """The place of the line of a log that an event was made from; None when it was not."""
    key = event.meta.get("idempotency_key") if is_object(event.meta) else None
    found = re.match(rf"ship/{epoch}/{stream}/([0-9]+)", str(key))
    return int(found[1]) if found else None
