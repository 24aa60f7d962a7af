"""A state at any event, a fork and what-if, each beside what the server needs alone.

- The state of a context of 100,000 events after one of them: the median of 50, from the ladder,
  and the first, which builds it. Target: 50 ms.
- A fork of a context of 100,000 events beside an INSERT ... SELECT of the same rows. Target: 1 s.
- What-if over 1,000,000 events of 1,000 contexts beside a COPY of them. Target: 150,000 events/s.

`python -m benchmarks.history --small` takes a tenth of the contexts of what-if.
"""

import asyncio
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import MISSED
from benchmarks.fold import tally
from dama import Service, Task
from dama.app import App
from dama.definitions.registry import Registry
from dama.embedded import EmbeddedPostgres
from dama.operations import forks, whatif
from dama.store import Start, Store, schema

EVENTS = 100_000
CONTEXTS, EACH = 1000, 1000
FILL = """
INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, payload, version)
SELECT c, CASE n %% 2 WHEN 0 THEN 'tally/loaded' ELSE 'tally/refused' END, '{"rows": 7}', n
  FROM unnest(%(contexts)s::bigint[]) c, generate_series(2, %(events)s) n;
"""
COUNT = """
UPDATE _data_manager_admin.etl_context c SET version = e.version, latest_event_id = e.event_id
  FROM _data_manager_admin.event_store_prototype e
  WHERE c.context_id = ANY (%(contexts)s) AND e.etl_context_id = c.context_id
    AND e.version = %(events)s;
"""
READ = """
COPY (SELECT _data_manager_admin.event_json(e) FROM _data_manager_admin.event_store_prototype e
        ORDER BY etl_context_id, version) TO STDOUT
"""
WRITE = """
CREATE UNLOGGED TABLE copied (
  LIKE _data_manager_admin.event_store_prototype INCLUDING DEFAULTS INCLUDING INDEXES);
INSERT INTO copied (event_id, etl_context_id, type, payload, meta, error, version)
  SELECT event_id, etl_context_id, type, payload, meta, error, version
    FROM _data_manager_admin.event_store_prototype WHERE etl_context_id = %s;
"""

big = Service("big")


@big.task
async def load(task: Task) -> None:
    """Nothing: it is only forked."""


async def timed(work: Awaitable[Any]) -> float:
    """Seconds that something takes."""
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


def processor() -> float:
    """Seconds of processor time of this process, and of those that it started and that ended."""
    used = [resource.getrusage(each) for each in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def fill(url: str, contexts: list[int], events: int) -> None:
    """Give contexts their events."""
    params = {"contexts": contexts, "events": events}
    with psycopg.connect(url) as connection:
        connection.execute("SET LOCAL dama.rewrite_history = 'on'")  # fast: no rules, no locks
        connection.execute(FILL, params)
        connection.execute(COUNT, params)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")


def say(name: str, seconds: float, most: float, beside: str) -> bool:
    """Print one of them; returns whether it is within its target."""
    print(f"{name}: {seconds * 1000:,.0f} ms (target: {most * 1000:,.0f} ms); {beside}")
    return seconds <= most


async def states(store: Store, context: int) -> bool:
    """A state after any event."""
    first = await timed(store.state(context, tally, at=None))
    chance = random.Random(7)
    events = [e.event_id for e in await store.events(context, after_version=EVENTS - 1)]
    lowest = events[0] - EVENTS + 2
    times = [
        await timed(store.state(context, tally, at=lowest + chance.randrange(EVENTS - 2)))
        for _ in range(50)
    ]
    worst = f"the slowest of 50 {max(times) * 1000:,.0f} ms, the first fold {first:.1f} s"
    return say("a state at one of 100,000 events", statistics.median(times), 0.05, worst)


async def fork(app: App, url: str, context: int) -> bool:
    """A fork at the last event."""
    await app.store.log.position()
    at = (await app.store.forks.point(context, None)).event_id
    with psycopg.connect(url) as connection:
        begun = time.perf_counter()
        for statement in WRITE.split(";")[:2]:
            connection.execute(statement, [context] if "%s" in statement else None)
        plain = time.perf_counter() - begun
        connection.rollback()
    seconds = await timed(forks.fork(app, context, at))
    beside = f"{seconds / plain:.1f} times an INSERT of the same rows"
    return say("a fork of 100,000 events", seconds, 1.0, beside)


async def what_if(app: App, url: str, contexts: list[int]) -> bool:
    """The same reducers twice, each in a process of its own."""
    with psycopg.connect(url) as connection:
        begun = time.perf_counter()
        with connection.cursor().copy(READ) as copied:
            for _ in copied:
                pass
        plain = time.perf_counter() - begun
    code = whatif.Code(["benchmarks.fold"], Path.cwd())
    begun, used = time.perf_counter(), processor()
    found = await whatif.what_if(app, "tally", code, code, contexts=contexts)
    seconds, used = time.perf_counter() - begun, processor() - used
    beside = (
        f"{found.events / seconds:,.0f} events/s, {seconds / plain:.1f} times a COPY of them; "
        f"{used / found.events * 1e6:.1f} µs of processor time an event beside the server"
    )
    return say(f"what-if over {found.events:,} events", seconds, found.events / 150_000, beside)


async def measure(url: str, folder: Path, contexts: int) -> int:
    """Measure all; returns the exit code."""
    await schema.migrate(url)
    async with Store.opened(url) as store:
        app = App(store, Registry([big]), folder)
        many = await store.start([Start("big.load", {})] * contexts)
        fill(url, many, EACH)
        outcomes = [await what_if(app, url, many)]
        (one,) = await store.start([Start("big.load", {})])
        fill(url, [one], EVENTS)
        outcomes += [await states(store, one), await fork(app, url, one)]
    return 0 if all(outcomes) else MISSED


def main(arguments: list[str]) -> int:
    """Measure and print."""
    contexts = CONTEXTS // (10 if "--small" in arguments else 1)
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        try:
            return asyncio.run(measure(server.start(), Path(folder), contexts))
        finally:
            server.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
