"""Vacuum: what is changed all the time stays small."""

from datetime import timedelta

import psycopg
import pytest

from dama.store import Store
from dama.store.queue_rows import WorkerIdentity
from tests.integration.counters import settle_counters

EARLY = (
    "run_queue",
    "etl_context",
    "worker",
    "queue_setting",
    "queue_allowance",
    "subscription_lane",
    "event_log_state",
)
RENEWALS = 300
ROUNDS = 5
OPTIONS = """
SELECT relname FROM pg_class
  WHERE relnamespace = '_data_manager_admin'::regnamespace
    AND reloptions::text LIKE '%autovacuum_vacuum_threshold%'
"""
UPDATES = {
    "worker": "UPDATE _data_manager_admin.worker SET lease_until = clock_timestamp(), running = 1",
    "subscription_lane": "UPDATE _data_manager_admin.subscription_lane SET position = position + 1",
}
COUNTS = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = %s"


def test_what_is_changed_all_the_time_is_vacuumed_early(database_url):
    """By default a table waits until a fifth of it is dead."""
    with psycopg.connect(database_url) as connection:
        found = {name for (name,) in connection.execute(OPTIONS)}

    assert found == set(EARLY)


@pytest.mark.parametrize("table", UPDATES)
async def test_a_renewal_touches_no_index(database_url, table):
    """Each of them fits into the page of its row: else an idle worker would grow its indexes.

    An analysis by autovacuum that happens just then keeps the dead rows of a page for a moment, and
    a row may not fit: then it is tried again. A renewal that touches an index fits at no time.
    """

    async def handle(connection, event):
        """Do nothing."""

    async with Store.opened(database_url) as store:
        await store.queue.register(
            WorkerIdentity("host", "boot", 1, "1", "0"),
            queues=["default"],
            root=None,
            slots=1,
            lease=timedelta(minutes=1),
        )
        await store.log.subscription("mailer", handle).catch_up()
    with psycopg.connect(database_url, autocommit=True) as connection:
        settle_counters(connection)
        seen = [renewed(connection, table) for _ in range(ROUNDS)]

    assert (RENEWALS, RENEWALS) in seen


def renewed(connection, table):
    """Of so many renewals, how many were updates, and how many of them in their page."""
    before = updates(connection, table)
    for _ in range(RENEWALS):
        connection.execute(UPDATES[table])
    after = updates(connection, table)
    return tuple(new - old for old, new in zip(before, after, strict=True))


def updates(connection, table):
    """How many rows of a table were updated, and how many of them in their page."""
    connection.execute("SELECT pg_stat_force_next_flush()")
    return connection.execute(COUNTS, [table]).fetchone()
