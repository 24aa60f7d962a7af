"""Replay of changed code: a run continues only with code that does what is recorded, in order."""

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Thread

from msgspec.structs import replace

from dama import Service, SyncTask, Task
from dama.definitions.registry import Registry
from dama.domain.journal import Journal
from dama.run.subtasks import Endings
from dama.store import Start
from dama.worker.worker import Worker

code = Service("code")
phase = [0]
made: list[object] = []


def one() -> int:
    return 1


def two() -> int:
    return 2


def same(n: object) -> object:
    made.append(n)
    return n


def with_connection(connection) -> int:
    return 1


def with_another(connection) -> int:
    return 1


async def slowly(n: int, seconds: float) -> int:
    await asyncio.sleep(seconds)
    made.append(n)
    return n


def refused(message: str) -> None:
    made.append(message)
    raise ValueError(message)


@code.task
async def child(task: Task, n: int = 0) -> int:
    return n


@code.task
async def other_child(task: Task, n: int = 0) -> int:
    return n


@code.task
async def changed(task: Task, name: str) -> object:
    """Do what the code of the phase says; the first fails at its end, so that it can be resumed."""
    result = await CODES[name][phase[0]](task)
    if phase[0] == 0:
        raise OSError("resume me")
    return result


@code.task
def changed_in_a_thread(task: SyncTask, name: str) -> object:
    result = THREADED[name][phase[0]](task)
    if phase[0] == 0:
        raise OSError("resume me")
    return result


def steps(*names):
    """Code that does steps, one after another."""

    async def run(task: Task) -> list[object]:
        return [await task.step(name, same, name) for name in names]

    return run


def side_by_side(*names):
    """Code that does steps at once; those named last are done first."""

    async def run(task: Task) -> list[object]:
        return await asyncio.gather(
            *(
                task.step(name, slowly, number, 0.2 / (number + 1))
                for number, name in enumerate(names)
            )
        )

    return run


def grouped(*names):
    async def run(task: Task) -> list[object]:
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(task.step(name, same, name)) for name in names]
        return [each.result() for each in asked]

    return run


def only(ask):
    """Code that asks for one thing, between two steps."""

    async def run(task: Task) -> object:
        await task.step("before", one)
        result = await ask(task)
        await task.step("after", one)
        return result

    return run


def before(name, run):
    """Code that accepts a change at its beginning."""

    async def accepted(task: Task) -> object:
        await task.changed(name)
        return await run(task)

    return accepted


def catching(*names):
    """Code that takes any error of a step for one of its own."""

    async def run(task: Task) -> str:
        for name in names:
            with contextlib.suppress(Exception):
                await task.step(name, same, name)
        return "done"

    return run


DIVERGED = {
    "removed": (steps("a", "b", "c"), steps("a", "c"), "the step b", "the step c"),
    "removed at the end": (steps("a", "b"), steps("a"), "the step b", "returned without it"),
    "renamed": (steps("a", "b"), steps("a", "new"), "the step b", "the step new"),
    "reordered": (steps("a", "b"), steps("b", "a"), "the step a", "the step b"),
    "added before": (steps("a", "b"), steps("a", "new", "b"), "the step b", "the step new"),
    "turned around": (
        steps("a", "b", "c"), steps("c", "b", "a"), "the step a", "the step c",
    ),
    "suppressed": (catching("a", "b"), catching("a", "new", "b"), "the step b", "the step new"),
    "one of many": (
        side_by_side("a", "b", "c"), side_by_side("a", "b", "new"), "the step c", "the step new",
    ),
    "one of many left out": (
        side_by_side("a", "b"), side_by_side("a"), "the step b", "the step a",
    ),
    "one of a group": (grouped("a", "b"), grouped("a", "new"), "the step b", "the step new"),
    "function": (
        only(lambda task: task.step("count", one)), only(lambda task: task.step("count", two)),
        "test_replay:one", "test_replay:two",
    ),
    "transaction": (
        only(lambda task: task.step("count", with_connection, transactional=True)),
        only(lambda task: task.step("count", with_another, transactional=True)),
        "with_connection", "with_another",
    ),
    "arguments": (
        only(lambda task: task.step("count", same, 1)),
        only(lambda task: task.step("count", same, 2)),
        "the step count", "called with",
    ),
    "params": (
        only(lambda task: task.run(child, {"n": 1})), only(lambda task: task.run(child, {"n": 2})),
        "{'n': 1}", "{'n': 2}",
    ),
    "number": (
        only(lambda task: task.map(child, [{"n": 1}] * 2)),
        only(lambda task: task.map(child, [{"n": 1}])), "2 subtasks", "1 subtask",
    ),
    "another task": (
        only(lambda task: task.run(child)), only(lambda task: task.run(other_child)),
        "the subtask code.child", "the subtask code.other_child",
    ),
    "a subtask for a step": (
        only(lambda task: task.step("code.child", one)), only(lambda task: task.run(child)),
        "the step code.child", "the subtask code.child",
    ),
    "a step for a sleep": (
        only(lambda task: task.sleep(0, "pause")), only(lambda task: task.step("pause", one)),
        "the wait pause", "the step pause",
    ),
    "an event": (
        only(lambda task: task.dispatch("noted", 1)), only(lambda task: task.dispatch("other", 1)),
        "the event noted", "the event other",
    ),
    "no event": (
        only(lambda task: task.dispatch("noted", 1)), only(lambda task: asyncio.sleep(0)),
        "the event noted", "the step after",
    ),
}  # fmt: skip


async def helpers(task: Task) -> list[object]:
    """Helpers that use the same names, and end in another order than they begin."""

    async def helper(n: int) -> list[int]:
        first = await task.step("fetch", slowly, n, 0.04 * (4 - n))
        return [first, await task.step("store", lambda: n)]

    return await asyncio.gather(*(helper(n) for n in range(4)))


async def in_the_order_of_their_ends(task: Task) -> list[object]:
    asked = [task.step("fetch", slowly, n, 0.1 * (3 - n)) for n in range(3)]
    return [await each for each in asyncio.as_completed(asked)]


async def the_first_of_two(task: Task) -> list[object]:
    asked = [
        asyncio.create_task(task.step(name, slowly, n, 0.3 * n)) for n, name in enumerate("ab")
    ]
    done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    first = [each.result() for each in done]
    await task.step(f"after {first}", one)
    return [first, [await each for each in asked]]


async def nested(task: Task) -> list[object]:
    async def outer() -> int:
        return await task.step("part", same, 1) + await task.step("part", same, 2)

    return [await task.step("whole", outer), await task.step("part", same, 3)]


async def numbered(task: Task) -> list[object]:
    return [await task.step(name, same, n) for n, name in enumerate(["a#2", "a", "a", "a#2"])]


async def caught(task: Task) -> list[object]:
    """The failure that was outlived is met again, the function is not called again."""
    try:
        await task.step("try", refused, "no")
    except ValueError as error:
        return [str(error), await task.step("instead", same, "fallback")]
    return ["no error"]


async def timed_out(task: Task) -> list[object]:
    try:
        async with asyncio.timeout(0.2):
            return [await task.step("slow", slowly, 1, 60)]
    except TimeoutError:
        return ["too slow", await task.step("instead", same, "fallback")]


async def with_own_waits(task: Task) -> list[object]:
    """Branches that wait for each other and for the clock, between their steps."""
    queue = asyncio.Queue[int]()

    async def give() -> None:
        await asyncio.sleep(0.2)
        await queue.put(await task.step("give", same, 1))

    async def take() -> object:
        return await task.step("take", same, await queue.get())

    return (await asyncio.gather(give(), take(), task.step("beside", slowly, 2, 0.05)))[1:]


SILENT = {
    "the same": (steps("a", "b"), steps("a", "b")),
    "added at the end": (steps("a"), steps("a", "b")),
    "another order of ends": (side_by_side("a", "b", "c"), side_by_side("a", "b", "c")),
    "lines of the log": (steps("a"), only(lambda task: task.log("hello"))),
    "equal names": (helpers, helpers),
    "as completed": (in_the_order_of_their_ends,) * 2,
    "the first": (the_first_of_two,) * 2,
    "nested": (nested, nested),
    "numbered": (numbered, numbered),
    "caught": (caught, caught),
    "timed out": (timed_out, timed_out),
    "own waits": (with_own_waits, with_own_waits),
}
SILENT["lines of the log"] = (
    only(lambda task: asyncio.sleep(0)), only(lambda task: task.log("hello")),
)  # fmt: skip
ACCEPTED = {
    f"{name} accepted": (first, before(name, second))
    for name, (first, second, *_) in DIVERGED.items()
}
CODES = {**{name: pair[:2] for name, pair in DIVERGED.items()}, **SILENT, **ACCEPTED}


def steps_in_a_thread(*names):
    return lambda task: [task.step(name, same, name) for name in names]


def in_own_threads(task: SyncTask) -> list[object]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda n: task.step("square", same, n), range(4)))


def alike_in_own_threads(task: SyncTask) -> list[object]:
    """Nothing tells the steps of the two from each other; both threads live."""
    both = Barrier(2)

    def one(n: int) -> object:
        both.wait()
        return task.step("square", lambda: n)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(2)))


def one_after_another_in_own_threads(task: SyncTask) -> list[object]:
    found: list[object] = []
    for n in range(2):
        thread = Thread(target=lambda n=n: found.append(task.step("square", lambda: n)))
        thread.start()
        thread.join()
    return found


THREADED = {
    "renamed": (steps_in_a_thread("a", "b"), steps_in_a_thread("a", "new")),
    "reordered": (steps_in_a_thread("a", "b"), steps_in_a_thread("b", "a")),
    "removed": (steps_in_a_thread("a", "b"), steps_in_a_thread("a")),
    "own threads": (in_own_threads, in_own_threads),
    "one after another": (one_after_another_in_own_threads,) * 2,
}


async def both_phases(store, definition, names):
    """Run each with its first code until it fails, continue with its second; how each ended."""
    made.clear()
    starts = [Start(definition.name, {"name": name}) for name in names]
    contexts = await store.start(starts)
    results = {}
    async with Worker(store, Registry([code])).working(), asyncio.timeout(120):
        for number in (0, 1):
            phase[0] = number
            for context in contexts if number else ():
                await store.resume(context, {})
            found = await Endings(store, lambda: None).wait(contexts, fail_fast=False)
            if number == 0:
                assert {found[c].error["message"] for c in contexts} == {"resume me"}
            results = {name: found[c] for name, c in zip(names, contexts, strict=True)}
    return results


async def test_code_that_does_not_match_the_record_stops_the_run_and_names_both(store):
    outcomes = await both_phases(store, changed, list(DIVERGED))
    for name, (_, _, recorded, found) in DIVERGED.items():
        outcome = outcomes[name]
        assert outcome.status == "ERROR", name
        assert outcome.error["name"] == "DivergedError", (name, outcome.error)
        message = outcome.error["message"]
        said = message.partition(" Found: ")
        assert recorded in said[0], (name, message)
        assert found in said[2], (name, message)


async def test_safe_changes_and_another_order_of_ends_are_no_divergence(store):
    outcomes = await both_phases(store, changed, list(SILENT))
    assert {name: outcome.error for name, outcome in outcomes.items() if outcome.error} == {}
    assert outcomes["equal names"].result == [[n, n] for n in range(4)]
    assert outcomes["as completed"].result == [2, 1, 0]
    assert outcomes["the first"].result == [[0], [0, 1]]
    assert outcomes["nested"].result == [3, 3]
    assert outcomes["numbered"].result == [0, 1, 2, 3]
    assert outcomes["caught"].result == ["no", "fallback"]
    assert outcomes["timed out"].result == ["too slow", "fallback"]
    assert made.count("no") == made.count("fallback") - 1 == 1


async def test_a_change_that_the_code_accepts_is_no_divergence(store):
    outcomes = await both_phases(store, changed, list(ACCEPTED))
    assert {name: outcome.error for name, outcome in outcomes.items() if outcome.error} == {}
    assert outcomes["function accepted"].result == 1  # what was recorded stays
    assert outcomes["params accepted"].result == 1


async def test_a_blocking_task_is_held_to_its_record(store):
    outcomes = await both_phases(store, changed_in_a_thread, list(THREADED))
    assert outcomes.pop("own threads").result == [0, 1, 2, 3]
    assert outcomes.pop("one after another").result == [0, 1]
    assert sorted(made.count(n) for n in range(4)) == [1, 1, 1, 1]
    assert {outcome.error["name"] for outcome in outcomes.values()} == {"DivergedError"}


async def test_threads_that_ask_for_the_same_are_refused(store, monkeypatch):
    """In which order they come is another matter each time, and so would be who gets what."""
    monkeypatch.setitem(THREADED, "alike", (alike_in_own_threads,) * 2)
    (context,) = await store.start([Start(changed_in_a_thread.name, {"name": "alike"})])
    async with Worker(store, Registry([code])).working(), asyncio.timeout(120):
        found = await Endings(store, lambda: None).wait([context], fail_fast=False)
    assert "Two threads that the function has started ask" in found[context].error["message"]


async def test_a_record_of_an_older_version_is_adopted(store, monkeypatch):
    """It does not say which function it was, nor where it was asked for."""
    take = Journal.take

    def forgetful(self, event):
        meta = {k: v for k, v in event.meta.items() if k not in {"function", "args", "place"}}
        take(self, replace(event, meta=meta))

    monkeypatch.setattr(Journal, "take", forgetful)
    names = ["function", "another order of ends", "as completed", "nested"]
    outcomes = await both_phases(store, changed, names)
    assert {name: outcome.error for name, outcome in outcomes.items() if outcome.error} == {}
