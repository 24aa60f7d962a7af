"""Acts of people that belong to no context of a task: events of a context of their own, one a year.

An act that a statement does is kept in the transaction of that statement: there is none without the
other. See functions/acts.sql.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dama.domain.event import check_event, event_dict
from dama.store.items import as_json

if TYPE_CHECKING:
    from dama.domain.event import Event
    from dama.store.database import Database


def kept(act: Event | None) -> str | None:
    """An act as the param `act` of a statement; None when nobody acts.

    Raises:
        InvalidEventError: What was said of it cannot be kept.
    """
    if act is None:
        return None
    check_event(act)
    return as_json(event_dict(act))


class Acts:
    """The acts of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def keep(self, act: Event) -> int:
        """Keep an act that no statement keeps with what it does; returns the context."""
        ((context_id,),) = await self._database.rows("keep_act", {"act": kept(act)})
        return context_id

    async def contexts(self) -> list[int]:
        """The contexts that hold them, the latest first; none before the first act."""
        return [context_id for (context_id,) in await self._database.rows("list_act_contexts")]
