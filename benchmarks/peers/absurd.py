"""Absurd as a contender: async workers of its SDK in one process, each with its connection.

A client has one connection, on which its statements wait for each other; so several work side by
side, which its documentation recommends for throughput (there as processes).
"""

import asyncio
from typing import Any

import psycopg
from absurd_sdk import AsyncAbsurd, AsyncTaskContext
from absurdctl import BUNDLED_SCHEMA_SQL

from benchmarks.peers.contender import IN_FLIGHT, STEPS, main, timed, until

CLIENTS = 4
BATCH = 50
SPAN = "SELECT extract(epoch FROM max(completed_at) - min(started_at)) FROM absurd.r_{queue}"
ENDED = "SELECT count(*) FROM absurd.t_{queue} WHERE state = 'completed'"


class Work:
    """The tasks, and whether as many as there are have come to their end."""

    def __init__(self, count: int) -> None:
        self._open = count
        self.all_ended = asyncio.Event()

    async def noop(self, _params: Any, _context: AsyncTaskContext) -> None:
        """Do nothing."""
        self._end()

    async def steps(self, _params: Any, context: AsyncTaskContext) -> None:
        """Do nothing, durably, ten times."""
        for number in range(STEPS):
            await context.step(f"step{number}", _nothing)
        self._end()

    def _end(self) -> None:
        self._open -= 1
        if self._open == 0:
            self.all_ended.set()


async def _nothing() -> int:
    return 1


async def create(url: str, count: int) -> float:
    """Queue tasks; there is no call for many at once."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(BUNDLED_SCHEMA_SQL)
        client = AsyncAbsurd(connection, queue_name="default")
        await client.create_queue()
        return await timed(_create(client, "noop", count))


async def drain(url: str, count: int) -> float:
    """Seconds from the first start to the last end of tasks that are all queued before."""
    await create(url, count)
    return await _work(url, count, CLIENTS, BATCH)


async def steps(url: str, count: int) -> float:
    """Workflows of ten steps."""
    await create(url, 0)
    client = AsyncAbsurd(url, queue_name="default")
    await _create(client, "steps", count)
    await client.close()
    return await _work(url, count, CLIENTS, IN_FLIGHT // CLIENTS)


async def fan_out(url: str, count: int) -> float:
    """One task with many subtasks, in a queue of their own, as Absurd wants it."""
    await create(url, 0)
    parent, work = AsyncAbsurd(url, queue_name="parents"), Work(count)
    await parent.create_queue()

    async def spawn_all(_params: Any, context: AsyncTaskContext) -> None:
        spawner = AsyncAbsurd(url, queue_name="default")
        ids = [(await spawner.spawn("noop", {}, queue="default"))["task_id"] for _ in range(count)]
        for task_id in ids:
            await context.await_task_result(task_id, queue_name="default")
        await spawner.close()

    parent.register_task("fan_out")(spawn_all)
    await parent.spawn("fan_out", {})
    clients = [_client(url, work) for _ in range(CLIENTS)]
    workers = [asyncio.create_task(parent.start_worker(poll_interval=0.05))]
    workers += [
        asyncio.create_task(client.start_worker(concurrency=BATCH, poll_interval=0.05))
        for client in clients
    ]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await until(lambda: _has(connection, ENDED.format(queue="parents"), 1))
        seconds = await _span(connection, "parents")
    await _stop([parent, *clients], workers)
    return seconds


async def _work(url: str, count: int, number: int, batch: int) -> float:
    work = Work(count)
    clients = [_client(url, work) for _ in range(number)]
    workers = [asyncio.create_task(one.start_worker(concurrency=batch)) for one in clients]
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await work.all_ended.wait()
        await until(lambda: _has(connection, ENDED.format(queue="default"), count))
        seconds = await _span(connection, "default")
    await _stop(clients, workers)
    return seconds


def _client(url: str, work: Work) -> AsyncAbsurd:
    client = AsyncAbsurd(url, queue_name="default")
    client.register_task("noop")(work.noop)
    client.register_task("steps")(work.steps)
    return client


async def _create(client: AsyncAbsurd, task: str, count: int) -> None:
    client.register_task(task)(Work(count).noop)
    for _ in range(count):
        await client.spawn(task, {})


async def _has(connection: psycopg.AsyncConnection, query: str, count: int) -> bool:
    row = await (await connection.execute(query)).fetchone()
    return row is not None and row[0] >= count


async def _span(connection: psycopg.AsyncConnection, queue: str) -> float:
    row = await (await connection.execute(SPAN.format(queue=queue))).fetchone()
    return float(row[0]) if row else 0.0


async def _stop(clients: list[AsyncAbsurd], workers: list[asyncio.Task[None]]) -> None:
    for client in clients:
        client.stop_worker()
    await asyncio.gather(*workers)
    for client in clients:
        await client.close()


if __name__ == "__main__":
    main({"create": create, "drain": drain, "steps": steps, "fan-out": fan_out})
