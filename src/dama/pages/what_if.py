"""What if: the state that a context would have without an event, or with another payload of it.

Folded in memory only. It reads, so whoever may read may ask.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

import msgspec

from dama.domain.event import ABSENT
from dama.domain.exact import encode
from dama.domain.lifecycle import lifecycle
from dama.domain.slice import slices
from dama.gateway.errors import RequestError
from dama.operations import contexts
from dama.operations.supposing import Supposition, suppose
from dama.pages.fields import json_of

if TYPE_CHECKING:
    from starlette.responses import Response

    from dama.domain.event import StoredEvent
    from dama.pages.visit import Visit

MOST = 200
LONGEST_SHOWN = 4096


async def show(visit: Visit) -> Response:
    """The event, another payload for it, and what would be other."""
    row = await visit.context()
    event = await _event(visit, row.context_id, row.version)
    known = sorted({lifecycle.name, *slices()})
    name = visit.query.get("slice") or next((n for n in known if n != lifecycle.name), known[0])
    payload, text = _payload(visit)
    found: Supposition | None = None
    if "ask" in visit.query:
        found = await suppose(visit.app, row.context_id, name, event.event_id, payload=payload)
    return visit.page(
        "what_if.html",
        row=row,
        absent=ABSENT,
        event=event,
        slices=known,
        slice=name,
        payload=text,
        is_edited=payload is not ABSENT,
        stored=_shown(event),
        found=found,
        most=MOST,
        command=_command(row.context_id, name, event.event_id, text),
    )


async def _event(visit: Visit, context_id: int, last: int) -> StoredEvent:
    version = visit.number("event") or last
    page = await contexts.events(visit.app, context_id, after_version=max(version - 1, 0), limit=1)
    if not page.events:
        raise RequestError("NOT_FOUND", f"Context {context_id} has no event {version}.")
    return page.events[0]


def _payload(visit: Visit) -> tuple[Any, str]:
    """The other payload and its text; ABSENT where the event is left out."""
    text = visit.query.get("payload", "").strip()
    if not text:
        return ABSENT, ""
    return json_of(text, "The payload is", 'Write, for instance, {"rows": 7}.'), text


def _shown(event: StoredEvent) -> str:
    """The payload as it can be edited; empty when it has none, or one that is too long."""
    if event.payload is ABSENT:
        return ""
    text = msgspec.json.format(encode(event.payload), indent=2).decode()
    return text if len(text) <= LONGEST_SHOWN else ""


def _command(context_id: int, name: str, event_id: int, payload: str) -> str:
    edit = f" --payload {quote(payload)}" if payload else ""
    return f"dama state {context_id} --slice {quote(name)} --without {event_id}{edit}"
