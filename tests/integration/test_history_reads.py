"""What a task reads while it is replayed is what it read at that place, until its history ends."""

import asyncio
import contextvars
from datetime import datetime

from dama import Service, Slice, SyncTask, Task
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.run.subtasks import Endings
from dama.store import Start
from dama.worker.worker import Worker

pages = Service("pages")
stored: list[int] = []
times: list[datetime] = []
stores = []
seen_by: list[list[int]] = []
here = contextvars.ContextVar("here", default="nowhere")

position = Slice("test_pages_position", initial=0)
outside = Slice("test_pages_outside", initial=0)


@position.reducer
def moved(state: int, to: int) -> int:
    return to


@outside.on("told")
def told(state: int, event) -> int:
    return state + event.payload


@pages.task(retries=2, backoff=0.01)
async def paged(task: Task) -> list[int]:
    """Fails at page 3, and is tried again."""
    while (page := await task.state(position)) < 6:
        await task.step(f"store {page}", stored.append, page)
        await task.dispatch(moved(page + 1))
        if page == 3 and task.attempt == 1:
            raise OSError("page 3")
    return [page]


@pages.task(retries=2, backoff=0.01)
def paged_in_a_thread(task: SyncTask) -> list[int]:
    while (page := task.state(position)) < 6:
        task.step(f"store {page}", stored.append, page)
        task.dispatch(moved(page + 1))
        if page == 3 and task.attempt == 1:
            raise OSError("page 3")
    return [page]


@pages.task(retries=1, backoff=0.01)
async def reads_others(task: Task) -> list[int]:
    """Reads between events that come from outside; each attempt reads the same."""
    read = [await task.state(outside)]
    await task.dispatch("ready")
    await task.wait_for("told")
    read += [await task.state(outside), await task.state(outside)]
    await task.wait_for("told")
    read.append(await task.state(outside))
    seen_by.append([*read])
    times.append(await task.now())
    if task.attempt == 1:
        await stores[-1].append(task.context_id, [Event("told", 100)])
        raise OSError("again")
    read.append(await task.state(outside))
    return read


drawn: list[tuple[object, ...]] = []


@pages.task(retries=1, backoff=0.01)
async def draws(task: Task) -> int:
    """Chance and time, side by side and in a step; each attempt gets the same."""

    async def inside() -> float:
        return await task.random()

    found = [await task.random(), await task.random(), await task.uuid4(), await task.now()]
    found += await asyncio.gather(task.uuid4(), task.random(), task.uuid4(), inside())
    drawn.append((*found, await task.step("inside", inside), task.params, task.context_id))
    if task.attempt == 1:
        raise OSError("again")
    return len(set(found))


@pages.task(retries=1, backoff=0.01)
def draws_in_a_thread(task: SyncTask) -> int:
    found = [task.random(), task.random(), task.uuid4(), task.uuid4(), task.now()]
    drawn.append((*found, task.params, task.context_id))
    if task.attempt == 1:
        raise OSError("again")
    return len(set(found))


def where() -> str:
    return here.get()


@pages.task
async def in_context(task: Task) -> list[str]:
    here.set("in the task")
    return [await task.step("blocking", where)]


@pages.task
def in_context_of_a_thread(task: SyncTask) -> list[str]:
    here.set("in the task")
    return [task.step("blocking", where)]


@pages.task(retries=3, backoff=0.01, fail_on=KeyError)
async def fails_in_a_group(task: Task, kind: str) -> None:
    raise ExceptionGroup("both", [OSError("one"), ExceptionGroup("in", [ERRORS[kind]("two")])])


@pages.task(retries=3, backoff=0.01, retry_on=OSError)
async def retries_in_a_group(task: Task, kind: str) -> None:
    raise ExceptionGroup("both", [OSError("one"), ERRORS[kind]("two")])


ERRORS = {"os": OSError, "key": KeyError, "value": ValueError}


async def ended(store, *runs):
    contexts = [(await store.start([Start(task.name, params)]))[0] for task, params in runs]
    async with Worker(store, Registry([pages])).working():
        found = await Endings(store, lambda: None).wait(contexts, fail_fast=False)
    return [(context, found[context]) for context in contexts]


async def test_a_state_that_is_read_again_is_the_one_of_its_place(store):
    for task in (paged, paged_in_a_thread):
        stored.clear()
        ((_, outcome),) = await ended(store, (task, {}))
        assert outcome.result == [6]
        assert stored == [0, 1, 2, 3, 4, 5]


async def test_a_read_that_saw_events_from_outside_is_repeated(store):
    stores.append(store)
    (context,) = await store.start([Start(reads_others.name, {})])
    await store.append(context, [Event("told", 1), Event("told", 10)])
    async with Worker(store, Registry([pages])).working():
        found = await Endings(store, lambda: None).wait([context], fail_fast=False)
    assert seen_by[0] == seen_by[1] == [11, 11, 11, 11]
    assert times[0] == times[1]
    assert found[context].result == [11, 11, 11, 11, 111]


async def test_chance_and_time_are_drawn_once(store):
    for task, number in ((draws, 8), (draws_in_a_thread, 5)):
        drawn.clear()
        ((_, outcome),) = await ended(store, (task, {}))
        assert outcome.result == number
        assert len(drawn) == 2
        assert drawn[0] == drawn[1]


async def test_context_variables_reach_what_runs_in_a_thread(store):
    outcomes = await ended(store, (in_context, {}), (in_context_of_a_thread, {}))
    assert [outcome.result for _, outcome in outcomes] == [["in the task"]] * 2


async def test_retries_look_into_groups_of_errors(store):
    outcomes = await ended(
        store,
        (fails_in_a_group, {"kind": "os"}), (fails_in_a_group, {"kind": "key"}),
        (retries_in_a_group, {"kind": "os"}), (retries_in_a_group, {"kind": "value"}),
    )  # fmt: skip
    attempts = [
        [event.type.rpartition(":")[2] for event in await store.events(context)].count("STARTED")
        for context, _ in outcomes
    ]
    assert attempts == [4, 1, 4, 1]
