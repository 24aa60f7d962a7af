"""Starts by the client, one after the other and many at once, against plain INSERTs.

One server with fsync on, so a start waits for the disk as a plain INSERT does. Target: a start,
which is durable and has woken the workers, takes at most 4 times one INSERT over the same driver:
under 2 ms where that takes half a millisecond.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg

import dama
from benchmarks import MISSED
from dama import Service, Task
from dama.embedded import EmbeddedPostgres
from dama.store import schema

COUNT = 500
AT_ONCE = 32
TARGET = 4.0

service = Service("benchmark_client")


@service.task
async def nothing(task: Task, n: int) -> int:  # noqa: ARG001 - it is never run
    """Do nothing."""
    return n


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        url = server.start()
        try:
            asyncio.run(schema.migrate(url))
            plain, alone, together = asyncio.run(_measure(url))
        finally:
            server.stop()
    ratio = alone / plain
    print(f"plain INSERT {plain * 1000:.2f} ms, start {alone * 1000:.2f} ms")
    print(f"a start costs {ratio:.2f} times a plain INSERT (target: at most {TARGET})")
    print(f"{AT_ONCE} at once: {together * 1000:.2f} ms each")
    return 0 if ratio <= TARGET else MISSED


async def _measure(url: str) -> tuple[float, float, float]:
    async with (
        dama.connect(url) as client,
        await psycopg.AsyncConnection.connect(url, autocommit=True) as connection,
    ):
        await connection.execute("CREATE TABLE plain (n int PRIMARY KEY, t timestamptz)")
        plain, alone = [], []
        for n in range(COUNT):
            begun = time.perf_counter()
            await connection.execute("INSERT INTO plain VALUES (%s, now())", [n])
            between = time.perf_counter()
            await client.start(nothing, n=n)
            plain.append(between - begun)
            alone.append(time.perf_counter() - between)
        begun = time.perf_counter()
        for _ in range(COUNT // AT_ONCE):
            await asyncio.gather(*(client.start(nothing, n=n) for n in range(AT_ONCE)))
        each = (time.perf_counter() - begun) / (COUNT // AT_ONCE * AT_ONCE)
    return statistics.median(plain), statistics.median(alone), each


if __name__ == "__main__":
    sys.exit(main())
