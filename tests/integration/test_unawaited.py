"""What a task asked for and nobody awaited is an error of the run, never left undone silently."""

import asyncio
import threading

from dama import Service, SyncTask, Task
from dama.definitions.registry import Registry
from dama.run.subtasks import Endings
from dama.store import Start
from dama.worker.worker import Worker

forgetful = Service("forgetful")


async def one() -> int:
    await asyncio.sleep(0)
    return 1


async def plus(n: int) -> int:
    return n + 1


class Adder:
    async def __call__(self, n: int) -> int:
        return n + 1


@forgetful.task
async def child(task: Task) -> int:
    return 2


kept = []
ASKS = {
    "step": lambda task: task.step("load", one),
    "run": lambda task: task.run(child),
    "start": lambda task: task.start(child),
    "map": lambda task: task.map(child, [{}, {}]),
    "dispatch": lambda task: task.dispatch("noted", 1),
    "log": lambda task: task.log("hello"),
    "sleep": lambda task: task.sleep(1),
    "wait_for": lambda task: task.wait_for("approval"),
    "progress": lambda task: task.progress(1, 2),
    "call": lambda task: task.call("mailer.send"),
    "kept": lambda task: kept.append(task.step("load", one)),
}


@forgetful.task
async def forgets(task: Task, kind: str) -> str:
    await task.step("first", one)
    if kind == "result":
        (await task.start(child)).result()
    else:
        ASKS[kind](task)
    return "done"


@forgetful.task
async def sends_off(task: Task, cancels: bool = False) -> str:  # noqa: FBT001, FBT002 - a param
    """Returns while something that it started continues."""
    away = asyncio.create_task(task.step("away", slow))
    if cancels:
        away.cancel()
    return "done"


async def slow() -> str:
    await asyncio.sleep(0.1)
    return "slow"


@forgetful.task
async def starts_only(task: Task) -> str:
    await task.start(child)
    return "done"


@forgetful.task
def threads_off(task: SyncTask) -> str:
    """A thread of its own continues with a step when the function has returned."""
    thread = threading.Thread(target=lambda: task.step("away", slow_thread))
    thread.start()
    begun.wait(30)
    return "done"


begun = threading.Event()


def slow_thread() -> str:
    begun.set()
    return "slow"


@forgetful.task
async def odd_functions(task: Task) -> list[int]:
    """What becomes a coroutine only when it is called is awaited, too."""
    return [
        await task.step("lambda", lambda: plus(0)),
        await task.step("object", Adder(), 1),
        await task.step("bound", Adder().__call__, 2),
    ]


@forgetful.task
def odd_in_a_thread(task: SyncTask) -> list[int]:
    return [task.step("lambda", lambda: plus(0)), task.step("object", Adder(), 1)]


@forgetful.task
def returns_a_coroutine(task: SyncTask):
    return one()


async def outcomes_of(store, *runs):
    """Work until all have ended; how each did, and the types of its events."""
    contexts = [
        (await store.start([Start(definition.name, params)]))[0] for definition, params in runs
    ]
    async with Worker(store, Registry([forgetful])).working(), asyncio.timeout(60):
        found = await Endings(store, lambda: None).wait(contexts, fail_fast=False)
    return [
        (found[context], [event.type.removeprefix("forgetful.") for event in events])
        for context in contexts
        for events in [await store.events(context)]
    ]


FORGOTTEN = {
    "step": "task.step('load')",
    "run": "task.run('forgetful.child')",
    "start": "task.start('forgetful.child')",
    "map": "task.map('forgetful.child')",
    "dispatch": "task.dispatch('noted')",
    "log": "task.log('hello')",
    "sleep": "task.sleep(...)",
    "wait_for": "task.wait_for('approval')",
    "progress": "task.progress(...)",
    "call": "task.call('mailer.send')",
    "result": "task.result()",
    "kept": "task.step('load')",
}


async def test_what_was_not_awaited_fails_the_run_and_is_named(store):
    ended = await outcomes_of(store, *((forgets, {"kind": kind}) for kind in FORGOTTEN))
    for (outcome, _), (kind, text) in zip(ended, FORGOTTEN.items(), strict=True):
        assert outcome.status == "ERROR", kind
        assert outcome.error["name"] == "UnawaitedError"
        assert f"{text} was never awaited" in outcome.error["message"]


async def test_what_is_under_way_is_completed_before_the_end(store):
    """A step in a task or in a thread that nobody waits for; a subtask continues by itself."""
    begun.clear()
    ended = await outcomes_of(
        store,
        (sends_off, {}),
        (threads_off, {}),
        (sends_off, {"cancels": True}),
        (starts_only, {}),
    )
    assert [outcome.result for outcome, _ in ended] == ["done"] * 4
    assert ended[0][1][-2:] == ["sends_off/away:DONE", "sends_off:FINAL"]
    assert ended[1][1][-2:] == ["threads_off/away:DONE", "threads_off:FINAL"]
    assert "sends_off/away:DONE" not in ended[2][1]
    assert "starts_only/forgetful.child:SPAWNED" in ended[3][1]


async def test_what_becomes_a_coroutine_when_called_is_awaited(store):
    ended = await outcomes_of(
        store, (odd_functions, {}), (odd_in_a_thread, {}), (returns_a_coroutine, {})
    )
    assert [outcome.result for outcome, _ in ended] == [[1, 2, 3], [1, 2], 1]
