"""Incoming packets: the call that one holds, and what the packets of a stream say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.broker.call import Call
from dama.broker.errors import decode_error
from dama.broker.wire.codec import OBJECT_MODE, STREAM_ERROR, Codec
from dama.shapes import is_dict

if TYPE_CHECKING:
    from dama.broker.call import Home
    from dama.broker.errors import CallError
    from dama.broker.wire.packets import Event, Request, Response


def incoming(broker: Home, packet: Request | Event, name: str, params: Any) -> Call:
    """The call, or the delivery of an event, that a packet of another node holds."""
    call = Call(broker, name, params)
    call.id = str(packet.id)
    call.node_id = packet.sender
    call.is_remote = True
    call.request_id = str(packet.request_id or call.id)
    call.parent_id, call.caller = packet.parent_id, packet.caller
    call.tracing = packet.tracing
    call.level = 1 if packet.level is None else packet.level
    for found, place in ((packet.meta, call.meta), (packet.headers, call.headers)):
        if is_dict(found):
            place.update(found)
    return call


def is_objects(packet: Request | Response) -> bool:
    """Whether the chunks of a stream are JSON values; each version says so in another place."""
    return Codec.flag(packet, OBJECT_MODE) is True


def stream_error(packet: Request) -> CallError | None:
    """The error that ends a stream which came with a call."""
    found = Codec.flag(packet, STREAM_ERROR)
    return None if found is None else decode_error(found, packet.sender)


def number_of(packet: Request | Response) -> int:
    """The number of a chunk.

    Raises:
        TypeError: It is none.
    """
    if not isinstance(packet.seq, int):
        raise TypeError(f"the number of a chunk is {packet.seq!r}")
    return packet.seq
