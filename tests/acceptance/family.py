"""A family: a service of parents and children, and the processes of one project that run it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg

DAMA = str(Path(sys.executable).with_name("dama"))
PARKING = str(Path(__file__).with_name("parking.py"))
SERVICE = '''
"""Parents and children; a test says when they begin and end."""
import asyncio, os, pathlib
from dama import Service, Task

family = Service("family")

async def until(name: str) -> None:
    while not pathlib.Path(name).exists():
        await asyncio.sleep(0.02)

@family.task(queue="children")
async def child(task: Task, fails: bool = False) -> int:
    """Begin, and end when told to."""
    await task.dispatch("begun")
    await until("end")
    if fails:
        raise ValueError("as told")
    return 42

@family.task(queue="parents")
async def parent(task: Task, fails: bool = False) -> int:
    """Begin, and have a child when told to."""
    await task.dispatch("begun")
    await until("spawn")
    return await task.run(child, {"fails": fails})

@family.task(queue="parents")
async def writer(task: Task) -> int:
    """Write a row and its event in one commit, when told to."""
    await task.dispatch("begun")
    await until("spawn")
    return await task.step("write", write, transactional=True)

def write(connection) -> int:
    return connection.execute("INSERT INTO written SELECT random() RETURNING 7").fetchone()[0]

@family.task(queue="parents")
async def asked(task: Task) -> str:
    """Wait for an answer."""
    return await task.wait_for("answer")
'''


class Family:
    """Processes of one project on one database."""

    def __init__(self, folder, url):
        self.folder = folder
        self.url = url
        self.processes = []
        (folder / "family.py").write_text(SERVICE)
        (folder / "dama.toml").write_text('services = ["family"]\n')

    def run(self, *command, url=None):
        """Start a process."""
        process = subprocess.Popen(
            command,
            cwd=self.folder,
            env={**os.environ, "DAMA_DATABASE_URL": url or self.url},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.processes.append(process)
        return process

    def worker(self, *queues, park_after=60.0, url=None):
        """Start a worker for some queues."""
        return self.run(sys.executable, PARKING, str(park_after), *queues, url=url)

    def queue(self, task, count=1, **params):
        """Queue a task some times; give the first context."""
        item = {
            "task": f"family.{task}",
            "queue": "children" if task == "child" else "parents",
            "event": {"type": f"family.{task}:INITIAL", "payload": params},
        }
        return self.sql(
            "SELECT context_id FROM _data_manager_admin.start_contexts(%s::jsonb)",
            json.dumps([item] * count),
        )[0][0]

    def tell(self, name):
        """Let those continue who wait for a file."""
        (self.folder / name).touch()

    def sql(self, query, *arguments):
        """Rows of a query."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(query, arguments or None)
            return cursor.fetchall() if cursor.description else []

    def count(self, type_):
        """How many events of a type there are."""
        query = "SELECT count(*) FROM _data_manager_admin.event_store_prototype WHERE type = %s"
        return self.sql(query, type_)[0][0]

    def payload(self, type_):
        """The payload of the only event of a type."""
        query = "SELECT payload FROM _data_manager_admin.event_store_prototype WHERE type = %s"
        ((payload,),) = self.sql(query, type_)
        return payload

    def until(self, condition, seconds=60):
        """Ask until it is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.02)

    def until_event(self, type_):
        """Wait for the first event of a type."""
        self.until(lambda: self.count(type_) >= 1)

    def seconds_between(self, first, second):
        """From the first event of a type to the first of another, by the database's clock."""
        query = """
            SELECT extract(epoch FROM min(created_at) FILTER (WHERE type = %s)
                                    - min(created_at) FILTER (WHERE type = %s))::float
              FROM _data_manager_admin.event_store_prototype
        """
        return self.sql(query, second, first)[0][0]

    def waiters(self):
        """The backends that wait for a lock in the middle of having a child or of starting."""
        query = """
            SELECT pid FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'
        """
        return [pid for (pid,) in self.sql(query)]

    def states(self):
        """How many runs are in which state."""
        return dict(
            self.sql("SELECT state, count(*) FROM _data_manager_admin.run_queue GROUP BY 1")
        )

    def cut_hints(self):
        """End the connections of all who listen; how many there were."""
        query = """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name = 'dama hints'
        """
        return len(self.sql(query))
