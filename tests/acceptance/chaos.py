"""Chaos: work of all kinds, and all that goes wrong beneath it, at random, from a seed.

`make chaos` takes half a minute, `make chaos ARGS="--minutes 30"` as long as one likes. Waves of
subtasks, isolated runs and programs are started while PostgreSQL is away, is frozen, cancels
statements, ends connections, lets nothing take long, and while workers are killed: at any moment,
and while they wait in the middle of a claim, a bind, a spawn or a settlement. At the end the
faults stop, what is left is awaited, and an account says what is stuck, doubled or lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from dama.embedded import EmbeddedPostgres
from tests.acceptance.chaos_account import Account, account_of

if TYPE_CHECKING:
    from collections.abc import Callable

DAMA = str(Path(sys.executable).with_name("dama"))
HERE = Path(__file__).parent
WORKERS = 3
SIZE = 8
OPEN_WAVES = 6
DRAIN_SECONDS = 90.0
START = """
SELECT _data_manager_admin.start_contexts(jsonb_build_array(jsonb_build_object(
    'task', 'chaos.wave', 'event',
    jsonb_build_object('type', 'chaos.wave:INITIAL', 'payload', %s::jsonb))))
"""
OTHERS = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""
END_OTHERS = f"SELECT pg_terminate_backend(pid) FROM ({OTHERS}) AS others"  # noqa: S608 - constants
WAITING = f"{OTHERS} AND wait_event_type = 'Lock'"
OPEN = "SELECT count(*) FROM _data_manager_admin.etl_context WHERE status = 'OPEN'"
TABLES = ("run_queue", "etl_context", "event_store_prototype", "worker")


class Chaos:
    """A project, its workers and its server, and what is done to them.

    Args:
        folder: For all of it; empty.
        seed: The same seed does the same in the same order.
        outages: The shortest and the longest absence of PostgreSQL, in seconds.
    """

    slots = 8  # of each worker

    def __init__(self, folder: Path, *, seed: int, outages: tuple[float, float]) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.outages = outages
        self.server = EmbeddedPostgres(folder / "home")
        self.ledger = folder / "ledger"
        self.ledger.mkdir()
        self.workers: list[subprocess.Popen[bytes]] = []
        self.waves = 0
        self.done = Counter({act.__name__: 0 for act in self._acts()})
        self.died = 0
        self.environ = {
            **os.environ,
            "DAMA_HOME": str(folder / "home"),
            "LEDGER": str(self.ledger),
        }
        for name in ("chaos_project.py", "chaos_program.py"):
            shutil.copy(HERE / name, folder / name)
        (folder / "dama.toml").write_text('services = ["chaos_project"]\n')

    def run(self, seconds: float) -> Account:
        """Do it for so long, and each of it once; let what is left end, and count."""
        self._begin()
        acts = self._acts()
        deadline, number = time.monotonic() + seconds, 0
        while time.monotonic() < deadline or not all(self.done.values()):
            self._tend()
            if number % 2 == 0:
                self._start_waves()
            act = acts[number % len(acts)]
            with suppress(psycopg.Error):  # what it was done with was itself a victim
                act()
                self.done[act.__name__] += 1
            number += 1
            if number % len(acts) == 0:
                self.random.shuffle(acts)
            time.sleep(self.random.uniform(0.1, 1.0))
        self._drain()
        with self._connect() as connection:
            account = account_of(connection, self.ledger, self.waves, SIZE)
        account.counts["waves"] = self.waves
        account.counts["workers that ended by themselves"] = self.died
        account.counts.update({f"times {name}": count for name, count in self.done.items()})
        return account

    def stop(self) -> None:
        """End what is left."""
        for worker in self.workers:
            worker.kill()
            worker.wait()
        self.server.stop()

    def _acts(self) -> list[Callable[[], None]]:
        return [
            self.kill_a_worker,
            self.cancel_statements,
            self.kill_in_the_middle,
            self.end_connections,
            self.cancel_in_the_middle,
            self.outage,
            self.freeze_a_worker,
            self.short_statements,
            self.freeze_the_server,
        ]

    def kill_a_worker(self) -> None:
        """At any moment."""
        self._kill(self.random.choice(self.workers))

    def kill_in_the_middle(self) -> None:
        """Workers wait for a table in the middle of something; one of them is killed there."""
        with self._held(), self._connect() as connection:
            self._until_waiting(connection)
            self._kill(self.random.choice(self.workers))

    def cancel_in_the_middle(self) -> None:
        """Statements that wait for a table are cancelled."""
        with self._held(), self._connect() as connection:
            for pid in self._until_waiting(connection):
                connection.execute("SELECT pg_cancel_backend(%s)", [pid])

    def cancel_statements(self) -> None:
        """Whatever runs, some times in a row."""
        with self._connect() as connection:
            for _ in range(40):
                for (pid,) in connection.execute(OTHERS).fetchall():
                    if self.random.random() < 0.5:
                        connection.execute("SELECT pg_cancel_backend(%s)", [pid])
                time.sleep(0.02)

    def end_connections(self) -> None:
        """Half of them."""
        with self._connect() as connection:
            for (pid,) in connection.execute(OTHERS).fetchall():
                if self.random.random() < 0.5:
                    connection.execute("SELECT pg_terminate_backend(%s)", [pid])

    def short_statements(self) -> None:
        """New connections may let no statement take more than some milliseconds."""
        with self._connect() as connection:
            connection.execute("ALTER DATABASE dama SET statement_timeout = '15ms'")
            connection.execute(END_OTHERS)
            time.sleep(self.random.uniform(0.5, 3))
            connection.execute("ALTER DATABASE dama RESET statement_timeout")
            connection.execute(END_OTHERS)

    def outage(self) -> None:
        """PostgreSQL is killed, and away."""
        pid = self.server.status().pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + self.random.uniform(*self.outages)
        while time.monotonic() < until:
            time.sleep(0.2)
            if self.random.random() < 0.02:
                self._kill(self.random.choice(self.workers))
        self.server.start()

    def freeze_the_server(self) -> None:
        """Nobody answers, and no connection breaks."""
        with self._connect() as connection:
            pids = [pid for (pid,) in connection.execute(OTHERS).fetchall()]
        pids.append(self.server.status().pid or 0)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            for pid in filter(None, pids):
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            if number == signal.SIGSTOP:
                time.sleep(self.random.uniform(0.5, max(1, self.outages[1] / 6)))

    def freeze_a_worker(self) -> None:
        """Past its lease or not."""
        worker = self.random.choice(self.workers)
        worker.send_signal(signal.SIGSTOP)
        time.sleep(self.random.uniform(0.5, max(1, self.outages[1] / 6)))
        worker.send_signal(signal.SIGCONT)

    def _begin(self) -> None:
        self._dama("db", "migrate")
        # As for a database of somebody else: no worker starts it again.
        self.environ["DAMA_DATABASE_URL"] = self.server.start()
        with self._connect() as connection:
            connection.execute("CREATE TABLE rows_of_steps (context_id bigint)")
        self._tend()

    def _tend(self) -> None:
        """Start a worker for each that is missing, as a service manager does."""
        ended = [worker for worker in self.workers if worker.poll() is not None]
        self.died += len(ended)
        self.workers = [worker for worker in self.workers if worker not in ended]
        with (self.folder / "workers.log").open("ab") as log:
            while len(self.workers) < WORKERS:
                command = [DAMA, "worker", "--slots", str(self.slots)]
                self.workers.append(
                    subprocess.Popen(
                        command, cwd=self.folder, env=self.environ, stdout=log, stderr=log
                    )
                )

    def _kill(self, worker: subprocess.Popen[bytes]) -> None:
        worker.kill()
        worker.wait()
        self.workers.remove(worker)
        self._tend()

    def _start_waves(self) -> None:
        """Keep some open, so that there is work for every fault."""
        with suppress(psycopg.Error), self._connect() as connection:
            ((count,),) = connection.execute(f"{OPEN} AND task = 'chaos.wave'").fetchall()
            for _ in range(OPEN_WAVES - count):
                connection.execute(START, [json.dumps({"size": SIZE})])
                self.waves += 1

    def _held(self) -> psycopg.Connection[tuple[object, ...]]:
        """A transaction that holds a table; the end of the `with` block lets go of it."""
        connection = psycopg.connect(self.server.url)
        connection.execute("SET lock_timeout = '2s'")
        connection.execute(
            f"LOCK TABLE _data_manager_admin.{self.random.choice(TABLES)} IN EXCLUSIVE MODE"
        )
        return connection

    def _until_waiting(self, connection: psycopg.Connection[tuple[object, ...]]) -> list[object]:
        deadline = time.monotonic() + 2
        while time.monotonic() < deadline:
            if pids := [pid for (pid,) in connection.execute(WAITING).fetchall()]:
                return pids
            time.sleep(0.01)
        return []

    def _drain(self) -> None:
        """Wait for the end of what is open, as long as something moves."""
        best, deadline = None, time.monotonic() + DRAIN_SECONDS
        while time.monotonic() < deadline:
            self._tend()
            with self._connect() as connection:
                ((count,),) = connection.execute(OPEN).fetchall()
            if count == 0:
                return
            if best is None or count < best:
                best, deadline = count, time.monotonic() + DRAIN_SECONDS
            time.sleep(0.2)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(self.server.url, autocommit=True, options="-c statement_timeout=60s")

    def _dama(self, *arguments: str) -> None:
        subprocess.run([DAMA, *arguments], cwd=self.folder, env=self.environ, check=True)


def main() -> int:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--seed", type=int, default=time.time_ns())
    parser.add_argument("--outages", type=float, nargs=2, metavar=("SHORTEST", "LONGEST"))
    parser.add_argument("--keep", type=Path, help="a folder for all of it, kept in any case")
    asked = parser.parse_args()
    outages = asked.outages or ((5, 120) if asked.minutes >= 10 else (1, 6))
    print(f"seed {asked.seed}", flush=True)  # noqa: T201 - a command
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="dama-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    chaos = Chaos(folder, seed=asked.seed, outages=tuple(outages))
    try:
        account = chaos.run(asked.minutes * 60)
    finally:
        chaos.stop()
    print("\n".join(account.lines))  # noqa: T201
    if account.faults:
        print(f"Its database and the log of its workers: {folder}")  # noqa: T201
    elif not asked.keep:
        shutil.rmtree(folder)
    return 1 if account.faults else 0


if __name__ == "__main__":
    sys.exit(main())
