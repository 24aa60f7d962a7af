"""Every call ends: whatever it holds and whatever happens, there is a result or an error."""

from __future__ import annotations

import asyncio
import gc
import json
import signal

import nats
import pytest

from dama.broker.errors import (
    CallError,
    DisconnectedError,
    QueueIsFullError,
    RequestRejectedError,
)
from dama.broker.wire.nats import NatsTransporter
from dama.broker.wire.packets import Ping, Pong
from tests.interop.cluster import Bus, js_node, sent, until
from tests.interop.conftest import py_node, sees

SHARED = pytest.mark.asyncio(loop_scope="module")
TIMEOUT = 20


async def to_the_end(chunks):
    async for _ in chunks:
        pass


@SHARED
@pytest.mark.parametrize("how", ["cancel", "exit", "keys"])
async def test_an_action_that_ends_with_no_exception_fails_only_its_call(cluster, how):
    """CancelledError, SystemExit and KeyboardInterrupt of an action end no node and no caller."""
    with pytest.raises(CallError, match=r"py\.ends ended with") as raised:
        await cluster.py.call("py.ends", {"how": how}, timeout=TIMEOUT)
    assert raised.value.code == "ENDED_FROM_WITHIN"
    seen = await cluster.py.call("js.call", {"action": "py.ends", "params": {"how": how}})
    assert seen["error"]["type"] == "ENDED_FROM_WITHIN"
    assert await cluster.py.call("py.who") == "py-1"


@SHARED
async def test_a_call_that_is_cancelled_by_its_caller_is_cancelled(cluster):
    """That one was asked for: it is no outcome of the action."""
    calling = asyncio.ensure_future(cluster.py.call("py.slow", {"ms": 60_000}))
    await until(lambda: cluster.py.services["py"].running)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling


@SHARED
@pytest.mark.parametrize("what", ["half", "deep"])
async def test_a_packet_that_cannot_be_read_is_answered_with_an_error(cluster, what):
    told = {"action": "py.echo", "what": what}
    seen = await cluster.py.call("js.sendOdd", told, timeout=TIMEOUT)
    assert "cannot be read" in seen["error"]["message"]
    assert seen["error"]["type"] == "INVALID_PACKET_DATA"


@SHARED
@pytest.mark.parametrize("what", ["half", "deep"])
async def test_an_answer_that_cannot_be_read_fails_its_call(cluster, what):
    with pytest.raises(CallError, match="cannot be read"):
        await cluster.py.call("js.giveOdd", {"what": what}, timeout=TIMEOUT)


@SHARED
async def test_a_call_without_params_arrives_as_an_empty_object(cluster):
    assert await cluster.py.call("js.echo") == {}


@SHARED
async def test_the_flag_of_tracing_is_passed_on(cluster):
    """Moleculer decides once for a request whether it is traced."""
    call = cluster.py.new_call(None, "js.traced", None, {})
    call.tracing = True
    assert await cluster.py.perform(call) is True
    call = cluster.py.new_call(None, "py.traced", {"on": True}, {})
    call.tracing = True
    assert await cluster.py.perform(call) is True


@SHARED
async def test_the_kind_of_a_stream_is_that_of_its_first_chunk(cluster):
    told = await cluster.py.call("js.download", {"action": "py.objects", "params": {"count": 5}})
    assert told["result"] == [{"i": i} for i in range(5)]
    told = await cluster.py.call("js.download", {"action": "py.objects", "params": {"count": 0}})
    assert told["result"] == []


@SHARED
@pytest.mark.parametrize(
    ("action", "code"),
    [("mixed", "INVALID_CHUNK"), ("cancelledStream", "ENDED_FROM_WITHIN")],
)
async def test_a_stream_that_cannot_continue_ends_with_an_error(cluster, action, code):
    told = await cluster.py.call("js.download", {"action": f"py.{action}", "params": {}})
    assert told["error"]["type"] == code


@SHARED
@pytest.mark.parametrize(
    ("how", "name", "text"),
    [
        ("surrogate", "ValueError", r"the file \udcff is gone"),
        ("mute", "MuteError", "no words"),
        ("circle", "MoleculerError", "in a circle"),
        ("nan", "MoleculerError", "no number"),
        ("huge", "MoleculerError", "xxx"),
        ("status", "MoleculerError", "odd"),
    ],
)
async def test_an_error_that_no_packet_can_hold_is_told_as_far_as_one_can(cluster, how, name, text):
    """Names of files have halves of surrogate pairs; errors hold what somebody put in."""
    asked = {"action": "py.failsOddly", "params": {"how": how}}
    told = await cluster.py.call("js.call", asked, timeout=TIMEOUT)
    assert told["error"]["name"] == name
    assert text in told["error"]["message"]


@SHARED
@pytest.mark.parametrize("how", ["none", "nan", "surrogate", "large", "circle"])
async def test_a_stream_of_which_a_part_cannot_be_sent_ends_with_an_error(cluster, how):
    """A reader waits for the number of a chunk that was counted and never sent."""
    asked = {"action": "py.breaksOddly", "params": {"how": how}}
    told = await cluster.py.call("js.download", asked, timeout=TIMEOUT)
    kinds = {"none": None, "large": "PACKET_TOO_LARGE"}
    assert told["error"].get("type") == kinds.get(how, "NOT_JSON")


@SHARED
async def test_chunks_of_json_keep_what_they_are_and_null_is_refused(cluster):
    """Node.js has no null in a stream: it would be left out without a word."""
    asked = {"action": "py.mixedObjects", "params": {}}
    told = await cluster.py.call("js.download", asked, timeout=TIMEOUT)
    assert told["result"] == [{"b": b"\xff"}, [1], "text", 0, False, ""]
    asked = {"action": "py.nullChunk", "params": {}}
    told = await cluster.py.call("js.download", asked, timeout=TIMEOUT)
    assert told["error"]["type"] == "INVALID_CHUNK"


@SHARED
@pytest.mark.parametrize("chunk", [b"\xff", "\x01", "\U0001f600"])
async def test_a_chunk_of_any_bytes_or_characters_fits_into_packets(cluster, chunk):
    """A byte has up to four bytes in JSON, a character six, and the bus takes 1 MiB at once."""
    asked = {"action": "py.fullChunks", "params": {"chunk": chunk}}
    told = await cluster.py.call("js.weigh", asked, timeout=60)
    assert told.get("result") == 300_000 * len(chunk.encode() if isinstance(chunk, str) else chunk)


async def test_a_chunk_fits_into_the_packets_of_a_bus_that_takes_little(tmp_path):
    bus = Bus(max_payload=20_000)
    await bus.start(tmp_path)
    async with py_node(bus.url, "py-1") as py, py_node(bus.url, "py-2", name="asking") as asking:
        await asking.wait_for_services("py")
        assert py.transit.longest_packet == 20_000
        chunks = await asking.call("py.fullChunks", {"chunk": b"\xff"})
        assert sum([len(chunk) async for chunk in chunks]) == 300_000
    await bus.kill()


@SHARED
async def test_a_long_text_is_sent_in_parts(cluster):
    """Its escapes make it larger than the bus allows."""
    asked = {"action": "py.longText", "params": {}}
    told = await cluster.py.call("js.weigh", asked, timeout=TIMEOUT)
    assert told["result"] == 3 * 400_000


async def test_a_stream_that_nobody_reads_any_more_ends(bus):
    """Its reader left it in the middle, or never began: the sender stops, and nothing is kept."""
    async with py_node(bus.url, "py-1") as py, py_node(bus.url, "py-2", name="reads") as reading:
        await reading.wait_for_services("py")
        pending = reading.transit.exchange.pending
        stream = await reading.call("py.endless", {"bytes": 65536, "pause": 0})
        async for _ in stream:
            break
        del stream
        await until(lambda: not pending)
        await until(lambda: {"event": "closed"} in py.heard)
        py.heard.clear()
        await reading.call("py.endless", {"bytes": 1, "pause": 0.05})
        await until(lambda: not pending)
        await until(lambda: {"event": "closed"} in py.heard)


async def test_calls_that_were_lost_with_the_bus_end(bus, tmp_path):
    """They have no time-out, and the bus took the call or its answer with it.

    The bus forgets them in this test: what a node was asked is stopped before it can answer.
    """
    async with js_node(bus.url) as js, py_node(bus.url) as py:
        await py.wait_for_services("js")
        js.process.send_signal(signal.SIGSTOP)
        calls = [asyncio.ensure_future(py.call("js.who")) for _ in range(20)]
        await until(lambda: len(py.transit.exchange.pending) == 20)
        await py.transit.flush()
        await bus.kill()
        js.process.send_signal(signal.SIGCONT)
        await bus.start(tmp_path)
        async with asyncio.timeout(60):
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(end) for end in ends} <= {RequestRejectedError, str}


async def test_a_call_that_a_node_still_performs_outlasts_the_bus(bus, tmp_path):
    """A node in Python can be asked; one in Node.js is trusted with what began long before."""
    patience = {"heartbeat_timeout": 1, "heartbeat_interval": 0.2}
    async with (
        py_node(bus.url, "py-1", **patience) as py,
        py_node(bus.url, "py-2", name="asks", **patience) as asking,
    ):
        await asking.wait_for_services("py")
        lasting = asyncio.ensure_future(asking.call("py.slow", {"ms": 3000}))
        await until(lambda: py.services["py"].running)
        asking.transit._disconnected()
        asking.transit._reconnected()
        assert await asyncio.wait_for(lasting, 60) is None


@pytest.mark.timeout(600)
async def test_a_large_stream_is_read_whole_by_both(bus):
    """The reader sets the pace, so that the bus does not cut it off."""
    async with js_node(bus.url), py_node(bus.url) as py:
        await py.wait_for_services("js")
        await until(lambda: sees(py))
        count = 800
        asked = {"action": "py.large", "params": {"count": count}}
        told = await py.call("js.weigh", asked, timeout=500)
        assert told.get("result") == count * 65536, told.get("error")


async def test_a_sender_waits_for_a_reader_that_takes_its_time(bus):
    """More than the buffer of a reader holds; nothing fails while it does something else."""
    async with py_node(bus.url, "py-1") as py, py_node(bus.url, "py-2", name="reads") as reading:
        await reading.wait_for_services("py")
        stream = await reading.call("py.large", {"count": 1200, "text": True})
        chunks = aiter(stream)
        read = len(await anext(chunks))
        # It sends until the reader is full, and then no more.
        pending = next(iter(reading.transit.exchange.pending.values()))
        await until(lambda: not pending.inbox._has_room.is_set())
        await until(lambda: pending.inbox._has_room._waiters)  # it has asked whether there is room
        sent = py.transit._transporter._client.stats["out_bytes"]
        await reading.call("py.who")
        async for chunk in chunks:
            read += len(chunk)
        assert read == 1200 * 65536
        assert py.transit._transporter._client.stats["out_bytes"] > sent


async def test_a_stream_whose_bus_dies_ends_with_an_error(bus):
    async with py_node(bus.url, "py-1"), py_node(bus.url, "py-2", name="reads") as reading:
        await reading.wait_for_services("py")
        stream = await reading.call("py.large", {"count": 10_000})
        chunks = aiter(stream)
        await anext(chunks)
        await bus.kill()
        with pytest.raises((DisconnectedError, QueueIsFullError)):
            await asyncio.wait_for(to_the_end(chunks), TIMEOUT)


async def test_a_node_whose_stream_is_read_is_not_missed(bus):
    """Any packet is a sign of life, not only heartbeats."""
    async with py_node(bus.url, "py-1") as py:
        client = await nats.connect(bus.url)
        node = {"ver": "4", "sender": "raw", "seq": 1, "instanceID": "x", "services": []}
        await client.publish("MOL.INFO", json.dumps(node).encode())
        await until(lambda: "raw" in py.catalog.nodes)
        before = py.catalog.nodes["raw"].heard_at
        packet = {"ver": "4", "sender": "raw", "id": "1", "success": True, "data": 1}
        await client.publish("MOL.RES.py-1", json.dumps(packet).encode())
        await until(lambda: py.catalog.nodes["raw"].heard_at > before)
        await client.close()


async def test_rubbish_is_logged_seldom(bus, caplog):
    """Thousands of packets are a few lines, which say how many there were."""
    async with py_node(bus.url, "py-1") as py, py_node(bus.url, "py-2", name="asking") as asking:
        await asking.wait_for_services("py")
        client = await nats.connect(bus.url)
        for i in range(2000):
            await client.publish("MOL.REQ.py-1", b"rubbish %d" % i)
            await client.publish("MOL.EVENT.py-1", b'{"ver": "9", "sender": "s%d"}' % i)
        await sent(client)
        await client.close()
        assert await asking.call("py.who", timeout=TIMEOUT) == "py-1"
        assert py.is_started
        lines = [r for r in caplog.records if r.name == "dama.broker" and r.levelname != "INFO"]
        assert 0 < len(lines) < 20


async def test_what_was_sent_before_a_flush_is_on_the_bus_after_it(bus):
    """A node that leaves says so last: the answer to its flush is the word that all has arrived."""
    transporter = NatsTransporter(bus.url)
    hears = await nats.connect(bus.url)
    await hears.subscribe("much", cb=nothing_of)
    await sent(hears)
    await transporter.connect("says", nothing, nothing)
    for _ in range(300):
        await transporter.publish("much", bytes(100_000))
    await transporter.flush()
    await hears.flush()  # its answer comes behind what the bus had for it
    assert hears.stats["in_msgs"] == 300
    await transporter.close()
    await hears.close()


async def nothing_of(message):
    pass


def nothing():
    pass


async def test_what_a_node_had_not_begun_to_say_when_it_ends_is_missed_by_nobody(bus):
    """Python warns of a coroutine that nobody awaits, and here a warning is an error."""
    async with py_node(bus.url, "py-1") as py:
        py.transit.discovery.on_ping(Ping(sender="asking", id="1", time=0))
        py.transit.discovery.on_pong(Pong(sender="asking", id="1", time=0, arrived=0))
        py._background.cancel()
    gc.collect()
