"""Seams of the wire: what it asks of its node, and what its parts ask of the way to the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dama.broker.call import Home

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine, Mapping

    from dama.broker.call import Call
    from dama.broker.catalog import Catalog, Endpoint
    from dama.broker.local import LocalService
    from dama.broker.wire.codec import Codec
    from dama.broker.wire.packets import Packet
    from dama.duty import DutyError
    from dama.shapes import Json


class WiredNode(Home, Protocol):
    """The node that is on the wire.

    Attributes:
        instance_id: Of its process.
        catalog: What there is, here and elsewhere.
        is_started: Its services are up.
        on_failed_duty: Called when a duty of the node has failed again and again.
    """

    instance_id: str
    catalog: Catalog
    is_started: bool
    on_failed_duty: Callable[[DutyError], None]

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something beside all else; it is held until it ends."""
        ...

    @property
    def services(self) -> Mapping[str, LocalService]:
        """Its own, by their full names."""
        ...

    async def raise_local(self, event: str, payload: Json = None) -> None:
        """Tell the handlers of this node what the broker has to tell."""
        ...

    async def deliver(self, call: Call) -> None:
        """Deliver an event to the handlers of this node that it is for."""
        ...

    async def perform_here(self, call: Call, endpoint: Endpoint) -> Any:
        """Perform a call of another node."""
        ...


class Sender(Protocol):
    """The way to the bus.

    Attributes:
        broker: The node.
        codec: Of the version of the protocol that this node speaks.
        breaks: How often the bus went away, and perhaps packets with it.
        is_leaving: No calls are taken any more.
    """

    broker: WiredNode
    codec: Codec
    breaks: int
    is_leaving: bool

    @property
    def longest_packet(self) -> int:
        """Bytes that the bus takes at once."""
        ...

    async def publish(self, topic: str, packet: Packet) -> int:
        """Send a packet; returns its size in bytes."""
        ...

    async def flush(self) -> None:
        """Wait until the bus has what was sent."""
        ...

    async def keep_pace(self, kind: str, node_id: str, id_: str) -> None:
        """Wait until the reader of a stream has taken what was sent."""
        ...
