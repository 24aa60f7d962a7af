"""Maps: many subtasks at once, what becomes of them when one fails, how many run at once."""

import asyncio

import pytest

from dama import Service, SubtaskError, SyncTask, Task, start_many
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.run.starts import start_of
from dama.run.subtasks import Ended, Endings
from dama.store import Append, Start
from dama.worker.worker import Worker

maps = Service("maps")
running: list[int] = []
most: list[int] = []


@maps.task
async def squared(task: Task, n: int) -> int:
    """Give n², fail for 0, and forever wait below 0."""
    running.append(n)
    most.append(len(running))
    try:
        if n < 0:
            await task.sleep(3600)
        await asyncio.sleep(0)
        if n == 0:
            raise ValueError("nothing to square")
        return n * n
    finally:
        running.remove(n)


@maps.task(concurrency=1)
async def alone(task: Task) -> None:
    """Run by itself."""


@maps.task
async def all_of(task: Task, numbers: list[int]) -> int:
    """Fail with the first that fails."""
    return sum(await task.map(squared, [{"n": n} for n in numbers]))


def described(end: Ended[int]) -> str:
    """Its result or its error."""
    return str(end.result) if end.ok else f"{end.context_id > 0}: {end.error.data['message']}"


@maps.task
async def each_of(task: Task, numbers: list[int]) -> list[str]:
    """Wait for all."""
    ends = await task.map(squared, [{"n": n} for n in numbers], on_failure="collect")
    return [described(end) for end in ends]


@maps.task
def each_of_in_a_thread(task: SyncTask, numbers: list[int]) -> list[str]:
    """Wait for all."""
    ends = task.map(squared, [{"n": n} for n in numbers], on_failure="collect")
    return [described(end) for end in ends]


@maps.task(singleton="return", concurrency_key="{n}")
async def shared(task: Task, n: int) -> int:
    """Divide; whoever asks for the same meanwhile gets the open one."""
    return 1 // n


@maps.task
async def shared_of(task: Task, numbers: list[int]) -> list[int]:
    """Ask for several."""
    return await task.map(shared, [{"n": n} for n in numbers])


@maps.task
async def few_at_once(task: Task, numbers: list[int], limit: int) -> int:
    """Let only some run at once."""
    return sum(await task.map(squared, [{"n": n} for n in numbers], limit=limit))


@maps.task
async def twice_limited(task: Task) -> None:
    """Count runs by two keys."""
    await task.map(alone, [{}], limit=2)


async def run(store, task, **params):
    """Queue a task, work until it has ended; give its context and its outcome."""
    (context,) = await store.start([Start(f"maps.{task}", params)])
    endings = Endings(store, lambda: None)
    async with Worker(store, Registry([maps])).working(), asyncio.timeout(60):
        found = await endings.wait([context], fail_fast=False)
    return context, found[context]


async def test_the_first_failure_ends_a_map_and_cancels_the_rest(store):
    """The error is that of the subtask that failed, not of those that were cancelled for it."""
    context, outcome = await run(store, "all_of", numbers=[-1, 2, 0, -2])

    assert outcome.error["name"] == SubtaskError.__name__
    assert "nothing to square" in outcome.error["message"]
    children = [row.status for row in (await store.tree(context))[1:]]
    assert children == ["CANCELLED", "DONE", "ERROR", "CANCELLED"]


async def test_a_failed_map_leaves_a_singleton_that_another_one_started(store):
    """It was open when the map asked for it, and somebody else waits for it."""
    (foreign,) = await store.start([start_of(shared, {"n": 7}, delay=3600)])

    _, outcome = await run(store, "shared_of", numbers=[7, 0])

    assert "ZeroDivisionError" in outcome.error["message"]
    assert (await store.context(foreign)).status == "OPEN"


@pytest.mark.parametrize("task", ["each_of", "each_of_in_a_thread"])
async def test_a_map_that_collects_gives_all_ends_in_the_order_of_its_params(store, task):
    """Failed or not."""
    _, outcome = await run(store, task, numbers=[3, 0, 2])

    assert outcome.result == ["9", "True: nothing to square", "4"]


async def test_a_limited_map_has_no_more_subtasks_begun_than_its_limit(store):
    """And all of them run."""
    most.clear()

    _, outcome = await run(store, "few_at_once", numbers=list(range(1, 30)), limit=3)

    assert outcome.result == sum(n * n for n in range(1, 30))
    assert max(most) == 3


async def test_a_limit_of_a_map_does_not_add_to_that_of_its_task(store):
    """A run is counted by one key: the error says what to leave out."""
    _, outcome = await run(store, "twice_limited")

    assert "maps.alone has a concurrency of its own" in outcome.error["message"]


async def test_many_starts_are_queued_once_however_often_they_are_repeated(
    store, database_url, monkeypatch
):
    """The key is made from the params; the contexts come in their order."""
    monkeypatch.setenv("DAMA_DATABASE_URL", database_url)
    params = [{"n": n} for n in range(1, 2101)]

    first = await start_many(squared, params, key=lambda each: str(each["n"]))
    again = await start_many(squared, params, key=lambda each: str(each["n"]))

    assert again == first == sorted(set(first))
    assert len(first) == 2100
    (row,) = await store.queue.queues()
    assert row.queued == 2100


async def test_who_waits_for_many_looks_at_a_thousand_at_a_time(store, monkeypatch):
    """Each end is found, also that of the last one, and one that another process has written."""
    asked: list[int] = []
    look = store.outcomes

    async def outcomes(ids):
        asked.append(len(ids))
        return await look(ids)

    monkeypatch.setattr(store, "outcomes", outcomes)
    contexts = [
        c for _ in range(3) for c in await store.start([Start("maps.squared", {"n": 1})] * 1000)
    ]
    endings = Endings(store, lambda: None)
    waiting = asyncio.create_task(endings.wait(contexts, fail_fast=True))
    for place in range(0, 2999, 1000):
        ends = [Append(c, Event("maps.squared:FINAL", c)) for c in contexts[place : place + 999]]
        await store.append_many(ends)
    await store.append_many([Append(contexts[999], Event("maps.squared:FINAL", None))])
    await store.append_many([Append(contexts[1999], Event("maps.squared:FINAL", None))])
    failed = Event("maps.squared:ERROR", {"name": "E", "message": "m"}, error=True)
    await store.append_many([Append(contexts[-1], failed)])
    endings.ended(contexts[-1])

    async with asyncio.timeout(60):
        found = await waiting

    assert found[contexts[-1]].status == "ERROR"
    assert max(asked) <= 1000
