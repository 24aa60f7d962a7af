"""The codec: packets as bytes and back, one for each version of the protocol.

Fields of the protocol are typed and cost little. What users put in is looked at once: a small value
of plain JSON is written as it is; what may hold bytes, models or numbers that JSON does not have is
checked and changed first, beside the loop when it is large. What comes in has its Buffers as bytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec
from typing_extensions import override

from dama.beside import LARGE_TEXT, beside, off_loop
from dama.broker.wire.buffers import MARK, with_buffers, without_buffers
from dama.broker.wire.packets import KINDS, Carrier, Packet, Request, Response
from dama.broker.wire.values import as_json, encoded
from dama.domain.exact import decode
from dama.shapes import as_object

if TYPE_CHECKING:
    from collections.abc import Mapping

Streaming = TypeVar("Streaming", bound=Request | Response)

OBJECT_MODE, STREAM_ERROR = "$streamObjectMode", "$streamError"
MOST_PARTS, MOST_TEXT = 100, 16 * 1024  # of a small value
_LEAVES: frozenset[object] = frozenset({int, bool, type(None), msgspec.Raw, msgspec.UnsetType})


class Codec:
    """Packets of one version of the protocol.

    Attributes:
        version: As packets name it.
        flags: The field that says what a stream is and what it ended with.
    """

    version: ClassVar[str]
    flags: ClassVar[str]

    def __init__(self) -> None:
        self._decoders = {kind: msgspec.json.Decoder(type_) for kind, type_ in KINDS.items()}

    async def encode(self, packet: Packet) -> bytes:
        """Write a packet; afterwards it may hold parts that are written already.

        Raises:
            NotJsonError: What a user put in has no form in JSON; its path is named.
        """
        packet.ver = self.version
        odd: dict[str, Any] = {}
        for name in packet.free:
            value = getattr(packet, name)
            if not _is_plain(value):
                odd[name] = value
        if odd:
            for name, written in (await beside(odd, _written, odd)).items():
                setattr(packet, name, written)
        return encoded(packet, "packet")

    async def decode(self, kind: str, body: bytes) -> Packet:
        """Read a packet; one of another version may be read as its version and sender only.

        Raises:
            InvalidJsonError: What a user put in cannot be read.
            msgspec.MsgspecError: It is not a packet of this kind.
            RecursionError: It is nested too deeply to be read.
        """
        if len(body) < LARGE_TEXT:
            return self._decoded(kind, body)
        return await off_loop(self._decoded, kind, body)

    def _decoded(self, kind: str, body: bytes) -> Packet:
        try:
            packet = self._decoders[kind].decode(body)
        except msgspec.ValidationError:
            head = _head.decode(body)
            if head.ver == self.version:
                raise
            return head
        for name in packet.free:
            value = getattr(packet, name)
            if type(value) is msgspec.Raw:
                text = bytes(value)
                setattr(packet, name, {} if text == b"{}" else _read(text))
        return packet

    def flagged(self, packet: Streaming, flags: Mapping[str, Any]) -> Streaming:
        """A packet of a stream with flags where the version has them; itself without any."""
        if not flags:
            return packet
        place = {**as_object(getattr(packet, self.flags)), **flags}
        return msgspec.structs.replace(packet, **{self.flags: place})

    @staticmethod
    def flag(packet: Carrier, name: str) -> Any:
        """A flag of a packet of either version; None without it."""
        found = (as_object(packet.meta).get(name), as_object(packet.headers).get(name))
        return next((each for each in found if each is not None), None)


class Codec4(Codec):
    """Version 4, of Moleculer 0.14: no headers; a stream takes the place of the params."""

    version = "4"
    flags = "meta"

    @override
    async def encode(self, packet: Packet) -> bytes:
        """Write a packet: see `Codec.encode`."""
        if isinstance(packet, Carrier):
            packet.headers = msgspec.UNSET
        return await super().encode(packet)


class Codec5(Codec):
    """Version 5, of Moleculer 0.15: headers, and streams beside the params."""

    version = "5"
    flags = "headers"


CODECS: Mapping[str, type[Codec]] = {each.version: each for each in (Codec4, Codec5)}
_head = msgspec.json.Decoder(Packet)


def _is_plain(value: object) -> bool:
    """Whether a value is small, and JSON as it is; not more of it is looked at than that."""
    if value.__class__ in _LEAVES:
        return True
    parts, text, found = MOST_PARTS, MOST_TEXT, [value]
    while found:
        each: Any = found.pop()
        kind = each.__class__
        if kind is str:
            text -= len(each)
        elif kind is dict or kind is list:
            parts -= len(each)
            if parts >= 0:
                found += each.values() if kind is dict else each
        elif kind not in _LEAVES and not (kind is float and each - each == 0):
            return False
        if parts < 0 or text < 0:
            return False
    return True


def _written(values: Mapping[str, Any]) -> dict[str, msgspec.Raw]:
    return {
        name: msgspec.Raw(as_json(value, f"packet.{name}", with_buffers))
        for name, value in values.items()
    }


def _read(text: bytes) -> Any:
    value = decode(text)
    return without_buffers(value) if MARK in text else value
