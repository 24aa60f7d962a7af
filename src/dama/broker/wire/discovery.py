"""Discovery: who else is there, and what they have. Tells the same of this node."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import time
from time import monotonic
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from msgspec import UNSET

from dama.broker.catalog import Node
from dama.broker.errors import CallError, RequestRejectedError
from dama.broker.wire.info import info_of
from dama.broker.wire.packets import (
    Disconnect,
    Discover,
    Heartbeat,
    Info,
    Ping,
    Pong,
)
from dama.duty import Duty, DutyError, cancelled
from dama.shapes import is_list, is_object

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from dama.broker.wire.exchange import Exchange
    from dama.broker.wire.seams import Sender

_log = logging.getLogger("dama.broker")

LEAVE_SECONDS = 0.1
FORGET_SECONDS = 600.0
ASK_SECONDS = 5.0
ASK = "pace:"
"""Begins the id of a ping that asks about a call or its stream: the kind and the call follow."""
_ASKED = re.compile(ASK + r"(REQ|RES|CALL):(.*):[^:]*", re.DOTALL)


class Discovery:
    """The nodes of a cluster, as this one sees them.

    Args:
        transit: Sends the packets.
        exchange: Whose calls fail when a node goes.
    """

    def __init__(self, transit: Sender, exchange: Exchange) -> None:
        self._transit = transit
        self._broker = transit.broker
        self._exchange = exchange
        self._pings: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._duties: list[Duty] = []
        self._on_duty: list[asyncio.Task[None]] = []

    async def begin(self) -> None:
        """Ask who is there, and look after them from now on."""
        await self.discover()
        self._duties = [
            Duty("telling other nodes that this one is alive", self._beat),
            Duty("missing nodes that are silent", self._watch),
        ]
        self._on_duty = [asyncio.create_task(self._do(duty)) for duty in self._duties]
        await asyncio.sleep(self._broker.options.wait_for_neighbours)

    async def end(self) -> None:
        """Look after nobody any more."""
        for duty in self._duties:
            duty.end()
        await cancelled(self._on_duty)

    async def _do(self, duty: Duty) -> None:
        try:
            await duty.run()
        except DutyError as error:
            self._broker.on_failed_duty(error)

    async def discover(self, node_id: str | None = None) -> None:
        """Ask all nodes, or one, to tell of themselves."""
        await self._transit.publish(f"DISCOVER.{node_id}" if node_id else "DISCOVER", Discover())

    async def announce(self, node_id: str | None = None) -> None:
        """Tell all nodes, or one, of this one."""
        topic = f"INFO.{node_id}" if node_id else "INFO"
        await self._transit.publish(topic, self._told())

    def _told(self) -> Info:
        node = self._broker
        return info_of(node.catalog.local, node.services.values(), node.options)

    async def leave(self) -> None:
        """Tell that nothing can be called here any more, and let it come through."""
        local = self._broker.catalog.local
        local.seq += 1
        info = self._told()
        info.services = []
        await self._transit.publish("INFO", info)
        await self._transit.flush()
        await asyncio.sleep(LEAVE_SECONDS)

    async def goodbye(self) -> None:
        """Tell that this node goes."""
        await self.end()
        await self._transit.publish("DISCONNECT", Disconnect())

    async def ping(self, node_id: str, timeout: float, prefix: str = "") -> dict[str, Any] | None:
        """Ask a node for a sign of life; times are in milliseconds."""
        id_ = f"{prefix}{uuid4()}"
        answer = self._pings[id_] = asyncio.get_running_loop().create_future()
        try:
            await self._transit.publish(f"PING.{node_id}", Ping(time=_now(), id=id_))
            async with asyncio.timeout(timeout):
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._pings[id_]

    async def ask(self, kind: str, node_id: str, call_id: str) -> dict[str, Any] | None:
        """Ask a node about a call or its stream; None when nothing came in time.

        Returns:
            As of a ping; `closed`, of a node in Python, is that of `Exchange.is_closed`.
        """
        return await self.ping(node_id, ASK_SECONDS, f"{ASK}{kind}:{call_id}:")

    async def keep_pace(self, kind: str, node_id: str, call_id: str) -> None:
        """Wait until a node has read what a stream has sent to it so far.

        Packets keep their order, so a node that answers has taken all that came before. One in
        Python answers when the stream has room again, or that it is not read any more.

        Raises:
            RequestRejectedError: The node is gone, or whoever read the stream there.
        """
        if node_id == self._broker.node_id:  # by way of a bus that chose this node
            await self._exchange.is_closed(kind, node_id, call_id)
            return
        while (answer := await self.ask(kind, node_id, call_id)) is None:
            node = self._broker.catalog.nodes.get(node_id)
            if node is None:
                return  # it tells nothing of itself, so nothing of it can be waited for
            if not node.is_available:
                raise RequestRejectedError(f"Node {node_id}, which read a stream, is gone.")
        if answer.get("closed"):
            raise RequestRejectedError(f"Nobody reads a stream on node {node_id} any more.")

    def heard_of(self, node_id: str) -> None:
        """A packet came: whatever it is, its node is alive."""
        node = self._broker.catalog.nodes.get(node_id)
        if node and node.is_available:
            node.heard_at = monotonic()

    def on_discover(self, packet: Discover) -> None:
        """Somebody asks who is there."""
        if self._broker.is_started:
            self._send(self.announce, packet.sender)

    def on_info(self, packet: Info) -> None:
        """A node tells of itself."""
        node_id, seq = packet.sender, packet.seq or 0
        instance, nodes = packet.instance_id or "", self._broker.catalog.nodes
        services: object = packet.services
        if not is_list(services):
            raise TypeError(f"its services are {type(services).__name__}, not a list")
        known = nodes.get(node_id)
        node = known or Node(node_id, is_available=False)
        was_there, was_known = node.is_available, known is not None
        is_news = not was_there or seq > node.seq or instance != node.instance_id
        if was_there and was_known and instance != node.instance_id:
            # It was started again before anybody missed it: what it was asked is lost.
            self._exchange.reject_node(node_id)
        nodes[node_id] = node
        node.is_available, node.offline_at, node.heard_at = True, None, monotonic()
        if is_news:
            node.info = packet.told()
            node.seq, node.instance_id = seq, instance
            self._broker.catalog.set_services(node, [s for s in services if is_object(s)])
        payload = {"node": _shown(node), "reconnected": was_known and not was_there}
        event = "$node.updated" if was_there else "$node.connected"
        self._send(self._broker.raise_local, event, payload)

    def on_heartbeat(self, packet: Heartbeat) -> None:
        """A node is alive; one that is not known is asked for more."""
        node = self._broker.catalog.nodes.get(packet.sender)
        if node is None or not node.is_available:
            self._send(self.discover, packet.sender)
            return
        node.cpu = packet.cpu
        seq, instance = packet.seq, packet.instance_id
        if (seq and seq != node.seq) or (instance and instance != node.instance_id):
            self._send(self.discover, node.id)

    def on_disconnect(self, packet: Disconnect) -> None:
        """A node goes."""
        node = self._broker.catalog.nodes.get(packet.sender)
        if node and node.is_available:
            self._lose(node, unexpected=False)

    def on_ping(self, packet: Ping) -> None:
        """Somebody asks for a sign of life, or whether a stream has room."""
        self._send(self._pong, packet)

    def on_pong(self, packet: Pong) -> None:
        """A node gives a sign of life."""
        answer = self._pings.get(str(packet.id))
        elapsed = _now() - packet.time
        difference = round(_now() - packet.arrived - elapsed / 2)
        payload = {"nodeID": packet.sender, "elapsedTime": elapsed, "timeDiff": difference}
        if answer and not answer.done():
            closed = {} if packet.closed is UNSET else {"closed": packet.closed}
            answer.set_result(payload | closed)
        self._send(self._broker.raise_local, "$node.pong", payload)

    async def _pong(self, packet: Ping) -> None:
        answer = Pong(time=packet.time or 0, id=packet.id, arrived=_now())
        if asked := _ASKED.fullmatch(str(packet.id)):
            kind, call_id = asked.groups()
            answer.closed = await self._exchange.is_closed(kind, packet.sender, call_id)
        await self._transit.publish(f"PONG.{packet.sender}", answer)

    async def _beat(self) -> None:
        """Tell from time to time that this node is alive."""
        while True:
            interval = self._broker.options.heartbeat_interval
            # Not all nodes at the same moment.
            await asyncio.sleep(interval * random.uniform(0.95, 1.05))
            load = os.getloadavg()[0] / (os.cpu_count() or 1) * 100
            try:
                await self._transit.publish("HEARTBEAT", Heartbeat(cpu=round(min(load, 100))))
            except CallError as error:
                _log.debug("no heartbeat: %s", error)

    async def _watch(self) -> None:
        """Miss nodes that are silent for too long, and forget those that never came back."""
        limit = self._broker.options.heartbeat_timeout
        while True:
            await asyncio.sleep(min(1.0, limit / 4))
            now = monotonic()
            for node in list(self._broker.catalog.nodes.values()):
                if node.is_local:
                    continue
                if node.is_available and now - node.heard_at > limit:
                    _log.warning("nothing is heard of %s for %g s", node.id, limit)
                    self._lose(node, unexpected=True)
                elif node.offline_at is not None and now - node.offline_at > FORGET_SECONDS:
                    del self._broker.catalog.nodes[node.id]

    def _lose(self, node: Node, *, unexpected: bool) -> None:
        self._broker.catalog.take_offline(node)
        self._exchange.reject_node(node.id)
        payload = {"node": _shown(node), "unexpected": unexpected}
        self._send(self._broker.raise_local, "$node.disconnected", payload)

    def _send(self, does: Callable[..., Awaitable[None]], *args: Any) -> None:
        async def sent() -> None:  # where the node ends before this begins, nothing was called
            try:
                await does(*args)
            except CallError as error:
                _log.warning("%s", error)

        self._broker.spawn(sent())


def _shown(node: Node) -> dict[str, Any]:
    return {"id": node.id, "available": node.is_available, "hostname": node.info.get("hostname")}


def _now() -> float:
    return time.time() * 1000
