"""dama against its peers: the same jobs, in turns, on one PostgreSQL server with fsync on.

`python -m benchmarks peers`, or `python -m benchmarks.peers [--small] [--rounds N] [JOB ...]`. Each
turn has a fresh database and a fresh process, and the medians are compared. The peers live in an
environment of their own; where that cannot be installed, dama is measured alone, and it says so.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psycopg

from benchmarks.peers import environment
from dama.embedded import EmbeddedPostgres

ROUNDS = 3
DURABLE = ("absurd", "dbos")
SETTINGS = {
    "dama": "one worker with 500 slots (steps: 50); bulk: start, 1,000 at a time",
    "absurd": "async SDK, 4 clients in a process, batches of 50 (steps: 50 in all); bulk: spawn",
    "dbos": "sync workflows, 20 connections, poll 0.1 s (steps: worker_concurrency 50)",
    "procrastinate": "async worker, concurrency 20, 20 connections; bulk: batch_defer, 1,000",
    "pgqueuer": "asyncpg, batches of 100; bulk: enqueue of lists of 1,000",
}


@dataclass(frozen=True)
class Job:
    """A job, who does it, and what is wanted of dama.

    Attributes:
        name: As the contenders know it.
        count: Of tasks.
        contenders: In the order of their turns, dama first.
        against: The peers whose best is the measure.
        target: How many times as fast as they dama should be.
    """

    name: str
    count: int
    contenders: tuple[str, ...]
    against: tuple[str, ...] = DURABLE
    target: float = 0


JOBS = (
    Job("drain", 10_000, ("dama", *DURABLE, "pgqueuer", "procrastinate"), target=8),
    Job("drain by two", 10_000, ("dama",)),
    Job("steps", 1_000, ("dama", *DURABLE), against=("absurd",), target=10),
    Job(
        "create",
        10_000,
        ("dama", *DURABLE, "procrastinate", "pgqueuer"),
        against=("absurd",),
        target=3,
    ),
    Job("fan-out", 1_000, ("dama", *DURABLE), against=("absurd",), target=5),
)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.peers", description="dama against peers")
    parser.add_argument("jobs", nargs="*", metavar="JOB", help=f"of {[job.name for job in JOBS]}")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="turns of each contender")
    parser.add_argument("--small", action="store_true", help="a tenth of each")
    options = parser.parse_args(arguments)
    python = environment.make()
    if python is None:
        print("!! SKIPPED: the peers cannot be installed here; dama is measured alone.")
    _print_settings(python)
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder))
        server.start()
        try:
            for job in JOBS:
                if not options.jobs or job.name in options.jobs:
                    count = job.count // 10 if options.small else job.count
                    _compare(server, replace(job, count=count), python, options.rounds)
        finally:
            server.stop()
    return 0


def _compare(server: EmbeddedPostgres, job: Job, python: Path | None, rounds: int) -> None:
    names = job.contenders if python else ("dama",)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, taken in seconds.items():
            program = python if python and name != "dama" else Path(sys.executable)
            taken.append(_turn(server, name, job, program))
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    print(f"\n{job.name}, {job.count:,}:", flush=True)
    for line in _lines(job, medians):
        print(f"  {line}", flush=True)


def _lines(job: Job, medians: dict[str, float]) -> Iterator[str]:
    dama = medians["dama"]
    for name, median in medians.items():
        line = f"{name:14}{median:8.2f} s {job.count / median:8,.0f}/s"
        yield line if name == "dama" else f"{line}   dama is {median / dama:.1f} times as fast"
    if peers := [medians[name] for name in job.against if name in medians]:
        best = f"{min(peers) / dama:.1f} times the best of {', '.join(job.against)}"
        yield f"{best} (target: at least {job.target:g})"


def _turn(server: EmbeddedPostgres, name: str, job: Job, python: Path) -> float:
    """Seconds of one contender for one job, in a database that is empty before and gone after."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE bench_{name}")
        try:
            url = server.url.replace("/dama?", f"/bench_{name}?")
            done = subprocess.run(
                [python, "-m", f"benchmarks.peers.{name}", job.name, str(job.count), url],
                cwd=environment.ROOT,
                capture_output=True,
                text=True,
                check=False,
                timeout=600,
                env={key: value for key, value in os.environ.items() if key != "DAMA_HOME"},
            )
        finally:
            connection.execute(f"DROP DATABASE bench_{name} WITH (FORCE)")
    if done.returncode:
        raise RuntimeError(f"{name} could not do {job.name}:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def _print_settings(python: Path | None) -> None:
    for name, settings in SETTINGS.items():
        if name == "dama" or python:
            print(f"{name}: {settings}")


if __name__ == "__main__":
    sys.exit(main())
