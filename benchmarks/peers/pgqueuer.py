"""pgqueuer as a contender: one process that takes batches of 100, with asyncpg.

It keeps no steps and no results; it is here for its speed as a plain queue.
"""

import asyncpg
from pgqueuer import AsyncpgDriver, Job, PgQueuer, Queries
from pgqueuer.domain.types import QueueExecutionMode

from benchmarks.peers.contender import main, timed

BATCH = 100
SPAN = """
SELECT extract(epoch FROM max(created) FILTER (WHERE status = 'successful')
                        - min(created) FILTER (WHERE status = 'picked'))
  FROM pgqueuer_log
"""


async def create(url: str, count: int) -> float:
    """Queue jobs, a thousand at a time."""
    connection = await asyncpg.connect(url)
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    seconds = await timed(_create(queries, count))
    await connection.close()
    return seconds


async def drain(url: str, count: int) -> float:
    """Seconds from the first start to the last end of jobs that are all queued before."""
    await create(url, count)
    connection = await asyncpg.connect(url)
    queue = PgQueuer(AsyncpgDriver(connection))

    @queue.entrypoint("noop")
    async def noop(_job: Job) -> None:
        """Do nothing."""

    await queue.run(batch_size=BATCH, mode=QueueExecutionMode.drain)
    connection = await asyncpg.connect(url)
    seconds = await connection.fetchval(SPAN)
    await connection.close()
    return float(seconds)


async def _create(queries: Queries, count: int) -> None:
    for first in range(0, count, 1000):
        number = min(1000, count - first)
        await queries.enqueue(["noop"] * number, [None] * number, [0] * number)


if __name__ == "__main__":
    main({"create": create, "drain": drain})
