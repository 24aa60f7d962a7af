"""Many writers on one context: the rules hold whoever comes first."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from dama.store import Start

RACERS = 100


def attempt(url, batch):
    """Append on a connection of one's own; give the SQLSTATE of a refusal, or None."""
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute(
                "SELECT * FROM _data_manager_admin.append_events(%s::jsonb)", [json.dumps(batch)]
            )
        except psycopg.Error as error:
            return error.sqlstate
    return None


@pytest.fixture
def racers():
    """Threads that start together, each with its own connection; 20 at a time."""
    with ThreadPoolExecutor(20) as pool:
        yield pool


RACE = """
import json, sys, threading
import psycopg
APPEND = "SELECT * FROM _data_manager_admin.append_events(%s::jsonb)"
url, context, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
types = [":INITIAL", "x", "x", "a.b:INITIAL", ":FINAL"]
barrier = threading.Barrier(threads)
def race(number):
    with psycopg.connect(url, autocommit=True) as connection:
        batch = json.dumps([{"context_id": context, "event": {"type": types[number % 5]}}])
        barrier.wait()
        try:
            connection.execute(APPEND, [batch])
        except psycopg.Error as error:
            if error.sqlstate != "DM006":
                raise
racers = [threading.Thread(target=race, args=[n]) for n in range(threads)]
[racer.start() for racer in racers]
[racer.join() for racer in racers]
"""


def test_racing_writers_leave_one_initial_and_nothing_after_final(database_url):
    """100 writers of INITIAL, FINAL and plain events in five processes: DONE never reopens."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        ((context,),) = connection.execute(
            "INSERT INTO _data_manager_admin.etl_context (task) VALUES ('a.b') RETURNING context_id"
        ).fetchall()
    command = [sys.executable, "-c", RACE, database_url, str(context), str(RACERS // 5)]

    processes = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(5)]
    errors = [process.communicate()[1] for process in processes]

    assert errors == [b""] * 5
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "SELECT type, version FROM _data_manager_admin.event_store_prototype ORDER BY version"
        ).fetchall()
        status = connection.execute(
            "SELECT status, version FROM _data_manager_admin.etl_context"
        ).fetchone()
    kinds = [type_.rpartition(":")[2] for type_, _ in rows]
    assert kinds.count("INITIAL") == 1
    assert kinds[0] == "INITIAL"
    assert kinds.count("FINAL") <= 1
    assert "FINAL" not in kinds[:-1]
    assert [version for _, version in rows] == list(range(1, len(rows) + 1))
    assert status == ("DONE" if kinds[-1] == "FINAL" else "OPEN", len(rows))


async def test_of_twenty_with_one_expected_version_one_wins(store, database_url, racers):
    """The others learn that they were late."""
    (context,) = await store.start([Start("a.b", {})])
    batch = [{"context_id": context, "expected_version": 1, "event": {"type": "x"}}]

    states = list(racers.map(lambda _: attempt(database_url, batch), range(20)))

    assert sorted(states, key=str) == ["DM005"] * 19 + [None]


async def test_racing_batches_in_opposite_orders_do_not_deadlock(store, database_url, racers):
    """Contexts are locked in the order of their ids, whatever the order of the batch."""
    contexts = await store.start([Start("a.b", {})] * 10)
    batch = [{"context_id": context, "event": {"type": "x"}} for context in contexts]

    states = list(
        racers.map(lambda n: attempt(database_url, batch[:: 1 if n % 2 else -1]), range(RACERS))
    )

    assert set(states) == {None}


async def test_a_hundred_starts_with_one_key_make_one_context(store, database_url, racers):
    """However close together they come."""
    start = json.dumps(
        [{"task": "a.b", "idempotency_key": "k", "event": {"type": "a.b:INITIAL", "payload": {}}}]
    )

    def begin(_):
        with psycopg.connect(database_url, autocommit=True) as connection:
            return connection.execute(
                "SELECT context_id FROM _data_manager_admin.start_contexts(%s::jsonb)", [start]
            ).fetchone()

    found = set(racers.map(begin, range(RACERS)))

    assert len(found) == 1
    assert len(await store.contexts()) == 1
