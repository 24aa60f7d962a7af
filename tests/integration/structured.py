"""The usual shapes of asyncio and anyio around what a task waits for, each with its result.

Each is performed twice by its run: its first attempt fails at its end, so that the second one meets
all that the first has recorded, when all subtasks have ended long ago.
"""

import asyncio
import contextlib

import anyio

from dama import Service, SubtaskError, Task
from tests.integration.alike import ALIKE

ENDLESS = 3600
SOON = 0.3

structured = Service("structured")


def same(value: object) -> object:
    return value


def refuse(why: str) -> None:
    raise ValueError(why)


@structured.task(crashes=1_000_000)
async def child(task: Task, n: int, seconds: float = 0.05) -> int:
    await task.sleep(seconds)
    return n


@structured.task(crashes=1_000_000)
async def endless(task: Task) -> None:
    await task.sleep(ENDLESS)


@structured.task(crashes=1_000_000)
async def fails(task: Task, seconds: float = 0.05) -> None:
    await task.sleep(seconds)
    raise ValueError("no")


@structured.task(crashes=1_000_000)
async def gated(task: Task, n: int) -> int:
    await task.wait_for("go")
    return n


@structured.task(crashes=1_000_000)
async def signals(task: Task, context: int) -> None:
    await task.transaction("send", send, context, "late")


@structured.task(retries=1, backoff=0.01, crashes=1_000_000)
async def perform(task: Task, shape: str) -> object:
    result = await SHAPES[shape][0](task)
    if task.attempt == 1:
        raise OSError("again")
    return result


def send(connection, context: int, type_: str) -> None:
    connection.execute("SELECT _data_manager_admin.dispatch(%s, %s, '1')", [context, type_])


async def open_gate(task: Task, handle) -> None:
    await task.transaction("open", send, handle.context_id, "go")


def sub(task: Task, n: int, seconds: float = 0.05):
    return task.run(child, {"n": n, "seconds": seconds})


async def then(task: Task, asked, name: str) -> object:
    return await task.step(f"{name} {await asked}", same, name)


async def gathered(task: Task):
    return await asyncio.gather(sub(task, 1), sub(task, 2, 0), sub(task, 3))


async def gathered_errors(task: Task):
    found = await asyncio.gather(
        sub(task, 1), task.run(fails), task.step("no", refuse, "no"), return_exceptions=True
    )
    return [found[0], *(type(each).__name__ for each in found[1:])]


async def gathered_failure(task: Task):
    """The others continue, as those of a gather do."""
    aside = asyncio.ensure_future(then(task, sub(task, 1, 0.4), "aside"))
    try:
        await asyncio.gather(aside, task.run(fails))
    except SubtaskError:
        return [await task.step("instead", same, 2), await aside]


async def grouped(task: Task):
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(then(task, sub(task, n), "got")) for n in range(3)]
    return [each.result() for each in asked]


async def grouped_failure(task: Task):
    """One fails, so the others are cancelled: with their subtasks."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(task.run(endless))
            group.create_task(task.map(endless, [{}, {}]))
            group.create_task(task.wait_for("never"))
            await task.run(child, {"n": 1})
            group.create_task(task.run(fails))
    except* SubtaskError as errors:
        found = [str(error.data["message"]) for error in errors.exceptions]
    return [found, await task.step("after", same, "after")]


async def timed_out(task: Task):
    try:
        async with asyncio.timeout(SOON):
            return await task.run(endless)
    except TimeoutError:
        return await task.step("late", same, "late")


async def timed_out_later(task: Task):
    """The subtask ends after its time, before the run is replayed."""
    handle = await task.start(gated, {"n": 1})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SOON):
            return await handle.result()
    await open_gate(task, handle)
    return ["late", await handle.result()]


async def in_time(task: Task):
    async with asyncio.timeout(ENDLESS):
        return [await sub(task, 1), await task.wait_for("yes")]


async def no_signal(task: Task):
    beats = []
    for n in range(3):
        try:
            async with asyncio.timeout(SOON):
                beats.append(await task.wait_for("never"))
        except TimeoutError:
            beats.append(await task.step("beat", same, n))
    return beats


async def signal_after_its_time(task: Task):
    """The signal came too late for the first wait, and is there when both are replayed."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(SOON):
            return await task.wait_for("late")
    await task.run(signals, {"context": task.context_id})
    return await task.wait_for("late")


async def waited_for(task: Task):
    try:
        return await asyncio.wait_for(task.run(endless), SOON)
    except TimeoutError:
        return await task.step("late", same, "late")


async def the_first(task: Task):
    asked = [asyncio.create_task(sub(task, n, s)) for n, s in ((1, ENDLESS), (2, 0.05))]
    done, left = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    for each in left:
        each.cancel()
    (first,) = [each.result() for each in done]
    return await task.step(f"first {first}", same, first)


async def the_faster(task: Task):
    """Both have ended when the run is replayed."""
    handle = await task.start(gated, {"n": 1})
    asked = [asyncio.create_task(handle.result()), asyncio.create_task(sub(task, 2))]
    done, _ = await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
    (first,) = [each.result() for each in done]
    await task.step(f"first {first}", same, first)
    await open_gate(task, handle)
    return [first, await asyncio.gather(*asked)]


async def the_failed(task: Task):
    asked = [asyncio.create_task(sub(task, 1, ENDLESS)), asyncio.create_task(task.run(fails))]
    done, left = await asyncio.wait(asked, return_when=asyncio.FIRST_EXCEPTION)
    for each in left:
        each.cancel()
    return [type(each.exception()).__name__ for each in done]


async def waited_in_vain(task: Task):
    handle = await task.start(gated, {"n": 1})
    asked = asyncio.create_task(handle.result())
    done, left = await asyncio.wait([asked], timeout=SOON)
    await task.step(f"{len(done)} {len(left)}", same, 1)
    await open_gate(task, handle)
    return [len(done), len(left), await asked]


async def completed(task: Task):
    """Each ends when the one before it has been met."""
    found = []
    handles = [await task.start(gated, {"n": n}) for n in range(3)]
    asked = [handle.result() for handle in handles]
    await open_gate(task, handles[2])
    for each in asyncio.as_completed(asked):
        value = await each
        found.append(await task.step(f"got {value}", same, value))
        if value:
            await open_gate(task, handles[value - 1])
    return found


async def shielded(task: Task):
    handle = await task.start(gated, {"n": 1})
    asked = asyncio.ensure_future(handle.result())
    try:
        async with asyncio.timeout(SOON):
            return await asyncio.shield(asked)
    except TimeoutError:
        await open_gate(task, handle)
        return ["late", await asyncio.shield(asked)]


async def cancelled(task: Task):
    asked = asyncio.create_task(task.run(endless))
    handle = await task.start(endless)
    await sub(task, 1, 0.3)
    asked.cancel()
    await handle.cancel()
    (error,) = await asyncio.gather(asked, return_exceptions=True)
    return await task.step("after", same, type(error).__name__)


async def beside_a_timer(task: Task):
    """A branch that sleeps in memory is not forgotten while another one waits for long."""

    async def later():
        await asyncio.sleep(0.3)
        await task.step("later", same, 1)
        await task.dispatch("yes")
        return await (await task.start(child, {"n": 2})).result()

    return await asyncio.gather(task.run(child, {"n": 3, "seconds": SOON}), later())


async def queued(task: Task):
    queue = asyncio.Queue[int](1)

    async def give():
        for n in range(4):
            await queue.put(await sub(task, n))

    async def take():
        return [await task.step("take", same, await queue.get()) for _ in range(4)]

    return (await asyncio.gather(give(), take()))[1]


async def in_turn(task: Task):
    """At most two at once."""
    two = asyncio.Semaphore(2)

    async def one(n):
        async with two:
            return await then(task, sub(task, n), str(n))

    return await asyncio.gather(*(one(n) for n in range(4)))


async def nested(task: Task):
    async def inner(n):
        async with asyncio.TaskGroup() as group:
            first = group.create_task(sub(task, n))
            second = group.create_task(task.wait_for("yes"))
        return [first.result(), second.result()]

    return await asyncio.gather(inner(1), inner(2))


async def mapped(task: Task):
    """The first that failed is who failed, whoever failed after it."""
    try:
        await task.map(fails, [{"seconds": ENDLESS}, {"seconds": SOON}, {"seconds": 0.05}])
    except SubtaskError as error:
        return await task.step("why", same, str(error.data["message"]))


async def grouped_by_anyio(task: Task):
    found = []

    async def one(n):
        found.append(await then(task, sub(task, n, 0.05 * n), "got"))

    async with anyio.create_task_group() as group:
        for n in range(3):
            group.start_soon(one, n)
    return found


async def grouped_failure_by_anyio(task: Task):
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(task.run, endless)
            group.start_soon(task.run, fails)
    except* SubtaskError as errors:
        found = len(errors.exceptions)
    return [found, await task.step("after", same, "after")]


async def moved_on(task: Task):
    with anyio.move_on_after(SOON) as scope:
        await task.run(endless)
    return await task.step("after", same, scope.cancelled_caught)


async def failed_after(task: Task):
    try:
        with anyio.fail_after(SOON):
            await task.run(endless)
    except TimeoutError:
        return await task.step("late", same, "late")


async def the_first_by_anyio(task: Task):
    found = []

    async with anyio.create_task_group() as group:

        async def one(n, seconds):
            found.append(await sub(task, n, seconds))
            group.cancel_scope.cancel()

        group.start_soon(one, 1, ENDLESS)
        group.start_soon(one, 2, 0.05)
    return await task.step(f"first {found}", same, found)


SHAPES = {
    each.__name__: (each, result)
    for each, result in (
        (gathered, [1, 2, 3]),
        (gathered_errors, [1, "SubtaskError", "ValueError"]),
        (gathered_failure, [2, "aside"]),
        (grouped, ["got"] * 3),
        (grouped_failure, [["no"], "after"]),
        (timed_out, "late"),
        (timed_out_later, ["late", 1]),
        (in_time, [1, "yes"]),
        (no_signal, [0, 1, 2]),
        (signal_after_its_time, 1),
        (waited_for, "late"),
        (the_first, 2),
        (the_faster, [2, [1, 2]]),
        (the_failed, ["SubtaskError"]),
        (waited_in_vain, [0, 1, 1]),
        (completed, [2, 1, 0]),
        (shielded, ["late", 1]),
        (cancelled, "CancelledError"),
        (beside_a_timer, [3, 2]),
        (queued, [0, 1, 2, 3]),
        (in_turn, ["0", "1", "2", "3"]),
        (nested, [[1, "yes"], [2, "yes"]]),
        (mapped, "no"),
        (grouped_by_anyio, ["got"] * 3),
        (grouped_failure_by_anyio, [1, "after"]),
        (moved_on, True),
        (failed_after, "late"),
        (the_first_by_anyio, [2]),
    )
} | {f"alike, {name}": (shape, True) for name, shape in ALIKE.items()}
# Of these subtasks none may be left open: who awaited them was cancelled.
ENDED = {
    *("grouped_failure", "timed_out", "waited_for", "the_first", "the_failed", "cancelled"),
    *("mapped", "grouped_failure_by_anyio", "moved_on", "failed_after", "the_first_by_anyio"),
}
