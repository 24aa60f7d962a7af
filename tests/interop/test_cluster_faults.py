"""What happens to a cluster when its parts die, come back, or talk nonsense."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING

import nats
import pytest

from dama import Service
from dama.broker.broker import Broker
from dama.broker.errors import (
    CallError,
    DisconnectedError,
    InvalidPacketDataError,
    RequestRejectedError,
    ServiceNotFoundError,
)
from dama.broker.wire.nats import NatsTransporter
from tests.interop.cluster import js_node, sent, start_js, until
from tests.interop.conftest import node_options, py_node, sees

if TYPE_CHECKING:
    from dama.broker.call import Call


async def test_calls_to_a_node_that_is_killed_fail_and_others_take_over(bus):
    async with js_node(bus.url, "js-2"), py_node(bus.url) as py:
        doomed = await start_js(bus.url, "js-1")
        await until(lambda: "js-1" in py.catalog.nodes)
        waiting = asyncio.ensure_future(py.call("js.slow", {"ms": 60_000}, node_id="js-1"))
        await asyncio.sleep(0)
        await until(lambda: py.transit.pending_count)

        await doomed.kill()

        with pytest.raises(RequestRejectedError) as raised:
            async with asyncio.timeout(60):
                await waiting
        assert raised.value.data == {"action": "js.slow", "nodeID": "js-1"}
        assert {await py.call("js.who") for _ in range(4)} == {"js-2"}
        lost = await until(lambda: [h for h in py.heard if h["event"] == "$node.disconnected"])
        assert lost[0]["payload"]["unexpected"] is True


async def test_calls_to_a_node_that_came_back_before_anybody_missed_it_fail_at_once(bus):
    async with py_node(bus.url, heartbeat_timeout=3600) as py:
        killed = await start_js(bus.url, "js-1")
        await until(lambda: "js-1" in py.catalog.nodes)
        waiting = asyncio.ensure_future(py.call("js.slow", {"ms": 60_000}))
        await until(lambda: py.transit.pending_count)
        await killed.kill()
        async with js_node(bus.url, "js-1"):
            with pytest.raises(RequestRejectedError):
                async with asyncio.timeout(60):
                    await waiting
            assert await py.call("js.who") == "js-1"


async def test_a_node_that_stops_leaves_at_once_and_without_an_error(bus):
    """No heartbeat has to be missed for it, and no call goes to it while it stops."""
    async with js_node(bus.url, "js-2"), py_node(bus.url, heartbeat_timeout=3600) as py:
        leaving = await start_js(bus.url, "js-1")
        await until(lambda: len(py.catalog.actions.get("js.who").all) == 2)
        stopping = asyncio.ensure_future(leaving.stop())
        while not stopping.done():
            assert await py.call("js.who") in {"js-1", "js-2"}
        assert not py.catalog.nodes["js-1"].is_available
        assert {await py.call("js.who") for _ in range(4)} == {"js-2"}
        lost = [h["payload"] for h in py.heard if h["event"] == "$node.disconnected"]
        assert [payload["unexpected"] for payload in lost] == [False]


async def test_moleculer_hears_that_a_node_in_python_leaves(bus):
    async with js_node(bus.url) as js, py_node(bus.url, "py-2") as watching:
        await watching.wait_for_services("js")
        async with py_node(bus.url, "py-1") as leaving:
            await until(lambda: sees(watching, "py-1"))
            assert leaving.node_id == "py-1"

        async def lost():
            heard = await watching.call("js.heard", node_id=js.node_id)
            return [h["payload"] for h in heard if h["event"] == "$node.disconnected"]

        assert [payload["unexpected"] for payload in await until(lost)] == [False]
        assert not await sees(watching, "py-1")


async def test_calls_that_run_are_answered_while_their_node_leaves(bus):
    async with py_node(bus.url, "py-2", name="asking") as asking:
        async with py_node(bus.url, "py-1") as leaving:
            await asking.wait_for_services("py")
            running = asyncio.ensure_future(asking.call("py.slow", {"ms": 300}))
            await until(lambda: leaving.services["py"].running)
        assert await running is None


async def test_a_bus_that_was_killed_is_found_again(bus, tmp_path):
    """Nothing is restarted by hand; what is called afterwards is answered."""
    async with js_node(bus.url), py_node(bus.url) as py:
        await py.wait_for_services("js")
        await bus.kill()
        await asyncio.sleep(0.5)
        await bus.start(tmp_path)

        async def answers():
            try:
                return await py.call("js.who", timeout=1)
            except CallError:
                return None

        assert await until(answers) == "js-1"
        await until(lambda: sees(py))
        told = await py.call("js.call", {"action": "py.who", "params": None}, timeout=5)
        assert told["result"] == "py-1"


async def test_a_bus_that_is_not_there_is_told_with_its_address():
    broker = Broker(transporter=NatsTransporter("nats://ada:secret@127.0.0.1:1"))
    with pytest.raises(DisconnectedError, match=r"127\.0\.0\.1:1") as raised:
        await broker.start()
    assert "secret" not in str(raised.value)


async def test_nodes_of_another_namespace_are_not_seen(bus):
    async with (
        js_node(bus.url, namespace="test"),
        py_node(bus.url, "py-1", namespace="test") as same,
        py_node(bus.url, "py-2") as other,
    ):
        await same.wait_for_services("js")
        with pytest.raises(ServiceNotFoundError):
            await other.call("js.who")


@pytest.mark.parametrize("accept", [False, True], ids=["one version", "both versions"])
async def test_a_node_of_the_other_version_is_seen_only_when_both_accept_it(bus, accept):
    async with (
        js_node(bus.url, protocol=5, bothVersions=accept),
        py_node(bus.url, protocol=4, accept_other_protocol=accept) as py,
    ):
        if not accept:
            await asyncio.sleep(1.5)  # more than one heartbeat of each
            with pytest.raises(ServiceNotFoundError):
                await py.call("js.who")
            return
        await py.wait_for_services("js")
        assert await py.call("js.who") == "js-1"
        await until(lambda: sees(py))
        told = await py.call("js.call", {"action": "py.who", "params": None})
        assert told["result"] == "py-1"


async def test_without_a_balancer_the_bus_chooses(bus):
    async with (
        js_node(bus.url, disableBalancer=True),
        py_node(bus.url, "py-1", balancer=False) as one,
        py_node(bus.url, "py-2", balancer=False) as two,
    ):
        await one.wait_for_services("js")
        await until(lambda: len(one.catalog.actions["py.who"].all) == 2)
        assert {await one.call("py.who") for _ in range(60)} == {"py-1", "py-2"}
        assert await one.call("py.who", node_id="py-2") == "py-2"
        # Moleculer listens again after each change, and misses what is sent meanwhile.
        assert await one.call("js.who", timeout=0.5, retries=5) == "js-1"
        await until(lambda: sees(one))
        told = await one.call("js.call", {"action": "py.who", "params": None})
        assert told["result"] in {"py-1", "py-2"}

        for number in range(20):
            await one.emit("shared", number)

        there: list[dict] = []

        async def heard():
            there.extend(await one.call("js.heard", node_id="js-1"))
            all_three = one.heard + two.heard + there
            return sorted(h["payload"] for h in all_three if h["event"] == "shared")

        async def is_complete():
            return await heard() == list(range(20))

        await until(is_complete)


async def test_a_second_node_with_an_id_stays_away_and_the_first_goes_on(bus):
    """Calls would go to either. The one that works must not suffer from a mistake elsewhere."""
    async with py_node(bus.url, "same") as first, py_node(bus.url, "py-2", name="asking") as asking:
        await asking.wait_for_services("py")
        with pytest.raises(DisconnectedError, match="Another node has the id same"):
            async with py_node(bus.url, "same"):
                pass
        assert first.transit.is_connected
        assert not first.transit.is_leaving
        assert await asking.call("py.who", timeout=5) == "same"


async def test_a_node_of_moleculer_outlives_one_of_python_that_takes_its_id(bus):
    """Moleculer ends its process when it hears of a second: nothing of ours may reach it."""
    async with js_node(bus.url, "same") as js, py_node(bus.url, "py-2", name="asking") as asking:
        await asking.wait_for_services("js")
        with pytest.raises(DisconnectedError, match="Another node has the id same"):
            async with py_node(bus.url, "same", wait_for_neighbours=2):
                pass
        assert await asking.call("js.who", timeout=10) == "same"
        assert js.process.returncode is None


async def test_a_node_with_hundreds_of_services_starts_and_is_seen(bus):
    """Each of them was described again whenever another one started."""
    services = [Service(f"service{number}") for number in range(300)]
    for service in services:

        @service.action
        async def double(call: Call, number: int, text: str = "x") -> int:
            return 2 * number

    async with (
        Broker(services, node_id="many", options=node_options(),
               transporter=NatsTransporter(bus.url)) as many,
        js_node(bus.url),
        py_node(bus.url) as py,
    ):  # fmt: skip
        await py.wait_for_services("js", "service299", timeout=60)
        described = many.services["service7"].actions["double"].description()
        assert described is many.services["service7"].actions["double"].description()
        asked = {"action": "service299.double", "params": {"number": 4}}

        async def answer():
            return (await py.call("js.call", asked)).get("result")

        assert await until(answer) == 8


def packets():
    """Packets as a node with a fault, or somebody with bad intent, would send them."""
    chance = random.Random(7)
    values = [None, 1, -1, 1e300, "", "x", [], {}, [[]], {"a": {}}, True, "\u0000", 2**70]
    commands = ["a b", "x 1\r\nPUB MOL.DISCONNECT 2\r\n{}\r\n", ">", "*", "a\tb"]
    base = {"ver": "4", "sender": "evil"}
    yield from (
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'"x"',
        b"{}",
        b"9" * 10_000,
        b"[" * 100_000,
    )
    fields = [
        "id", "action", "params", "meta", "timeout", "level", "seq", "stream", "services", "data",
        "event", "groups", "broadcast", "error", "success", "instanceID", "time", "cpu", "headers",
        "parentID", "requestID", "caller", "arrived", "config", "ipList",
    ]  # fmt: skip
    for _ in range(400):
        chosen = chance.sample(fields, chance.randint(0, 10))
        packet = {**base, **{name: chance.choice(values) for name in chosen}}
        if chance.random() < 0.1:
            packet["sender"] = chance.choice([*values, *commands])
        yield json.dumps(packet).encode()
    for sender in commands:
        packet = {"ver": "4", "sender": sender, "id": "1", "time": 1, "action": "py.who"}
        yield json.dumps(packet).encode()


@pytest.mark.timeout(300)  # five thousand packets, on a machine that may have others
async def test_no_packet_ends_a_node(bus):
    """Whatever comes on whatever topic, it is logged and dropped, and calls continue.

    Nor does it lose its connection: a sender whose name holds a command is not answered with it.
    """
    patient = {"heartbeat_timeout": 3600}  # both have one loop, which has a lot to read
    async with (
        py_node(bus.url, "py-1", **patient) as py,
        py_node(bus.url, "py-2", name="asking", **patient) as asking,
    ):
        await asking.wait_for_services("py")
        connection = py.transit._transporter._client
        client = await nats.connect(bus.url)
        kinds = ["DISCOVER", "INFO", "HEARTBEAT", "DISCONNECT", "PING"]
        own = ["REQ", "RES", "EVENT", "PONG", "INFO", "DISCOVER", "PING"]
        topics = [f"MOL.{k}" for k in kinds] + [f"MOL.{k}.py-1" for k in own]
        for packet in packets():
            for topic in topics:
                await client.publish(topic, packet)
        await sent(client)
        await client.close()
        assert await asking.call("py.who", timeout=240) == "py-1"
        assert not py.transit.is_leaving
        with pytest.raises(InvalidPacketDataError):
            await py.ping("x 1\r\nPUB MOL.DISCONNECT")
        assert connection.stats["reconnects"] == 0
        assert connection.stats["errors_received"] == 0
