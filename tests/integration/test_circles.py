"""Runs that would wait for each other: refused at their start, or ended when the circle closes."""

import asyncio

import pytest

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.run.starts import start_of
from dama.run.subtasks import Endings
from dama.worker.worker import Worker
from tests.integration import isolated_jobs

PATIENCE = 60.0
rings = Service("rings")
meet = {"both": asyncio.Event()}


@rings.task(concurrency=1)
async def again(task: Task, how: str, depth: int = 1) -> int:
    """Start itself, and wait or not."""
    if depth == 0:
        return 0
    params = {"how": how, "depth": depth - 1}
    match how:
        case "run":
            return 1 + await task.run(again, params)
        case "map":
            return sum(await task.map(again, [params, params]))
        case "later":
            return await (await task.start(again, params)).result()
        case "below":
            return await task.run(between, params)
        case _:
            return (await task.start(again, params)).context_id


@rings.task
async def between(task: Task, how: str, depth: int) -> int:
    """Start the one above again."""
    return await task.run(again, {"how": how, "depth": depth})


@rings.task(concurrency=1)
def in_thread(task, depth: int = 1) -> int:
    """The same in a thread."""
    return task.run(in_thread, {"depth": depth - 1}) if depth else 0


@rings.task(singleton="return")
async def single(task: Task) -> int:
    """Its own open run is what it gets."""
    return await task.run(single)


@rings.task(concurrency=2)
async def pair(task: Task, depth: int) -> int:
    """Two fit, the third does not."""
    return 1 + (await task.run(pair, {"depth": depth - 1}) if depth else 0)


@rings.task(concurrency=1, concurrency_key="{side}")
async def crossing(task: Task, side: str, depth: int = 1) -> int:
    """Hold one side, and wait for the other, when both are held."""
    if depth == 0:
        return 0
    meet[side].set()
    await asyncio.gather(*(event.wait() for event in meet.values()))
    other = "ab".replace(side, "")
    return await (await task.start(crossing, {"side": other, "depth": 0})).result()


@rings.task(queue="narrow")
async def nested(task: Task, depth: int) -> int:
    """Wait below itself in a queue for one."""
    return 1 + (await task.run(nested, {"depth": depth - 1}) if depth else 0)


@rings.task(queue="narrow")
def nested_in_thread(task, depth: int) -> int:
    """The same in a thread."""
    return 1 + (task.run(nested_in_thread, {"depth": depth - 1}) if depth else 0)


@rings.task(queue="left")
async def leftwards(task: Task, depth: int) -> int:
    """Wait for one of the other queue, which waits for one of this queue."""
    return 1 + (await task.run(rightwards, {"depth": depth - 1}) if depth else 0)


@rings.task(queue="right")
async def rightwards(task: Task, depth: int) -> int:
    """The other way."""
    return 1 + (await task.run(leftwards, {"depth": depth - 1}) if depth else 0)


@rings.task(singleton="return")
async def one_of_two(task: Task, how: str) -> int:
    """Run the other one, or start it first and wait for it later."""
    if how == "run":
        return await task.run(other_of_two, {"how": how})
    return await (await task.start(other_of_two, {"how": how})).result()


@rings.task(singleton="return")
async def other_of_two(task: Task, how: str) -> int:
    """Run the first one: what is open of it waits for this one."""
    if how == "run":
        return await task.run(one_of_two, {"how": how})
    return await (await task.start(one_of_two, {"how": how})).result()


@rings.task(queue="narrow", concurrency=1)
async def keyed_above(task: Task) -> int:
    """Hold the only place of a key, and wait for what has none."""
    return await task.run(free_between)


@rings.task(queue="narrow")
async def free_between(task: Task) -> int:
    """Start what needs the place, and wait for it later."""
    below = await task.start(keyed_above)
    return await below.result()


@rings.task(queue="left", concurrency=1)
async def first(task: Task, depth: int) -> int:
    """One of three in a row, over two queues."""
    return 1 + await task.run(second, {"depth": depth})


@rings.task(queue="right", concurrency=1)
async def second(task: Task, depth: int) -> int:
    """The second of three."""
    return 1 + await task.run(third, {"depth": depth})


@rings.task(queue="left", concurrency=1)
async def third(task: Task, depth: int) -> int:
    """The last one, which may begin again."""
    return 1 + (await task.run(first, {"depth": depth - 1}) if depth else 0)


@pytest.fixture(autouse=True)
def sides():
    meet.clear()
    meet.update({side: asyncio.Event() for side in "ab"})


def worker(store, **options):
    return Worker(store, Registry([rings, isolated_jobs.jobs]), **options)


async def outcome(store, context):
    endings = Endings(store, lambda: None)
    async with asyncio.timeout(PATIENCE):
        found = await endings.wait([context], fail_fast=False)
    return found[context]


async def run(store, task, **params):
    (context,) = await store.start([start_of(task, params)])
    async with worker(store).working():
        return context, await outcome(store, context)


@pytest.mark.parametrize("how", ["run", "map", "later"])
async def test_who_waits_for_a_place_that_it_holds_itself_fails_and_says_so(store, how):
    """Whether it is known at the start or when it begins to wait."""
    context, ended = await run(store, again, how=how)

    assert ended.status == "ERROR"
    assert ended.error["name"] == "CircleError"
    assert f"Context {context} would wait forever" in ended.error["message"]
    assert "rings.again" in ended.error["message"]


async def test_who_waits_for_a_place_of_an_ancestor_fails(store):
    """The one between holds no place, and its failure is the failure of both."""
    context, ended = await run(store, again, how="below")

    assert ended.status == "ERROR"
    assert "CircleError" in ended.error["message"]
    assert f"context {context}, which waits for it, holds the only one" in ended.error["message"]


@pytest.mark.parametrize("task", [in_thread, single])
async def test_a_thread_and_a_singleton_that_wait_for_themselves_fail(store, task):
    """Nothing is left open."""
    _, ended = await run(store, task)

    assert ended.status == "ERROR"
    assert ended.error["name"] == "CircleError"
    assert await store.contexts(status="OPEN", roots_only=False) == []


async def test_as_many_as_have_a_place_may_wait_for_each_other(store):
    """One more is a circle."""
    _, fits = await run(store, pair, depth=1)
    _, more = await run(store, pair, depth=2)

    assert (fits.status, fits.result) == ("DONE", 2)
    assert more.status == "ERROR"
    assert "holds all 2" in more.error["message"]


async def test_who_starts_itself_and_does_not_wait_goes_on(store):
    """Each begins when the one before has ended."""
    _, ended = await run(store, again, how="leave", depth=2)
    async with worker(store).working():
        nexts = [ended.result, ended.result + 1]
        outcomes = [await outcome(store, context) for context in nexts]

    assert [each.status for each in outcomes] == ["DONE", "DONE"]


async def test_two_that_wait_for_what_the_other_one_holds_do_not_wait_forever(store):
    """One of them fails when the circle closes, and names it; the other one continues."""
    starts = [start_of(crossing, {"side": side}) for side in "ab"]
    contexts = await store.start(starts)
    async with worker(store).working():
        outcomes = [await outcome(store, context) for context in contexts]

    failed = [each.error for each in outcomes if each.status == "ERROR"]
    assert failed
    assert {error["name"] for error in failed} == {"CircleError"}
    assert all(str(context) in failed[0]["message"] for context in contexts)


@pytest.mark.parametrize("task", [nested, nested_in_thread, isolated_jobs.nest])
@pytest.mark.parametrize("rate", [None, 50.0])
async def test_a_queue_for_one_lets_a_parent_make_room_for_its_child(store, task, rate):
    """Who waits leaves the queue, in a loop, a thread or a process: it never waits for itself."""
    await store.queue.set_queue("narrow", concurrency=1, rate=rate)

    context, ended = await run(store, task, depth=1)

    assert (ended.status, ended.result) == ("DONE", 2)
    assert await store.queue.circle(context) == []


async def test_two_queues_for_one_let_those_through_that_wait_crosswise(store):
    """Several at once: each place is given on while its holder waits."""
    for queue in ("left", "right"):
        await store.queue.set_queue(queue, concurrency=1)
    contexts = await store.start(
        [start_of(leftwards, {"depth": 2}), start_of(rightwards, {"depth": 2})]
    )

    async with worker(store).working():
        outcomes = [await outcome(store, context) for context in contexts]

    assert [each.result for each in outcomes] == [3, 3]


@pytest.mark.parametrize("how", ["run"])
async def test_two_singletons_that_wait_for_each_other_fail(store, how):
    """The second one would get the open run of the first one, which waits for it."""
    context, ended = await run(store, one_of_two, how=how)

    assert ended.status == "ERROR"
    assert "CircleError" in str(ended.error)
    assert f"{context}" in ended.error["message"]
    assert await store.contexts(status="OPEN", roots_only=False) == []


async def test_a_key_and_a_queue_close_a_circle_together(store):
    """The queue makes room; the key does not."""
    await store.queue.set_queue("narrow", concurrency=1)

    context, ended = await run(store, keyed_above)

    assert ended.status == "ERROR"
    assert "CircleError" in ended.error["message"]
    assert f"which {context} holds" in ended.error["message"]


async def test_three_in_a_row_over_two_queues_close_a_circle_or_do_not(store):
    """The third one waits for the first one's place; both of the others fail with it."""
    await store.queue.set_queue("left", concurrency=1)

    context, ended = await run(store, first, depth=1)
    _, through = await run(store, first, depth=0)

    assert ended.status == "ERROR"
    assert f"context {context}, which waits for it, holds the only one" in ended.error["message"]
    assert (through.status, through.result) == ("DONE", 3)
