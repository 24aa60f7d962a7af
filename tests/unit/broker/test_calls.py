"""Calls: by name, with their params, meta, time and errors, on one node."""

from __future__ import annotations

import asyncio
import re

import pytest

from dama import Service
from dama.broker.errors import (
    ClientCallError,
    MaxCallLevelError,
    RequestSkippedError,
    RequestTimeoutError,
    ServiceNotFoundError,
    ValidationError,
)
from dama.definitions.errors import DuplicateNameError
from dama.errors import InvalidDefinitionError

from .nodes import node


async def test_an_action_is_called_by_name_with_validated_params():
    math = Service("math")

    @math.action
    async def add(call, a: int, b: int = 1) -> int:
        return a + b

    async with node(math) as broker:
        assert await broker.call("math.add", {"a": "3"}) == 4


async def test_params_that_do_not_fit_are_told_as_moleculer_tells_them():
    math = Service("math")

    @math.action
    async def add(call, a: int, b: int):
        raise AssertionError("it must not be called")

    async with node(math) as broker:
        with pytest.raises(ValidationError) as raised:
            await broker.call("math.add", {"a": "x", "c": 1})
    error = raised.value
    assert (error.status, error.code, error.retryable) == (422, "VALIDATION_ERROR", False)
    assert [(e["type"], e["field"], e["action"], e["nodeID"]) for e in error.data] == [
        ("number", "a", "math.add", "n1"),
        ("required", "b", "math.add", "n1"),
        ("objectStrict", "c", "math.add", "n1"),
    ]


@pytest.mark.parametrize(
    ("does", "told"),
    [
        (lambda b: b.call("s.echo", tiemout=1), "s.echo has no option 'tiemout'"),
        (lambda b: b.ask("s.echo", nodeID="n1"), "no option 'nodeID'"),
        (lambda b: b.mcall([("s.echo", 1)], time_out=1), "no option 'time_out'"),
        (lambda b: b.perform(b.new_call(None, "s.echo", 1, {}), retry=1), "no option 'retry'"),
        (lambda b: b.call("s.within", "call"), "no option 'tiemout'"),
        (lambda b: b.call("s.within", "call_local"), "no option 'tiemout'"),
        (lambda b: b.call("s.within", "emit"), "no option 'tiemout'"),
        (lambda b: b.emit("x", timeout=1), "x has no option 'timeout'"),
        (lambda b: b.broadcast("x", group="a"), "no option 'group'"),
        (lambda b: b.broadcast_local("x", gruops=["a"]), "Did you mean 'groups'"),
        (lambda b: b.emit("x", groups="mail"), "groups is the string 'mail'"),
        (lambda b: b.call("s.echo", meta=3), "meta is 3: expected a mapping"),
        (lambda b: b.emit("x", headers=[1]), r"headers is \[1\]: expected a mapping"),
    ],
)
async def test_options_that_there_are_not_are_refused_wherever_one_calls_or_emits(does, told):
    """A misspelt timeout must not pass for none."""
    service = Service("s")

    @service.action
    async def echo(call):
        raise AssertionError("it must not be called")

    @service.action
    async def within(call):
        name = "s.echo" if call.params == "call" else "echo"
        await getattr(call, call.params)(name, tiemout=1)

    async with node(service) as broker:
        with pytest.raises(InvalidDefinitionError) as raised:
            await does(broker)
    assert re.search(told, f"{raised.value} {raised.value.hint}")


async def test_an_action_without_params_takes_any():
    service = Service("s")

    @service.action
    async def echo(call):
        return call.params

    async with node(service) as broker:
        assert await broker.call("s.echo", [1, {"a": None}]) == [1, {"a": None}]


async def test_a_def_does_not_hold_up_the_loop():
    service = Service("s")
    entered, leave = asyncio.Event(), asyncio.Event()

    @service.action
    def wait(call):
        loop.call_soon_threadsafe(entered.set)
        return asyncio.run_coroutine_threadsafe(leave.wait(), loop).result()

    loop = asyncio.get_running_loop()
    async with node(service) as broker:
        call = asyncio.ensure_future(broker.call("s.wait"))
        await entered.wait()
        leave.set()
        assert await call is True


async def test_versions_and_slashes_are_parts_of_names():
    old, new = Service("warehouse/flights", version=1), Service("warehouse/flights", version=2)
    named = Service("flights", version="beta")
    bare = Service("bare", version=3, settings={"$noVersionPrefix": True})
    for service in (old, new, named, bare):
        service.action(name="get")(lambda call: call.service.full_name)
    async with node(old, new, named, bare) as broker:
        for name in ("v1.warehouse/flights", "v2.warehouse/flights", "beta.flights", "bare"):
            assert await broker.call(f"{name}.get") == name


async def test_two_services_of_one_name_are_refused():
    with pytest.raises(DuplicateNameError, match="already"):
        node(Service("s"), Service("s"))


async def test_a_name_that_is_not_there_is_told():
    async with node() as broker:
        with pytest.raises(ServiceNotFoundError) as raised:
            await broker.call("no.thing")
    assert (raised.value.data, raised.value.status) == ({"action": "no.thing"}, 404)


async def test_a_call_knows_where_it_comes_from():
    service, seen = Service("s"), []

    @service.action
    async def outer(call):
        seen.append(call)
        await call.call("s.inner")

    @service.action
    async def inner(call):
        seen.append(call)

    async with node(service) as broker:
        await broker.call("s.outer", request_id="r-1")
    outer_call, inner_call = seen
    assert (outer_call.level, outer_call.caller, outer_call.parent_id) == (1, None, None)
    assert (inner_call.level, inner_call.caller) == (2, "s")
    assert inner_call.parent_id == outer_call.id
    assert {outer_call.request_id, inner_call.request_id} == {"r-1"}


@pytest.mark.parametrize("fails", [False, True])
async def test_meta_goes_down_and_comes_back_whatever_becomes_of_the_call(fails):
    service = Service("s")

    @service.action
    async def outer(call):
        try:
            await call.call("s.inner", meta={"more": 1})
        except ClientCallError:
            assert fails
        return dict(call.meta)

    @service.action
    async def inner(call):
        call.meta["seen"] = sorted(call.meta)
        if fails:
            raise ClientCallError("no")

    async with node(service) as broker:
        meta = await broker.call("s.outer", meta={"user": "ada"})
    assert meta == {"user": "ada", "more": 1, "seen": ["more", "user"]}


async def test_a_call_that_takes_too_long_fails_and_its_action_is_cancelled():
    service, cancelled = Service("s"), asyncio.Event()

    @service.action(timeout=0.02)
    async def slow(call):
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    async with node(service) as broker:
        with pytest.raises(RequestTimeoutError) as raised:
            await broker.call("s.slow")
        assert raised.value.data == {"action": "s.slow", "nodeID": "n1"}
        assert cancelled.is_set()


async def test_a_time_out_within_an_action_is_its_own_error():
    """It must not be taken for that of the call."""
    service = Service("s")

    @service.action(timeout=30)
    async def own(call):
        raise TimeoutError("mine")

    async with node(service) as broker:
        with pytest.raises(TimeoutError, match="mine"):
            await broker.call("s.own")


async def test_calls_within_a_call_have_no_more_time_than_is_left():
    service = Service("s")

    @service.action(timeout=10)
    async def outer(call, *, late: bool = False):
        if late:
            call.deadline -= 20
        return await call.call("s.inner", timeout=3600)

    @service.action
    async def inner(call):
        return call.timeout

    async with node(service) as broker:
        assert 9 < await broker.call("s.outer") <= 10
        with pytest.raises(RequestSkippedError):
            await broker.call("s.outer", {"late": True})


async def test_calls_do_not_go_deeper_than_allowed():
    service = Service("s")

    @service.action
    async def again(call):
        return await call.call("s.again")

    async with node(service, max_call_level=5) as broker:
        with pytest.raises(MaxCallLevelError) as raised:
            await broker.call("s.again")
    assert raised.value.data == {"nodeID": "n1", "level": 5}


async def test_several_calls_are_made_at_once():
    service = Service("s")

    @service.action
    async def double(call, n: int):
        if n < 0:
            raise ClientCallError("negative")
        return n * 2

    async with node(service) as broker:
        assert await broker.mcall([("s.double", {"n": 1}), ("s.double", {"n": 2})]) == [2, 4]
        found = await broker.mcall(
            {"a": ("s.double", {"n": 1}), "b": ("s.double", {"n": -1})}, settled=True
        )
        assert found["a"] == 2
        assert isinstance(found["b"], ClientCallError)
        with pytest.raises(ClientCallError):
            await broker.mcall([("s.double", {"n": 1}), ("s.double", {"n": -1})])


async def test_visibility_says_who_may_call():
    service, other = Service("s"), Service("other")

    @service.action(visibility="private")
    async def secret(call, n: int = 1):
        return n + 1

    @service.action(visibility="protected")
    async def inner(call):
        return "inner"

    @service.action
    async def outer(call):
        return await call.call_local("secret", {"n": 2})

    @other.action
    async def trial(call):
        return await call.call_local("secret")

    async with node(service, other) as broker:
        assert await broker.call("s.outer") == 3
        assert await broker.call("s.inner") == "inner"
        for name in ("s.secret", "other.trial"):
            with pytest.raises(ServiceNotFoundError):
                await broker.call(name)
        listed = {s["name"]: s for s in await broker.call("$node.services", {"withActions": True})}
        assert sorted(listed["s"]["actions"]) == ["s.inner", "s.outer"]
