"""Forks: a new context shares the history of another one up to an event, and continues there."""

from __future__ import annotations

import random
from datetime import timedelta

import psycopg
import pytest

from dama import Service, Slice, Task
from dama.app import App
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.domain.lifecycle import lifecycle
from dama.operations import contexts, forks, tasks
from dama.operations.forks import Edits, ForkError
from dama.store.errors import LifeCycleError, UnknownContextError, UnknownEventError
from dama.store.windows import ContextFilter

loads = Service("loads")
rows = Slice("forked_rows", initial=0)
done: list[tuple[int, str]] = []


@rows.reducer
def added(state: int, by: int) -> int:
    """Add."""
    return state + by


def note(context_id: int, name: str, result: int) -> int:
    """What is done, once each."""
    done.append((context_id, name))
    return result


def insert(connection, context_id: int) -> str:
    connection.execute("CREATE TABLE IF NOT EXISTS loaded (context_id bigint)")
    connection.execute("INSERT INTO loaded VALUES (%s)", [context_id])
    return "inserted"


@loads.task
async def load(task: Task, factor: int = 1, *, fails: bool = False) -> int:
    """Three steps, an event after each, and an answer before the last."""
    one = await task.step("one", note, task.context_id, "one", 10)
    await task.dispatch(added(one))
    two = await task.step("two", note, task.context_id, "two", one * factor)
    await task.dispatch(added(two))
    if fails:
        raise ValueError("no")
    answer = await task.wait_for("approved")
    await task.transaction("insert", insert, task.context_id)
    return two + answer["bonus"]


@loads.task
async def child(task: Task, n: int) -> int:
    """One step."""
    value = await task.step("value", note, task.context_id, f"child {n}", n)
    if n == 3:
        await task.wait_for("go")
    return value


@loads.task
async def parent(task: Task, count: int = 3) -> int:
    """Children side by side."""
    values = await task.map(child, [{"n": n + 1} for n in range(count)])
    return await task.step("sum", note, task.context_id, "sum", sum(values))


@loads.task(fork="refuse")
async def mail(task: Task) -> None:
    """What must not be done twice."""
    await task.step("send", note, task.context_id, "send", 0)


@pytest.fixture(autouse=True)
def nothing_done():
    done.clear()


@pytest.fixture
async def app(store, tmp_path):
    return App(store, Registry([loads]), tmp_path)


async def until(app, context_id, is_reached):
    """Work until something is true of the events of a context; gives them."""
    async with app.working():
        async for _ in contexts.follow(app, context_id):
            events = (await contexts.events(app, context_id)).events
            if is_reached(events):
                return events
    return (await contexts.events(app, context_id)).events


async def result_of(app, context_id):
    """Work until a context has ended; its result."""
    await until(app, context_id, lambda events: events[-1].type.endswith((":FINAL", ":ERROR")))
    return (await contexts.outcome(app, context_id)).result


def waits(events):
    return any(event.type.endswith(":WAITING") for event in events)


def place(events, suffix):
    return next(event for event in events if event.type.endswith(suffix))


async def waiting(app, **params):
    """A load that waits for its answer, with its events."""
    context_id = await tasks.start(app, load, params)
    return context_id, await until(app, context_id, waits)


async def test_a_fork_does_not_do_again_what_was_done_before_its_event(app):
    """Steps before the event are shared, those after it are done again, and nothing is changed."""
    context_id, events = await waiting(app)
    before = (await contexts.events(app, context_id)).events
    made = await forks.fork(app, context_id, place(events, "/one:DONE").event_id)
    await contexts.dispatch(app, made.context_id, {"type": "approved", "payload": {"bonus": 5}})
    assert await result_of(app, made.context_id) == 15
    assert done == [
        (context_id, "one"), (context_id, "two"), (made.context_id, "two"),
    ]  # fmt: skip
    assert made.done_again == ["two"]
    assert (await contexts.events(app, context_id)).events[: len(before)] == before
    assert (await app.store.forks.of(context_id)) == (None, [made.context_id])
    origin, none = await app.store.forks.of(made.context_id)
    assert (origin.context_id, origin.version, none) == (context_id, made.version, [])


async def test_the_copied_history_is_the_same_and_says_so(app):
    """Type, payload, version and time of each event; its meta says which one it copies."""
    context_id, events = await waiting(app)
    at = place(events, "/two:DONE")
    made = await forks.fork(app, context_id, at.event_id)
    copied = (await contexts.events(app, made.context_id)).events
    shared = [event for event in events if event.version <= at.version]
    assert [(e.type, e.payload, e.version, e.created_at) for e in copied[:-1]] == [
        (e.type, e.payload, e.version, e.created_at) for e in shared
    ]
    assert [event.meta["copied_from"] for event in copied[:-1]] == [e.event_id for e in shared]
    assert copied[-1].type == "loads.load:RESUMED"
    assert copied[-1].payload == {
        "forked_from": {"context_id": context_id, "event_id": at.event_id, "version": at.version}
    }
    assert await contexts.state(app, made.context_id, "forked_rows", copied[-2].event_id) == 10
    then = await contexts.state(app, context_id, lifecycle, at.event_id)
    assert await contexts.state(app, made.context_id, lifecycle, copied[-2].event_id) == then
    assert await app.store.differences() == []


@pytest.mark.parametrize("end", ["DONE", "ERROR", "CANCELLED", "archived", "running"])
async def test_contexts_in_any_state_can_be_forked(app, end):
    """Each continues from the event, whatever became of the other."""
    context_id, events = await waiting(app, fails=end == "ERROR")
    at = place(events, "/one:DONE").event_id
    if end == "CANCELLED":
        await contexts.cancel(app, context_id)
    elif end in {"DONE", "archived"}:
        await contexts.dispatch(app, context_id, {"type": "approved", "payload": {"bonus": 1}})
        assert await result_of(app, context_id) == 11
    if end == "archived":
        assert [part async for part in app.store.archive.add(timedelta(0))]
    edited = {"fails": False} if end == "ERROR" else {}
    made = await forks.fork(app, context_id, at, edits=Edits(params=edited))
    await contexts.dispatch(app, made.context_id, {"type": "approved", "payload": {"bonus": 2}})
    assert await result_of(app, made.context_id) == 12
    assert made.rows_are_there == (["insert"] if end in {"DONE", "archived"} else [])


async def test_an_answer_can_be_another_one_in_the_fork(app):
    """The payload of the event itself is edited; the original keeps its own."""
    context_id, _ = await waiting(app)
    await contexts.dispatch(app, context_id, {"type": "approved", "payload": {"bonus": 1}})
    assert await result_of(app, context_id) == 11
    events = (await contexts.events(app, context_id)).events
    at = place(events, "approved").event_id
    made = await forks.fork(app, context_id, at, edits=Edits(payload={"bonus": 90}))
    assert await result_of(app, made.context_id) == 100
    assert made.edited == [place(events, "approved").version]
    assert (await contexts.outcome(app, context_id)).result == 11


async def test_params_can_be_others_where_no_step_saw_them(app):
    """The steps before are kept; a step that gets other arguments than recorded is refused."""
    context_id, events = await waiting(app)
    made = await forks.fork(
        app, context_id, place(events, "/one:DONE").event_id, edits=Edits(params={"factor": 7})
    )
    await contexts.dispatch(app, made.context_id, {"type": "approved", "payload": {"bonus": 0}})
    assert await result_of(app, made.context_id) == 70
    late = await forks.fork(
        app, context_id, place(events, "/two:DONE").event_id, edits=Edits(params={"factor": 7})
    )
    await result_of(app, late.context_id)
    ended = await contexts.outcome(app, late.context_id)
    assert ended.error["name"] == "DivergedError"


async def test_subtasks_that_were_done_are_shared_and_others_are_forked_too(app):
    """A tree is forked at its root: children that were open then continue on their own."""
    context_id = await tasks.start(app, parent, {})
    ended = 0
    async with app.working():
        async for event in contexts.follow(app, context_id, tree=True):
            ended += event.type.endswith(".child:FINAL")
            if ended == 2 and len(done) == 3:
                break
    rows = await contexts.tree(app, context_id)
    third = next(row for row in rows if row.parent_id and row.status == "OPEN")
    events = (await contexts.events(app, context_id)).events
    spawned = place(events, ":SPAWNED")
    await app.store.append(third.context_id, [Event("x")])
    latest = (await contexts.events(app, third.context_id)).events[-1]
    assert latest.type == "x"
    marked = await contexts.dispatch(app, context_id, {"type": "marked"})
    made = await forks.fork(app, context_id, marked)
    copy = place((await contexts.events(app, made.context_id)).events, ":SPAWNED")
    kept = [i for i in spawned.payload["context_ids"] if i in copy.payload["context_ids"]]
    assert 1 <= len(kept) <= 2
    for context in made.contexts[1:]:
        await contexts.dispatch(app, context, {"type": "go"})
    assert await result_of(app, made.context_id) == 6
    assert (await app.store.context(third.context_id)).status == "OPEN"
    await contexts.dispatch(app, third.context_id, {"type": "go"})
    assert await result_of(app, context_id) == 6


async def test_a_fork_of_a_fork_is_a_fork(app):
    """Each says where it comes from."""
    context_id, events = await waiting(app)
    first = await forks.fork(app, context_id, place(events, "/one:DONE").event_id)
    again = await until(app, first.context_id, waits)
    second = await forks.fork(app, first.context_id, place(again, "/two:DONE").event_id)
    await contexts.dispatch(app, second.context_id, {"type": "approved", "payload": {"bonus": 3}})
    assert await result_of(app, second.context_id) == 13
    origin, _ = await app.store.forks.of(second.context_id)
    assert origin.context_id == first.context_id


async def test_what_cannot_be_forked_is_refused(app):
    """The end of a context, events of others, a task that says so, edits that lie."""
    context_id, events = await waiting(app)
    await contexts.dispatch(app, context_id, {"type": "approved", "payload": {"bonus": 1}})
    await result_of(app, context_id)
    final = (await contexts.events(app, context_id)).events[-1]
    with pytest.raises(LifeCycleError, match="has ended with this event"):
        await forks.fork(app, context_id, final.event_id)
    with pytest.raises(UnknownEventError):
        await forks.fork(app, context_id, 10**9)
    with pytest.raises(UnknownContextError):
        await forks.fork(app, 10**9, final.event_id)
    with pytest.raises(ForkError, match="controller's own"):
        await forks.fork(
            app, context_id, place(events, ":STARTED").event_id, edits=Edits(payload={})
        )
    with pytest.raises(ForkError, match="neither"):
        await forks.fork(app, context_id)
    sent = await tasks.start(app, mail, {})
    await result_of(app, sent)
    with pytest.raises(LifeCycleError, match="fork='refuse'"):
        await forks.fork(
            app, sent, place((await contexts.events(app, sent)).events, ":STARTED").event_id
        )
    assert (await app.store.forks.of(context_id)) == (None, [])


async def test_a_fork_before_a_step_does_that_step_again(app):
    """By the key of a step; the one that failed when nothing is recorded of it."""
    context_id, _ = await waiting(app, fails=True)
    made = await forks.fork(app, context_id, step="two", edits=Edits(params={"fails": False}))
    await contexts.dispatch(app, made.context_id, {"type": "approved", "payload": {"bonus": 0}})
    assert await result_of(app, made.context_id) == 10
    assert [each for each in done if each[0] == made.context_id] == [(made.context_id, "two")]


async def test_a_fork_before_a_step_does_no_subtask_again_that_the_step_came_after(app):
    """A run writes nothing when its subtasks end: its own last event is from before."""
    context_id = await tasks.start(app, parent, {"count": 2})
    assert await result_of(app, context_id) == 3
    spawned = place((await contexts.events(app, context_id)).events, ":SPAWNED")

    before_sum = await forks.fork(app, context_id, step="sum")
    at_the_start = await forks.fork(app, context_id, spawned.event_id)

    assert await result_of(app, before_sum.context_id) == 3
    assert len(before_sum.contexts) == 1
    assert [name for each, name in done if each == before_sum.context_id] == ["sum"]
    assert len(at_the_start.contexts) == 3


@pytest.mark.parametrize("seed", range(3))
async def test_a_fork_at_any_event_is_that_prefix(app, seed):
    """Random histories, forked at random events and forked again: the folds are the same."""
    chance = random.Random(seed)
    context_id = await tasks.start(app, load, {})
    for _ in range(chance.randint(1, 8)):
        events = [
            chance.choice([added(chance.randint(1, 9)), Event("x", {"n": [1]}), Event("y", None)])
            for _ in range(chance.randint(1, 5))
        ]
        await app.store.append(context_id, events)
    for _ in range(6):
        history = (await contexts.events(app, context_id)).events
        at = chance.choice(history)
        if at.type.endswith(":RESUMED"):
            continue
        made = await forks.fork(app, context_id, at.event_id)
        copied = (await contexts.events(app, made.context_id)).events
        assert [event.version for event in copied] == [*range(1, at.version + 2)]
        for version in range(1, at.version + 1):
            there, here = history[version - 1].event_id, copied[version - 1].event_id
            for slice_ in (rows, lifecycle):
                assert await contexts.state(app, made.context_id, slice_, here) == (
                    await contexts.state(app, context_id, slice_, there)
                )
        context_id = made.context_id
    assert await app.store.differences() == []


async def test_a_batch_forks_what_has_no_fork_yet(app):
    """All that failed, before a step; the second call finds nothing left, nor in the forks."""
    failed = [(await waiting(app, fails=True))[0] for _ in range(3)]
    healthy, _ = await waiting(app)
    chosen = ContextFilter(task="loads.load", status="ERROR")
    batch = await forks.fork_all(app, chosen, "two", params={"fails": False})
    assert sorted(made.forked_from for made in batch.forks) == failed
    again = await forks.fork_all(app, chosen, "two")
    assert (again.forks, sorted(again.known)) == ([], failed)
    made = [made.context_id for made in batch.forks]
    await app.store.cancel(made[1:2], "not this one", {})
    fork = made[0]
    await until(app, fork, waits)
    queued = await forks.fork_all(app, ContextFilter(task="loads.load", status="OPEN"), "two")
    assert [new.forked_from for new in queued.forks] == [healthy]
    assert set(made) - set(queued.known) == {made[1]}
    assert queued.refused == {}
    await contexts.dispatch(app, fork, {"type": "approved", "payload": {"bonus": 5}})
    assert await result_of(app, fork) == 15
    chosen = ContextFilter(task="loads.load", status="DONE")
    of_forks = await forks.fork_all(app, chosen, "two")
    assert (of_forks.forks, of_forks.known) == ([], [fork])  # it is done with step two done again
    after = await forks.fork_all(app, chosen, "one")  # which the forks share
    assert [made.forked_from for made in after.forks] == [fork]
    of_healthy = [new.context_id for new in queued.forks]
    assert (await app.store.forks.of(healthy)) == (None, of_healthy)


async def test_a_rebuilt_database_still_knows_its_forks(app, database_url):
    """The RESUMED after the copies says what the table does."""
    context_id, events = await waiting(app)
    made = await forks.fork(app, context_id, place(events, "/one:DONE").event_id)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM _data_manager_admin.fork")
    await app.store.rebuild()
    assert (await app.store.forks.of(context_id)) == (None, [made.context_id])
    assert await app.store.differences() == []
