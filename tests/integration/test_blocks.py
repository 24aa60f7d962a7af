"""No input of permitted size holds the loop: what is large is worked on in a thread.

Which thread works is looked at, not how long it takes: benchmarks/blocks.py measures that.
"""

from __future__ import annotations

import asyncio
import threading
from typing import Annotated, Any

import pytest
from pydantic import AfterValidator

from dama import Service, Task
from dama.app import App
from dama.beside import MOST_PARTS
from dama.broker.broker import Broker
from dama.definitions.registry import Registry
from dama.domain import secrets
from dama.domain.event import Event
from dama.domain.exact import decode
from dama.gateway.aliases import Aliases
from dama.gateway.openapi import Documents
from dama.gateway.settings import GatewaySettings
from dama.operations import tasks
from dama.programs import leavings, shipping
from dama.store import Start
from tests.integration.test_programs import Programs

MANY = list(range(MOST_PARTS + 1))
threads: list[int] = []


def noted(value: Any) -> Any:
    threads.append(threading.get_ident())
    return value


class Noted(dict[str, Any]):
    """A payload that notes in which thread it is read."""

    def items(self) -> Any:
        return noted(super().items())


class Described:
    """A param that notes in which thread it is described."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        return handler(int)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> Any:
        return noted(handler(schema))


@pytest.fixture(autouse=True)
def forget():
    threads.clear()


def project() -> Service:
    service = Service("doors")

    @service.action
    async def count(call: Any, numbers: Annotated[list[int], AfterValidator(noted)]) -> int:
        return len(numbers)

    @service.action
    async def described(call: Any, number: Described) -> None:
        """Be described."""

    @service.task
    async def take(task: Task, numbers: Annotated[list[int], AfterValidator(noted)]) -> None:
        """Take numbers."""

    return service


@pytest.mark.parametrize(("numbers", "is_beside"), [([1], False), (MANY, True)])
async def test_params_of_an_action_are_checked_beside_the_loop(numbers, is_beside):
    async with Broker([project()]) as broker:
        threads.clear()  # it has told of its params
        assert await broker.call("doors.count", {"numbers": numbers}) == len(numbers)
    assert [thread != threading.get_ident() for thread in threads] == [is_beside]


@pytest.mark.parametrize(("numbers", "is_beside"), [([1], False), (MANY, True)])
async def test_params_of_a_task_are_checked_beside_the_loop(store, tmp_path, numbers, is_beside):
    app = App(store, Registry([project()]), tmp_path)
    context = await tasks.start(app, "doors.take", {"numbers": numbers})
    assert threads
    assert {thread != threading.get_ident() for thread in threads} == {is_beside}
    (event,) = await store.events(context)
    assert event.payload == {"numbers": numbers}


@pytest.mark.parametrize(("numbers", "is_beside"), [([1], False), (MANY, True)])
async def test_an_event_is_checked_and_written_beside_the_loop(store, numbers, is_beside):
    (context,) = await store.start([Start("doors.take", {"numbers": []})])
    await store.append(context, [Event("noted", Noted(numbers=numbers))])
    assert threads
    assert {thread != threading.get_ident() for thread in threads} == {is_beside}


async def test_the_document_is_made_once_for_each_change_and_beside_the_loop():
    async with Broker([project()]) as broker:
        threads.clear()
        documents = Documents(broker, Aliases(broker.catalog, GatewaySettings()), ())
        first = await documents.current()
        made = len(threads)
        assert made
        assert threading.get_ident() not in threads
        assert await documents.current() is first
        assert len(threads) == made
        await broker.add(Service("later"))
        assert await documents.current() is not first


@pytest.mark.parametrize(
    ("numbers", "key", "is_beside"),
    [([1], False, False), (MANY * 10, False, True), ([1], True, True)],
)
async def test_what_a_program_tells_is_read_beside_the_loop(
    store, tmp_path, monkeypatch, numbers, key, is_beside
):
    """Where it has secrets, all of it: a look for each of them takes longer."""
    monkeypatch.setattr(shipping, "decode", lambda text: noted(decode(text)))
    (tmp_path / "x.env").write_text("KEY=a-secret\n" if key else "")
    (tmp_path / "line").write_text(f'::dama:: {{"type": "a", "payload": {numbers}}}\n')
    programs = Programs(store, tmp_path)
    task = programs.declare("tells", "cat line", cwd=".", env_files=["x.env"])
    context = await programs.performed(task)
    assert [e.payload for e in await programs.events(context) if e.type == "a"] == [numbers]
    assert [thread != threading.get_ident() for thread in threads] == [is_beside]


async def test_the_result_of_a_program_is_read_beside_the_loop(store, tmp_path, monkeypatch):
    monkeypatch.setattr(leavings, "decode", lambda text: noted(decode(text)))
    programs = Programs(store, tmp_path)
    task = programs.declare("has-a-result", "echo '[1]' > $DAMA_RESULT")
    context = await programs.performed(task)
    assert (await programs.ended(context)).result == [1]
    assert threads
    assert threading.get_ident() not in threads


async def test_a_log_is_struck_out_beside_the_loop(store, tmp_path, monkeypatch):
    """Also the rest of it, when the program has ended: it may be long."""
    places = secrets.Secrets.places
    monkeypatch.setattr(secrets.Secrets, "places", lambda own, data: noted(places(own, data)))
    (tmp_path / "x.env").write_text("KEY=a-secret\n")
    programs = Programs(store, tmp_path)
    task = programs.declare("prints", "env; env >&2; env >> $DAMA_EVENTS", env_files=["x.env"])
    await programs.performed(task)
    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize(("numbers", "is_beside"), [([1], False), (MANY, True)])
async def test_a_result_is_made_json_and_read_beside_the_loop(
    store, tmp_path, monkeypatch, numbers, is_beside
):
    service = Service("results")

    @service.task
    async def give(task: Task) -> Annotated[list[int], AfterValidator(noted)]:
        return await task.step("make", make)

    def make() -> Annotated[list[int], AfterValidator(noted)]:
        return numbers

    app = App(store, Registry([service]), tmp_path)
    async with app.working():
        context = await tasks.start(app, "results.give", {})
        async with asyncio.timeout(30):
            while not (found := await store.outcomes([context])):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
    assert found[context].result == numbers
    assert {thread != threading.get_ident() for thread in threads} == {is_beside}
