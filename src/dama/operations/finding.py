"""Finding: events of one context by type, by a text in them, or those that are errors.

A look goes over so many versions and says how far it came, so that it takes as long in a context of
a hundred thousand events as in one of a hundred.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dama.domain.event import StoredEvent

if TYPE_CHECKING:
    from dama.app import App

LOOK = 20_000
LOOK_IN_TEXT = 2_000  # payloads may have a mebibyte each


@dataclass(frozen=True)
class EventFilter:
    """Which events; what is not given does not matter.

    Attributes:
        type: The type; a * in it is any text.
        text: What the type, the payload or the meta holds, in any case.
        failed: Only errors.
        marks: Only errors, and where a run begins or ends.
    """

    type: str | None = None
    text: str | None = None
    failed: bool = False
    marks: bool = False

    @property
    def is_any(self) -> bool:
        """Whether every event fits."""
        return self == EventFilter()

    @property
    def look(self) -> int:
        """Over how many versions one look goes."""
        return LOOK if self.text is None else LOOK_IN_TEXT


@dataclass(frozen=True)
class FoundEvents:
    """A window of the events that fit.

    Attributes:
        events: The latest first; those after a version the oldest first.
        looked_to: The version from which to look further; None when nothing is left.
    """

    events: Sequence[StoredEvent]
    looked_to: int | None


async def find(
    app: App,
    context_id: int,
    chosen: EventFilter,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int = 100,
) -> FoundEvents:
    """Find events of a context that fit.

    Args:
        app: Where it is.
        context_id: Which.
        chosen: Which events.
        before: Only those before this version, the latest first; by default from the latest on.
        after: Instead, only those after this version, the oldest first.
        limit: At most this many. There may be fewer, or none, though some are left.

    Raises:
        UnknownContextError: There is no such context.
    """
    last = (await app.store.context(context_id)).version
    values = look(context_id, chosen, last, before=before, after=after, limit=limit)
    found = await app.store.windows.find_events(**values)
    low, high = values["low"], values["high"]
    if len(found) == limit:
        return FoundEvents(found, found[-1].version)
    if after is None:
        return FoundEvents(found, low if low > 1 else None)
    return FoundEvents(found, high if high < last else None)


def look(
    context_id: int,
    chosen: EventFilter,
    last: int,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int,
) -> dict[str, Any]:
    """What one look asks, as the params of `store/sql/find_events.sql`; see `find`.

    Args:
        context_id: Whose events.
        chosen: Which.
        last: Its version.
        before: Only those before this version.
        after: Instead, only those after this version.
        limit: At most this many.
    """
    if after is None:
        high = last if before is None else min(before - 1, last)
        low = max(high - chosen.look + 1, 1)
    else:
        low, high = after + 1, min(after + chosen.look, last)
    return {
        "context_id": context_id, "low": low, "high": high, "type": _pattern(chosen.type),
        "text": chosen.text, "failed": chosen.failed, "marks": chosen.marks,
        "backwards": after is None, "limit": limit,
    }  # fmt: skip


def _pattern(type_: str | None) -> str | None:
    """A type with stars as a pattern of LIKE."""
    return type_ and re.sub(r"([\\%_])", r"\\\1", type_).replace("*", "%")
