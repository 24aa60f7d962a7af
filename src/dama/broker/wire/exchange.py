"""The exchange: calls, answers, events and streams between this node and the others."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Raw
from msgspec.structs import replace

from dama.broker.call import Call
from dama.broker.ended import is_told_to_end, of_code
from dama.broker.errors import (
    CallError,
    InvalidPacketDataError,
    QueueIsFullError,
    RequestRejectedError,
    ServiceNotAvailableError,
    ServiceNotFoundError,
    decode_error,
    encode_error,
    shortened_error,
)
from dama.broker.stream import Chunks, Inbox, Stream, as_stream, is_chunks
from dama.broker.wire.codec import OBJECT_MODE, STREAM_ERROR, Codec4, Streaming
from dama.broker.wire.incoming import incoming, is_objects, number_of, stream_error
from dama.broker.wire.outgoing import Outgoing, broken, object_flag
from dama.broker.wire.packets import Event, Request, Response
from dama.shapes import Json, is_dict
from dama.telemetry import about

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.broker.wire.packets import Id
    from dama.broker.wire.seams import Sender

_log = logging.getLogger("dama.broker")

PENDING_CALLS = 50_000
_NO_PARAMS = _EMPTY = Raw(b"{}")


@dataclass
class Pending:
    """A call that waits for its answer.

    Attributes:
        call: What was asked.
        node_id: Who was asked; None when the bus chose.
        answer: Gets the result or the error; None once the caller has it.
        inbox: Takes the chunks, once a stream has begun.
        sent_at: When, by the monotonic clock.
    """

    call: Call
    node_id: str | None
    answer: asyncio.Future[Any] | None
    inbox: Inbox | None = None
    sent_at: float = field(default_factory=monotonic)


class Exchange:
    """Calls, answers, events and streams.

    Args:
        transit: Sends the packets.

    Attributes:
        pending: The calls that wait for an answer, by id.
    """

    def __init__(self, transit: Sender) -> None:
        self._transit = transit
        self._broker = transit.broker
        self._codec = transit.codec
        # A stream takes the place of the params there.
        self._has_room = not isinstance(transit.codec, Codec4)
        self._outgoing = Outgoing(transit)
        self.pending: dict[str, Pending] = {}
        self._uploads: dict[tuple[str, str], Inbox] = {}
        self._serving: set[tuple[str, str]] = set()

    async def request(self, call: Call) -> Any:
        """Ask another node to execute a call; its meta gets what comes back.

        Raises:
            CallError: The call failed there, the node went away, or the packet cannot be sent.
        """
        if len(self.pending) >= PENDING_CALLS:
            raise QueueIsFullError(
                f"{len(self.pending)} calls wait for answers of other nodes already.",
                data={"action": call.name, "nodeID": self._broker.node_id, "limit": PENDING_CALLS},
            )
        balanced = not self._broker.options.balancer and not call.locals.get("$pinned")
        node_id = None if balanced else call.node_id
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.pending[call.id] = pending = Pending(call, node_id, answer)
        topic = f"REQB.{call.name}" if balanced else f"REQ.{node_id}"
        try:
            await self._send_request(topic, call)
            return await answer
        finally:
            pending.answer = None  # it would hold a stream that nobody reads any more
            if pending.inbox is None or pending.inbox.closed:
                self.pending.pop(call.id, None)

    async def send_event(self, call: Call, targets: Mapping[str, Sequence[str]]) -> None:
        """Send an event to nodes, each with the groups of its listeners."""
        packet = self._event_packet(call)
        for node_id, groups in targets.items():
            given = call.groups if packet.broadcast else dict.fromkeys(groups)
            packet.groups = list(given) if given else UNSET
            await self._transit.publish(f"EVENT.{node_id}", packet)

    async def send_balanced_event(self, call: Call, groups: Sequence[str]) -> None:
        """Give an event to the bus, once for each group: it chooses who gets it."""
        packet = self._event_packet(call)
        for group in groups:
            packet.groups = [group]
            await self._transit.publish(f"EVENTB.{group}.{call.name}", packet)

    def _event_packet(self, call: Call) -> Event:
        return Event(
            id=call.id,
            event=call.name,
            data=call.params,
            broadcast=call.event_type == "broadcast",
            meta=call.meta,
            headers=call.headers,
            level=call.level,
            tracing=call.tracing,
            parent_id=call.parent_id,
            request_id=call.request_id,
            caller=call.caller,
        )

    def on_request(self, packet: Request) -> None:
        """Somebody asks for a call: serve it beside all others."""
        key = (packet.sender, str(packet.id))
        streams = packet.stream is True
        inbox = self._uploads.get(key)
        if inbox is not None:
            error = stream_error(packet)
            inbox.put(number_of(packet), packet.params, error, last=not streams)
        elif not packet.seq:
            if streams:
                inbox = self._uploads[key] = Inbox(key[0], lambda: None)
            self._broker.spawn(self._serve(packet, inbox))
        # Else it is a chunk of a stream whose call was answered already.

    def on_response(self, packet: Response) -> None:
        """An answer came; one that nobody waits for is dropped."""
        pending = self.pending.get(str(packet.id))
        if pending is None:
            return
        if is_dict(packet.meta):
            pending.call.meta.update(packet.meta)
        if is_dict(packet.headers):
            pending.call.headers.update(packet.headers)
        sender, streams = packet.sender, packet.stream is True
        failed = packet.success is not True
        error = decode_error(packet.error, sender) if failed else None
        if pending.inbox is None and not streams and not packet.seq:
            _settle(pending.answer, packet.data, error)
            return
        if pending.inbox is None:
            pending.inbox = self._open_download(pending, sender)
        if packet.seq == 0 and streams:
            source = Chunks(pending.inbox)
            _settle(pending.answer, Stream(source, object_mode=is_objects(packet)), error)
        else:
            pending.inbox.put(number_of(packet), packet.data, error, last=not streams)

    def on_event(self, packet: Event) -> None:
        """An event came: deliver it beside all others."""
        call = incoming(self._broker, packet, packet.event, packet.data)
        call.groups = packet.groups or None
        call.event_type = "broadcast" if packet.broadcast else "emit"
        self._broker.spawn(self._broker.deliver(call))

    def reject_node(self, node_id: str) -> None:
        """Fail all calls that wait for a node which is gone, and the streams that come from it."""
        for pending in list(self.pending.values()):
            if pending.node_id == node_id:
                self.reject(
                    pending,
                    RequestRejectedError(
                        f"{pending.call.name} was not answered: node {node_id} is gone.",
                        data={"action": pending.call.name, "nodeID": node_id},
                    ),
                )
        gone = [key for key in self._uploads if key[0] == node_id]
        for key in gone:
            error = RequestRejectedError(f"Node {node_id}, which sent a stream, is gone.")
            self._uploads[key].fail(error)

    def break_streams(self) -> None:
        """Fail the streams that are read: some of their packets may have gone with the bus."""
        downloads = [each.inbox for each in self.pending.values() if each.inbox]
        for inbox in (*downloads, *self._uploads.values()):
            inbox.fail(broken())

    def refuse(self, kind: str, packet: Mapping[str, Any], error: CallError) -> None:
        """Fail a call whose packet could not be read; see `envelope`.

        Args:
            kind: REQ or RES.
            packet: The plain values at its top.
            error: What the caller gets.
        """
        if kind == "RES":
            if pending := self.pending.get(str(packet["id"])):
                self.reject(pending, error)
            return
        sender, action, id_ = str(packet["sender"]), str(packet.get("action")), packet["id"]
        self._fail_upload(sender, str(id_), error)
        if not packet.get("seq"):
            call = Call(self._broker, action)
            self._broker.spawn(self._answer_error(sender, call, error, id_))

    def _fail_upload(self, sender: str, id_: str, error: CallError) -> None:
        if inbox := self._uploads.get((sender, id_)):
            inbox.fail(error)

    def reject_all(self, error: CallError) -> None:
        """Fail all calls that wait for an answer."""
        for pending in list(self.pending.values()):
            self.reject(pending, error)

    def reject(self, pending: Pending, error: CallError) -> None:
        """Fail a call that waits for an answer, and the stream that answers it."""
        _settle(pending.answer, None, error)
        if pending.inbox:
            pending.inbox.fail(error)

    async def _send_request(self, topic: str, call: Call) -> None:
        packet = Request(
            id=call.id,
            action=call.name,
            params=_NO_PARAMS if call.params is None else call.params,
            meta=_sendable(call.meta),
            headers=call.headers,
            timeout=call.timeout * 1000 if call.timeout else None,
            level=call.level,
            tracing=call.tracing,
            parent_id=call.parent_id,
            request_id=call.request_id,
            caller=call.caller,
            stream=call.stream is not None,
        )
        if call.stream is None:
            await self._transit.publish(topic, packet)
            return
        if not self._has_room and call.params:
            raise InvalidPacketDataError(
                f"{call.name} was called with a stream and params.",
                "Protocol 4 has room for one of them: give the params in meta, or use protocol 5.",
            )
        if not self._has_room:
            packet.params = None
        stream = await call.stream.typed()
        opening = self._codec.flagged(replace(packet, seq=0), object_flag(stream))
        await self._transit.publish(topic, opening)
        self._broker.spawn(self._outgoing.send(topic, _bare(packet), stream))

    async def is_closed(self, kind: str, sender: str, id_: str) -> bool:
        """Whether nothing becomes of a call any more; a stream first waits until it has room.

        Args:
            kind: REQ for a stream that came with a call, RES for one that answers it, CALL for the
                call itself.
            sender: The node that asks.
            id_: Of the call.
        """
        if kind == "CALL":
            return (sender, id_) not in self._serving
        pending = self.pending.get(id_) if kind == "RES" else None
        inbox = pending.inbox if pending else self._uploads.get((sender, id_))
        if inbox:
            await inbox.room()
        return kind == "RES" and id_ not in self.pending

    async def _serve(self, packet: Request, inbox: Inbox | None) -> None:
        """Perform a call for another node, and answer whatever happens."""
        sender, key = packet.sender, (packet.sender, str(packet.id))
        self._serving.add(key)
        about(request_id=packet.request_id)
        call = incoming(self._broker, packet, packet.action, packet.params)
        call.timeout = packet.timeout / 1000 if packet.timeout and packet.timeout > 0 else None
        if inbox:
            call.stream = Stream(Chunks(inbox), object_mode=is_objects(packet))
            call.params = packet.params if self._has_room else None
        try:
            result = await self._perform(call)
            answer = Response(
                id=packet.id, success=True, meta=_sendable(call.meta), headers=call.headers
            )
            if is_chunks(result):
                await self._answer_stream(sender, answer, as_stream(result))
            else:
                answer.data = result
                await self._transit.publish(f"RES.{sender}", answer)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_told_to_end():
                raise
            await self._answer_error(sender, call, of_code(error, call.name), packet.id)
        finally:
            self._uploads.pop(key, None)
            self._serving.discard(key)

    async def _perform(self, call: Call) -> Any:
        endpoint = self._broker.catalog.offered.get(call.name)
        data = {"action": call.name, "nodeID": self._broker.node_id}
        if self._transit.is_leaving:
            raise ServiceNotAvailableError(
                f"The node {self._broker.node_id} is leaving.", data=data
            )
        protected = endpoint and endpoint.description.get("visibility") == "protected"
        if endpoint is None or endpoint.action is None or protected:
            raise ServiceNotFoundError(
                f"There is no action {call.name!r} on node {self._broker.node_id!r}.", data=data
            )
        return await self._broker.perform_here(call, endpoint)

    async def _answer_error(self, sender: str, call: Call, error: BaseException, id_: Id) -> None:
        document = encode_error(error, self._broker.node_id)
        # An error, meta and headers can hold what no packet can; the name and message always fit.
        meta, short = _sendable(call.meta), shortened_error(document)
        for attempt in (
            Response(id=id_, success=False, error=document, meta=meta, headers=call.headers),
            Response(id=id_, success=False, error=document, headers={}),
            Response(id=id_, success=False, error=short, headers={}),
        ):
            try:
                await self._transit.publish(f"RES.{sender}", attempt)
            except CallError as failure:
                _log.warning("%s of %s: %s", call.name, sender, failure)
            else:
                return

    async def _answer_stream(self, sender: str, answer: Response, stream: Stream) -> None:
        topic = f"RES.{sender}"
        stream = await stream.typed()
        opening = self._codec.flagged(replace(answer, stream=True, seq=0), object_flag(stream))
        await self._transit.publish(topic, opening)
        await self._outgoing.send(topic, _bare(answer), stream)

    def _open_download(self, pending: Pending, sender: str) -> Inbox:
        return Inbox(sender, lambda: self.pending.pop(pending.call.id, None))


def _bare(packet: Streaming) -> Streaming:
    """A packet of a stream after the first, which had meta and headers."""
    return replace(packet, meta=_EMPTY, headers={})


def _settle(answer: asyncio.Future[Any] | None, value: object, error: BaseException | None) -> None:
    if answer is None or answer.done():
        return
    if error is None:
        answer.set_result(value)
    else:
        answer.set_exception(error)


def _sendable(meta: Mapping[str, Json]) -> Mapping[str, Any]:
    """Meta without the flags of a stream that was received on the way."""
    if OBJECT_MODE in meta or STREAM_ERROR in meta:
        return {k: v for k, v in meta.items() if k not in {OBJECT_MODE, STREAM_ERROR}}
    return meta
