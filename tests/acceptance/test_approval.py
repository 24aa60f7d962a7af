"""The approval example: a person decides, early or late, whoever was killed meanwhile."""

import json
import time

import psycopg
import pytest

from tests.acceptance.killing import Moments, Program
from tests.integration.programs import wait_until

ANN = {"approved": True, "by": "ann"}
BLOCKED = """
SELECT TRUE FROM pg_locks WHERE NOT granted AND relation = 'approval.fares_draft_1'::regclass
"""
BOB = {"approved": False, "by": "bob", "why": "too cheap"}


@pytest.fixture
def connection(database_url):
    """To look, and to queue."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def moments(database_url):
    """Questions to the database."""
    with Moments(database_url) as moments:
        yield moments


def test_an_approval_publishes_the_table(database_url, connection):
    """The command that waits ends with it."""
    with Program(database_url, "run", "approval.publish") as program:
        until_it_waits(connection)
        emit(database_url, ANN)
        status, output = program.finish()

    assert status == 0, output
    assert result(connection) == {"rows": 3, "published": True, "by": "ann", "why": ""}
    assert tables(connection) == ["fares"]


def test_a_refusal_takes_back_what_was_loaded(database_url, connection):
    """Readers keep the table that they had."""
    queue(connection)
    emit(database_url, ANN)
    run(database_url, "worker", "--until-idle")
    before = fares(connection)

    with Program(database_url, "run", "approval.publish", "--raised") as program:
        until_it_waits(connection, count=2)
        emit(database_url, BOB, context=2)
        status, output = program.finish()

    assert status == 0, output
    assert result(connection) == {"rows": 3, "published": False, "by": "bob", "why": "too cheap"}
    assert tables(connection) == ["fares"]
    assert fares(connection) == before


def test_several_that_begin_together_are_all_published(database_url, connection):
    """Neither the schema nor the table is there when they make it at once."""
    for context in range(1, 5):
        queue(connection)
        emit(database_url, ANN, context=context)

    status, output = run(database_url, "worker", "--until-idle")

    assert status == 0, output
    ended = connection.execute(
        "SELECT count(*) FROM _data_manager_admin.etl_context WHERE status = 'DONE'"
    )
    assert ended.fetchone() == (4,), output
    assert tables(connection) == ["fares"]


def test_a_publication_that_is_met_by_another_is_done_again(database_url, connection):
    """The first table came after it had found none to drop, and before its own had the name."""
    with (
        Program(database_url, "run", "approval.publish") as program,
        psycopg.connect(database_url) as other,
    ):
        until_it_waits(connection)
        other.execute("LOCK TABLE approval.fares_draft_1")
        emit(database_url, ANN)
        wait_until(lambda: connection.execute(BLOCKED).fetchone())
        other.execute("CREATE TABLE approval.fares ()")
        other.commit()
        status, output = program.finish()

    assert status == 0, output
    assert tables(connection) == ["fares"]
    assert connection.execute("SELECT count(*) FROM approval.fares").fetchone() == (3,)


def test_an_answer_may_come_before_it_is_waited_for(database_url, connection):
    """Who knows already need not watch for the wait to begin."""
    queue(connection)
    emit(database_url, ANN)

    status, output = run(database_url, "worker", "--until-idle")

    assert status == 0, output
    assert result(connection)["by"] == "ann"
    assert tables(connection) == ["fares"]


def test_an_answer_counts_that_comes_while_no_process_runs(database_url, connection, moments):
    """The wait is in the database, not in the process; the load is not done again."""
    with Program(database_url, "run", "approval.publish") as program:
        assert program.kill_when(lambda: waits(connection) == 1)
    emit(database_url, ANN)

    status, output = run(database_url, "resume", "1")

    assert status == 0, output
    assert tables(connection) == ["fares"]
    assert types(connection).count("approval.publish/load:DONE") == 1


def test_what_is_no_answer_is_passed_over(database_url, connection):
    """A slip of the hand must not decide, nor break the run."""
    queue(connection)
    emit(database_url, "yes")
    emit(database_url, BOB)

    status, output = run(database_url, "worker", "--until-idle")

    assert status == 0, output
    assert result(connection)["by"] == "bob"
    assert tables(connection) == []


def test_no_answer_in_time_is_a_refusal(database_url, connection):
    """A draft does not lie about forever."""
    status, output = run(database_url, "run", "approval.publish", "--days", "0.000001")

    assert status == 0, output
    assert result(connection)["by"] == "nobody"
    assert tables(connection) == []


def run(url, *arguments):
    with Program(url, *arguments) as program:
        return program.finish()


def emit(url, payload, *, context=1):
    """As a person does it."""
    status, output = run(url, "emit", str(context), "approval", "--payload", json.dumps(payload))
    assert status == 0, output


def queue(connection):
    """Nobody performs it yet."""
    connection.execute(
        "SELECT _data_manager_admin.start_contexts("
        """'[{"task": "approval.publish", "event": {"type": "approval.publish:INITIAL"}}]')"""
    )


def until_it_waits(connection, *, count=1):
    deadline = time.monotonic() + 60
    while waits(connection) < count:
        assert time.monotonic() < deadline, "it does not wait"
        time.sleep(0.02)


def waits(connection):
    return types(connection).count("approval.publish/wait:approval:WAITING")


def types(connection):
    """The types of all events."""
    query = "SELECT type FROM _data_manager_admin.event_store_prototype"
    return [row[0] for row in connection.execute(query).fetchall()]


def result(connection):
    """What the latest run returned."""
    query = """
        SELECT payload FROM _data_manager_admin.event_store_prototype
        WHERE type = 'approval.publish:FINAL' ORDER BY event_id DESC LIMIT 1
    """
    return connection.execute(query).fetchone()[0]


def tables(connection):
    query = "SELECT tablename FROM pg_tables WHERE schemaname = 'approval' ORDER BY 1"
    return [row[0] for row in connection.execute(query).fetchall()]


def fares(connection):
    return connection.execute("TABLE approval.fares").fetchall()
