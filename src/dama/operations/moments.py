"""Moments: contexts as they were when one of the events had just happened.

The coordinate is the position of that event in the log, so that contexts beside each other are seen
at one moment, whatever their clocks or the order of their ids say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from dama.store.errors import UnknownEventError
from dama.store.rows import ContextRow, RunRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dama.app import App

Row = TypeVar("Row", bound=ContextRow)
# What a run did after an event of a kind; after any other it was running.
STATES = {"INITIAL": "queued", "RESUMED": "queued", "WAITING": "waiting", "RETRYING": "retrying"}


async def as_of(app: App, rows: Sequence[Row], event_id: int) -> list[Row]:
    """Contexts as they were after an event; those that were not there yet are left out.

    Args:
        app: Where they are.
        rows: As they are now.
        event_id: Any event, also of another context.

    Raises:
        UnknownEventError: The log has no such event.
    """
    position = await app.store.log.position_of(event_id)
    if position is None:
        raise UnknownEventError(
            f"The log has no event {event_id}.", "`dama events CONTEXT --json` shows their ids."
        )
    found = await app.store.windows.at([row.context_id for row in rows], position)
    return [_then(row, *found[row.context_id]) for row in rows if row.context_id in found]


def _then(row: Row, version: int, type_: str, at: datetime, status: str) -> Row:
    if version == row.version:
        return row
    state = STATES.get(type_.rpartition(":")[2], "running")
    run = RunRow(state, 0, None, None) if status == "OPEN" and row.task is not None else None
    return replace(row, version=version, modified_at=at, status=status, run=run)
