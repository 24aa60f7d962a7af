"""What a node in Python can be called, take and return is what one of Moleculer can."""

from __future__ import annotations

from itertools import product

import pytest

import dama
from dama import Service
from dama.broker.broker import Broker
from dama.broker.errors import ServiceNotFoundError
from dama.broker.pattern import matches
from dama.broker.wire.nats import NatsTransporter
from dama.errors import InvalidDefinitionError
from dama.shipped.node import shared_names
from tests.interop.cluster import js_node, until
from tests.interop.conftest import node_options

SHARED = pytest.mark.asyncio(loop_scope="module")
NAMES = [
    "",
    "a",
    "a.b",
    "a.b.c",
    "ab",
    "abc",
    "a.",
    ".a",
    "user.created",
    "userXcreated",
    "$node.x",
]
PATTERNS = [
    "", "a", "a.*", "a.**", "*", "**", "*.b", "**.c", "a.*.c", "a?", "a?b", "?.b", "user.c*", "a*",
    "a**", "$node.*", "*b*", "u?er.*", "a.b*", "***", "a.?", ".*",
]  # fmt: skip


@SHARED
async def test_patterns_match_what_they_match_in_moleculer(cluster):
    """The sender chooses the readers, and the reader looks again: both have to agree."""
    pairs = list(product(NAMES, PATTERNS))
    wanted = await cluster.py.call("js.matches", {"pairs": pairs})
    differ = [p for p, w in zip(pairs, wanted, strict=True) if matches(*p) is not w]
    assert differ == []


@SHARED
async def test_bytes_and_buffers_are_the_same(cluster):
    assert await cluster.py.call("js.reversed", {"data": b"\x00ab"}) == b"ba\x00"
    assert await cluster.py.call("js.sendBytes", {"action": "py.takesBytes"}) == [255, 2, 1]
    nested = {"rows": [{"b": b"x"}, {"type": "Buffer", "data": "no list"}], "type": "Buffer"}
    assert await cluster.py.call("js.echo", nested) == nested


@SHARED
async def test_bytes_survive_wherever_they_are(cluster):
    """In meta, headers, errors, models and sets, as in params."""
    told = await cluster.py.call("js.call", {"action": "py.leaveBytes", "params": {}})
    assert told["result"] == {"data": b"\xfd", "tags": [b"\xfc"]}
    assert told["meta"]["bytes"] == b"\xff\x00"
    told = await cluster.py.call("js.call", {"action": "py.leaveBytes", "params": {"fail": True}})
    assert told["error"]["data"] == {"bytes": b"\xfe"}
    assert told["meta"]["bytes"] == b"\xff\x00"
    sent = {"bytes": b"\xff"}
    seen = await cluster.py.call("js.context", meta=sent, headers=sent)
    assert seen["meta"] == sent
    assert seen.get("headers") == (sent if cluster.protocol == 5 else None)
    await cluster.py.emit("thing.sent", sent, meta=sent)
    (heard,) = await until(lambda: cluster.py.call("js.heard"))
    assert (heard["payload"], heard["meta"]) == (sent, sent)


@SHARED
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"types": ["gauge"]}, {"gauge"}),
        ({"types": "counter"}, {"counter"}),
        ({"includes": "moleculer.request.**"}, {"counter", "gauge"}),
        ({"excludes": ["moleculer.**"]}, set()),
    ],
)
async def test_metrics_are_chosen_as_moleculer_does(cluster, given, kept):
    asked = {"action": "$node.metrics", "params": given, "options": {"nodeID": "py-1"}}
    told = (await cluster.py.call("js.call", asked))["result"]
    assert {each["type"] for each in told} == kept


@SHARED
async def test_null_stands_for_a_param_that_is_left_out(cluster):
    """Callers in JavaScript send null for undefined; where null is a value it stays one."""
    params = {"from": "ada", "limit": None, "to": None}
    told = {"action": "py.optional", "params": params}
    assert (await cluster.py.call("js.call", told))["result"] == ["ada", 5, None]
    told["params"] = {"from": None}
    assert (await cluster.py.call("js.call", told))["error"]["name"] == "ValidationError"
    told["params"] = {"sender": "ada"}
    assert (await cluster.py.call("js.call", told))["error"]["name"] == "ValidationError"


@pytest.mark.parametrize("name", ["orderService", "mail.out", "v1-Orders"])
async def test_a_service_of_theirs_can_be_replaced_by_one_of_ours(bus, name):
    service = Service(name)

    @service.action(name="getAll.rows")
    async def rows(call):
        return [1]

    async with (
        js_node(bus.url),
        Broker([service], options=node_options(), transporter=NatsTransporter(bus.url)) as py,
    ):
        await py.wait_for_services("js")
        told = {"action": f"{name}.getAll.rows", "params": None}

        async def answer():
            return (await py.call("js.call", told)).get("result")

        assert await until(answer) == [1]


def test_a_service_with_dots_has_no_tasks():
    """Dots part a task from its service."""
    service = Service("mail.out")
    with pytest.raises(InvalidDefinitionError, match="service with tasks"):

        @service.task
        async def send(task):
            pass


async def test_events_of_nodes_that_are_gone_can_be_left_out(bus):
    async with Broker(options=node_options(), transporter=NatsTransporter(bus.url)) as py:
        assert await py.call("$node.events", {"onlyAvailable": True}) == []


async def test_a_service_has_another_name_on_the_bus_than_at_home(bus):
    """Others see and call only the name that they are offered, and nothing that they are not."""

    def made():
        services = [Service("stock"), Service("own")]
        for service in services:
            service.action(name="who")(who)
        return services

    async def who(call):
        return call.broker.node_id

    names = {"stock": "lab.stock", "own": None}
    async with (
        js_node(bus.url),
        Broker(made(), node_id="a", options=node_options(), bus_names=names,
               transporter=NatsTransporter(bus.url)) as home,
        Broker(node_id="b", options=node_options(), transporter=NatsTransporter(bus.url)) as other,
    ):  # fmt: skip
        await other.wait_for_services("lab.stock", "js", timeout=60)
        assert await home.call("stock.who") == await home.call("own.who") == "a"
        assert await other.call("lab.stock.who") == "a"
        for name in ("stock.who", "own.who", "lab.own.who"):
            with pytest.raises(ServiceNotFoundError):
                await other.call(name)
            told = {"action": name, "params": None, "options": {"nodeID": "a"}}
            assert "error" in await other.call("js.call", told)


async def test_a_name_that_a_node_of_another_kind_has_too_is_found(bus):
    async with (
        js_node(bus.url, service="orderService"),
        Broker([Service("orderService"), Service("free")], options=node_options(),
               transporter=NatsTransporter(bus.url)) as py,
    ):  # fmt: skip
        await until(lambda: "js-1" in py.catalog.nodes)
        assert await until(lambda: shared_names(py)) == {"orderService": ["js-1"]}


async def test_a_script_of_ten_lines_is_a_node(bus):
    """Names of the public API alone."""
    async with js_node(bus.url), dama.Broker(transporter=bus.url) as broker:
        await broker.wait_for_services("js", timeout=60)
        answer = await broker.ask("js.leave", meta={"user": "ada"})
        assert (answer.result, answer.node_id) == (True, "js-1")
        assert answer.meta == {"user": "ada", "left": "by node"}
        sums = await broker.mcall([("js.add", {"a": n, "b": 1}) for n in range(3)])
        assert sums == [1, 2, 3]
        pongs = await broker.ping_all()
        assert pongs["js-1"]["nodeID"] == "js-1"
