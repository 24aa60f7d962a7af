"""Services: their start, their end, and what other nodes know of them."""

from __future__ import annotations

import asyncio

import pytest

from dama import Service
from dama.broker.errors import (
    CallError,
    ClientCallError,
    ServiceNotFoundError,
)
from dama.definitions.errors import DuplicateNameError, ServiceStartError
from dama.errors import InvalidDefinitionError

from .nodes import counting, node


async def test_a_service_starts_after_those_that_it_needs():
    base, user, order = Service("base"), Service("user", dependencies=["base"]), []
    base.started(lambda _: order.append("base"))
    user.started(lambda _: order.append("user"))
    async with node(user, base):
        assert order == ["base", "user"]


async def test_a_service_that_is_needed_and_never_comes_is_named():
    broker = node(Service("user", dependencies=["base"]), dependency_timeout=0.02)
    with pytest.raises(ServiceNotFoundError, match="base"):
        await broker.start()


async def test_what_a_service_raises_at_its_start_is_told_and_nothing_goes_on():
    bad, seen = Service("bad"), []

    @bad.started
    def fail(service):
        raise ValueError("no disk")

    waiting = Service("waiting", dependencies=["bad"])
    waiting.started(seen.append)
    broker = node(bad, waiting)
    with pytest.raises(ServiceStartError, match=r"The service bad cannot start: .*no disk"):
        await broker.start()
    assert (broker.is_started, seen) == (False, [])


async def test_params_that_cannot_be_validated_are_told_at_the_start():
    odd = Service("odd")

    @odd.action
    async def take(call, thing: asyncio.Lock):
        """Take what JSON cannot hold."""

    broker = node(odd)
    with pytest.raises(InvalidDefinitionError, match="take: its params cannot be validated"):
        await broker.start()
    assert not broker.is_started


async def test_a_node_makes_no_models_of_the_params_of_its_own_actions_until_they_are_asked_for():
    """They would be most of the start of each command that calls an action."""
    async with node() as broker:
        (listed,) = [s for s in broker.services.values() if s.full_name == "$node"]
        definition = listed.actions["list"].definition
        assert "params" not in vars(definition)
        assert "params" not in broker.catalog.actions["$node.list"].all[0].description

        (told,) = await broker.call("$node.services", {"withActions": True, "onlyLocal": True})
        (described,) = await broker.call("$node.list", {"withServices": True})
        named = {each["name"]: each for each in await broker.call("$node.actions")}
        params = named["$node.list"]["action"]["params"]
        assert params == told["actions"]["$node.list"]["params"]
        assert params == described["services"][0]["actions"]["$node.list"]["params"]
        assert set(params) == {"withServices", "onlyAvailable"}


async def test_what_is_waited_for_is_told_from_time_to_time(monkeypatch, caplog):
    monkeypatch.setattr("dama.broker.arrivals.TELL_SECONDS", 0.01)
    broker = node(Service("user", dependencies=["base"]), dependency_timeout=0.1)
    with pytest.raises(ServiceNotFoundError):
        await broker.start()
    assert "n1 waits for the service base" in caplog.text


async def test_what_misses_others_starts_in_the_background_and_all_else_first():
    """A gateway serves what is there; a service that comes later starts those that need it."""
    names = {"last": ["middle"], "middle": ["first"], "first": [], "needy": ["late"]}
    broker = node(*(Service(name, dependencies=needed) for name, needed in names.items()))
    await broker.start(waits=False)
    try:
        assert set(broker.waiting_services()) == {"needy"}
        await broker.add(Service("late"))
        await broker.wait_for_services("needy", timeout=60)
        assert broker.waiting_services() == {}
    finally:
        await broker.stop()


async def test_running_calls_end_before_their_service_stops():
    service, order, entered = Service("s"), [], asyncio.Event()

    @service.action
    async def slow(call):
        entered.set()
        await asyncio.sleep(0.05)
        order.append("answered")

    service.stopped(lambda _: order.append("stopped"))
    async with node(service) as broker:
        call = asyncio.ensure_future(broker.call("s.slow"))
        await entered.wait()
    await call
    assert order == ["answered", "stopped"]


async def test_services_come_and_go_while_the_broker_runs():
    service, _ = counting()
    async with node() as broker:
        waiting = asyncio.ensure_future(broker.wait_for_services("s"))
        await asyncio.sleep(0)
        await broker.add(service)
        await waiting
        assert await broker.call("s.do") == 1
        await broker.remove("s")
        with pytest.raises(ServiceNotFoundError):
            await broker.call("s.do")
        with pytest.raises(ServiceNotFoundError):
            await broker.remove("s")


async def test_other_nodes_are_not_told_what_is_secure():
    service = Service(
        "s",
        settings={"url": "x", "password": "p", "open": open, "$secureSettings": ["password"]},
        metadata={"team": "data"},
    )
    async with node(service) as broker:
        (told,) = [s for s in broker.info()["services"] if s["name"] == "s"]
        assert told["settings"] == {"url": "x"}
        assert broker.services["s"].settings["password"] == "p"  # noqa: S105


async def test_the_node_lists_what_it_has():
    service, _ = counting(timeout=3, rest="GET /do")
    service.on("x.*", group="g")(lambda call: None)
    async with node(service) as broker:
        (listed,) = await broker.call("$node.list", {"withServices": True})
        assert (listed["id"], listed["local"], listed["available"]) == ("n1", True, True)
        assert {s["name"] for s in listed["services"]} == {"$node", "s"}
        (action,) = await broker.call("$node.actions", {"skipInternal": True})
        assert (action["name"], action["hasLocal"], action["count"]) == ("s.do", True, 1)
        assert action["action"]["params"]["n"] == {
            "type": "number",
            "integer": True,
            "optional": True,
            "default": 0,
        }
        assert action["action"]["timeout"] == 3000
        assert (await broker.call("$node.events"))[0]["group"] == "g"
        assert (await broker.call("$node.health"))["client"]["type"] == "python"
        assert (await broker.call("$node.options"))["prefer_local"] is True
        metrics = {m["name"]: m for m in await broker.call("$node.metrics")}
        assert metrics["moleculer.request.total"]["values"][0]["value"] > 0


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"visibility": "secret"}, "visibility is 'secret'"),
        ({"timout": 5}, "Did you mean 'timeout'"),
        ({"timeout": "soon"}, "timeout"),
        ({"scope": "root"}, "scope is 'root'"),
    ],
)
def test_settings_of_an_action_that_make_no_sense_are_refused(settings, told):
    with pytest.raises(InvalidDefinitionError) as raised:
        Service("s").action(name="do", **settings)(lambda call: None)
    assert told in f"{raised.value} {raised.value.hint}"


def test_names_that_can_not_be_called_are_refused():
    with pytest.raises(InvalidDefinitionError, match="cannot be the name of an action"):
        Service("s").action(name="no spaces")(lambda call: None)
    service, _ = counting()
    with pytest.raises(DuplicateNameError):
        service.action(name="do")(lambda call: None)
    with pytest.raises(InvalidDefinitionError, match="takes 2 things"):
        Service("s").on("x")(lambda call, a, b: None)


def test_an_error_keeps_what_it_is_on_its_way():
    from dama.broker.errors import decode_error, encode_error
    from dama.errors import NotFoundError

    sent = encode_error(ClientCallError("no", status=409, code="IN_USE", data=[1]), "n1")
    back = decode_error(sent, "n2")
    assert type(back) is ClientCallError
    assert (back.message, back.status, back.code, back.data, back.node_id, back.retryable) == (
        "no", 409, "IN_USE", [1], "n1", False,
    )  # fmt: skip
    sent = encode_error(NotFoundError("no context", "look again"), "n1")
    assert (sent["code"], sent["type"], sent["data"]) == (404, "NOT_FOUND", {"hint": "look again"})
    for nonsense in (None, [], "x", {"code": "y", "retryable": 3, "type": []}):
        assert isinstance(decode_error(nonsense, "n2"), CallError)
