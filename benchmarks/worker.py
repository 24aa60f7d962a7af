"""A worker alone: how soon it begins what is started, and the memory that a drain takes.

Targets: 200 single starts, each when the worker has nothing to do, begin within 5 ms (p50) and
15 ms (p99), from the call of `start` to the first line of the task; a worker with 500 slots that
drains 10,000 tasks stays within 80 MiB (VmHWM). Linux only, for its /proc.
"""

import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.peers.dama import PROJECT, SLOTS
from dama import Service, Task
from dama.definitions.registry import Registry
from dama.embedded import EmbeddedPostgres
from dama.store import Start, Store, schema
from dama.worker.worker import Worker

STARTS = 200
PAUSE_SECONDS = 0.03
DRAINED = 10_000

latency = Service("latency")
begun_at: dict[int, float] = {}
begun = asyncio.Event()


@latency.task
async def noop(task: Task) -> None:
    """Note when it begins."""
    begun_at[task.context_id] = time.perf_counter()
    begun.set()


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        url = server.start()
        try:
            asyncio.run(_measure(url))
        finally:
            server.stop()
    return 0


async def _measure(url: str) -> None:
    await schema.migrate(url)
    seconds = sorted(await _latencies(url))
    p50, p99 = (seconds[int(len(seconds) * part)] * 1000 for part in (0.5, 0.99))
    print(f"start to begin: p50 {p50:.1f} ms (target: 5), p99 {p99:.1f} ms (target: 15)")
    peak = await _peak_of_a_drain(url)
    print(f"memory of a worker that drains {DRAINED:,} tasks: {peak:.0f} MiB (target: 80)")


async def _latencies(url: str) -> list[float]:
    found: list[float] = []
    async with (
        Store.opened(url) as ours,
        Store.opened(url) as store,
        Worker(ours, Registry([latency])).working(),
    ):
        for _ in range(STARTS + 1):
            begun.clear()
            called = time.perf_counter()
            (context,) = await store.start([Start("latency.noop", {})])
            while context not in begun_at:
                await begun.wait()
                begun.clear()
            found.append(begun_at[context] - called)
            await asyncio.sleep(PAUSE_SECONDS)
    return found[1:]  # the first one opens connections


async def _peak_of_a_drain(url: str) -> float:
    async with Store.opened(url) as store:
        for _ in range(0, DRAINED, 1000):
            await store.start([Start("jobs.noop", {})] * 1000)
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("dama"),
        *("worker", "--until-idle", "--quiet", "--slots", str(SLOTS)),
        cwd=PROJECT,
        env={**os.environ, "DAMA_DATABASE_URL": url},
        stdout=asyncio.subprocess.DEVNULL,
    )
    ended = asyncio.ensure_future(process.wait())
    peak = 0
    while not ended.done():
        peak = max(peak, _high_water(process.pid))
        await asyncio.wait([ended], timeout=0.02)
    if await ended:
        raise RuntimeError("The worker has failed; its output says why.")
    return peak / 1024


def _high_water(pid: int) -> int:
    """KiB that a process has had at most; 0 when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


if __name__ == "__main__":
    sys.exit(main())
