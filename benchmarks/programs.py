"""Programs: what a run of one costs, how many run at once, and how fast their output is shipped.

Targets: a task with a process of its own costs at most 40 ms more than one in a thread, and 25 MiB
(its shim 12 MiB) that it shares with nobody. For the rest the peers are measured in the same run: a
bare `subprocess`, and `cat` of the same log. Linux only, for its /proc.
"""

import asyncio
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import isolated_jobs
from dama import Service
from dama.definitions.registry import Registry
from dama.definitions.task import TaskDefinition
from dama.embedded import EmbeddedPostgres
from dama.programs.program import directories_of
from dama.run.starts import start_of
from dama.store import Store, schema
from dama.worker.worker import Worker

TURNS = 40
AT_ONCE = 200
IDLE = 10
LOG_MIB = 256
EVENTS = 50_000

programs = Service("programs_bench")
TRUE = ["true"]


def declare(name: str, *command: str) -> TaskDefinition[Any]:
    """A program as a task."""
    return programs.declare(name, {"command": command}, place="benchmark", base=Path.cwd())


plain = declare("plain", *TRUE)
sleeping = declare("sleeping", "sleep", "5")
LOUD = f"yes 'a line of some log or other' | head -c {LOG_MIB}M"
loud = declare("loud", "bash", "-c", LOUD)
telling = declare(
    "telling",
    "bash",
    "-c",
    f'yes \'::dama:: {{"type": "x", "payload": {{"rows": 7}}}}\' | head -n {EVENTS}',
)


def main() -> int:
    """Measure and print."""
    home = Path(tempfile.mkdtemp())
    server = EmbeddedPostgres(home)
    try:
        asyncio.run(_measure(server.start(), home))
    finally:
        server.stop()
        shutil.rmtree(home)
    return 0


async def _measure(url: str, home: Path) -> None:
    await schema.migrate(url)
    registry = Registry([programs, isolated_jobs.isolated])
    async with (
        Store.opened(url) as store,
        Store.opened(url) as ours,
        Worker(ours, registry, slots=AT_ONCE + 10, home=home).working(),
    ):
        await _start_costs(store)
        await _memory(store, home)
        await _many(store)
        await _shipping(store)


async def _performed(store: Store, task: TaskDefinition[Any], count: int = 1) -> float:
    """Seconds until all of them have ended."""
    begun = time.perf_counter()
    contexts = await store.start([start_of(task, {})] * count)
    while True:
        outcomes = await store.outcomes(contexts)
        if len(outcomes) == count:
            seconds = time.perf_counter() - begun
            if failed := [o.error for o in outcomes.values() if o.status != "DONE"]:
                raise RuntimeError(failed)
            return seconds
        await asyncio.sleep(0.002)


async def _start_costs(store: Store) -> None:
    tasks = [plain, isolated_jobs.nothing, isolated_jobs.thread]
    for task in tasks:
        await _performed(store, task)  # the first one loads what the others have
    found: dict[str, list[float]] = {task.name: [] for task in tasks} | {"subprocess": []}
    for _ in range(TURNS):
        for task in tasks:
            found[task.name].append(await _performed(store, task))
        begun = time.perf_counter()
        await asyncio.to_thread(subprocess.run, TRUE, check=True)
        found["subprocess"].append(time.perf_counter() - begun)
    medians = {name: statistics.median(times) * 1000 for name, times in found.items()}
    thread = medians[isolated_jobs.thread.name]
    own = medians[isolated_jobs.nothing.name]
    print(f"a program, start to end: {medians[plain.name]:.0f} ms; a task in a thread {thread:.0f}")
    print(f"  ... `subprocess` alone: {medians['subprocess']:.1f} ms")
    print(f"a task in its own process - one in a thread: {own - thread:.0f} ms (target: 40)")


async def _memory(store: Store, home: Path) -> None:
    directories = await directories_of(store, home)
    contexts = await store.start([start_of(isolated_jobs.idle, {})] * IDLE)
    runs = [directories.of(context, 1) for context in contexts]
    while not all(run.pid() for run in runs):  # noqa: ASYNC110 - other processes set no event
        await asyncio.sleep(0.01)
    await asyncio.sleep(2)
    own = statistics.mean(_private(run.pid()) for run in runs)
    shims = statistics.mean(_private(run.shim()) for run in runs)
    print(f"an idle run in its own process: {own:.0f} MiB (target: 25), its shim {shims:.0f} (12)")
    while len(await store.outcomes(contexts)) < IDLE:  # noqa: ASYNC110 - as above
        await asyncio.sleep(0.1)


def _private(pid: int | None) -> float:
    """MiB that a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


async def _many(store: Store) -> None:
    seconds = await _performed(store, sleeping, AT_ONCE)
    alone = await asyncio.to_thread(_bare)
    print(f"{AT_ONCE} programs of 5 s at once: {seconds:.1f} s; {seconds / alone:.2f} x subprocess")


def _bare() -> float:
    """Seconds that the same take without dama."""
    begun = time.perf_counter()
    for process in [subprocess.Popen(["sleep", "5"]) for _ in range(AT_ONCE)]:
        process.wait()
    return time.perf_counter() - begun


async def _shipping(store: Store) -> None:
    seconds = await _performed(store, loud)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "log")
        begun = time.perf_counter()
        command = f"{LOUD} > {file}; cat {file} > /dev/null"
        await asyncio.to_thread(subprocess.run, ["bash", "-c", command], check=True)
        alone = time.perf_counter() - begun
    print(f"a log of {LOG_MIB} MiB: {LOG_MIB / seconds:.0f} MiB/s; {seconds / alone:.2f} x a pipe")
    seconds = await _performed(store, telling)
    print(f"events told on stdout: {EVENTS / seconds:,.0f} a second")


if __name__ == "__main__":
    sys.exit(main())
