"""Incoming packets: the call that one holds, and what the packets of a stream say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.broker.call import Call
from dama.broker.errors import decode_error
from dama.broker.wire.outgoing import OBJECT_MODE, STREAM_ERROR
from dama.shapes import is_dict, is_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.broker.call import Home
    from dama.broker.errors import CallError


def incoming(broker: Home, packet: Mapping[str, Any], name: str, params: Any) -> Call:
    """The call, or the delivery of an event, that a packet of another node holds."""
    call = Call(broker, name, params)
    call.id = str(packet["id"])
    call.node_id = str(packet["sender"])
    call.is_remote = True
    call.request_id = str(packet.get("requestID") or call.id)
    call.parent_id, call.caller = packet.get("parentID"), packet.get("caller")
    call.tracing = packet.get("tracing")
    level, timeout = packet.get("level"), packet.get("timeout")
    call.level = level if isinstance(level, int) else 1
    call.timeout = timeout / 1000 if isinstance(timeout, int | float) and timeout > 0 else None
    for key, place in (("meta", call.meta), ("headers", call.headers)):
        found = packet.get(key)
        if is_dict(found):
            place.update(found)
    return call


def is_objects(packet: Mapping[str, Any]) -> bool:
    """Whether the chunks of a stream are JSON values; each version says so in another place."""
    return any(place.get(OBJECT_MODE) is True for place in _places(packet))


def stream_error(packet: Mapping[str, Any]) -> CallError | None:
    """The error that ends a stream which came with a call."""
    for place in _places(packet):
        if STREAM_ERROR in place:
            return decode_error(place[STREAM_ERROR], str(packet["sender"]))
    return None


def number_of(packet: Mapping[str, Any]) -> int:
    """The number of a chunk.

    Raises:
        TypeError: It is none.
    """
    number = packet.get("seq")
    if not isinstance(number, int):
        raise TypeError(f"the number of a chunk is {number!r}")
    return number


def _places(packet: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = (packet.get("meta"), packet.get("headers"))
    return [each for each in found if is_object(each)]
