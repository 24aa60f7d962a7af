"""dama as a contender: `dama worker --until-idle` on the tasks of `project`."""

import asyncio
import os
import sys
from pathlib import Path

import psycopg

from benchmarks.peers.contender import IN_FLIGHT, main, timed
from dama.store import Start, Store, schema

PROJECT = Path(__file__).with_name("project")
SLOTS = 500
SPAN = """
SELECT extract(epoch FROM max(created_at) FILTER (WHERE type LIKE '%:FINAL')
                        - min(created_at) FILTER (WHERE type LIKE '%:STARTED')),
       count(*) FILTER (WHERE type LIKE '%:FINAL')
  FROM _data_manager_admin.event_store_prototype
"""


async def create(url: str, count: int) -> float:
    """Queue tasks, a thousand at a time."""
    await schema.migrate(url)
    async with Store.opened(url) as store:
        return await timed(_create(store, count))


async def drain(url: str, count: int, *, workers: int = 1) -> float:
    """Seconds from the first start to the last end of tasks that are all queued before."""
    await create(url, count)
    return await _work(url, count, SLOTS, workers)


async def drain_by_two(url: str, count: int) -> float:
    """The same with two workers."""
    return await drain(url, count, workers=2)


async def steps(url: str, count: int) -> float:
    """Workflows of ten steps."""
    await schema.migrate(url)
    async with Store.opened(url) as store:
        await store.start([Start("jobs.steps", {})] * count)
    return await _work(url, count, IN_FLIGHT)


async def fan_out(url: str, count: int) -> float:
    """One task with many subtasks."""
    await schema.migrate(url)
    async with Store.opened(url) as store:
        await store.start([Start("jobs.fan_out", {"count": count})])
    return await _work(url, count + 1, SLOTS)


async def _create(store: Store, count: int) -> None:
    for first in range(0, count, 1000):
        await store.start([Start("jobs.noop", {})] * min(1000, count - first))


async def _work(url: str, count: int, slots: int, workers: int = 1) -> float:
    command = [str(Path(sys.executable).with_name("dama")), "worker", "--until-idle", "--quiet"]
    environment = {**os.environ, "DAMA_DATABASE_URL": url}
    processes = [
        await asyncio.create_subprocess_exec(
            *command, "--slots", str(slots), cwd=PROJECT, env=environment, stdout=sys.stderr
        )
        for _ in range(workers)
    ]
    await asyncio.gather(*(process.wait() for process in processes))
    with psycopg.connect(url) as connection:
        seconds, ended = connection.execute(SPAN).fetchone() or (0, 0)
    if ended != count:
        raise ValueError(f"{ended} of {count} runs have ended; look at the worker's output.")
    return float(seconds)


if __name__ == "__main__":
    main(
        {
            "create": create,
            "drain": drain,
            "drain by two": drain_by_two,
            "steps": steps,
            "fan-out": fan_out,
        }
    )
