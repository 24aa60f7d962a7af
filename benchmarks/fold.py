"""A fold of 1,000,000 events of one context, from PostgreSQL through a slice, a page at a time.

Target: at least 150,000 events a second, with flat memory.
"""

import asyncio
import resource
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from dama.domain.slice import Slice
from dama.embedded import EmbeddedPostgres
from dama.store import Start, Store, schema

EVENTS = 1_000_000
TARGET = 150_000
FILL = """
INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, payload, version)
SELECT %s, CASE n %% 2 WHEN 0 THEN 'tally/loaded' ELSE 'tally/refused' END, '{"rows": 7}', n + 1
  FROM generate_series(1, %s) n
"""


@dataclass(frozen=True)
class Tally:
    """Two sums."""

    loaded: int = 0
    refused: int = 0


tally = Slice("tally", initial=Tally())


@tally.reducer
def loaded(state: Tally, payload: dict[str, int]) -> Tally:
    """Add to the one."""
    return replace(state, loaded=state.loaded + payload["rows"])


@tally.reducer
def refused(state: Tally, payload: dict[str, int]) -> Tally:
    """Add to the other."""
    return replace(state, refused=state.refused + payload["rows"])


async def measure(url: str) -> tuple[float, int]:
    """Seconds of the fold, and by how many KiB the process grew."""
    await schema.migrate(url)
    async with Store.opened(url) as store:
        (context,) = await store.start([Start("a.b", {})])
        with psycopg.connect(url) as connection:
            connection.execute("SET LOCAL dama.rewrite_history = 'on'")  # fast: no rules, no locks
            connection.execute(FILL, [context, EVENTS])
            connection.execute("ANALYZE")
        await store.state(context, tally, at=1)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begun = time.perf_counter()
        state = await store.state(context, tally)
        seconds = time.perf_counter() - begun
        if state != Tally(EVENTS // 2 * 7, EVENTS // 2 * 7):
            raise ValueError(f"the fold is wrong: {state}")
        return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder), fsync=False)
        try:
            seconds, grown = asyncio.run(measure(server.start()))
        finally:
            server.stop()
    print(f"{EVENTS / seconds / TARGET:.2f} of the target of {TARGET:,} events/s; grew {grown} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
