"""DBOS as a contender: one process that listens on one queue, which it looks at ten times a second.

Its workflows are synchronous, run by its threads: here that is faster than its async ones.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import psycopg
import sqlalchemy
from dbos import DBOS, DBOSClient, EnqueueOptions

from benchmarks.peers.contender import IN_FLIGHT, STEPS, main, timed, until

POLL_SECONDS = 0.1
POOL = 20
SPAN = """
SELECT (max(completed_at) - min(started_at_epoch_ms)) / 1000.0,
       count(*) FILTER (WHERE status = 'SUCCESS')
  FROM dbos.workflow_status WHERE name = %s
"""


@DBOS.workflow(name="noop")
def noop() -> None:
    """Do nothing."""


@DBOS.step()
def nothing() -> int:
    """Do nothing, durably."""
    return 1


@DBOS.workflow(name="steps")
def ten_steps() -> None:
    """Do nothing, durably, ten times."""
    for _ in range(STEPS):
        nothing()


@DBOS.workflow(name="fan_out")
def spawn_all(count: int) -> None:
    """Start children on the queue and wait for all."""
    handles = [DBOS.enqueue_workflow("queue", noop) for _ in range(count)]
    for handle in handles:
        handle.get_result(polling_interval_sec=0.05)


async def create(url: str, count: int) -> float:
    """Queue workflows, a thousand in a transaction."""
    return await timed(asyncio.to_thread(_create, url, "noop", count))


async def drain(url: str, count: int) -> float:
    """Seconds from the first start to the last end of workflows that are all queued before."""
    await asyncio.to_thread(_create, url, "noop", count)
    return await _work(url, "noop", count)


async def steps(url: str, count: int) -> float:
    """Workflows of ten steps."""
    await asyncio.to_thread(_create, url, "steps", count, IN_FLIGHT)
    return await _work(url, "steps", count)


async def fan_out(url: str, count: int) -> float:
    """One workflow with many children."""
    await asyncio.to_thread(_create, url, "fan_out", 1, None, [count])
    return await _work(url, "fan_out", 1)


def _create(
    url: str, name: str, count: int, limit: int | None = None, arguments: Iterable[Any] = ()
) -> None:
    client = DBOSClient(system_database_url=_sqlalchemy(url))
    client.register_queue("queue", worker_concurrency=limit, polling_interval_sec=POLL_SECONDS)
    engine = sqlalchemy.create_engine(_sqlalchemy(url))
    options = EnqueueOptions(queue_name="queue", workflow_name=name)
    for first in range(0, count, 1000):
        with engine.begin() as connection:
            for _ in range(min(1000, count - first)):
                client.enqueue_in_transaction(connection, options, *arguments)
    client.destroy()


async def _work(url: str, name: str, count: int) -> float:
    DBOS.launch()
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:

        async def all_ended() -> bool:
            return (await _span(connection, name))[1] >= count

        await until(all_ended)
        seconds, _ = await _span(connection, name)
    await asyncio.to_thread(DBOS.destroy)
    return float(seconds)


async def _span(connection: psycopg.AsyncConnection, name: str) -> tuple[float, int]:
    row = await (await connection.execute(SPAN, [name])).fetchone()
    return (row[0], row[1]) if row else (0.0, 0)


def _sqlalchemy(url: str) -> str:
    return url.replace("postgresql:", "postgresql+psycopg:")


def _prepared(job: Callable[[str, int], Any]) -> Callable[[str, int], Any]:
    async def run(url: str, count: int) -> float:
        config = {"name": "peers", "system_database_url": _sqlalchemy(url), "log_level": "ERROR"}
        DBOS(config={**config, "sys_db_pool_size": POOL, "application_version": "1"})
        await asyncio.to_thread(DBOS.migrate, _sqlalchemy(url))
        return await job(url, count)

    return run


if __name__ == "__main__":
    jobs = {"create": create, "drain": drain, "steps": steps, "fan-out": fan_out}
    main({name: _prepared(job) for name, job in jobs.items()})
