"""Adoptions: how far the tables of the first system were taken in, and what was odd in them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from dama.store.adoption.audit import Audit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.app import App


@dataclass(frozen=True)
class Adoption:
    """The adoption of the tables of one generation.

    Attributes:
        generation: "first", adopted in place, or "later", copied.
        begun_at: When it began.
        step: The last step that is done; None when the first one is not.
        position: How far the next step has come: rows or ids, as the step counts.
        ended_at: When it ended; None while it is under way.
        audit: What was in the tables before it began.
    """

    generation: str
    begun_at: datetime
    step: str | None
    position: int
    ended_at: datetime | None
    audit: Audit


async def adoptions(app: App) -> Sequence[Adoption]:
    """All of them, the first one first; none in a database that was made new."""
    rows = await app.store.database.rows("list_adoptions")
    return [
        Adoption(
            generation, begun_at, step, position, ended_at, msgspec.json.decode(found, type=Audit)
        )
        for generation, begun_at, step, position, ended_at, found in rows
    ]
