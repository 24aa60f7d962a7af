"""Staging: the schema that one run works in, and the steps that fill it.

It is named for the run's context, so runs beside each other do not meet. Each function is a
transactional step: it gets a connection inside a transaction that the step's event closes.
"""

from collections.abc import Iterable
from pathlib import Path

from psycopg import Connection
from psycopg.sql import SQL, Identifier

from examples.flights import source
from examples.flights.rows import MonthRows

SMALL_TABLES = ("airlines", "airports", "planes", "weather")

SPOIL = SQL("UPDATE flights SET distance = -distance WHERE month = %s AND flight %% 1000 = 1")


def create(conn: Connection, schema: str) -> None:
    """Create the schema with its empty tables."""
    conn.execute(SQL("CREATE SCHEMA {}").format(Identifier(schema)))
    enter(conn, schema)
    conn.execute(statement("create_staging"))


def load_table(conn: Connection, schema: str, table: str) -> int:
    """Load one of the small tables; return how many rows it has."""
    enter(conn, schema)
    with source.opened(table) as (columns, blocks):
        return _copy(conn, table, columns, blocks)


def load_month(conn: Connection, schema: str, year: int, month: int, *, damaged: bool) -> MonthRows:
    """Load the departures of a month; spoil some of them where that is asked for."""
    enter(conn, schema)
    with source.opened("flights") as (columns, blocks):
        rows = _copy(conn, "flights", columns, source.month(blocks, year, month))
    if damaged:
        conn.execute(SPOIL, [month])
    return MonthRows(month, rows)


def join(conn: Connection, schema: str) -> int:
    """Build the table departures; return how many rows it has."""
    enter(conn, schema)
    return conn.execute(statement("join_departures")).rowcount


def drop(conn: Connection, schema: str) -> None:
    """Drop the schema with what is left in it."""
    conn.execute(SQL("DROP SCHEMA {} CASCADE").format(Identifier(schema)))


def enter(conn: Connection, schema: str) -> None:
    """Let names in the statements of this transaction mean the tables of the schema."""
    conn.execute(SQL("SET LOCAL search_path TO {}").format(Identifier(schema)))


def statement(name: str) -> bytes:
    """The statement in `sql/<name>.sql`."""
    return (Path(__file__).parent / "sql" / f"{name}.sql").read_bytes()


def _copy(conn: Connection, table: str, columns: list[str], blocks: Iterable[bytes]) -> int:
    """Send blocks of lines to the server, which parses them: Python never looks inside."""
    copy = SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL 'NA')").format(
        Identifier(table), SQL(", ").join(map(Identifier, columns))
    )
    with conn.cursor() as cursor:
        with cursor.copy(copy) as sink:
            for block in blocks:
                sink.write(block)
        return cursor.rowcount
