"""A soak: programs of all kinds while workers, shims and PostgreSQL are killed, from a seed.

`make soak` starts 2,000 of them, `make soak ARGS="--programs 100"` as many as one likes. At the end
nothing is killed any more, and an account says which exit codes, lines, events, processes and files
are not what they must be. Of a program whose shim was killed only what it left is judged.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from typing_extensions import override

from dama.programs.run_directory import RunDirectories
from tests.acceptance.chaos import OPEN, Chaos
from tests.integration.program_kinds import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.programs.run_directory import RunDirectory
    from tests.integration.program_kinds import Kind

EVENTS = """
SELECT type, meta FROM _data_manager_admin.event_store_prototype
 WHERE etl_context_id = %s ORDER BY event_id
"""
CONTEXTS = """
SELECT context_id, task, status FROM _data_manager_admin.etl_context ORDER BY context_id
"""
MOST_DESCRIPTORS = 100
QUIET = 20  # when so many programs are left, nothing is killed any more; of few a quarter
PACE = 4  # programs that end between two acts, so that a slow machine comes to an end as well
PACE_SECONDS = 20.0


class Soak(Chaos):
    """Programs, and what is done to those who supervise them.

    Args:
        folder: For all of it; empty.
        seed: The same seed does the same in the same order.
        programs: How many.
    """

    slots = 32

    def __init__(self, folder: Path, *, seed: int, programs: int) -> None:
        super().__init__(folder, seed=seed, outages=(0.5, 3))
        self.programs = programs
        self.shimless: set[int] = set()
        self.faults: list[str] = []
        tables = [_declared(name, kind) for name, kind in KINDS.items()]
        (folder / "dama.toml").write_text("\n".join(tables))

    def soak(self) -> Counter[str]:
        """Do it to the end; count what was done and what there is."""
        self._begin()
        self._start()
        before, at = self.programs + PACE, time.monotonic()
        while (left := self._open()) > 0:
            self._tend()
            is_time = before - left >= PACE or time.monotonic() - at > PACE_SECONDS
            if is_time and left > min(QUIET, self.programs // 4):
                act = self.random.choices(self._acts(), [4, 6, 1, 2])[0]
                with suppress(psycopg.Error):
                    act()
                    self.done[act.__name__] += 1
                if before // 100 > left // 100:
                    print(f"{left} are left after {self.done}", flush=True)  # noqa: T201
                before, at = left, time.monotonic()
            time.sleep(self.random.uniform(0.1, 0.5))
        self._judge()
        counts = Counter({f"times {name}": n for name, n in self.done.items() if n})
        counts["programs"] = self.programs
        counts["programs without their shim"] = len(self.shimless)
        counts["faults"] = len(self.faults)
        return counts

    @override
    def stop(self) -> None:
        """End what is left, programs as well."""
        super().stop()
        for pid, _ in self._left():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    @override
    def _acts(self) -> list[Callable[[], None]]:
        return [self.kill_a_worker, self.kill_a_shim, self.outage, self.freeze_a_worker]

    def kill_a_shim(self) -> None:
        """Of a program that runs."""
        running = [run for run in self._runs().open() if run.shim() is not None]
        if not running:
            return
        run = self.random.choice(running)
        self.shimless.add(run.context_id)
        if (pid := run.shim()) is not None:
            with suppress(ProcessLookupError):
                os.kill(pid, 9)

    def _start(self) -> None:
        names = list(KINDS)
        starts = [
            {"task": f"k.{name}", "event": {"type": f"k.{name}:INITIAL", "payload": {}}}
            for name in (names[number % len(names)] for number in range(self.programs))
        ]
        with self._connect() as connection:
            for place in range(0, len(starts), 500):
                connection.execute(
                    "SELECT _data_manager_admin.start_contexts(%s)",
                    [json.dumps(starts[place : place + 500])],
                )

    def _open(self) -> int:
        with suppress(psycopg.Error), self._connect() as connection:
            ((count,),) = connection.execute(OPEN).fetchall()
            return count
        return self.programs

    def _runs(self) -> RunDirectories:
        folders = list((self.folder / "home" / "runs").glob("*"))
        return RunDirectories(folders[0] if folders else self.folder)

    def _judge(self) -> None:
        runs = self._runs()
        with self._connect() as connection:
            for context_id, task, status in connection.execute(CONTEXTS).fetchall():
                events = connection.execute(EVENTS, [context_id]).fetchall()
                # A worker that was killed before there was a process leaves a folder without one.
                found = [run for run in runs.of_context(context_id) if run.read("pid.json")]
                kind = KINDS[task.removeprefix("k.")]
                for fault in self._faults_of(context_id, kind, status, found, events):
                    self.faults.append(f"{context_id} {task}: {fault}")
        deadline = time.monotonic() + 60
        while list(runs.open()) and time.monotonic() < deadline:
            time.sleep(0.1)
        self.faults += [f"{run.path} is still open" for run in runs.open()]
        # A killed shim may leave one, and a worker that was killed before there was a process.
        halves = [p for p in runs.path.glob("*/*/*.new") if (p.parent / "pid.json").exists()]
        self.faults += [f"{p} is left" for p in halves if int(p.parts[-3]) not in self.shimless]
        self.faults += [f"process {pid} {words} is left" for pid, words in self._left()]
        for worker in self.workers:
            count = len(list(Path(f"/proc/{worker.pid}/fd").iterdir()))
            if count > MOST_DESCRIPTORS:
                self.faults.append(f"a worker has {count} descriptors")

    def _faults_of(
        self,
        context_id: int,
        kind: Kind,
        status: str,
        found: list[RunDirectory],
        events: list[tuple[str, dict[str, object]]],
    ) -> list[str]:
        faults = []
        told = sum(type_ == "seen/one" for type_, _ in events)
        if context_id in self.shimless:
            lines = found[0].stdout.read_bytes().count(b"\n") if found else 0
            whole = told <= 1 and lines <= kind.lines and len(found) <= 1
            return [] if whole else [f"without its shim: {told} events, {lines} lines"]
        if status != ("ERROR" if kind.code else "DONE") or told != 1 or len(found) != 1:
            return [f"{status}, {told} events, {len(found)} processes: {[t for t, _ in events]}"]
        (run,) = found
        report = run.exit() or {}
        if (report.get("code"), report.get("left"), report.get("why")) != (kind.code, 0, ""):
            faults.append(f"its shim said {report}")
        if (lines := run.stdout.read_bytes().count(b"\n")) != kind.lines:
            faults.append(f"{lines} lines instead of {kind.lines}")
        return faults

    def _left(self) -> list[tuple[str, str]]:
        """Processes in the folders of runs, and zombies of the workers."""
        workers = {str(worker.pid) for worker in self.workers}
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state, parent = (process / "stat").read_text().rpartition(")")[2].split()[:2]
                is_zombie = state == "Z" and parent in workers
                runs = str(self.folder / "home" / "runs")
                if is_zombie or str((process / "cwd").readlink()).startswith(runs):
                    words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found.append((process.name, f"{words} ({state})"))
        return found


def _declared(name: str, kind: Kind) -> str:
    return "\n".join(
        [
            f'[programs."k.{name}"]',
            f"command = {json.dumps(['bash', '-c', kind.script])}",
            f"pty = {json.dumps(kind.pty)}",
            'grace = 0.2\nlinger = 1.5\nexit_codes = {"fail" = [3]}\n',
        ]
    )


def main() -> int:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    asked = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    print(f"seed {asked.seed}", flush=True)  # noqa: T201 - a command
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(Path(folder), seed=asked.seed, programs=asked.programs)
        try:
            counts = soak.soak()
        finally:
            soak.stop()
    for name, count in counts.items():
        print(f"{count:8,} {name}")  # noqa: T201
    print("\n".join(soak.faults))  # noqa: T201
    return 1 if soak.faults else 0


if __name__ == "__main__":
    sys.exit(main())
