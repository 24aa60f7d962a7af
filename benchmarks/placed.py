"""A run that is placed on Slurm, against a job that Slurm is given by hand; and a map of 1,000.

On a real Slurm of two nodes, which tools/slurm finds; without one nothing is measured. In turns, a
job is submitted with `sbatch`, and one run is queued while the worker has nothing to do; both note
when the first line of their script is executed. Targets: dama adds 150 ms at most (the medians),
and the arrays of 1,000 runs are submitted in 10 ms for each hundred. What the job's process
takes to be ready for the task, Python with the project and a connection, is printed besides.
`python -m benchmarks.placed [--rounds N]`.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from benchmarks import MISSED
from dama.definitions.resources import Resources
from dama.embedded import EmbeddedPostgres
from dama.launchers.launcher import Element, Job, LauncherSettings
from dama.launchers.slurm import Slurm as Launcher
from dama.store import Store, schema
from tests.engines.slurm import running_slurm

TARGET_SECONDS, TARGET_OF_HUNDRED = 0.150, 0.010
RUNS = 1_000
PROJECT = """
from dama import Service, Task

jobs = Service("jobs")


@jobs.task(launcher="there")
async def nothing(task: Task) -> None:
    pass
"""
SETTINGS = """
services = ["jobs"]

[launchers.there]
kind = "slurm"
setup = "date +%s.%N >>{folder}/begun"
"""
DAMA = str(Path(sys.executable).with_name("dama"))


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return 0 when the targets are met."""
    parser = argparse.ArgumentParser(prog="benchmarks.placed", description="runs placed on Slurm")
    parser.add_argument("--rounds", type=int, default=15, help="how many jobs of each kind")
    rounds = parser.parse_args(argv).rounds
    root = Path(__file__).parents[1]
    found = subprocess.run([root / "tools/slurm"], stdout=subprocess.DEVNULL, check=False)
    if found.returncode:
        print("not measured: there is no Slurm here; tools/slurm --install gets it")
        return 0
    with tempfile.TemporaryDirectory() as folder, running_slurm(Path(folder) / "slurm") as slurm:
        os.environ.update(slurm.environ)
        server = EmbeddedPostgres(Path(folder) / "database")
        url = server.start()
        try:
            return asyncio.run(_measure(Path(folder), url, rounds))
        finally:
            server.stop()


async def _measure(folder: Path, url: str, rounds: int) -> int:
    await schema.migrate(url)
    own, placing, whole, ready = await _placed(folder, url, rounds)
    added = whole - own
    hundred = await _map(folder)
    print(f"sbatch to the start of the job    {own * 1000:6.0f} ms")
    print(f"queued run to its place           {placing * 1000:6.0f} ms")
    print(f"queued run to the start of its job{whole * 1000:6.0f} ms  {whole / own:.1f} x sbatch")
    print(f"placing adds                      {added * 1000:6.0f} ms  (target: 150)")
    print(f"start of the job to its task      {ready * 1000:6.0f} ms  {ready / own:.1f} x sbatch")
    print(f"array of {RUNS:,}, for each hundred {hundred * 1000:9.1f} ms  (target: 10)")
    is_met = added <= TARGET_SECONDS and hundred <= TARGET_OF_HUNDRED
    return 0 if is_met else MISSED


async def _placed(folder: Path, url: str, rounds: int) -> list[float]:
    """Medians of a job by hand, of a run's place, of the start of its job, and of its task."""
    project = folder / "project"
    project.mkdir()
    (project / "jobs.py").write_text(PROJECT)
    (project / "dama.toml").write_text(SETTINGS.replace("{folder}", str(folder)))
    found: list[list[float]] = []
    environ = {**os.environ, "DAMA_DATABASE_URL": url, "DAMA_HOME": str(folder / "home")}
    async with _working(project, environ), Store.opened(url) as store:
        for number in range(rounds + 1):
            own = await _by_hand(folder)
            context = await _queued(project, environ)
            begun = await _begun(folder)
            events = {e.type: e.created_at for e in await store.events(context)}
            while "jobs.nothing:FINAL" not in events:
                await asyncio.sleep(0.05)
                events = {e.type: e.created_at for e in await store.events(context)}
            if number:  # the first of each warms the caches
                queued, placed, started = (
                    events[f"jobs.nothing:{kind}"].timestamp()
                    for kind in ("INITIAL", "PLACED", "STARTED")
                )
                found.append([own, placed - queued, begun - queued, started - begun])
    return [statistics.median(each) for each in zip(*found, strict=True)]


async def _by_hand(folder: Path) -> float:
    start = time.time()
    script = f"#!/bin/bash\ndate +%s.%N >>{folder}/begun\n"
    command = ["sbatch", "--parsable", "--export=NIL", "--output=/dev/null", "--chdir=/"]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    await process.communicate(script.encode())
    return await _begun(folder) - start


async def _queued(project: Path, environ: dict[str, str]) -> int:
    """Queue a run; its context."""
    command = [DAMA, "run", "jobs.nothing", "--enqueue", "--json"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=project, env=environ, stdout=subprocess.PIPE
    )
    said, _ = await process.communicate()
    return json.loads(said)["context_id"]


async def _begun(folder: Path) -> float:
    """When a job has begun; and wait until the cluster is empty."""
    noted = folder / "begun"
    await _until(lambda: noted.exists() and noted.read_text().endswith("\n"))
    begun = float(noted.read_text())
    noted.unlink()
    await _until(
        lambda: not subprocess.run(["squeue", "-h"], capture_output=True, check=False).stdout
    )
    return begun


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 - nobody tells
        await asyncio.sleep(0.01)


@asynccontextmanager
async def _working(project: Path, environ: dict[str, str]) -> AsyncIterator[None]:
    worker = await asyncio.create_subprocess_exec(
        DAMA, "worker", "--launch", "there", "--quiet", cwd=project, env=environ
    )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            worker.kill()
        await worker.wait()


async def _map(folder: Path) -> float:
    """Seconds for each hundred runs of an array: submitted, and held by Slurm."""
    settings = LauncherSettings("there", "slurm", folder, folder, DAMA, options=("--hold",))
    launcher = Launcher(settings, "dama-benchmark")
    await launcher.prepare("postgresql:///nowhere")
    found = []
    for number in range(5):
        elements = [Element(n, 1_000_000 + n, 1) for n in range(RUNS)]
        job = Job(f"dama-benchmark-{number}-1", elements, Resources())
        start = time.perf_counter()
        await launcher.submit(job)
        found.append((time.perf_counter() - start) / (RUNS / 100))
    await launcher.cancel(
        [
            sighting.native_id.partition("_")[0]
            for sighting in (await launcher.look()).values()
            if sighting.native_id.endswith("_0")
        ]
    )
    return statistics.median(found)


if __name__ == "__main__":
    sys.exit(main())
