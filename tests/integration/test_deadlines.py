"""A subtask that does not end in time is cancelled, and every later run takes the same way."""

import pytest

from dama import Service, SubtaskError, SyncTask, Task
from dama.definitions.registry import Registry
from dama.run.subtasks import Endings
from dama.store import Start
from dama.worker.worker import Worker

times = Service("times")


@times.task
async def waiting(task: Task) -> str:
    return await task.wait_for("never")


@times.task
async def quick(task: Task) -> str:
    return "quick"


async def in_time(task: Task) -> list[str]:
    result = [await task.run(quick, timeout=60)]
    try:
        result.append(await task.run(waiting, timeout=0.3))
    except TimeoutError as error:
        result.append(str(error).partition(" (")[0])
    return [*result, await task.step("after", lambda: "after")]


@times.task(retries=1, backoff=0.01)
async def parent(task: Task) -> list[str]:
    """Goes another way when its subtask is late, in each attempt."""
    result = await in_time(task)
    if task.attempt == 1:
        raise OSError("again")
    return result


@times.task
def parent_in_a_thread(task: SyncTask) -> str:
    try:
        return task.run(waiting, timeout=0.3)
    except TimeoutError:
        return "late"


@times.task(retries=1, backoff=0.01)
async def fails_of_it(task: Task) -> str:
    """Its attempts fail of the same: the second one finds the subtask cancelled."""
    try:
        return await task.run(waiting, timeout=0.3)
    except TimeoutError:
        if task.attempt == 1:
            raise
        return "late again"


@times.task(retries=1, backoff=0.01)
async def cancels(task: Task) -> str:
    subtask = await task.start(waiting)
    await subtask.cancel("not needed")
    if task.attempt == 1:
        raise OSError("again")
    try:
        return await subtask.result()
    except SubtaskError:
        return "cancelled"


@pytest.mark.parametrize("park_after", [0, 60])
async def test_a_subtask_has_a_durable_deadline(store, park_after):
    wanted = {
        parent: ["quick", "times.waiting", "after"],
        parent_in_a_thread: "late",
        fails_of_it: "late again",
        cancels: "cancelled",
    }
    contexts = await store.start([Start(task.name, {}) for task in wanted])
    async with Worker(store, Registry([times]), park_after=park_after).working():
        found = await Endings(store, lambda: None).wait(contexts, fail_fast=False)
    for context, (task, result) in zip(contexts, wanted.items(), strict=True):
        assert found[context].result == result, (task.name, found[context].error)
        statuses = [row.status for row in await store.tree(context)]
        assert statuses.count("CANCELLED") == 1
        assert "OPEN" not in statuses
