"""Packets: what nodes send each other, as typed structs with the names of the wire.

A field of an unexpected type makes a packet invalid, an unknown one is ignored, and null counts as
absent. What users put into a packet is `Free`: any JSON, which the codec reads and writes on its
own terms (`dama.broker.wire.codec`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import msgspec

if TYPE_CHECKING:
    Free: TypeAlias = Any
else:
    Free = msgspec.Raw  # what the decoder leaves to the codec

Id: TypeAlias = str | int | float
Fields: TypeAlias = tuple[str, ...]
_NOTHING = msgspec.Raw(b"{}")


class Packet(msgspec.Struct, kw_only=True, rename="camel"):
    """What every packet has.

    Attributes:
        ver: Version of the protocol; the codec writes its own.
        sender: The node that sends it; empty for this one.
        free: The names of its fields that users fill.
    """

    ver: str | msgspec.UnsetType = msgspec.UNSET
    sender: str = ""

    free: ClassVar[Fields] = ()


class Discover(Packet):
    """Who is there?"""


class Disconnect(Packet):
    """This node leaves."""


class Heartbeat(Packet):
    """This node is alive.

    Attributes:
        cpu: Load in percent.
        seq: Only of some discoverers, as `instance_id`.
    """

    cpu: float | None = None
    seq: int | msgspec.UnsetType | None = msgspec.UNSET
    instance_id: str | msgspec.UnsetType | None = msgspec.field(
        default=msgspec.UNSET, name="instanceID"
    )


class Info(Packet, kw_only=True):
    """What a node tells of itself.

    Attributes:
        services: A list of objects.
        instance_id: Of its process.
        seq: Rises with every change of its services.
    """

    services: Free
    ip_list: Free = None
    hostname: Free = None
    client: Free = None
    config: Free = None
    instance_id: str | None = msgspec.field(default=None, name="instanceID")
    metadata: Free = None
    seq: int | None = None
    port: int | msgspec.UnsetType | None = msgspec.UNSET

    free: ClassVar[Fields] = ("services", "ip_list", "hostname", "client", "config", "metadata")

    def told(self) -> dict[str, Any]:
        """What it says besides the services, with the names of the wire."""
        return {
            "ipList": self.ip_list,
            "hostname": self.hostname,
            "client": self.client or {},
            "config": self.config,
            "instanceID": self.instance_id,
            "metadata": self.metadata,
            "seq": self.seq,
        }


class Ping(Packet):
    """Asks for a sign of life; the answer repeats both fields."""

    time: float | None = None
    id: Id | None = None


class Pong(Packet, kw_only=True):
    """A sign of life.

    Attributes:
        arrived: When the ping came, in milliseconds of the epoch.
        closed: Of nodes in Python: see `Exchange.is_closed`.
    """

    time: float
    arrived: float
    id: Id | None = None
    closed: bool | msgspec.UnsetType | None = msgspec.UNSET


class Carrier(Packet, kw_only=True):
    """What belongs to a call, whose meta goes along.

    Attributes:
        meta: An object.
        headers: An object; only of version 5.
    """

    meta: Free = _NOTHING
    headers: Free = msgspec.UNSET


class Request(Carrier, kw_only=True):
    """A call, or a chunk of the stream that goes with one.

    Attributes:
        timeout: Milliseconds.
        stream: More packets of it follow.
        seq: The number of a chunk.
    """

    id: Id
    action: str
    params: Free = None
    timeout: float | None = None
    level: int | None = 1
    tracing: bool | None = None
    parent_id: str | None = msgspec.field(default=None, name="parentID")
    request_id: Id | None = msgspec.field(default=None, name="requestID")
    caller: str | None = None
    stream: bool | None = False
    seq: int | msgspec.UnsetType | None = msgspec.UNSET

    free: ClassVar[Fields] = ("params", "meta", "headers")


class Response(Carrier, kw_only=True):
    """An answer, or a chunk of a stream that is one.

    Attributes:
        stream: More packets of it follow.
        seq: The number of a chunk.
    """

    id: Id
    success: bool | None = None
    data: Free = None
    error: Free = msgspec.UNSET
    stream: bool | None = False
    seq: int | msgspec.UnsetType | None = msgspec.UNSET

    free: ClassVar[Fields] = ("data", "error", "meta", "headers")


class Event(Carrier, kw_only=True):
    """A broker event.

    Attributes:
        groups: Of the handlers that get it; absent or empty for all.
    """

    id: Id
    event: str
    data: Free = None
    broadcast: bool | None = False
    groups: list[str] | msgspec.UnsetType | None = msgspec.UNSET
    level: int | None = 1
    tracing: bool | None = None
    parent_id: str | None = msgspec.field(default=None, name="parentID")
    request_id: Id | None = msgspec.field(default=None, name="requestID")
    caller: str | None = None
    need_ack: bool | None = None

    free: ClassVar[Fields] = ("data", "meta", "headers")


KINDS: dict[str, type[Packet]] = {
    "DISCOVER": Discover,
    "INFO": Info,
    "HEARTBEAT": Heartbeat,
    "DISCONNECT": Disconnect,
    "PING": Ping,
    "PONG": Pong,
    "REQ": Request,
    "RES": Response,
    "EVENT": Event,
}
