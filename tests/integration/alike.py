"""Shapes whose branches look alike: what a helper keeps is told from the like by its branch alone.

The lambdas have no arguments and one name. Each shape is true when every branch got its own.
"""

import asyncio
import contextlib
import threading
from itertools import count

import anyio

from dama import Task

numbers = count(1)


async def fresh(seconds: float = 0.0) -> int:
    """Another number at each call, so that a result shows whose it is."""
    await asyncio.sleep(seconds)
    return next(numbers)


async def helper(task: Task, n: int, seconds: float = 0.0) -> list:
    """Whether what it got is what it stores; nothing that it asks for has arguments."""
    got = await task.step("open", lambda: fresh(seconds))
    kept = await task.step("keep", lambda: [n, got])
    await task.dispatch("kept", None)
    return [n, kept == [n, got], await task.step("close", lambda: n)]


def expected(ns) -> list:
    return [[n, True, n] for n in ns]


async def born_later(task: Task) -> bool:
    """The first is in a step when the second, which is started later, has recorded its like."""
    calls = count()

    async def opened(_: str) -> int:
        return await fresh(0.15 if next(calls) == 0 else 0)

    async def one() -> bool:
        got = await task.step("open", opened, "the same")
        return await task.step("keep", lambda: got) == got

    async with asyncio.TaskGroup() as group:
        first = group.create_task(one())
        await asyncio.sleep(0.02)
        second = group.create_task(one())
    return first.result() and second.result()


async def a_set(task: Task) -> bool:
    found = await asyncio.gather(*{helper(task, n, n / 100) for n in range(4)})
    return sorted(found) == expected(range(4))


async def a_set_of_steps(task: Task) -> bool:
    asked = {task.step("load", lambda n: [n, next(numbers)], n) for n in range(4)}
    got = sorted(await asyncio.gather(*asked))
    return [n for n, _ in got] == list(range(4)) and got == await task.step("got", lambda: got)


async def completed(task: Task) -> bool:
    found = [await each for each in asyncio.as_completed({helper(task, n) for n in range(4)})]
    return sorted(found) == expected(range(4))


async def first_completed(task: Task) -> bool:
    """A window of two over five; the next is started when one ends."""
    left, running, found = list(range(5)), set(), []
    while left or running:
        while left and len(running) < 2:
            n = left.pop(0)
            running.add(asyncio.create_task(helper(task, n, (5 - n) / 100)))
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        found += [each.result() for each in done]
    return sorted(found) == expected(range(5))


async def beats_before(task: Task) -> bool:
    """How many beats there are is a matter of time, and each may be a task of its own."""
    beside = asyncio.create_task(helper(task, 9, 0.1))
    while not beside.done():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(beside), 0.03)
    found = await asyncio.gather(*(helper(task, n) for n in range(3)))
    return [await beside, *found] == expected([9, 0, 1, 2])


async def queued(task: Task) -> bool:
    """Which worker takes what is the same each time: they are woken in the order of the history."""
    queue, found = asyncio.Queue(), []

    async def worker() -> None:
        while (n := await queue.get()) is not None:
            found.append(await helper(task, n, n / 200))

    async def produce() -> None:
        for n in range(4):
            await queue.put(await task.step("produce", lambda n=n: n))
        for _ in range(2):
            await queue.put(None)

    await asyncio.gather(produce(), worker(), worker())
    return sorted(found) == expected(range(4))


async def limited(task: Task) -> bool:
    semaphore, lock, found = asyncio.Semaphore(2), asyncio.Lock(), []

    async def one(n: int) -> None:
        async with semaphore:
            got = await helper(task, n, n / 200)
        async with lock:
            await task.step("locked", lambda: n)
            found.append(got)

    await asyncio.gather(*(one(n) for n in range(4)))
    return sorted(found) == expected(range(4))


async def with_an_event(task: Task) -> bool:
    ready = asyncio.Event()

    async def late(n: int) -> list:
        await ready.wait()
        return await helper(task, n)

    asked = [asyncio.create_task(late(n)) for n in range(2)]
    first = await helper(task, 7, 0.02)
    asyncio.get_running_loop().call_later(0.02, ready.set)
    return [first, *(await asyncio.gather(*asked))] == expected([7, 0, 1])


async def pages(task: Task, last: int):
    for n in range(last):
        yield await helper(task, n)


async def generated(task: Task) -> bool:
    found = []
    async with contextlib.aclosing(pages(task, 9)) as each:
        async for got in each:
            found.append(got)
            if len(found) == 3:
                break
    return found == expected(range(3))


async def in_threads(task: Task) -> bool:
    """Threads beside steps: what they do is no step."""

    async def one(n: int) -> list:
        await asyncio.to_thread(threading.Event().wait, (3 - n) / 100)
        return await helper(task, n)

    return await asyncio.gather(*(one(n) for n in range(3))) == expected(range(3))


async def of_anyio(task: Task) -> bool:
    found = []

    async def one(n: int) -> None:
        async with limiter:
            await anyio.sleep((3 - n) / 100)
            found.append(await helper(task, n))

    limiter = anyio.CapacityLimiter(2)
    async with anyio.create_task_group() as group:
        for n in range(3):
            group.start_soon(one, n)
    return sorted(found) == expected(range(3))


async def nested(task: Task) -> bool:
    async def whole(n: int) -> list:
        return await asyncio.gather(*{helper(task, 10 * n + m) for m in range(2)})

    async def outer(n: int) -> list:
        return sorted(await task.step("whole", lambda: whole(n)))

    found = await asyncio.gather(*{outer(n) for n in range(2)})
    return sorted(found) == [expected([0, 1]), expected([10, 11])]


async def outlived(task: Task) -> bool:
    """A failure in a branch that nothing else follows is tried again, before what came after it."""

    def refuse() -> None:
        raise ValueError("no")

    async def one(n: int) -> list:
        return await task.step("after", lambda: n)

    found = await asyncio.gather(task.step("refuse", refuse), return_exceptions=True)
    return [str(each) for each in found] == ["no"] and await asyncio.gather(one(1), one(2)) == [
        1,
        2,
    ]


ALIKE = {
    each.__name__: each
    for each in (
        born_later, a_set, a_set_of_steps, completed, first_completed, beats_before, queued,
        limited, with_an_event, generated, in_threads, of_anyio, nested, outlived,
    )
}  # fmt: skip
