"""Hooks, parts and middleware: what goes around actions."""

from __future__ import annotations

import pytest

from dama import Service
from dama.broker.errors import (
    ClientCallError,
)
from dama.broker.middleware import Middleware
from dama.definitions.part import Part

from .nodes import counting, node


async def test_hooks_go_around_an_action_from_the_outside_in_and_back():
    service, seen = Service("s"), []

    def note(word):
        return lambda *_: seen.append(word)

    service.before("*")(note("before all"))
    service.before("do-*")(note("before other"))
    service.after("*")(note("after all"))

    @service.action(before=note("before it"), after=[note("after it")])
    async def do(call):
        seen.append("it")

    async with node(service) as broker:
        await broker.call("s.do")
    assert seen == ["before all", "before it", "it", "after it", "after all"]


async def test_hooks_change_params_results_and_errors():
    service = Service("s")

    @service.before("greet")
    def trim(call):
        call.params["name"] = call.params["name"].strip()

    @service.after("greet")
    async def shout(call, result):
        return result.upper()

    @service.on_error("*")
    def rename(call, error):
        if isinstance(error, KeyError):
            raise ClientCallError("not there", code="NOT_THERE")
        return "saved"

    @service.action
    async def greet(call, name: str):
        if name == "nobody":
            raise KeyError(name)
        if name == "?":
            raise RuntimeError(name)
        return f"hello {name}"

    async with node(service) as broker:
        assert await broker.call("s.greet", {"name": " ada "}) == "HELLO ADA"
        assert await broker.call("s.greet", {"name": "?"}) == "saved"
        with pytest.raises(ClientCallError, match="not there"):
            await broker.call("s.greet", {"name": "nobody"})


async def test_services_share_parts():
    audit = Part(settings={"audit": {"table": "log", "keep": 30}}, dependencies=["base"])
    seen = []

    @audit.before()
    def note(call):
        seen.append((call.service.name, call.settings["audit"]))

    @audit.action
    async def shared(call):
        return f"shared by {call.service.name}"

    audit.started(lambda service: seen.append(("started part", service.name)))
    audit.stopped(lambda service: seen.append(("stopped part", service.name)))
    flights = Service("flights", parts=[audit], settings={"audit": {"keep": 7}})
    planes = Service("planes", parts=[audit])
    flights.started(lambda service: seen.append(("started", service.name)))
    flights.stopped(lambda service: seen.append(("stopped", service.name)))

    async with node(flights, planes, Service("base")) as broker:
        assert await broker.call("flights.shared") == "shared by flights"
        assert await broker.call("planes.shared") == "shared by planes"

    assert ("flights", {"table": "log", "keep": 7}) in seen
    assert ("planes", {"table": "log", "keep": 30}) in seen
    assert [s for s in seen if s[1] == "flights" and isinstance(s[0], str)] == [
        ("started part", "flights"),
        ("started", "flights"),
        ("stopped", "flights"),
        ("stopped part", "flights"),
    ]


async def test_middleware_wraps_what_it_wants():  # noqa: C901 - one of each wrapper
    class Notes(Middleware):
        def __init__(self, name):
            self.name = name

        def local_action(self, perform, action):
            async def noted(call):
                seen.append((self.name, "action", action.name))
                return await perform(call)

            return noted

        def call(self, perform):
            async def noted(call):
                seen.append((self.name, "call", call.name))
                return await perform(call)

            return noted

        def emit(self, perform):
            async def noted(call):
                seen.append((self.name, "emit", call.name))
                await perform(call)

            return noted

        async def service_started(self, service):
            seen.append((self.name, "started", service.full_name))

    seen: list = []
    service, _ = counting()
    async with node(service, node_service=False, middleware=[Notes("a"), Notes("b")]) as broker:
        await broker.call("s.do", timeout=5)
        await broker.emit("x")
    assert seen == [
        ("a", "started", "s"),
        ("b", "started", "s"),
        ("a", "call", "s.do"),
        ("b", "call", "s.do"),
        ("a", "action", "s.do"),
        ("b", "action", "s.do"),
        ("a", "emit", "x"),
        ("b", "emit", "x"),
    ]
