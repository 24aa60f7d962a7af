"""Events: who gets them, and what becomes known of failures."""

from __future__ import annotations

import pytest

from dama import Service
from dama.broker.pattern import matches

from .nodes import node


def listening(name, pattern, group=None):
    service, heard = Service(name), []

    @service.on(pattern, group=group)
    async def note(call, payload):
        heard.append((call.name, payload))

    return service, heard


@pytest.mark.parametrize(
    ("name", "pattern", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.*", True),
        ("a.b.c", "a.*", False),
        ("a.b.c", "a.**", True),
        ("a.b.c", "a.*.c", True),
        ("a.bc", "a.b*", True),
        ("a.b", "a.?", True),
        ("a.bc", "a.?", False),
        ("a.b", "**", True),
        ("a", "*", True),
        ("a.b", "*", False),
        ("axb", "a.b", False),
        ("a.b", "a.b.**", False),
    ],
)
def test_patterns_of_events(name, pattern, fits):
    assert matches(name, pattern) is fits


async def test_of_each_group_one_handler_gets_an_event_that_is_emitted():
    one, heard_one = listening("one", "x.*", "group")
    two, heard_two = listening("two", "x.*", "group")
    three, heard_three = listening("three", "x.*")
    async with node(one, two, three) as broker:
        await broker.emit("x.y", 1)
        assert len(heard_one) + len(heard_two) == 1
        assert heard_three == [("x.y", 1)]
        await broker.emit("x.y", 2, groups=["three"])
        assert heard_three[1:] == [("x.y", 2)]
        assert len(heard_one) + len(heard_two) == 1


async def test_all_handlers_get_an_event_that_is_broadcast():
    one, heard_one = listening("one", "x", "group")
    two, heard_two = listening("two", "x", "group")
    async with node(one, two) as broker:
        await broker.broadcast("x", 1)
        await broker.broadcast_local("x", 2)
        await broker.broadcast("x", 3, groups=["other"])
    assert heard_one == heard_two == [("x", 1), ("x", 2)]


async def test_an_event_of_a_call_belongs_to_its_request():
    service, seen = Service("s"), []

    @service.action
    async def do(call):
        await call.emit("done", {"n": 1})

    @service.on("done")
    def note(call):
        seen.append(call)

    async with node(service) as broker:
        await broker.call("s.do", request_id="r", meta={"user": "ada"})
    (call,) = seen
    assert (call.request_id, call.meta, call.level, call.caller) == ("r", {"user": "ada"}, 2, "s")
    assert (call.event_type, call.params) == ("emit", {"n": 1})


async def test_a_handler_that_fails_is_logged_and_stops_nobody(caplog):
    service, heard = listening("s", "x")
    failing = Service("failing")

    @failing.on("x")
    def fail(call):
        raise RuntimeError("a bug")

    async with node(failing, service) as broker:
        await broker.emit("x", 1)
    assert heard == [("x", 1)]
    assert "fail of failing failed on x" in caplog.text


async def test_the_payload_of_an_event_is_validated_by_its_type(caplog):
    service, heard = Service("s"), []

    @service.on("n")
    def note(call, number: int):
        heard.append(number)

    async with node(service) as broker:
        await broker.emit("n", "5")
        await broker.emit("n", "five")
    assert heard == [5]
    assert "The payload of n does not fit" in caplog.text


async def test_the_broker_tells_of_itself_to_its_own_handlers():
    service, heard = listening("s", "$**")
    async with node(service):
        pass
    names = [name for name, _ in heard]
    assert names[0] == "$services.changed"
    assert "$broker.started" in names
