"""Items: what is sent to the functions of the database, as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec

from dama.domain.event import Event, check_event, event_dict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dama.store.rows import Append, Start


def _plain(value: object) -> object:
    """What json would have written for a subclass of a type that it knows."""
    for type_ in (str, int, float):
        if isinstance(value, type_):
            return type_(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


_encoder = msgspec.json.Encoder(enc_hook=_plain)


class _Item(msgspec.Struct, frozen=True):
    """An item of the batch of `append_events`; what is absent is left out."""

    context_id: int
    event: Event
    expected_version: int | msgspec.UnsetType


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
    return _encoder.encode(batch).decode()


def _only_an_event(event: Event) -> Event:
    """Without what the store added to it, when it is one that was read before."""
    if type(event) is Event:
        return event
    return Event(event.type, event.payload, event.error, event.meta)


def as_json(value: object) -> str:
    """A value as JSON text; NaN and infinity are refused."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def start_item(start: Start) -> dict[str, Any]:
    """An item of the batch of `start_contexts`.

    Raises:
        InvalidEventError: Its params or its meta can not be an event.
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
        meta["start_key"] = start.key  # not "idempotency_key": that is one of the event itself
    event = Event(f"{start.task}:INITIAL", start.params, meta=meta)
    check_event(event)
    item: dict[str, Any] = {
        "task": start.task,
        "event": event_dict(event),
        **kept,
    }
    if start.when_open != "queue":
        item["when_open"] = start.when_open
    if start.key is not None:
        item["idempotency_key"] = start.key
    return item
