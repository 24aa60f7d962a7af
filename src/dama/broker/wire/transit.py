"""The transit: this node among the others, in packets of Moleculer's protocol, version 4 or 5.

It receives packets, knows which are meant, and hands them on: those of nodes to `discovery`, calls,
answers and events to `exchange`. A packet that makes no sense is logged and dropped: none of them
may end the node.
"""

from __future__ import annotations

import asyncio
import logging
import re
from time import monotonic, time
from typing import TYPE_CHECKING, Any

from dama.broker.errors import (
    CallError,
    ClientCallError,
    DisconnectedError,
    InvalidPacketDataError,
    PacketTooLargeError,
)
from dama.broker.wire.codec import CODECS
from dama.broker.wire.discovery import Discovery
from dama.broker.wire.envelope import envelope
from dama.broker.wire.exchange import Exchange
from dama.broker.wire.outage import fail_lost_calls
from dama.broker.wire.packets import Discover, Info, Ping, Pong
from dama.broker.wire.seldom import Seldom

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dama.broker.call import Call
    from dama.broker.wire.packets import Packet
    from dama.broker.wire.seams import WiredNode
    from dama.broker.wire.transporter import Transporter

_log = logging.getLogger("dama.broker")

_TOPIC = re.compile(r"[^\s*>\x00-\x20\x7f]{1,500}")
OWN = ("REQ", "RES", "EVENT")
"""Packets that a node may send to itself, by way of the bus."""


class Transit:
    """This node among the others.

    Args:
        broker: The node.
        transporter: The bus.

    Attributes:
        is_connected: Packets can be sent.
        is_leaving: No calls are taken any more.
        has_twin: Another process has the id of this node.
        codec: Of the version of the protocol that this node speaks.
        breaks: How often the bus went away, and perhaps packets with it.
    """

    def __init__(self, broker: WiredNode, transporter: Transporter) -> None:
        options = broker.options
        self.broker = broker
        self.is_connected = False
        self.is_leaving = False
        self.has_twin = False
        self.codec = CODECS[str(options.protocol)]()
        self.breaks = 0
        self._broke_at = 0.0
        self._seldom = Seldom(_log)
        self._transporter = transporter
        self._prefix = f"MOL-{options.namespace}" if options.namespace else "MOL"
        self._balanced: dict[tuple[str, str], Callable[[], Any]] = {}
        self.exchange = Exchange(self)
        self.discovery = Discovery(self, self.exchange)
        self._receivers: dict[str, Callable[[Any], object]] = {
            "DISCOVER": self.discovery.on_discover,
            "INFO": self.discovery.on_info,
            "HEARTBEAT": self.discovery.on_heartbeat,
            "DISCONNECT": self.discovery.on_disconnect,
            "PING": self.discovery.on_ping,
            "PONG": self.discovery.on_pong,
            "REQ": self.exchange.on_request,
            "RES": self.exchange.on_response,
            "EVENT": self.exchange.on_event,
        }

    @property
    def pending_count(self) -> int:
        """How many calls wait for an answer of another node."""
        return len(self.exchange.pending)

    @property
    def longest_packet(self) -> int:
        """Bytes that the bus takes at once."""
        return self._transporter.longest_packet

    async def connect(self) -> None:
        """Join the bus, ask who is there and wait a little for answers.

        Raises:
            DisconnectedError: The bus cannot be reached, or another node has the id of this one.
        """
        node_id = self.broker.node_id
        await self._transporter.connect(node_id, self._reconnected, self._disconnected)
        await self._look_for_a_twin()
        own = ("EVENT", "REQ", "RES", "PONG", "DISCOVER", "INFO", "PING")
        for kind in own:
            await self._subscribe(f"{kind}.{node_id}", kind)
        for kind in ("DISCOVER", "INFO", "PING", "DISCONNECT", "HEARTBEAT"):
            await self._subscribe(kind, kind)
        await self._transporter.flush()
        self.is_connected = True
        await self.broker.raise_local("$transporter.connected", {"wasReconnect": False})
        await self.discovery.begin()
        self._refuse_twin()

    async def ready(self) -> None:
        """Tell the others that the services are up.

        Raises:
            DisconnectedError: Another node has the id of this one.
        """
        self._refuse_twin()
        await self.announce()

    async def announce(self) -> None:
        """Tell the others that the services have changed."""
        await self.discovery.announce()
        await self.subscribe_balanced()

    async def leave(self) -> None:
        """Tell the others to send no more calls."""
        self.is_leaving = True
        try:
            await self.discovery.leave()
        except CallError as error:  # the bus is away: they find out by themselves
            _log.warning("%s", error)

    async def disconnect(self) -> None:
        """Leave the bus; calls that wait for an answer fail."""
        try:
            await self.discovery.goodbye()
            await self._transporter.flush()
        except CallError as error:
            _log.warning("%s", error)
        self.exchange.reject_all(DisconnectedError("This node leaves the others."))
        await self.close()

    async def close(self) -> None:
        """Leave the bus without a word."""
        self.is_connected = False
        await self.discovery.end()
        await self._transporter.close()

    async def request(self, call: Call) -> Any:
        """Perform a call on the node that it names."""
        return await self.exchange.request(call)

    async def send_event(self, call: Call, targets: Mapping[str, Sequence[str]]) -> None:
        """Send an event to nodes, each with the groups of its listeners."""
        await self.exchange.send_event(call, targets)

    async def ping(self, node_id: str, timeout: float) -> dict[str, Any] | None:
        """Ask a node for a sign of life."""
        return await self.discovery.ping(node_id, timeout)

    async def publish(self, topic: str, packet: Packet) -> int:
        """Send a packet; returns its bytes.

        Raises:
            PacketTooLargeError: The bus would not take it.
            CallError: It cannot be written as JSON, or the bus is away.
        """
        packet.sender = packet.sender or self.broker.node_id
        body = await self.codec.encode(packet)
        if len(body) > self._transporter.longest_packet:
            raise PacketTooLargeError(
                f"A packet has {len(body):,} bytes, and the bus takes "
                f"{self._transporter.longest_packet:,}.",
                "Send it as a stream, or raise max_payload of the NATS server.",
                data={"size": len(body), "limit": self._transporter.longest_packet},
            )
        # Part of it may come from a packet, or from whoever names a node.
        if not _TOPIC.fullmatch(topic):
            raise InvalidPacketDataError(f"{topic!r} cannot be the topic of a packet.")
        await self._transporter.publish(f"{self._prefix}.{topic}", body)
        return len(body)

    async def flush(self) -> None:
        """Wait until all that was sent has reached the bus."""
        await self._transporter.flush()

    async def keep_pace(self, kind: str, node_id: str, id_: str) -> None:
        """Wait until a node has read what a stream has sent to it so far.

        Raises:
            RequestRejectedError: The node is gone, or whoever read the stream there.
        """
        await self.discovery.keep_pace(kind, node_id, id_)

    async def receive(self, kind: str, body: bytes) -> None:
        """Take a packet; one that makes no sense is logged, and its sender gets an answer."""
        try:
            packet = await self.codec.decode(kind, body)
            sender = packet.sender
            if not _TOPIC.fullmatch(sender):
                raise TypeError(f"its sender is {sender!r}")  # noqa: TRY301
            if self._is_meant(kind, packet):
                self.discovery.heard_of(sender)
                self._receivers[kind](packet)
        except Exception as error:  # noqa: BLE001 - whatever somebody sends, the node continues
            self._drop(kind, body, error)

    def _drop(self, kind: str, body: bytes, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        self._seldom.write(
            logging.WARNING, kind, "a %s packet was dropped: %.300s: %.200r", kind, reason, body
        )
        if kind in ("REQ", "RES"):
            self.broker.spawn(self._refuse(kind, body, reason))

    async def _refuse(self, kind: str, body: bytes, reason: str) -> None:
        # Beside the loop: a packet may have a megabyte of tokens.
        packet = await asyncio.to_thread(envelope, body)
        sender, id_ = packet.get("sender"), packet.get("id")
        if isinstance(sender, str) and _TOPIC.fullmatch(sender) and isinstance(id_, str | int):
            error = ClientCallError(
                f"A packet of {sender} cannot be read: {reason[:300]}.",
                "JSON of at most some hundred levels, without halves of surrogate pairs, is read.",
                status=400,
                code="INVALID_PACKET_DATA",
                data={"action": packet.get("action"), "nodeID": self.broker.node_id},
            )
            self.exchange.refuse(kind, packet, error)

    async def subscribe_balanced(self) -> None:
        """Listen to what the bus gives to one node of many; only when no node chooses itself."""
        if self.broker.options.balancer:
            return
        wanted = self._balanced_topics()
        for key in [key for key in self._balanced if key not in wanted]:
            await self._balanced.pop(key)()
        for (topic, group), kind in wanted.items():
            if (topic, group) not in self._balanced:
                self._balanced[topic, group] = await self._transporter.subscribe(
                    f"{self._prefix}.{topic}", kind, self.receive, group
                )
        await self._transporter.flush()

    def _balanced_topics(self) -> dict[tuple[str, str], str]:
        """The topics of the actions and events of this node, with their groups and packets."""
        catalog = self.broker.catalog
        found = {(f"REQB.{name}", name): "REQ" for name in catalog.offered}
        for listener in catalog.listeners:
            if listener.handler and not listener.pattern.startswith("$"):
                name = listener.pattern
                name = f"{name[:-2]}>" if name.endswith("**") else name
                found[f"EVENTB.{listener.group}.{name}", listener.group] = "EVENT"
        return found

    def _is_meant(self, kind: str, packet: Packet) -> bool:
        version, sender = packet.ver, packet.sender
        is_known = version in CODECS and self.broker.options.accept_other_protocol
        if version != self.codec.version and not is_known:
            self._seldom.write(
                logging.ERROR,
                f"version of {sender[:100]}" if sender in self.broker.catalog.nodes else "version",
                "%s speaks version %s of the protocol, this node %s: its %s packet is dropped",
                sender,
                version or "none",
                self.codec.version,
                kind,
            )
            return False
        return sender != self.broker.node_id or kind in OWN or self._is_for_a_twin(packet)

    async def _look_for_a_twin(self) -> None:
        """Ask under another name whether a node has this id already; it answers later.

        Nothing of this node may reach it: one of Moleculer ends when it hears of a second.
        """
        name = f"{self.broker.node_id}.{self.broker.instance_id}"
        await self._subscribe(f"PONG.{name}", "PONG")
        ping = Ping(sender=name, time=time() * 1000, id=self.broker.instance_id)
        await self.publish(f"PING.{self.broker.node_id}", ping)
        await self._transporter.flush()

    def _is_for_a_twin(self, packet: Packet) -> bool:
        """Whether a packet of its own id may be that of another process, which has to be told.

        Who comes second asks before it tells of itself: it is answered, and steps aside.
        """
        own = self.broker.instance_id
        is_of_another = (
            isinstance(packet, Info) and packet.instance_id and packet.instance_id != own
        ) or (isinstance(packet, Pong) and packet.id == own)
        if is_of_another and not self.is_leaving:
            self.has_twin = self.is_leaving = True
            _log.critical("%s", self._twin_error())
            if self.broker.is_started:
                self.broker.spawn(self._step_aside())
        return isinstance(packet, Discover) and self.broker.is_started

    def _refuse_twin(self) -> None:
        if self.has_twin:
            raise self._twin_error()

    def _twin_error(self) -> DisconnectedError:
        return DisconnectedError(
            f"Another node has the id {self.broker.node_id} of this one, which stays away.",
            "Give it another node_id in [broker] or DAMA_NODE_ID, or none: each process has its "
            "own then.",
        )

    async def _step_aside(self) -> None:
        self.exchange.reject_all(self._twin_error())
        await self.close()

    async def _subscribe(self, topic: str, kind: str) -> None:
        await self._transporter.subscribe(f"{self._prefix}.{topic}", kind, self.receive)

    def _reconnected(self) -> None:
        self.is_connected = True
        self.broker.spawn(self._rejoin())

    async def _rejoin(self) -> None:
        patience = self.broker.options.heartbeat_timeout
        self.broker.spawn(
            fail_lost_calls(
                self.exchange, self.discovery, broke_at=self._broke_at, patience=patience
            )
        )
        await self.discovery.announce()
        await self.discovery.discover()
        await self.broker.raise_local("$transporter.connected", {"wasReconnect": True})

    def _disconnected(self) -> None:
        self.is_connected = False
        self.breaks += 1
        self._broke_at = monotonic()
        self.exchange.break_streams()
        self.broker.spawn(self.broker.raise_local("$transporter.disconnected", {"graceFul": False}))
