"""Threads that a function starts: each gets what is its own, in whatever order they come.

The threads ask in the order of their numbers in the first life of a run, and in the opposite one in
each later life.
"""

import asyncio
import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dama import Service, SyncTask, Task
from dama.testing import run

own = Service("own_threads")
lives = [0]
EACH = range(3)
pool = ThreadPoolExecutor(12)  # a life that has ended may still have some
SECONDS = 60


class Turns:
    """Lets threads ask in the order of this life, each before the one before it has its answer."""

    def __init__(self) -> None:
        order = [*EACH] if lives[0] == 1 else [*EACH][::-1]
        self._place = {number: place for place, number in enumerate(order)}
        self._events = [threading.Event() for _ in range(len(order) + 1)]
        self._events[0].set()

    def begin(self, number, ask):
        """Let a thread ask in its turn, and return what it got."""
        place = self._place[number]
        assert self._events[place].wait(SECONDS)
        try:
            asked = ask()
        finally:
            self._events[place + 1].set()
        return asked.result(SECONDS)

    def whole(self, number, ask):
        """The next one asks after the answer, as where a lock is held."""
        place = self._place[number]
        assert self._events[place].wait(SECONDS)
        try:
            return ask()
        finally:
            self._events[place + 1].set()

    async def come(self, number):
        """The same for a task of asyncio."""
        assert await asyncio.to_thread(self._events[self._place[number]].wait, SECONDS)
        self._events[self._place[number] + 1].set()


def same(number: int) -> int:
    return number


async def alike(task: Task, number: int) -> list[int]:
    """Steps with equal names, which have no arguments."""
    return [
        await task.step("a", lambda: number),
        await task.step("b", lambda: number + 10),
    ]


async def in_an_executor(task: Task, turns: Turns) -> object:
    loop = asyncio.get_running_loop()

    def work(number: int) -> list[int]:
        return turns.begin(
            number, lambda: asyncio.run_coroutine_threadsafe(alike(task, number), loop)
        )

    return await asyncio.gather(*(loop.run_in_executor(None, work, n) for n in EACH))


async def to_thread(task: Task, turns: Turns) -> object:
    loop = asyncio.get_running_loop()

    def work(number: int) -> list[int]:
        return turns.begin(
            number, lambda: asyncio.run_coroutine_threadsafe(alike(task, number), loop)
        )

    return await asyncio.gather(*(asyncio.to_thread(work, n) for n in EACH))


async def in_contexts_of_their_own(task: Task, turns: Turns) -> object:
    """Two kinds of context that a task may be given."""

    async def work(number: int) -> list[int]:
        await turns.come(number)
        return await alike(task, number)

    contexts = [contextvars.Context(), contextvars.copy_context(), contextvars.Context()]
    loop = asyncio.get_running_loop()
    return await asyncio.gather(
        *(
            loop.create_task(work(n), context=context)
            for n, context in zip(EACH, contexts, strict=True)
        )
    )


async def told_apart_by_arguments(task: Task, turns: Turns) -> object:
    loop = asyncio.get_running_loop()

    def work(number: int) -> list[int]:
        got = turns.begin(
            number,
            lambda: asyncio.run_coroutine_threadsafe(task.step("a", same, number), loop),
        )
        later = asyncio.run_coroutine_threadsafe(task.step("b", same, number + 10), loop)
        return [got, later.result(SECONDS)]

    return await asyncio.gather(*(asyncio.wrap_future(pool.submit(work, n)) for n in EACH))


async def in_a_loop_of_the_thread(task: Task, turns: Turns) -> object:
    """One thread has a loop of its own, and awaits there what its run does in another."""

    def work(number: int) -> list[int]:
        async def both() -> list[int]:
            return [
                await task.step("a", same, number),
                await task.step("b", same, number + 10),
            ]

        return turns.whole(number, lambda: asyncio.run(both()))

    return await asyncio.gather(*(asyncio.wrap_future(pool.submit(work, n)) for n in EACH))


SHAPES = {
    each.__name__: each
    for each in (
        in_an_executor,
        to_thread,
        in_contexts_of_their_own,
        told_apart_by_arguments,
        in_a_loop_of_the_thread,
    )
}


@own.task
async def perform(task: Task, shape: str) -> object:
    lives[0] += 1
    return await SHAPES[shape](task, Turns())


@own.task
def perform_blocking(task: SyncTask) -> object:
    lives[0] += 1
    turns = Turns()

    def work(number: int) -> list[int]:
        return turns.whole(
            number,
            lambda: [task.step("a", same, number), task.step("b", same, number + 10)],
        )

    return [*pool.map(work, EACH)]


@own.task
async def dispatches(task: Task) -> None:
    lives[0] += 1
    turns, loop = Turns(), asyncio.get_running_loop()

    def work(number: int) -> None:
        turns.begin(
            number, lambda: asyncio.run_coroutine_threadsafe(task.dispatch("page", number), loop)
        )

    await asyncio.gather(*(asyncio.wrap_future(pool.submit(work, n)) for n in EACH))


@own.task
def dispatches_blocking(task: SyncTask) -> None:
    lives[0] += 1
    turns = Turns()
    work = [pool.submit(turns.whole, n, lambda n=n: task.dispatch("page", n)) for n in EACH]
    for each in work:
        each.result(SECONDS)


@own.task
async def ambiguous(task: Task, sent: str) -> object:
    """Two threads that live ask for a step that nothing tells from the other."""
    loop, both = asyncio.get_running_loop(), threading.Barrier(2)

    def work(number: int) -> object:
        if sent == "callback":
            asked: list[asyncio.Task[int]] = []
            done = threading.Event()

            def ask() -> None:
                asked.append(loop.create_task(task.step("a", lambda: number)))
                asked[0].add_done_callback(lambda _: done.set())

            loop.call_soon_threadsafe(ask)
            assert done.wait(SECONDS)
        else:
            step = alike(task, number) if sent == "helper" else task.step("a", lambda: number)
            asked = [asyncio.run_coroutine_threadsafe(step, loop)]
            asked[0].exception(SECONDS)
        both.wait(SECONDS)
        return asked[0].result()

    return await asyncio.gather(*(asyncio.wrap_future(pool.submit(work, n)) for n in range(2)))


@pytest.mark.parametrize("shape", SHAPES)
def test_each_gets_what_is_its_own_when_they_come_otherwise(shape):
    for death in ("a", "b"):
        lives[0] = 0
        ran = run(perform, {"shape": shape}, crash_after=death)
        assert ran.result == [[n, n + 10] for n in EACH], death
        assert (ran.deaths, sorted(ran.steps)) == (1, ["a", "a#2", "a#3", "b", "b#2", "b#3"])


def test_threads_of_a_blocking_function_may_hold_a_lock_while_they_ask():
    for death in ("a", "b"):
        lives[0] = 0
        ran = run(perform_blocking, crash_after=death)
        assert (ran.result, ran.deaths) == ([[n, n + 10] for n in EACH], 1)


@pytest.mark.parametrize("task", [dispatches, dispatches_blocking])
def test_each_event_of_threads_is_sent_once(task):
    lives[0] = 0
    ran = run(task, crash_after="page")
    assert (sorted(ran.payloads("page")), ran.deaths) == ([*EACH], 1)


@pytest.mark.parametrize("sent", ["step", "helper", "callback"])
def test_what_nothing_tells_apart_is_refused(sent):
    ran = run(ambiguous, {"sent": sent})
    assert ran.status == "ERROR"
    assert "Two threads that the function has started ask for the step a" in ran.error["message"]


@own.task
async def produced(task: Task) -> list[int]:
    """Steps for what a thread puts into a queue; in the first life something beside them waits."""
    lives[0] += 1
    queue: asyncio.Queue[int] = asyncio.Queue()
    loop, is_asked = asyncio.get_running_loop(), threading.Event()

    def produce() -> None:
        if lives[0] > 1:  # what is beside asks for something new, and is held for a while
            assert is_asked.wait(SECONDS)
            time.sleep(1)
        for number in EACH:
            loop.call_soon_threadsafe(queue.put_nowait, number)

    async def beside() -> None:
        if lives[0] == 1:
            await asyncio.Event().wait()
        is_asked.set()
        await task.step("beside", same, 1)

    async def load() -> list[int]:
        return [await task.step("load", same, await queue.get()) for _ in EACH]

    threading.Thread(target=produce, daemon=True).start()
    async with asyncio.TaskGroup() as group:
        loaded = group.create_task(load())
        group.create_task(beside())
    return loaded.result()


def test_what_a_thread_is_about_to_send_is_waited_for():
    """The function stands still until then, and is not another one for that."""
    lives[0] = 0
    ran = run(produced, crash_after="load#2")
    assert (ran.result, ran.deaths) == ([*EACH], 1)
