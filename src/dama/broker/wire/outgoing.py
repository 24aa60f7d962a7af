"""Outgoing streams: their chunks as packets, at the pace of the node that reads them."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec.structs import replace

from dama.broker.ended import is_told_to_end, of_code
from dama.broker.errors import (
    CallError,
    DisconnectedError,
    encode_error,
    shortened_error,
)
from dama.broker.wire.codec import OBJECT_MODE, STREAM_ERROR
from dama.broker.wire.packets import Request, Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.broker.stream import Stream
    from dama.broker.wire.packets import Packet
    from dama.broker.wire.seams import Sender
    from dama.shapes import Json

T = TypeVar("T", str, bytes)

_log = logging.getLogger("dama.broker")

LONGEST_CHUNK = 256 * 1024
BYTES_OF_BYTE, BYTES_OF_CHARACTER = 4, 6  # in JSON, at most: `255,` and `\u0001`
AROUND_BYTES = 16 * 1024  # of a packet, besides the chunk
WINDOW_BYTES = 4 * 1024 * 1024  # of a stream on the wire, until its reader is asked to keep pace
WINDOW_SECONDS = 5.0  # of a slow one, until it is asked whether anybody still reads
SETTLE_SECONDS = 0.05  # Moleculer loses an error that comes before its reader listens


class Outgoing:
    """Sends streams.

    Args:
        transit: Sends the packets.
    """

    def __init__(self, transit: Sender) -> None:
        self._transit = transit
        self._node_id = transit.broker.node_id
        self._codec = transit.codec

    async def send(self, topic: str, base: Request | Response, stream: Stream) -> None:
        """Send the chunks of a stream and its end, or the error that it broke with."""
        number, unread, asked = 0, 0, monotonic()
        breaks = self._transit.breaks
        base = self._codec.flagged(base, object_flag(stream))
        try:
            async for chunk in stream:
                for part in self._parts(chunk, object_mode=bool(stream.object_mode)):
                    unread += await self._publish(topic, base, number + 1, part, stream=True)
                    number += 1  # not before: readers wait for a number that is missing
                    if self._transit.breaks != breaks:
                        raise broken()  # noqa: TRY301 - the reader is told as of any other error
                if unread > WINDOW_BYTES or monotonic() - asked > WINDOW_SECONDS:
                    await self._keep_pace(topic, str(base.id))
                    unread, asked = 0, monotonic()
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_told_to_end():
                raise
            document = encode_error(of_code(error, "A stream"), self._node_id)
            await self._settle_then_fail(topic, replace(base, seq=number + 1), document)
            return
        await self._publish(topic, base, number + 1, None, stream=False)

    async def _publish(
        self, topic: str, base: Request | Response, number: int, part: Any, *, stream: bool
    ) -> int:
        if isinstance(base, Request):
            packet: Packet = replace(base, params=part, seq=number, stream=stream)
        else:
            packet = replace(base, data=part, seq=number, stream=stream)
        return await self._transit.publish(topic, packet)

    async def _keep_pace(self, topic: str, id_: str) -> None:
        kind, _, node_id = topic.partition(".")
        if kind == "REQB":  # nobody knows whom the bus has chosen
            await self._transit.flush()
        else:
            await self._transit.keep_pace(kind, node_id, id_)

    async def _settle_then_fail(
        self, topic: str, last: Request | Response, document: Mapping[str, Json]
    ) -> None:
        for told in (document, shortened_error(document)):
            try:
                await self._transit.flush()
                await asyncio.sleep(SETTLE_SECONDS)
                if isinstance(last, Response):
                    failed: Packet = replace(last, stream=False, success=False, error=told)
                else:
                    failed = replace(self._codec.flagged(last, {STREAM_ERROR: told}), stream=False)
                await self._transit.publish(topic, failed)
            except CallError as error:
                _log.warning("a stream ended with an error that cannot be sent: %s", error)
            else:
                return

    def _parts(self, chunk: Any, *, object_mode: bool) -> list[Any]:
        """A chunk as the wire has it, in parts that are not too long.

        Raises:
            CallError: It is a JSON value in a stream of bytes.
        """
        if not object_mode and not isinstance(chunk, bytes | bytearray | memoryview | str):
            raise CallError(
                f"A stream of bytes or strings has a chunk of {type(chunk).__name__}.",
                "Yield chunks of one kind: all of them bytes or strings, or all of them JSON "
                "values.",
                code="INVALID_CHUNK",
            )
        if isinstance(chunk, bytes | bytearray | memoryview):
            whole = bytes(cast("bytes", chunk))
            return _cut(whole, self._room() // BYTES_OF_BYTE)
        if isinstance(chunk, str) and not object_mode:
            return _cut(chunk, self._room() // BYTES_OF_CHARACTER)
        if chunk is None:
            raise CallError(
                "A stream of JSON values has the chunk None.",
                "Leave it out, or wrap it in an object: readers in Node.js never see a null.",
                code="INVALID_CHUNK",
            )
        return [chunk]

    def _room(self) -> int:
        """Bytes that a packet has for a chunk."""
        longest = self._transit.longest_packet
        return max(longest - AROUND_BYTES, longest // 2)


def object_flag(stream: Stream) -> dict[str, Any]:
    """What tells a reader that the chunks of a stream are JSON values."""
    return {OBJECT_MODE: True} if stream.object_mode else {}


def broken() -> DisconnectedError:
    """The error of a stream whose bus went away."""
    return DisconnectedError(
        "The bus went away in the middle of a stream, and parts of it may be lost.",
        "Ask for it again.",
    )


def _cut(whole: T, longest: int) -> list[T]:
    length = min(longest, LONGEST_CHUNK)
    return [whole[at : at + length] for at in range(0, len(whole), length)]
