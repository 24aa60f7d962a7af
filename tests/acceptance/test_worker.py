"""`dama worker` as it is run: told to stop, killed, frozen, two of it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

IMPORTS, EXEC = "import os, signal, sys\n", "\nos.execv(sys.argv[1], sys.argv[1:])"
DAMA = str(Path(sys.executable).with_name("dama"))
SERVICE = '''
"""Tasks that take as long as a test wants."""
import asyncio, os, pathlib, subprocess
from dama import Service, SyncTask, Task

slow = Service("slow")

@slow.task
async def held(task: Task, gate: str) -> int:
    """Wait for a file; say who waited."""
    await task.dispatch("reached", os.getpid())
    while not pathlib.Path(gate).exists():
        await asyncio.sleep(0.02)
    return await task.step("pid", os.getpid)

@slow.task
async def code(task: Task, gate: str) -> int:
    """Start a program that fails."""
    return await task.step("sh", lambda: subprocess.run(["sh", "-c", "exit 7"]).returncode)
'''
STARTERS = {
    "ignored children": "signal.signal(signal.SIGCHLD, signal.SIG_IGN)",
    "blocked all signals": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "ignored the order to stop": "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
    "closed its terminal": "os.close(0); os.close(1); os.close(2)",
}


class Workers:
    """Real worker processes of one project."""

    def __init__(self, folder, url):
        self.folder = folder
        self.url = url
        self.environ = {**os.environ, "DAMA_DATABASE_URL": url}
        self.processes = []
        (folder / "slow.py").write_text(SERVICE)
        (folder / "dama.toml").write_text('services = ["slow"]\n')
        self.gate = folder / "gate"
        self.log = folder / "log"

    def start(self, *arguments, starter=""):
        """Start one; what its starter does before."""
        before = [sys.executable, "-c", f"{IMPORTS}{starter}{EXEC}"] if starter else []
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                [*before, DAMA, "worker", *arguments],
                cwd=self.folder,
                env=self.environ,
                stderr=log,
            )
        self.processes.append(process)
        return process

    def queue(self, task="slow.held"):
        """Queue a task; give its context."""
        batch = [
            {
                "task": task,
                "event": {"type": f"{task}:INITIAL", "payload": {"gate": str(self.gate)}},
            }
        ]
        return self.sql(
            "SELECT context_id FROM _data_manager_admin.start_contexts(%s::jsonb)",
            json.dumps(batch),
        )[0][0]

    def sql(self, query, *arguments):
        """Rows of a query."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query, arguments or None).fetchall()

    def events(self, context):
        """The types and payloads of a context."""
        return self.sql(
            "SELECT type, payload FROM _data_manager_admin.event_store_prototype"
            " WHERE etl_context_id = %s ORDER BY version",
            context,
        )

    def until(self, condition, seconds=60):
        """Ask the database until it shows something; how long it took."""
        begun = time.monotonic()
        while not condition():
            assert time.monotonic() - begun < seconds, "it never happened"
            time.sleep(0.02)
        return time.monotonic() - begun

    def count(self, context, type_):
        """How many events of a type a context has."""
        return [found for found, _ in self.events(context)].count(type_)


@pytest.fixture
def workers(tmp_path, database_url):
    """Workers, ended at the end."""
    workers = Workers(tmp_path, database_url)
    yield workers
    for process in workers.processes:
        process.kill()
        process.wait()


def test_a_worker_that_is_told_to_stop_lets_its_runs_end(workers):
    """And then ends itself; its row goes with it."""
    worker = workers.start()
    context = workers.queue()
    workers.until(lambda: workers.count(context, "reached") == 1)

    worker.send_signal(signal.SIGTERM)
    workers.until(lambda: "Told to stop" in workers.log.read_text())
    later = workers.queue()
    workers.gate.touch()

    assert worker.wait(20) == 0
    assert workers.events(context)[-1] == ("slow.held:FINAL", worker.pid)
    assert workers.count(later, "slow.held:STARTED") == 0
    assert workers.sql("SELECT * FROM _data_manager_admin.worker") == []


@pytest.mark.parametrize("starter", STARTERS.values(), ids=STARTERS.keys())
def test_a_worker_works_and_stops_whoever_started_it(workers, starter):
    """What a starter ignores, blocks or has closed is inherited."""
    worker = workers.start(starter=starter)
    context = workers.queue("slow.code")
    workers.until(lambda: workers.count(context, "slow.code:FINAL") == 1, seconds=60)

    worker.send_signal(signal.SIGTERM)

    assert workers.events(context)[-1] == ("slow.code:FINAL", 7)
    assert worker.wait(60) == 0


def test_a_second_signal_ends_a_worker_at_once(workers):
    """What it held is queued again."""
    worker = workers.start()
    context = workers.queue()
    workers.until(lambda: workers.count(context, "reached") == 1)

    worker.send_signal(signal.SIGTERM)
    workers.until(lambda: worker.poll() is None and _told(worker))
    worker.send_signal(signal.SIGTERM)

    assert worker.wait(20) != 0
    assert workers.sql("SELECT state FROM _data_manager_admin.run_queue") == [("queued",)]


def test_a_worker_of_the_same_host_takes_over_at_once(workers):
    """It sees that the process is gone."""
    first = workers.start()
    context = workers.queue()
    workers.until(lambda: workers.count(context, "reached") == 1)
    first.kill()
    first.wait()
    workers.gate.touch()

    second = workers.start()
    workers.until(lambda: workers.count(context, "slow.held:FINAL") == 1)

    assert workers.events(context)[-1][1] == second.pid
    assert workers.count(context, "reached") == 1


def test_a_living_worker_takes_over_within_five_seconds(workers):
    """When the lease of the dead one has run out.

    What else the machine does adds to that time and never takes from it, so the best of three
    counts.
    """
    seconds = []
    while not seconds or (min(seconds) >= 5.5 and len(seconds) < 3):
        seconds.append(seconds_of_a_take_over(workers))

    assert min(seconds) < 5.5


def seconds_of_a_take_over(workers):
    """From the death of a worker to the end of its run."""
    workers.gate.unlink(missing_ok=True)
    live = "SELECT 1 FROM _data_manager_admin.worker WHERE lease_until > clock_timestamp()"
    first = workers.start("--slots", "1")
    workers.until(lambda: len(workers.sql(live)) == 1)
    context = workers.queue()
    workers.until(lambda: workers.count(context, "reached") == 1)
    second = workers.start("--slots", "1")
    workers.until(lambda: len(workers.sql(live)) == 2)

    first.kill()
    workers.gate.touch()
    seconds = workers.until(lambda: workers.count(context, "slow.held:FINAL") == 1)
    second.kill()
    second.wait()
    workers.until(lambda: workers.sql(live) == [])
    return seconds


def test_a_worker_that_was_frozen_past_its_lease_writes_nothing(workers):
    """Another one did its run; what it would write is refused, and its effects are not doubled."""
    frozen = workers.start()
    context = workers.queue()
    workers.until(lambda: workers.count(context, "reached") == 1)
    frozen.send_signal(signal.SIGSTOP)
    other = workers.start()
    workers.until(lambda: workers.count(context, "slow.held:STARTED") == 2)

    workers.gate.touch()
    workers.until(lambda: workers.count(context, "slow.held:FINAL") == 1)
    frozen.send_signal(signal.SIGCONT)
    after = workers.queue()
    workers.until(lambda: workers.count(after, "slow.held:FINAL") == 1)

    assert workers.events(context)[-1] == ("slow.held:FINAL", other.pid)
    assert workers.count(context, "slow.held/pid:DONE") == 1


def test_a_worker_ends_when_nothing_is_left(workers):
    """For a crontab, or a container that is paid by the second."""
    context = workers.queue()
    workers.gate.touch()

    assert workers.start("--until-idle").wait(20) == 0

    assert workers.count(context, "slow.held:FINAL") == 1


def _told(worker):
    """Whether the process has no signal left to be delivered."""
    for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines():
        if line.startswith(("SigPnd", "ShdPnd")) and int(line.split()[1], 16):
            return False
    return True
