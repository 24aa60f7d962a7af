"""Packets as bytes and back: typed where the protocol says what they hold, exact where users do."""

from __future__ import annotations

import json
import math

import msgspec
import pytest

from dama.broker.wire import packets
from dama.broker.wire.codec import CODECS, MOST_PARTS
from dama.broker.wire.packets import KINDS, Carrier, Event, Packet, Request, Response
from dama.broker.wire.values import NotJsonError
from dama.domain.errors import InvalidJsonError, RepeatedMemberError

BOTH = pytest.mark.parametrize("version", ["4", "5"])
DEEP = 901


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@BOTH
async def test_what_is_written_is_read_as_it_was(version):
    codec = CODECS[version]()
    values = [
        None, {}, [], "", 0, False, 1.5, "ä\u0000", {"a": [{"b": None}]}, b"", b"x",
        {"a": [b"\xff"]}, list(range(MOST_PARTS + 1)), {"type": "Buffer", "data": "no list"},
        2**60, nested(50),
    ]  # fmt: skip
    for value in values:
        sent = Request(id="1", action="a.b", params=value, meta={"m": value}, headers={"h": value})
        back = await codec.decode("REQ", await codec.encode(sent))
        assert isinstance(back, Request)
        assert (back.params, back.meta) == (value, {"m": value})
        assert back.headers == ({"h": value} if version == "5" else msgspec.UNSET)


@BOTH
@pytest.mark.parametrize(
    ("value", "path"),
    [
        (math.nan, "packet.data is nan"),
        ({"rows": [1, {"n": math.inf}]}, r"packet\.data\.rows\[1\]\.n is inf"),
        ({1, 2, math.nan}, r"packet\.data\[\d\] is nan"),
        (object(), "packet.data cannot be written"),
        ("\ud800", "packet cannot be written"),
        (nested(DEEP), "packet.data.* nested too deeply"),
    ],
)
async def test_what_has_no_form_in_json_is_refused_with_its_path(version, value, path):
    with pytest.raises(NotJsonError, match=path):
        await CODECS[version]().encode(Response(id="1", success=True, data=value))


@BOTH
@pytest.mark.parametrize(
    "tail",
    [
        b'"params": {"a": 1, "a": 2}}',
        b'"params": [NaN]}',
        b'"params": 1e999}',
        b'"params": "\xff"}',
        b'"params": "\\ud83d"}',
        b'"params": ' + b"[" * 2000 + b"]" * 2000 + b"}",
        b'"level": "one"}',
        b'"seq": 1.5}',
        b'"id": null}',
    ],
)
async def test_a_packet_that_cannot_be_read_is_an_error(version, tail):
    """Its sender gets one, from what stands at its top: see `envelope`."""
    head = b'{"ver": "%s", "sender": "x", "id": "1", "action": "a", ' % version.encode()
    with pytest.raises(
        (InvalidJsonError, RepeatedMemberError, msgspec.MsgspecError, RecursionError)
    ):
        await CODECS[version]().decode("REQ", head + tail)


async def test_null_is_as_absent_and_unknown_fields_are_ignored():
    """Of what a protocol that is still young may add, nothing may hurt."""
    least = {"id": "1", "action": "a", "event": "e", "time": 1.5, "arrived": 2, "services": []}
    for kind, type_ in KINDS.items():
        names = {each.encode_name for each in msgspec.structs.fields(type_)} - {*least, "ver"}
        given = {**least, "ver": "4", "sender": "x", "new": {"a": [1]}}
        nulls = dict.fromkeys(names - {"sender"})
        codec = CODECS["4"]()
        plain = await codec.decode(kind, json.dumps(given).encode())
        nulled = await codec.decode(kind, json.dumps({**given, **nulls}).encode())
        for name in type_.__struct_fields__:
            without, null = getattr(plain, name), getattr(nulled, name)
            assert without == null or not (without or null) or null is None, (kind, name)


async def test_a_packet_of_another_version_tells_at_least_whose_it_is():
    """What a later version holds is not known; that it is one is said in the log."""
    told = b'{"ver": "6", "sender": "later", "id": {"a": 1}, "action": ["x"]}'
    packet = await CODECS["5"]().decode("REQ", told)
    assert (type(packet), packet.ver, packet.sender) == (Packet, "6", "later")


async def test_an_event_for_several_nodes_has_its_data_written_once():
    event = Event(id="1", event="e", data={"b": b"x"}, headers={})
    first = await CODECS["4"]().encode(event)
    event.groups = ["g"]
    second = await CODECS["4"]().encode(event)
    assert isinstance(event.data, msgspec.Raw)
    assert json.loads(second) == {**json.loads(first), "groups": ["g"]}


@BOTH
def test_a_flag_of_a_stream_stands_where_its_version_has_it(version):
    codec, packet = CODECS[version](), Request(id="1", action="a", meta={"m": 1}, headers={"h": 1})
    flagged = codec.flagged(packet, {"$f": 0})
    assert (flagged.meta, flagged.headers) == (
        ({"m": 1, "$f": 0}, {"h": 1}) if version == "4" else ({"m": 1}, {"h": 1, "$f": 0})
    )
    assert (codec.flag(flagged, "$f"), codec.flag(packet, "$f")) == (0, None)


def test_every_packet_says_which_of_its_fields_users_fill():
    """A field that is left out of `free` would come in as text that nobody has read."""
    for type_ in (*KINDS.values(), Carrier):
        raw = {f.name for f in msgspec.structs.fields(type_) if f.type is packets.Free}
        assert type_ is Carrier or set(type_.free) == raw, type_
