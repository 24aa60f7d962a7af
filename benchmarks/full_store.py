"""An empty store against one with 1,000,000 queued runs and 10,000,000 old events.

In each: claims of 16, their STARTED and FINAL in one batch each, and the status of a context.
Target: in the full store none costs more than 1.3 times what it costs in the empty one. Takes some
minutes, and 5 GB of disk while it runs; `python -m benchmarks.full_store --small` fills a tenth.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import psycopg

from dama.domain.event import Event
from dama.embedded import EmbeddedPostgres
from dama.store import Append, Start, Store, schema
from dama.store.queue_rows import WorkerIdentity
from dama.worker.claims import Claims

QUEUED = 1_000_000
CLOSED = 3_333_334
ROUNDS = 400
BATCH = 16
FILL = """
SET session_replication_role = replica;
INSERT INTO _data_manager_admin.etl_context
  (context_id, root_context_id, task, status, version, initial_event_id, latest_event_id)
  SELECT n, n, 'old.task', 'DONE', 3, n, n + 2 * {closed} FROM generate_series(1, {closed}) n;
INSERT INTO _data_manager_admin.event_store_prototype
  (event_id, etl_context_id, type, payload, meta, version)
  SELECT v * {closed} + n, n, 'old.task' || (ARRAY[':INITIAL', ':STARTED', ':FINAL'])[v + 1],
         '{{}}', jsonb_build_object('idempotency_key', 'k' || v, 'epoch', 1), v + 1
    FROM generate_series(0, 2) v, generate_series(1, {closed}) n;
SELECT setval('_data_manager_admin.etl_context_context_id_seq', {closed}),
       setval('_data_manager_admin.event_store_prototype_event_id_seq', 3 * {closed});
"""


def main(arguments: list[str]) -> int:
    """Measure and print."""
    part = 10 if "--small" in arguments else 1
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        url = server.start()
        try:
            asyncio.run(_compare(url, QUEUED // part, CLOSED // part))
        finally:
            server.stop()
    return 0


async def _compare(url: str, queued: int, closed: int) -> None:
    await schema.migrate(url)
    empty = await _costs(url, queued=BATCH * ROUNDS)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP SCHEMA _data_manager_admin CASCADE")
    await schema.migrate(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL.format(closed=closed))
    full = await _costs(url, queued=queued)
    for name, cost in full.items():
        print(f"{name} in the full store: {cost / empty[name]:.2f} times the empty (at most 1.3)")


async def _costs(url: str, *, queued: int) -> dict[str, float]:
    """The median seconds of each statement."""
    costs: dict[str, list[float]] = {"claim": [], "start": [], "finish": [], "status": []}
    async with Store.opened(url) as store:
        for _ in range(0, queued, 1000):
            await store.start([Start("jobs.noop", {})] * min(queued, 1000))
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
            connection.execute("CHECKPOINT")
        async for name, seconds in _life_cycles(store):
            costs[name].append(seconds)
    return {name: statistics.median(seconds[20:]) for name, seconds in costs.items()}


async def _life_cycles(store: Store) -> AsyncIterator[tuple[str, float]]:
    identity = WorkerIdentity("host", "boot", os.getpid(), "1", "0")
    worker = await store.queue.register(
        identity, queues=["default"], root=None, slots=BATCH, lease=timedelta(hours=1)
    )
    claims = Claims(store.queue, ["default"], ["jobs.noop"], None)
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        taken = await claims.take(worker, BATCH)
        yield "claim", time.perf_counter() - begun
        for name, suffix in (("start", "STARTED"), ("finish", "FINAL")):
            batch = [
                Append(
                    claim.context_id,
                    Event(
                        f"jobs.noop:{suffix}",
                        meta={"epoch": claim.epoch, "idempotency_key": f"{suffix}#1"},
                    ),
                )
                for claim in taken
            ]
            begun = time.perf_counter()
            await store.append_many(batch)
            yield name, time.perf_counter() - begun
        begun = time.perf_counter()
        await store.context(taken[0].context_id)
        yield "status", time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
