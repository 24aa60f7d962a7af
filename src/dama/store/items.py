"""Items: what is sent to the functions of the database, as JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from dama.domain.event import (
    ABSENT,
    Event,
    check_event,
    check_json,
    check_length,
    check_sizes,
    event_dict,
)
from dama.domain.profile import LARGEST_META, LONGEST_KEY, exactly, flaw_of_name, to_json
from dama.store.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dama.store.rows import Append, Start

NOTES = "notes"  # of the meta: what of the event was not kept as it was given

_RARE_NUMBER = re.compile(rb"[0-9]e[0-9]|-0\.0")  # or a piece of a text that looks like one


class _Item(msgspec.Struct, frozen=True):
    """An item of the batch of `append_events`; what is absent is left out."""

    context_id: int
    event: Event
    expected_version: int | msgspec.UnsetType


def check_name(name: str, what: str) -> None:
    """Refuse a name that the database cannot keep.

    Args:
        name: Under which something is found.
        what: It is, for the message.

    Raises:
        InvalidValueError: It is empty, too long for an index, or no text of PostgreSQL.
    """
    if flaw := flaw_of_name(name):
        raise InvalidValueError(f"The name of {what} {flaw}")


def encode(items: Iterable[Append]) -> str:
    """The batch of `append_events` as JSON.

    Raises:
        InvalidEventError: An event is not one.
    """
    batch: list[_Item] = []
    for item in items:
        if not item.is_checked:
            check_event(item.event)
        expected = msgspec.UNSET if item.expected is None else item.expected
        batch.append(_Item(item.context_id, _only_an_event(item.event), expected))
    text = to_json(batch)
    if len(text) > LARGEST_META:
        for each in batch:
            check_sizes(each.event)
    if _RARE_NUMBER.search(text):
        text = to_json([_Item(i.context_id, _exact(i.event), i.expected_version) for i in batch])
    return text.decode()


def _only_an_event(event: Event) -> Event:
    """Without what the store added to it, when it is one that was read before."""
    if type(event) is Event:
        return event
    return Event(event.type, event.payload, event.error, event.meta)


def _exact(event: Event) -> Event:
    """An event in the form in which it comes back equal, with a note of what does not."""
    notes: list[str] = []
    payload = event.payload if event.payload is ABSENT else exactly(event.payload, "payload", notes)
    meta = event.meta
    if notes:
        meta = {**({} if meta is ABSENT else meta), NOTES: notes}
    return Event(event.type, payload, event.error, meta)


def as_json(value: object) -> str:
    """A value as JSON text.

    Raises:
        InvalidEventError: It is not JSON, or JSON that the store cannot hold.
    """
    check_json(value, "it")
    return encode_json(value)


def encode_json(value: object) -> str:
    """A value that is known to be JSON as its text."""
    return to_json(value).decode()


def start_item(start: Start) -> dict[str, Any]:
    """An item of the batch of `start_contexts`.

    Raises:
        InvalidEventError: Its params or its meta cannot be an event.
    """
    kept: dict[str, Any] = {"queue": start.queue, "priority": start.priority}
    if start.limit_key is not None:
        kept |= {"limit_key": start.limit_key, "key_limit": start.key_limit}
    times = {"delay": start.delay, "expires": start.expires, "deadline": start.deadline}
    kept |= {name: seconds for name, seconds in times.items() if seconds is not None}
    if start.labels:
        kept["labels"] = sorted(start.labels)
    meta = kept | dict(start.meta or {})
    if start.key is not None:
        check_length(start.key, "The key of the start", LONGEST_KEY)
        meta["start_key"] = start.key  # not "idempotency_key": that is one of the event itself
    event = Event(f"{start.task}:INITIAL", start.params, meta=meta)
    check_event(event)
    check_sizes(event)
    event = _exact(event)
    item: dict[str, Any] = {
        "task": start.task,
        "event": event_dict(event),
        **kept,
    }
    if start.when_open != "queue":
        item["when_open"] = start.when_open
    if start.is_awaited:
        item["awaited"] = True
    if start.key is not None:
        item["idempotency_key"] = start.key
    return item
