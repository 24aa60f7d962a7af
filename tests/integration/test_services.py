"""The services of the product: tasks, contexts, events and so on, called as any action is."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import psycopg
import pytest

from dama import Service, SyncTask, Task
from dama.app import App
from dama.broker.errors import ClientCallError, ValidationError
from dama.definitions.registry import Registry
from dama.errors import DamaError, NotFoundError
from dama.run.errors import TaskUsageError
from dama.shipped.node import node_of
from dama.shipped.tasks import TaskFailedError
from dama.store.errors import SchemaError

office = Service("office")
calls: list[dict] = []


@office.action
async def stamp(call, text: str, fail: bool = False) -> str:  # noqa: FBT001, FBT002
    """Stamp a text."""
    calls.append(dict(call.meta))
    if fail:
        raise ClientCallError("no ink", status=409, code="NO_INK", data={"colour": "red"})
    return f"[{text}]"


@office.task
async def letter(task: Task, text: str, fail: bool = False, replay: bool = False) -> str:  # noqa: FBT001, FBT002
    """Stamp a text twice, by an action."""
    first = await task.call("office.stamp", {"text": text, "fail": fail})
    if replay and task.attempt == 1:
        raise RuntimeError("once more")
    return await task.call("office.stamp", {"text": first}, name="again")


@office.task
def blocking(task: SyncTask, text: str) -> str:
    """Stamp a text, in a thread."""
    return task.call("office.stamp", {"text": text})


@office.task(retries=1, backoff=0.001)
async def tenacious(task: Task, text: str) -> str:
    """Stamp a text, fail once, and continue."""
    stamped = await task.call("office.stamp", {"text": text})
    if task.attempt == 1:
        raise RuntimeError("once more")
    return stamped


@office.task
async def approval(task: Task) -> object:
    """Wait for a signal."""
    return await task.wait_for("approved")


@office.task(isolation="process")
async def alone(task: Task) -> object:
    """Call from a process of its own."""
    return await task.call("office.stamp", {"text": "x"})


@pytest.fixture(autouse=True)
def nothing_called():
    calls.clear()


@asynccontextmanager
async def opened(store, *, working=True):
    app = App(store, Registry([office]))
    async with node_of(app, {}, ""):
        broker = await app.broker()
        if not working:
            yield broker
            return
        async with app.working():
            yield broker


@pytest.fixture
async def broker(store):
    async with opened(store) as broker:
        yield broker


async def test_a_task_is_started_awaited_and_read(broker):
    started = await broker.call(
        "tasks.start", {"name": "office.letter", "params": {"text": "a"}}, meta={"user": "ada"}
    )
    assert await broker.call("tasks.wait", started) == "[[a]]"

    context = await broker.call("contexts.get", started)
    assert (context["status"], context["task"], context["result"]) == (
        "DONE", "office.letter", "[[a]]",
    )  # fmt: skip
    events = (await broker.call("contexts.events", started))["events"]
    assert [e["type"].removeprefix("office.letter") for e in events] == [
        ":INITIAL", ":STARTED", "/office.stamp:DONE", "/again:DONE", ":FINAL",
    ]  # fmt: skip
    assert events[0]["meta"]["user"] == "ada"
    listed = await broker.call("contexts.list", {"status": "DONE", "limit": 1})
    assert listed["contexts"][0]["context_id"] == started["context_id"]
    assert listed["next_before"] == started["context_id"]
    assert len(await broker.call("contexts.tree", started)) == 1
    state = await broker.call("contexts.state", {**started, "at": events[1]["event_id"]})
    assert state["status"] == "OPEN"


async def test_a_task_is_run_in_one_call(broker):
    params = {"name": "office.blocking", "params": {"text": "b"}}
    assert await broker.call("tasks.run", params) == "[b]"


async def test_a_second_start_with_a_key_is_the_first(broker):
    params = {"name": "office.letter", "params": {"text": "a"}, "key": "k"}
    assert await broker.call("tasks.start", params) == await broker.call("tasks.start", params)
    assert await broker.call("tasks.run", params) == "[[a]]"
    assert len(calls) == 2


async def test_an_action_that_has_answered_is_not_called_again(broker):
    params = {"name": "office.tenacious", "params": {"text": "a"}}
    assert await broker.call("tasks.run", params) == "[a]"
    assert len(calls) == 1


async def test_an_action_knows_the_context_that_calls_it(broker):
    started = await broker.call("tasks.start", {"name": "office.letter", "params": {"text": "a"}})
    await broker.call("tasks.wait", started)
    id_ = started["context_id"]
    trace = calls[0].pop("traceparent")
    assert trace.startswith("00-")
    assert calls[0] == {
        "context_id": id_,
        "root_context_id": id_,
        "task": "office.letter",
        "idempotency_key": f"{id_}/office.stamp",
    }
    assert calls[1]["idempotency_key"] == f"{id_}/again"


async def test_a_trace_goes_on_through_tasks_and_the_actions_that_they_call(broker):
    given = f"00-{'a' * 32}-{'b' * 16}-01"
    params = {"name": "office.letter", "params": {"text": "a"}}
    await broker.call("tasks.run", params, meta={"traceparent": given})
    traces = {call["traceparent"] for call in calls}
    assert [trace.split("-")[1] for trace in traces] == ["a" * 32]
    assert given not in traces


async def test_the_failure_of_an_action_is_that_of_its_step(broker):
    """Code, type and data are the same in the event, and for who waits for the task."""
    params = {"name": "office.letter", "params": {"text": "a", "fail": True}}
    started = await broker.call("tasks.start", params)
    with pytest.raises(TaskFailedError) as raised:
        await broker.call("tasks.wait", started)
    assert raised.value.code == "NO_INK"
    assert raised.value.data["data"] == {"colour": "red"}

    events = (await broker.call("contexts.events", started))["events"]
    (failed,) = [e for e in events if e["type"].endswith("/office.stamp:FAILED")]
    told = {key: failed["payload"][key] for key in ("name", "message", "code", "type", "data")}
    assert told == {
        "name": "MoleculerClientError",
        "message": "no ink",
        "code": 409,
        "type": "NO_INK",
        "data": {"colour": "red"},
    }


async def test_a_run_in_a_process_of_its_own_says_that_it_can_call_nothing():
    from dama.run.broker_source import no_broker

    with pytest.raises(TaskUsageError, match="process of its own"):
        await no_broker()


async def test_a_signal_reaches_a_task(broker):
    started = await broker.call("tasks.start", {"name": "office.approval"})
    event = {"type": "approved", "payload": {"by": "ada"}}
    await broker.call("events.dispatch", {**started, "event": event}, meta={"user": "ada"})
    assert await broker.call("tasks.wait", started) == {"by": "ada"}
    page = await broker.call("events.read")
    (read,) = [e for e in page["events"] if e["type"] == "approved"]
    assert read["meta"]["user"] == "ada"


async def test_a_task_that_is_cancelled_tells_who_waits(broker):
    started = await broker.call("tasks.start", {"name": "office.approval"})
    waiting = asyncio.ensure_future(broker.call("tasks.wait", started))
    await asyncio.sleep(0)
    assert await broker.call("tasks.cancel", started) == {"cancelled": [started["context_id"]]}
    with pytest.raises(TaskFailedError, match="CANCELLED"):
        await waiting


async def test_many_wait_at_once_for_different_contexts(broker):
    starts = [{"name": "office.letter", "params": {"text": str(n)}} for n in range(50)]
    results = await asyncio.gather(*(broker.call("tasks.run", start) for start in starts))
    assert results == [f"[[{n}]]" for n in range(50)]


async def test_who_waits_is_told_when_nobody_can_say_any_more(broker, store, database_url):
    started = await broker.call("tasks.start", {"name": "office.approval"})
    waiting = asyncio.ensure_future(broker.call("tasks.wait", started))
    await asyncio.sleep(0.2)
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("SET search_path = _data_manager_admin")
        await connection.execute("ALTER TABLE event_store_prototype RENAME TO gone")
        with pytest.raises(SchemaError, match="not complete"):
            async with asyncio.timeout(60):
                await waiting
        await connection.execute("ALTER TABLE gone RENAME TO event_store_prototype")


async def test_what_is_wrong_is_told_before_anything_is_done(broker):
    for action, params, error in (
        ("tasks.start", {"name": "office.letter", "params": {"txt": "a"}}, DamaError),
        ("tasks.start", {"name": "no.task"}, DamaError),
        ("tasks.wait", {"context_id": 999}, NotFoundError),
        ("contexts.get", {"context_id": 999}, NotFoundError),
        ("contexts.get", {"context_id": 2**70}, ValidationError),
        ("contexts.list", {"limit": 10**9}, ValidationError),
        ("events.dispatch", {"context_id": 1, "event": {"kind": "x"}}, DamaError),
    ):
        with pytest.raises(error):
            await broker.call(action, params)


async def test_schedules_queues_and_workers_are_listed_and_changed(broker):
    schedule = {"name": "daily", "task": "office.letter", "cron": "0 4 * * *"}
    made = await broker.call("schedules.add", {**schedule, "params": {"text": "a"}})
    assert "T04:00:00" in made["next_at"]
    await broker.call("schedules.pause", {"name": "daily"})
    assert (await broker.call("schedules.get", {"name": "daily"}))["paused"] is True
    await broker.call("schedules.resume", {"name": "daily"})
    assert [s["paused"] for s in await broker.call("schedules.list")] == [False]
    await broker.call("schedules.remove", {"name": "daily"})
    assert await broker.call("schedules.list") == []

    await broker.call("queues.pause", {"queue": "default"})
    assert [q["paused"] for q in await broker.call("queues.list")] == [True]
    await broker.call("queues.resume", {"queue": "default"})
    assert [w["alive"] for w in await broker.call("workers.list")] == [True]


async def test_the_tasks_that_can_be_started_are_listed_with_their_params(broker):
    tasks = {task["name"]: task for task in await broker.call("tasks.list")}
    assert tasks["office.letter"]["params"]["properties"]["text"]["type"] == "string"
