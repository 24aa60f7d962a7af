"""procrastinate as a contender: one async worker with concurrency 20 and a pool of 20 connections.

It keeps no steps and no results; it is here for its speed as a plain queue.
"""

import psycopg
from procrastinate import App, PsycopgConnector

from benchmarks.peers.contender import main, timed

CONCURRENCY = 20
SPAN = """
SELECT extract(epoch FROM max(at) FILTER (WHERE type = 'succeeded')
                        - min(at) FILTER (WHERE type = 'started'))
  FROM procrastinate_events
"""


async def create(url: str, count: int) -> float:
    """Queue tasks, a thousand at a time."""
    async with _app(url).open_async() as app:
        await app.schema_manager.apply_schema_async()
        return await timed(_create(app, count))


async def drain(url: str, count: int) -> float:
    """Seconds from the first start to the last end of tasks that are all queued before."""
    await create(url, count)
    async with _app(url).open_async() as app:
        await app.run_worker_async(
            wait=False, concurrency=CONCURRENCY, install_signal_handlers=False
        )
    async with await psycopg.AsyncConnection.connect(url) as connection:
        row = await (await connection.execute(SPAN)).fetchone()
        return float(row[0]) if row else 0.0


def _app(url: str) -> App:
    app = App(connector=PsycopgConnector(conninfo=url, min_size=1, max_size=CONCURRENCY))

    @app.task(name="noop")
    async def noop() -> None:
        """Do nothing."""

    return app


async def _create(app: App, count: int) -> None:
    for first in range(0, count, 1000):
        await app.tasks["noop"].batch_defer_async(*[{}] * min(1000, count - first))


if __name__ == "__main__":
    main({"create": create, "drain": drain})
