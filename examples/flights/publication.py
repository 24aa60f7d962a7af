"""Publication: the tables of a run take the place of those that readers see.

All at once: a reader's transaction sees the old tables or the new ones, never some of each.
"""

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from examples.flights.staging import SMALL_TABLES, statement

TABLES = (*SMALL_TABLES, "departures")

# Written on each published table: how the next load knows that it may replace it.
MARK = "Published by flights.load"


class ForeignTableError(Exception):
    """A table of somebody else has a name that is to be published."""


def publish(conn: Connection, staging: str, schema: str) -> list[str]:
    """Move the tables from the staging schema to where readers look; drop those of before.

    Waits for transactions that still read the old tables.

    Returns:
        The names of the published tables.

    Raises:
        ForeignTableError: A table in the way was not published by `flights.load`.
    """
    # One publication at a time: two that create the same schema or table would break each other.
    conn.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"{MARK}: {schema}"])
    _refuse_foreign_tables(conn, schema)
    conn.execute(SQL("CREATE SCHEMA IF NOT EXISTS {}").format(Identifier(schema)))
    for table in TABLES:
        old, new = Identifier(schema, table), Identifier(staging, table)
        conn.execute(SQL("DROP TABLE IF EXISTS {}").format(old))
        conn.execute(SQL("COMMENT ON TABLE {} IS {}").format(new, MARK))
        conn.execute(SQL("ALTER TABLE {} SET SCHEMA {}").format(new, Identifier(schema)))
    return [f"{schema}.{table}" for table in TABLES]


def _refuse_foreign_tables(conn: Connection, schema: str) -> None:
    found = conn.execute(
        statement("find_foreign_tables"),
        {"schema": schema, "tables": list(TABLES), "mark": MARK},
    ).fetchall()
    if found:
        names = ", ".join(f"{schema}.{table}" for (table,) in found)
        raise ForeignTableError(
            f"{names} would be replaced, but flights.load did not make it. "
            "Publish into another schema (--schema), or move what is there."
        )
