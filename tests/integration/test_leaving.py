"""Leaving memory, for a wait or with its worker, does nothing of what the code does at its end."""

import asyncio

from dama import Service, SyncTask, Task
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.run.subtasks import Endings
from dama.store import Start
from dama.worker.worker import Worker

leaving = Service("leaving")
made: list[str] = []
holding: list[asyncio.Event] = []


def note(name: str) -> str:
    made.append(name)
    return name


@leaving.task
async def child(task: Task, n: int) -> int:
    return await task.wait_for("answer") + n


@leaving.task
async def cleaned(task: Task) -> list[object]:
    """Cleans up at its end, and only then."""
    await task.step("draft", note, "draft")
    try:
        answer = await task.wait_for("answer")
        return [answer, await task.step("publish", note, "publish")]
    finally:
        await task.step("drop", note, "drop")
        await task.dispatch("dropped")


@leaving.task
def cleaned_in_a_thread(task: SyncTask) -> list[object]:
    task.step("draft", note, "draft")
    try:
        answer = task.wait_for("answer")
        return [answer, task.step("publish", note, "publish")]
    finally:
        task.step("drop", note, "drop")
        task.dispatch("dropped")


@leaving.task
async def any_error(task: Task) -> list[object]:
    """Takes whatever is raised for an error of its own."""
    try:
        answer = await task.wait_for("answer")
    except BaseException as error:  # noqa: BLE001 - as such code does
        await task.step("fallback", note, "fallback")
        return [repr(error)]
    return [answer]


@leaving.task
async def gathered(task: Task) -> list[object]:
    return await asyncio.gather(
        *(task.run(child, {"n": n}) for n in range(3)), return_exceptions=True
    )


@leaving.task
async def gathered_waits(task: Task) -> list[object]:
    """Two waits for the same signal: each gets one of its own."""
    return await asyncio.gather(
        task.wait_for("answer"), task.wait_for("answer"), return_exceptions=True
    )


@leaving.task
async def grouped(task: Task) -> list[object]:
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(task.run(child, {"n": n})) for n in range(3)]
    return [each.result() for each in asked]


@leaving.task
async def caught_group(task: Task) -> list[object]:
    try:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(task.run(child, {"n": n})) for n in range(3)]
    except BaseExceptionGroup:
        return ["broken"]
    return [each.result() for each in asked]


@leaving.task
async def held(task: Task) -> str:
    """Stands still in its own code; its clean-up is a step, a subtask and an event."""
    try:
        holding[-1].set()
        await asyncio.Event().wait()
        return "never"
    finally:
        await task.step("drop", note, "drop")


async def until_parked(store, contexts):
    """No worker has them, no memory, no slot; subtasks included."""
    async with asyncio.timeout(60):
        while True:
            trees = [await store.tree(context) for context in contexts]
            rows = [row for tree in trees for row in tree]
            runs = [(await store.context(row.context_id)).run for row in rows]
            if all(run is not None and run.state == "waiting" for run in runs):
                return [row.context_id for row in rows]
            await asyncio.sleep(0.05)


PARKED = {
    cleaned: (1, ["yes", "publish"]),
    cleaned_in_a_thread: (1, ["yes", "publish"]),
    any_error: (1, ["yes"]),
    gathered: (0, [1, 2, 3]),
    gathered_waits: (2, ["yes", "yes"]),
    grouped: (0, [1, 2, 3]),
    caught_group: (0, [1, 2, 3]),
}


async def test_a_task_that_is_parked_does_nothing_meanwhile(store):
    made.clear()
    contexts = await store.start([Start(definition.name, {}) for definition in PARKED])
    async with Worker(store, Registry([leaving]), park_after=0.1).working():
        everybody = await until_parked(store, contexts)
        assert sorted(made) == ["draft", "draft"]
        for context, (answers, _) in zip(contexts, PARKED.values(), strict=True):
            await store.append(context, [Event("answer", "yes")] * answers) if answers else None
        for context in set(everybody) - set(contexts):
            await store.append(context, [Event("answer", 1)])
        async with asyncio.timeout(60):
            found = await Endings(store, lambda: None).wait(contexts, fail_fast=False)
    for context, (definition, (_, result)) in zip(contexts, PARKED.items(), strict=True):
        assert found[context].result == result, (definition.name, found[context].error)
    assert sorted(made) == sorted(["draft", "publish", "drop"] * 2)


async def test_a_worker_that_stops_does_no_step_of_a_clean_up(store):
    made.clear()
    holding.append(asyncio.Event())
    (context,) = await store.start([Start(held.name, {})])
    async with Worker(store, Registry([leaving])).working(), asyncio.timeout(60):
        await holding[-1].wait()
        while len(await store.events(context)) < 2:  # noqa: ASYNC110 - its STARTED may be on its way
            await asyncio.sleep(0.01)
    assert made == []
    types = [event.type for event in await store.events(context)]
    assert types == ["leaving.held:INITIAL", "leaving.held:STARTED"]
