"""Replay of what was given up: beside other branches, a wait is asked for again and again.

Each shape fails at the end of its first attempt, so that the second one meets all that the first
has recorded. It must not hang, and must take the same way: its notes are compared by a step at its
end, and no step that is recorded is done again.
"""

import asyncio
import os
from collections import Counter

import anyio
import pytest

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.run.subtasks import Endings
from dama.store import Start
from dama.worker.worker import Worker

BESIDE = 8  # steps of the branch beside
# Of each shape: what is cancelled in a commit is a matter of chance.
COPIES = int(os.environ.get("REPLAY_COPIES", "4"))
LIMIT = 100 + 15 * COPIES

service = Service("givenup")
done: Counter[tuple[int, str]] = Counter()


@service.task
async def child(task: Task, seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "child"


def same(notes: list) -> list:
    return notes


async def beside(task: Task) -> list[int]:
    async def one(number: int) -> int:
        await asyncio.sleep(0.03)
        done[task.context_id, f"beside {number}"] += 1
        return number

    return [await task.step(f"beside {number}", one, number) for number in range(BESIDE)]


async def noted(task: Task, notes: list, limit: float, asked, note: object) -> object:
    """What is asked for, in time; or a note that it was given up."""
    try:
        async with asyncio.timeout(limit):
            return await asked
    except TimeoutError:
        notes.append(note)
        await task.step("given up", same, [note])
        return None


async def an_end(task: Task) -> list:
    """The end of a subtask comes when the fourth beat is over, or just before."""
    handle, notes = await task.start(child, {"seconds": 0.4}), []
    while await noted(task, notes, 0.1, handle.result(), len(notes)) is None:
        pass
    return notes


async def an_end_without_notes(task: Task) -> list:
    handle = await task.start(child, {"seconds": 0.4})
    while True:
        try:
            return [await asyncio.wait_for(handle.result(), 0.1)]
        except TimeoutError:
            pass


async def an_end_in_other_branches(task: Task) -> list:
    """Each beat asks in a task of its own."""
    handle, notes = await task.start(child, {"seconds": 0.3}), []

    async def beat() -> str:
        return await handle.result()

    while True:
        try:
            return [*notes, await asyncio.wait_for(asyncio.create_task(beat()), 0.1)]
        except TimeoutError:
            notes.append(len(notes))
            await task.step("given up", same, notes)


async def an_end_for_two(task: Task) -> list:
    """One waits for it to its end, the other gives up and looks again."""
    handle, notes = await task.start(child, {"seconds": 0.3}), []

    async def watch() -> None:
        while await noted(task, notes, 0.08, handle.result(), len(notes)) is None:
            pass

    _, found = await asyncio.gather(watch(), handle.result())
    return [*notes, found]


async def short_sleeps(task: Task) -> list:
    notes = []
    for number in range(6):
        await noted(task, notes, 0.05, task.sleep(0.046 + number / 1000), number)
    return notes


async def commits(task: Task) -> list:
    """The time is over before, during or after the commit."""
    notes = []
    for number in range(16):
        limit = number / 2000
        await noted(task, notes, limit, task.step("cut", same, [number]), ["step", number])
        await noted(task, notes, limit, task.dispatch("noted", number), ["event", number])
        await noted(task, notes, limit, task.start(child, {"seconds": 0.01}), ["subtask", number])
    return notes


async def transactions(task: Task) -> list:
    async def insert(connection, number: int) -> int:
        await connection.execute("SELECT 1")
        return number

    notes = []
    for number in range(12):
        asked = task.transaction("cut", insert, number)
        await noted(task, notes, number / 500, asked, number)
    return notes


async def signals(task: Task) -> list:
    notes = []
    for number in range(4):
        asked = task.wait_any("yes", "no", timeout=60)
        await noted(task, notes, 0.05, asked, ["any", number])
        await noted(task, notes, 0.002, task.wait_for("yes"), ["one", number])
    return notes


async def cancelled_branches(task: Task) -> list:
    """The first of two branches cancels the other, which is in a step, a sleep or a commit."""
    notes = []
    for number in range(4):
        branches = [
            asyncio.create_task(task.step("fast", same, [number])),
            asyncio.create_task(task.step("slow", same, [number])),
            asyncio.create_task(task.sleep(60)),
        ]
        await asyncio.wait(branches, return_when=asyncio.FIRST_COMPLETED)
        for branch in branches:
            branch.cancel()
        found = await asyncio.gather(*branches, return_exceptions=True)
        notes.append([isinstance(each, BaseException) for each in found])
    return notes


async def a_timer_of_several(task: Task) -> list:
    """The time is over in the last of three steps, however early its replay comes to it."""

    async def slowly(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    notes = []
    try:
        async with asyncio.timeout(0.4):
            for seconds in (0.15, 0.15, 60):
                notes += [await task.step("slowly", slowly, seconds)]
    except TimeoutError:
        notes.append("late")
    return notes


async def scopes_of_anyio(task: Task) -> list:
    """They cancel at each turn of the loop, and know their own cancellation by its words."""

    async def slowly(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    notes = []
    for number in range(12):
        with anyio.move_on_after(number / 500) as scope:
            await task.step("cut", same, [number])
            notes.append(number)
        notes.append(scope.cancelled_caught)
    with anyio.move_on_after(0.2) as scope:
        for seconds in (0.08, 0.08, 60):
            notes += [await task.step("slowly", slowly, seconds)]
    return [*notes, scope.cancelled_caught]


SHAPES = {
    each.__name__: each
    for each in (
        an_end, an_end_without_notes, an_end_in_other_branches, an_end_for_two, short_sleeps,
        commits, transactions, signals, cancelled_branches, a_timer_of_several, scopes_of_anyio,
    )
}  # fmt: skip


@service.task(retries=1, backoff=0.01)
async def perform(task: Task, shape: str) -> list:
    notes, steps = await asyncio.gather(SHAPES[shape](task), beside(task))
    first = await task.step("notes", same, notes)
    if task.attempt == 1:
        raise OSError("again")
    return [first == notes, steps]


@pytest.mark.timeout(LIMIT + 60)
async def test_what_was_given_up_is_given_up_again_and_nothing_hangs(store):
    shapes = [shape for shape in SHAPES for _ in range(COPIES)]
    contexts = await store.start([Start(perform.name, {"shape": shape}) for shape in shapes])
    worker = Worker(store, Registry([service]), slots=100, park_after=60)
    async with worker.working(), asyncio.timeout(LIMIT):
        found = await Endings(store, lambda: None).wait(contexts, fail_fast=False)
    wrong = {
        f"{shape} {context}": (found[context].error or {}).get("message", found[context].result)
        for shape, context in zip(shapes, contexts, strict=True)
        if found[context].result != [True, list(range(BESIDE))]
    }
    assert wrong == {}
    assert set(done.values()) == {1}
