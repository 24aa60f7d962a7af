"""What a renewal does grows in line with what it is done to, whatever the statistics say.

Twice as many take twice as long. Where it were four times as long, a worker would outlast its own
lease. The limits of time are many times what was measured, and a fraction of what all by all takes.
"""

import json
from datetime import timedelta

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from dama.store import session
from dama.store.statements import statement
from tests.conftest import url_of

MANY = 40_000
LIMIT = "20s"  # measured: below a second
FILL = f"""
INSERT INTO _data_manager_admin.worker
  (worker_id, host, boot_id, pid, pid_started, version, queues, labels, slots, lease_until)
  SELECT 1000 + n, 'h', 'b', n, '1', '0', '{{default}}', '{{}}', 4,
         clock_timestamp() + interval '1 hour' * CASE n WHEN 1 THEN 1 ELSE -1 END
    FROM generate_series(1, 2) n;
SET session_replication_role = replica;
INSERT INTO _data_manager_admin.etl_context
  (context_id, root_context_id, task, status, version, epoch)
  SELECT n, n, 'a.b', 'OPEN', 1, 1 FROM generate_series(1, {2 * MANY}) n;
INSERT INTO _data_manager_admin.run_queue
  (context_id, root_context_id, task, queue, state, epoch, worker_id, deaths)
  SELECT n, n, 'a.b', 'default', 'running', 1, 1001 + n % 2, 1
    FROM generate_series(1, {2 * MANY}) n;
SET session_replication_role = origin;
"""  # noqa: S608 - numbers of our own


@pytest.fixture(params=["of empty tables", "there are"])
def crowded(request, server, database_url):
    """Two workers with many runs each; the lease of one has lapsed."""
    superuser = url_of(server, conninfo_to_dict(database_url)["dbname"], "dama")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE _data_manager_admin.run_queue SET (autovacuum_enabled = off)"
        )
        connection.execute("ANALYZE")
        connection.execute(FILL)
        if request.param == "there are":
            connection.execute("ANALYZE")
    with psycopg.connect(database_url, autocommit=True) as connection:
        session.pin_blocking(connection)
        connection.execute(f"SET statement_timeout = '{LIMIT}'")
        yield connection


def ask(connection, name, **params):
    """Execute a statement of the store by its name."""
    return connection.execute(statement(name), params).fetchall()


def test_a_worker_with_many_runs_is_renewed_and_buried_in_time(crowded):
    """What it holds is looked up one by one, and so is what another one held."""
    held = [2 * n for n in range(1, MANY + 1)]  # of the one that lives
    common = {"worker_id": 1001, "queues": [], "tasks": [], "offered": [], "scheduled": []} | {
        "ranks": None,
        "marks": None,
    }
    ((gone, *_),) = ask(crowded, "renew_lease", **common, held=[*held, 1], lease=timedelta(hours=1))
    counts = crowded.execute(
        "SELECT worker_id, state, deaths, deaths_alone, count(*)"
        " FROM _data_manager_admin.run_queue GROUP BY 1, 2, 3, 4 ORDER BY 1"
    ).fetchall()

    assert gone == [1]
    assert counts == [(1001, "running", 1, 0, MANY), (None, "queued", 2, 0, MANY)]


@pytest.mark.parametrize(
    ("runs", "change", "counted"),
    [
        (1, "TRUE", (3, 2)),
        (2, "TRUE", (3, 1)),
        (1, "host = 'h'", (2, 1)),  # a program, which no worker dies of
        (1, "state = 'waiting'", None),
    ],
)
def test_what_killed_a_worker_is_counted_for_each_of_its_runs(database_url, runs, change, counted):
    """Alone with it or among others; what is no run of its own any more stays as it is."""
    column, equals, value = change.partition(" = ")
    with psycopg.connect(database_url, autocommit=True) as connection:
        contexts = ask(
            connection, "start_contexts", spawned=None, parent=None,
            batch=json.dumps([{"task": "a.b", "event": {"type": "a.b:INITIAL"}}] * runs),
        )  # fmt: skip
        connection.execute(
            "UPDATE _data_manager_admin.run_queue SET state = 'running', worker_id = 7,"
            " deaths = 2, deaths_alone = 1"
        )
        if equals:
            query = SQL("UPDATE _data_manager_admin.run_queue SET {} = {}")
            connection.execute(query.format(Identifier(column), SQL(value)))
        connection.execute("SELECT _data_manager_admin.release_workers(ARRAY[7])")
        found = connection.execute(
            "SELECT deaths, deaths_alone FROM _data_manager_admin.run_queue WHERE context_id = %s",
            [contexts[0][0]],
        ).fetchone()

    assert found == (counted or (2, 1))
