"""Acts on trees and queues beside the open transactions of others: nothing is lost or stands still.

One connection holds a transaction open; another acts; then the first one commits. What is true at
every commit is in docs/concepts/locks.md.
"""

import json
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

SCHEMA = "_data_manager_admin"
PATIENCE = 30.0  # seconds


def rows(connection, query, *params):
    return connection.execute(query.replace("$S", SCHEMA), params).fetchall()


def start(connection, parent=None, task="c.t", **item):
    """Start one context; give its id."""
    batch = [{"task": task, "event": {"type": f"{task}:INITIAL", "meta": {}}, **item}]
    (row,) = rows(
        connection,
        "SELECT context_id FROM $S.start_contexts(%s::jsonb, NULL, %s)",
        json.dumps(batch),
        parent,
    )
    return row[0]


def cancel(connection, *contexts):
    return {
        row[0]
        for row in rows(
            connection, "SELECT context_id FROM $S.cancel_trees(%s, '{}', '{}')", list(contexts)
        )
    }


def statuses(connection):
    return dict(rows(connection, "SELECT context_id, status FROM $S.etl_context"))


def queued(connection):
    return {row[0] for row in rows(connection, "SELECT context_id FROM $S.run_queue")}


class Other:
    """A connection that acts in a thread of its own."""

    def __init__(self, url: str, pool: ThreadPoolExecutor) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        self._pool = pool

    def begin(self, act, *args):
        """Act; return when it is done or waits for a lock."""
        acting: Future = self._pool.submit(act, self.connection, *args)
        pid = self.connection.info.backend_pid
        with psycopg.connect(self.connection.info.dsn, autocommit=True) as watch:
            until = time.monotonic() + PATIENCE
            while not acting.done():
                (waits,) = watch.execute(
                    "SELECT cardinality(pg_blocking_pids(%s)) > 0", [pid]
                ).fetchone()
                if waits:
                    break
                assert time.monotonic() < until, "it neither ends nor waits for a lock"
                time.sleep(0.005)
        return acting


@pytest.fixture
def here(database_url):
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def other(database_url):
    with ThreadPoolExecutor(1) as pool:
        other = Other(database_url, pool)
        yield other
        other.connection.close()


@contextmanager
def open_transaction(connection):
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("COMMIT")


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("item", [{}, {"limit_key": "k", "key_limit": 9}, {"delay": 60}])
def test_a_subtask_that_is_being_started_is_cancelled_with_its_tree(here, other, depth, item):
    """Its start commits after the cancellation has begun."""
    path = [start(here)]
    for _ in range(depth):
        path.append(start(here, path[-1]))

    with open_transaction(here):
        late = start(here, path[-1], **item)
        cancelling = other.begin(cancel, path[0])
    cancelling.result(PATIENCE)

    assert statuses(here) == dict.fromkeys([*path, late], "CANCELLED")
    assert queued(here) == set()


@pytest.mark.parametrize("depth", [0, 2])
def test_nothing_is_started_below_what_is_being_cancelled(here, other, depth):
    """The start waits for the cancellation, and is refused with a typed error."""
    path = [start(here)]
    for _ in range(depth):
        path.append(start(here, path[-1]))

    with open_transaction(here):
        cancel(here, path[0])
        starting = other.begin(start, path[-1])
    with pytest.raises(psycopg.Error) as refused:
        starting.result(PATIENCE)

    assert refused.value.sqlstate == "DM006"
    assert statuses(here) == dict.fromkeys(path, "CANCELLED")
    assert queued(here) == set()


def test_many_starters_leave_nothing_open_below_a_cancelled_parent(database_url, here):
    """Whatever commits in between: started subtasks end with the tree, the others are refused."""

    def keep_starting(parent):
        with psycopg.connect(database_url, autocommit=True) as connection:
            try:
                while True:
                    start(connection, parent)
            except psycopg.Error as error:
                return error.sqlstate

    for _ in range(8):
        parent = start(here)
        with ThreadPoolExecutor(3) as pool:
            starters = [pool.submit(keep_starting, parent) for _ in range(3)]
            until = time.monotonic() + PATIENCE
            while len(queued(here)) < 6:
                assert time.monotonic() < until
            cancel(here, parent)
            assert {s.result(PATIENCE) for s in starters} == {"DM006"}
        assert set(statuses(here).values()) == {"CANCELLED"}
        assert queued(here) == set()


def test_a_subtask_of_a_context_that_nobody_knows_is_refused(here):
    """With the error of the product, not that of a foreign key."""
    with pytest.raises(psycopg.Error) as refused:
        start(here, 10**9)

    assert refused.value.sqlstate == "DM002"


def test_a_tree_that_passes_its_deadline_takes_a_subtask_that_is_being_started_along(here, other):
    """The renewal leaves the tree for its next time, and then ends all of it."""
    parent = start(here, deadline=0)
    with open_transaction(here):
        late = start(here, parent)
        ending = other.begin(lambda c: c.execute(f"SELECT {SCHEMA}.end_overdue()"))
        ending.result(PATIENCE)  # it waits for nobody
    here.execute(f"SELECT {SCHEMA}.end_overdue()")

    assert statuses(here) == {parent: "ERROR", late: "CANCELLED"}
    assert queued(here) == set()


def test_a_tree_that_is_being_resumed_is_cancelled_whole(here, other):
    """The cancellation waits, and finds what is open again."""
    parent = start(here)
    child = start(here, parent)
    cancel(here, parent)

    with open_transaction(here):
        rows(here, "SELECT * FROM $S.resume_tree(%s, '{}')", parent)
        start(here, child)
        cancelling = other.begin(cancel, parent)
    cancelling.result(PATIENCE)

    assert set(statuses(here).values()) == {"CANCELLED"}
    assert queued(here) == set()


def test_thousands_of_runs_with_keys_of_their_own_are_cancelled_at_once(here):
    """One advisory lock for each key would not fit in the memory of the server."""
    parent = start(here)
    batch = [
        {"task": "c.t", "event": {"type": ":INITIAL"}, "limit_key": f"k{n}", "key_limit": 1}
        for n in range(30_000)
    ]
    rows(
        here,
        "SELECT count(*) FROM $S.start_contexts(%s::jsonb, NULL, %s)",
        json.dumps(batch),
        parent,
    )

    cancelled = cancel(here, parent)

    assert len(cancelled) == 30_001
    assert queued(here) == set()


def test_a_few_keys_and_thousands_of_them_exclude_each_other(here, other):
    """Who locks all keys at once is alone with each of them."""
    many = [f"k{n}" for n in range(1000)]
    with open_transaction(here):
        here.execute(f"SELECT {SCHEMA}.lock_keys(%s)", [many])
        locking = other.begin(lambda c: c.execute(f"SELECT {SCHEMA}.lock_keys('{{k7}}')"))
        assert not locking.done()
    locking.result(PATIENCE)
