"""What must not go wrong between a parent and its subtasks: lost ends, lost hints, two children.

The workers are real processes. A test chooses its moment with files that the tasks wait for, with a
lock on a row that a statement needs, and with a wire that it cuts.
"""

import time

import psycopg
import pytest

from tests.acceptance.family import DAMA

# Seconds from an end to the moment when who waits for it knows.
PROMPT = 10.0  # who looks by itself does so each second or two; the machine may be busy
SLOW_COMMITS = """
CREATE TABLE written (n float);
CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS
  'BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER waits AFTER INSERT ON written DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION wait();
"""


@pytest.fixture
def lock(database_url):
    """A connection that holds the row of context 1 until it is rolled back."""
    with psycopg.connect(database_url) as connection:
        yield connection


def hold(lock):
    """So that children can be created, and not be recorded."""
    lock.execute(
        "SELECT FROM _data_manager_admin.etl_context WHERE context_id = 1 FOR NO KEY UPDATE"
    )


@pytest.mark.parametrize("park_after", [0, 60])
def test_the_error_of_a_child_reaches_its_parent_parked_or_not(family, park_after):
    """A child that fails for good must not leave its parent waiting forever."""
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
    """The child is created, in a transaction that cannot record it yet; give who waits."""
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
    """The next run waits for the same lock, perhaps beside the statement of the dead one."""
    dead = killed_while_it_has_a_child(family, lock)
    family.worker("parents", "children")
    family.until(lambda: set(family.waiters()) - set(dead))

    lock.rollback()

    assert_one_child(family)


@pytest.mark.parametrize("what", ["request", "answer"])
def test_a_connection_lost_while_a_child_is_recorded_makes_no_second_one(family, wire, what):
    """The run looks whether it was: it continues with that child, or has one."""
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
    """The statement continues without its client, while the run, which saw nothing, repeats it."""
    family.tell("end")
    family.worker("parents", "children", url=wire.url)
    family.queue("parent")
    family.until_event("begun")
    hold(lock)
    wire.cut(b":SPAWNED", "wait")

    family.tell("spawn")
    waited: set[int] = set()  # each gives up soon, for the lock is a stranger's, and comes again
    family.until(lambda: waited.update(family.waiters()) or len(waited) >= 2)
    lock.rollback()

    assert_one_child(family)
    assert family.count("family.parent:STARTED") == 1


def test_a_connection_lost_during_a_commit_does_not_double_the_rows_of_a_step(family, wire, lock):
    """The commit continues without its client; the run, which saw nothing, repeats the step."""
    family.sql(SLOW_COMMITS)
    family.worker("parents", url=wire.url)
    family.queue("writer")
    family.until_event("begun")
    lock.execute("SELECT pg_advisory_lock(7)")
    wire.cut(b"COMMIT\0", "wait")  # not the READ COMMITTED of a beginning

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


def test_who_resumes_a_run_is_told_though_nobody_listened_at_the_end(family):
    """The child ends in another process than the one that waits for it and is followed."""
    family.worker("children")
    first = family.worker("parents")
    family.tell("spawn")
    context = family.queue("parent")
    family.until(lambda: family.count("begun") == 2)
    first.kill()
    first.wait()
    follower = family.run(DAMA, "resume", str(context))
    family.until(lambda: family.count("family.parent:STARTED") == 2)

    assert_ends_promptly(family, follower)


def test_who_follows_events_is_told_though_nobody_listened_at_the_end(family):
    """It looks by itself."""
    family.worker("parents", "children")
    family.tell("spawn")
    follower = family.run(DAMA, "events", str(family.queue("parent")), "-f")
    family.until(lambda: family.count("begun") == 2)

    assert_ends_promptly(family, follower)


def assert_ends_promptly(family, follower):
    """When the child ends just after all hints were cut."""
    assert family.cut_hints() >= 1
    family.tell("end")
    family.until_event("family.child:FINAL")
    begun = time.monotonic()

    assert follower.wait(60) == 0
    assert time.monotonic() - begun < PROMPT
