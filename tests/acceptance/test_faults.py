"""What must not go wrong between a parent and its subtasks: lost ends, lost hints, two children.

The workers are real processes. A test chooses its moment with files that the tasks wait for, with a
lock on a row that a statement needs, and with a wire that it cuts.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.wire import Wire

DAMA = str(Path(sys.executable).with_name("dama"))
PARKING = str(Path(__file__).with_name("parking.py"))
PROMPT = 2.0
SLOW_COMMITS = """
CREATE TABLE written (n float);
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON written DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION wait();
"""
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
        """Let those go on who wait for a file."""
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

    def until(self, condition, seconds=30):
        """Ask until it is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "it never happened"

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


@pytest.fixture
def family(tmp_path, database_url):
    """Ended at the end."""
    family = Family(tmp_path, database_url)
    yield family
    for process in family.processes:
        process.kill()
        process.wait()


@pytest.fixture
def lock(database_url):
    """A connection that holds the row of context 1 until it is rolled back."""
    with psycopg.connect(database_url) as connection:
        yield connection


@pytest.fixture
def wire(tmp_path, database_url):
    """Between one worker and the server."""
    wire = Wire(tmp_path / "wire", database_url)
    yield wire
    wire.close()


def hold(lock):
    """So that children can be created, and not be recorded."""
    lock.execute(
        "SELECT FROM _data_manager_admin.etl_context WHERE context_id = 1 FOR NO KEY UPDATE"
    )


@pytest.mark.parametrize("park_after", [0, 60])
def test_the_error_of_a_child_reaches_its_parent_parked_or_not(family, park_after):
    """A child that fails for good must not leave its parent waiting for ever."""
    family.worker("parents", park_after=park_after)
    family.worker("children")
    family.tell("spawn")
    family.queue("parent", fails=True)
    family.until_event("begun")
    family.until(lambda: family.count("begun") == 2)
    if park_after == 0:
        family.until(lambda: family.states().get("waiting") == 1)

    family.tell("end")
    family.until_event("family.parent:ERROR")

    error = family.payload("family.parent:ERROR")
    assert error["name"] == "SubtaskError"
    assert "ValueError: as told" in error["message"]
    assert family.seconds_between("family.child:ERROR", "family.parent:ERROR") < PROMPT
    assert family.states() == {}


def killed_while_it_has_a_child(family, lock):
    """The child is created, in a transaction that can not record it yet; give who waits."""
    family.tell("end")
    worker = family.worker("parents", "children")
    family.queue("parent")
    family.until_event("begun")
    hold(lock)
    family.tell("spawn")
    family.until(family.waiters)
    worker.kill()
    worker.wait()
    return family.waiters()


def assert_one_child(family):
    """The parent has ended, and had exactly one."""
    family.until_event("family.parent:FINAL")
    assert family.payload("family.parent:FINAL") == 42
    assert family.count("family.child:INITIAL") == 1
    assert family.count("family.child:FINAL") == 1
    assert family.sql("SELECT count(*) FROM _data_manager_admin.etl_context") == [(2,)]
    assert family.states() == {}


def test_a_child_of_a_killed_parent_that_was_recorded_is_not_made_again(family, lock):
    """The server finishes the statement of a client that is gone: creation and record commit."""
    killed_while_it_has_a_child(family, lock)
    lock.rollback()
    family.until_event("family.child:INITIAL")

    family.worker("parents", "children")

    assert_one_child(family)


def test_a_child_of_a_killed_parent_that_was_not_recorded_is_not_there(family, lock):
    """Creation and record are one transaction, so it rolls back with its record."""
    (waiter,) = killed_while_it_has_a_child(family, lock)
    family.sql("SELECT pg_terminate_backend(%s)", waiter)
    lock.rollback()
    family.until(lambda: not family.waiters())
    assert family.count("family.child:INITIAL") == 0

    family.worker("parents", "children")

    assert_one_child(family)


def test_a_statement_of_a_killed_parent_that_ends_late_makes_no_second_child(family, lock):
    """The next run has begun to start when the statement of the dead one goes on."""
    killed_while_it_has_a_child(family, lock)
    family.worker("parents", "children")
    family.until(lambda: len(family.waiters()) == 2)

    lock.rollback()

    assert_one_child(family)


@pytest.mark.parametrize("what", ["request", "answer"])
def test_a_connection_lost_while_a_child_is_recorded_makes_no_second_one(family, wire, what):
    """The run looks whether it was: it goes on with that child, or has one."""
    family.tell("end")
    family.worker("parents", "children", url=wire.url)
    family.queue("parent")
    family.until_event("begun")
    wire.cut(b":SPAWNED", what)

    family.tell("spawn")

    assert_one_child(family)
    assert wire.cuts == 1
    assert family.count("family.parent:STARTED") == 1


def test_a_connection_lost_before_the_child_is_recorded_makes_no_second_one(family, wire, lock):
    """The statement goes on without its client, while the run, which saw nothing, repeats it."""
    family.tell("end")
    family.worker("parents", "children", url=wire.url)
    family.queue("parent")
    family.until_event("begun")
    hold(lock)
    wire.cut(b":SPAWNED", "wait")

    family.tell("spawn")
    family.until(lambda: len(family.waiters()) == 2)
    lock.rollback()

    assert_one_child(family)
    assert family.count("family.parent:STARTED") == 1


def test_a_connection_lost_during_a_commit_does_not_double_the_rows_of_a_step(family, wire, lock):
    """The commit goes on without its client, while the run, which saw nothing, repeats the step."""
    family.sql(SLOW_COMMITS)
    family.worker("parents", url=wire.url)
    family.queue("writer")
    family.until_event("begun")
    lock.execute("SELECT pg_advisory_lock(7)")
    wire.cut(b"COMMIT", "wait")

    family.tell("spawn")
    family.until(lambda: len(family.waiters()) == 2)
    lock.execute("SELECT pg_advisory_unlock(7)")

    family.until_event("family.writer:FINAL")
    assert family.payload("family.writer:FINAL") == 7
    assert family.sql("SELECT count(*) FROM written") == [(1,)]


def test_a_parent_is_told_though_nobody_listened_when_its_child_ended(family):
    """Hints are lost with the connection; the parent looks by itself."""
    family.worker("parents")
    family.worker("children")
    family.tell("spawn")
    family.queue("parent")
    family.until(lambda: family.count("begun") == 2)

    assert family.cut_hints() == 2
    family.tell("end")

    family.until_event("family.parent:FINAL")
    assert family.seconds_between("family.child:FINAL", "family.parent:FINAL") < PROMPT


@pytest.mark.parametrize("command", ["run", "events"])
def test_who_follows_is_told_though_nobody_listened_at_the_end(family, command):
    """`dama run`, whose child ends in another process, and `dama events -f`."""
    family.tell("spawn")
    if command == "run":
        family.worker("children")
        follower = family.run(DAMA, "run", "family.parent")
        family.until(lambda: family.count("begun") == 2)
    else:
        family.worker("parents", "children")
        context = family.queue("parent")
        follower = family.run(DAMA, "events", str(context), "-f")
        family.until(lambda: family.count("begun") == 2)

    assert family.cut_hints() >= 1
    family.tell("end")
    family.until_event("family.child:FINAL")
    begun = time.monotonic()

    assert follower.wait(20) == 0
    assert time.monotonic() - begun < PROMPT
