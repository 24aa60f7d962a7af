"""The server's counters of what statements met, once all that was done has been counted."""

import time

import psycopg

PATIENCE = 60  # seconds
OTHERS = """
SELECT pid FROM pg_stat_activity
 WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


def counters_from_zero(connection: psycopg.Connection, *, besides: int = 0) -> None:
    """Begin to count: all that was done so far is counted, and forgotten."""
    settle_counters(connection, besides=besides)
    connection.execute("SELECT pg_stat_reset()")


def settle_counters(connection: psycopg.Connection, *, besides: int = 0) -> None:
    """Wait until every other session of the database has ended; `besides` says how many stay open.

    A session adds what it did to the counters from time to time and when it ends, which is a little
    after its client has gone.
    """
    end = time.monotonic() + PATIENCE
    while len(others := connection.execute(OTHERS).fetchall()) > besides:
        if time.monotonic() > end:
            raise TimeoutError(f"sessions that do not end: {others}")
        time.sleep(0.01)
    connection.execute("SELECT pg_stat_force_next_flush()")
