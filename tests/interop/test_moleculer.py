"""A node in Python and one of the real Moleculer, over a real NATS server, both directions."""

from __future__ import annotations

import asyncio

import pytest

from dama.broker.errors import (
    CallError,
    ClientCallError,
    RequestTimeoutError,
    RetryableCallError,
    ServiceNotFoundError,
    ValidationError,
)
from dama.broker.stream import Stream
from tests.interop.cluster import until

# The nodes are shared, and live in one loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def from_js(cluster, action, params=None, **options):
    """What a node of Moleculer sees that calls an action."""
    told = {"action": action, "params": params, "options": options}
    return await cluster.py.call("js.call", told)


@pytest.mark.parametrize(
    "params", [{"a": [1, {"b": None}]}, [1, 2], "text ☃", 5, True], ids=lambda p: type(p).__name__
)
async def test_params_and_results_are_the_same_on_both_sides(cluster, params):
    assert await cluster.py.call("js.echo", params) == params
    assert (await from_js(cluster, "py.echo", params))["result"] == params


async def test_what_an_action_leaves_in_meta_comes_back(cluster):
    """Also when it fails: moleculer-web reads $statusCode and the like there."""
    for action, leaves in (("js.leave", "by node"), ("js.failLeaving", "by node")):
        call = cluster.py.new_call(None, action, None, {"meta": {"user": "ada"}})
        try:
            await cluster.py.perform(call)
        except ClientCallError:
            assert action == "js.failLeaving"
        assert call.meta == {"user": "ada", "left": leaves}

    assert (await from_js(cluster, "py.leave"))["meta"]["left"] == "by python"
    assert (await from_js(cluster, "py.failLeaving"))["meta"]["left"] == "by python"


async def test_errors_of_moleculer_are_raised_as_the_same_class(cluster):
    with pytest.raises(ClientCallError) as raised:
        await cluster.py.call("js.failLeaving")
    error = raised.value
    assert (error.status, error.code, error.data) == (409, "IN_USE", {"table": "flights"})
    assert (error.message, error.retryable, error.node_id) == ("no", False, "js-1")

    with pytest.raises(RetryableCallError) as raised:
        await cluster.py.call("js.fail")
    error = raised.value
    assert (error.status, error.code, error.data, error.retryable) == (503, "BUSY", [1, 2], True)

    with pytest.raises(ValidationError) as raised:
        await cluster.py.call("js.add", {"a": "x"})
    assert [(e["type"], e["field"]) for e in raised.value.data] == [
        ("number", "a"),
        ("required", "b"),
    ]


async def test_other_errors_of_moleculer_keep_their_names(cluster):
    with pytest.raises(CallError) as raised:
        await cluster.py.call("js.plain")
    assert (raised.value.name, raised.value.message) == ("TypeError", "a bug")
    with pytest.raises(CallError) as raised:
        await cluster.py.call("js.odd")
    assert (raised.value.name, raised.value.status) == ("OddError", 418)


async def test_errors_of_python_are_those_of_moleculer_there(cluster):
    error = (await from_js(cluster, "py.failLeaving"))["error"]
    assert error == {
        "name": "MoleculerClientError",
        "message": "no",
        "code": 409,
        "type": "IN_USE",
        "data": {"table": "flights"},
        "retryable": False,
        "nodeID": "py-1",
    }
    error = (await from_js(cluster, "py.plain"))["error"]
    assert (error["name"], error["message"]) == ("TypeError", "a bug")


async def test_a_validation_error_of_python_has_the_shape_of_moleculer(cluster):
    error = (await from_js(cluster, "py.add", {"b": "x"}))["error"]
    assert (error["name"], error["code"], error["type"]) == (
        "ValidationError",
        422,
        "VALIDATION_ERROR",
    )
    assert [(e["type"], e["field"], e.get("actual")) for e in error["data"]] == [
        ("required", "a", None),
        ("number", "b", "x"),
    ]
    assert {"message", "nodeID", "action"} <= set(error["data"][0])


async def test_a_call_knows_its_request_its_parent_its_level_and_its_caller(cluster):
    seen = await cluster.py.call("js.context", request_id="r-1", meta={"user": "ada"})
    assert (seen["level"], seen["requestID"], seen["nodeID"]) == (1, "r-1", "py-1")
    assert seen["meta"] == {"user": "ada"}

    seen = (await from_js(cluster, "py.context"))["result"]
    assert (seen["level"], seen["caller"], seen["nodeID"]) == (2, "js", "js-1")
    assert seen["parentID"]


async def test_nodes_call_each_other_back_and_forth(cluster):
    """Served one by one, this would wait for itself forever."""
    levels = await cluster.py.call("js.chain", {"n": 6, "other": "py.chain"})
    assert levels == [1, 2, 3, 4, 5, 6, 7]


async def test_a_slow_call_lets_others_pass(cluster):
    slow = asyncio.ensure_future(from_js(cluster, "py.slow", {"ms": 1500}))
    for _ in range(20):
        assert (await from_js(cluster, "py.who"))["result"] == "py-1"
    assert not slow.done()
    await slow


async def test_a_call_that_takes_too_long_fails_on_either_side(cluster):
    with pytest.raises(RequestTimeoutError):
        await cluster.py.call("js.slow", {"ms": 1000}, timeout=0.05)
    error = (await from_js(cluster, "py.slow", {"ms": 1000}, timeout=50))["error"]
    assert (error["name"], error["code"]) == ("RequestTimeoutError", 504)


async def test_the_time_that_is_left_goes_with_a_call(cluster):
    seen = await cluster.py.call("js.call", {"action": "py.context", "params": None}, timeout=7)
    assert 5 < seen["result"]["timeout"] <= 7


async def test_what_is_not_there_is_told_by_name(cluster):
    with pytest.raises(ServiceNotFoundError) as raised:
        await cluster.py.call("js.absent")
    assert raised.value.data == {"action": "js.absent"}
    error = (await from_js(cluster, "py.absent"))["error"]
    assert (error["name"], error["code"]) == ("ServiceNotFoundError", 404)


async def test_protected_actions_are_not_for_other_nodes(cluster):
    with pytest.raises(ServiceNotFoundError):
        await cluster.py.call("js.hidden")
    assert (await from_js(cluster, "py.hidden"))["error"]["name"] == "ServiceNotFoundError"


async def test_moleculer_lists_a_service_of_python_with_its_actions(cluster):
    listed = {s["name"]: s for s in await cluster.py.call("js.services")}["py"]
    add = listed["actions"]["py.add"]
    assert listed["settings"] == {"shown": 1}
    assert listed["metadata"] == {"team": "data"}
    assert add["params"]["a"] == {"type": "number"}
    assert (add["rest"], add["timeout"], add["visibility"]) == ("POST /add", 5000, "published")
    assert {"thing.*", "deep.**", "shared"} <= set(listed["events"])


async def test_python_lists_a_service_of_moleculer(cluster):
    listed = {s["name"]: s for s in await cluster.py.call("$node.services")}["js"]
    assert listed["settings"] == {"shown": 1}
    assert listed["nodes"] == ["js-1"]
    nodes = {n["id"]: n for n in await cluster.py.call("$node.list")}
    assert nodes["js-1"]["client"]["type"] == "nodejs"
    assert nodes["js-1"]["metadata"] == {"made": "by node"}


async def test_1000_calls_at_once_are_all_answered(cluster):
    answers = await asyncio.gather(*(cluster.py.call("js.echo", {"i": i}) for i in range(1000)))
    assert [a["i"] for a in answers] == list(range(1000))
    answers = await cluster.py.call("js.many", {"action": "py.echo", "count": 1000})
    assert [a["i"] for a in answers] == list(range(1000))


async def test_a_payload_near_the_limit_of_the_bus_comes_through(cluster):
    size = (1 << 20) - 2000
    assert len(await cluster.py.call("js.big", {"bytes": size})) == size
    told = await cluster.py.call("js.call", {"action": "py.big", "params": {"bytes": size - 500}})
    assert len(told["result"]) == size - 500


async def test_a_payload_over_the_limit_of_the_bus_is_answered_with_an_error(cluster):
    """The node must not lose its connection over it, nor leave the caller waiting."""
    error = (await from_js(cluster, "py.big", {"bytes": 2 << 20}))["error"]
    assert (error["name"], error["code"], error["type"]) == (
        "PacketTooLargeError",
        413,
        "PACKET_TOO_LARGE",
    )
    with pytest.raises(CallError, match="the bus takes"):
        await cluster.py.call("js.echo", "x" * (2 << 20))
    assert await cluster.py.call("js.who") == "js-1"


async def test_a_result_that_is_no_json_is_answered_with_an_error(cluster):
    error = (await from_js(cluster, "py.unsendable"))["error"]
    assert error["type"] == "NOT_JSON"


async def test_an_emitted_event_goes_to_one_of_each_group(cluster):
    await cluster.py.emit("thing.made", {"id": 7}, meta={"user": "ada"})
    heard = await until(lambda: cluster.py.call("js.heard"))
    heard = [h for h in heard if h["event"] == "thing.made"]
    assert [(h["payload"], h["type"], h["sender"]) for h in heard] == [({"id": 7}, "emit", "py-1")]
    assert heard[0]["meta"] == {"user": "ada"}
    assert [h["payload"] for h in cluster.heard if h["event"] == "thing.made"] == [{"id": 7}]

    cluster.heard.clear()
    told = {"event": "thing.gone", "payload": [1]}
    await cluster.py.call("js.emit", told, meta={"who": "x"}, request_id="r-9")
    heard = await until(lambda: [h for h in cluster.heard if h["event"] == "thing.gone"])
    (one,) = heard
    assert (one["payload"], one["type"], one["sender"]) == ([1], "emit", "js-1")
    assert (one["requestID"], one["meta"], one["level"], one["caller"]) == (
        "r-9",
        {"who": "x"},
        2,
        "js",
    )


async def test_of_a_group_on_both_nodes_one_gets_an_event(cluster):
    for number in range(10):
        await cluster.py.emit("shared", number)
    # This node comes first, as prefer_local says.
    assert [h["payload"] for h in cluster.heard if h["event"] == "shared"] == list(range(10))
    assert not [h for h in await cluster.py.call("js.heard") if h["event"] == "shared"]


async def test_an_event_for_some_groups_goes_to_no_other(cluster):
    await cluster.py.emit("thing.x", 1, groups=["js"])
    heard = await until(lambda: cluster.py.call("js.heard"))
    assert [h["event"] for h in heard if not h["event"].startswith("$")] == ["thing.x"]
    assert not [h for h in cluster.heard if h["event"] == "thing.x"]


async def test_a_broadcast_reaches_all_nodes(cluster):
    await cluster.py.broadcast("deep.a.b.c", {"n": 1})
    assert [h["type"] for h in cluster.heard if h["event"] == "deep.a.b.c"] == ["broadcast"]
    heard = await until(lambda: cluster.py.call("js.heard"))
    assert [h["type"] for h in heard if h["event"] == "deep.a.b.c"] == ["broadcast"]

    cluster.heard.clear()
    await cluster.py.call("js.broadcast", {"event": "thing.all", "payload": 2})
    heard = await until(lambda: [h for h in cluster.heard if h["event"] == "thing.all"])
    assert [(h["payload"], h["type"]) for h in heard] == [(2, "broadcast")]


async def test_a_stream_of_moleculer_is_read_here(cluster):
    stream = await cluster.py.call("js.numbers", {"count": 500})
    assert (await stream.read()).decode().split() == [str(i) for i in range(500)]
    stream = await cluster.py.call("js.rows", {"count": 50})
    assert stream.object_mode
    assert [row["i"] async for row in stream] == list(range(50))


async def test_a_stream_of_python_is_read_there(cluster):
    told = await cluster.py.call("js.download", {"action": "py.numbers", "params": {"count": 500}})
    assert "".join(told["result"]).split() == [str(i) for i in range(500)]
    told = await cluster.py.call("js.download", {"action": "py.rows", "params": {"count": 50}})
    assert [row["i"] for row in told["result"]] == list(range(50))


async def test_a_stream_that_breaks_ends_with_its_error(cluster):
    stream = await cluster.py.call("js.breaks")
    with pytest.raises(CallError) as raised:
        await stream.read()
    assert (raised.value.code, raised.value.data) == ("BROKEN", {"at": 1})

    told = await cluster.py.call("js.download", {"action": "py.breaks", "params": {}})
    assert (told["error"]["type"], told["error"]["data"]) == ("BROKEN", {"at": 1})


async def test_a_stream_is_sent_with_a_call(cluster):
    async def chunks():
        yield b"first "
        yield b"second" * 100_000

    told = await cluster.py.call("js.upload", stream=Stream(chunks()), meta={"name": "f.csv"})
    assert told["text"] == "first " + "second" * 100_000
    assert told["meta"]["name"] == "f.csv"

    told = await cluster.py.call(
        "js.uploadTo",
        {"action": "py.upload", "chunks": ["one ", "two"], "meta": {"name": "g.csv"}},
    )
    assert told["text"] == "one two"
    assert told["meta"]["name"] == "g.csv"


async def test_a_stream_that_nobody_reads_calls_its_action_once(cluster):
    """Its chunks come after the answer: they are no calls of their own."""
    told = {"action": "py.ignore", "chunks": ["x" * 1000] * 50, "meta": {}}
    await cluster.py.call("js.uploadTo", told)
    assert await cluster.py.call("js.who") == "js-1"
    pong = await cluster.py.call("js.ping", {"nodeID": "py-1"})  # behind all that was sent before
    assert pong["nodeID"] == "py-1"
    assert [h for h in cluster.heard if h["event"] != "$node.updated"] == [{"event": "ignored"}]


async def test_each_node_answers_a_ping_of_the_other(cluster):
    pong = await cluster.py.ping("js-1")
    assert pong
    assert pong["nodeID"] == "js-1"
    assert 0 <= pong["elapsedTime"] < 30_000
    assert await cluster.py.ping("nobody", timeout=0.1) is None
    pong = await cluster.py.call("js.ping", {"nodeID": "py-1"})
    assert pong["nodeID"] == "py-1"


async def test_headers_belong_to_one_call_in_protocol_5(cluster):
    seen = await cluster.py.call("js.context", headers={"trace": "x"})
    assert seen.get("headers") == ({"trace": "x"} if cluster.protocol == 5 else None)
