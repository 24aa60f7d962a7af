"""Acts: what people did to queues, schedules, tokens and subscriptions, who they were, and why.

Acts on contexts are events of those. All others are events of a context that has no task, one for
each year, so that they are seen and followed as anything else is.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from dama.domain.event import Event
from dama.operations.who import person

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.app import App
    from dama.domain.event import StoredEvent
    from dama.shapes import Json

LATEST = 20


def act(type_: str, payload: Mapping[str, Json], by: Mapping[str, Json] | None) -> Event:
    """The event of an act.

    Args:
        type_: What was done, such as `queue/paused`.
        payload: To what; what is None is left out.
        by: Who does it, and why; by default the user of this process.
    """
    given = {name: value for name, value in payload.items() if value is not None}
    # Its own key: the statement may be sent again.
    meta = {**(by or person()), "idempotency_key": secrets.token_hex(16)}
    return Event(type_, given, meta=meta)


async def keep(
    app: App, type_: str, payload: Mapping[str, Json], by: Mapping[str, Json] | None
) -> None:
    """Keep an act that no statement keeps with what it does; see `act`.

    Raises:
        InvalidEventError: What was said of it cannot be kept.
    """
    await app.store.acts.keep(act(type_, payload, by))


async def latest(app: App, limit: int = LATEST) -> Sequence[StoredEvent]:
    """The latest acts of this year, the newest first."""
    for context_id in (await app.store.acts.contexts())[:1]:
        context = await app.store.context(context_id)
        after = max(context.version - limit, 1)  # without the INITIAL
        events = await app.store.events(context_id, after_version=after, limit=limit)
        return list(reversed(events))
    return []
