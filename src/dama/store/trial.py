"""Trial databases: made from a template for tests, and moved in time by moving their rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, LiteralString

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from dama.store import schema
from dama.store.connecting import connect

if TYPE_CHECKING:
    from datetime import timedelta

    import psycopg

TIMES = """
SELECT c.relname, array_agg(a.attname::text ORDER BY a.attnum)
  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
  WHERE c.relnamespace = '_data_manager_admin'::regnamespace AND c.relkind = 'r'
    AND a.atttypid = 'timestamptz'::regtype AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attgenerated = '' AND c.relname <> 'worker'
  GROUP BY c.relname
"""
DUE = """
SELECT q.due_at - clock_timestamp(), q.state
  FROM _data_manager_admin.run_queue q
  JOIN _data_manager_admin.etl_context c ON c.context_id = q.context_id
  WHERE q.state IN ('waiting', 'retrying', 'delayed') AND q.due_at IS NOT NULL
    AND c.root_context_id = %s
  ORDER BY q.due_at LIMIT 1
"""


def name_of(url: str) -> str:
    """The name of the database that a URL or connection string is of."""
    return str(conninfo_to_dict(url)["dbname"])


async def make_template(url: str, name: str) -> None:
    """Make a database with the schema and no rows, if it is not there."""
    async with await connect(url, autocommit=True) as connection:
        found = await connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        if await found.fetchone() is None:
            await connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))
    await schema.migrate(make_conninfo(url, dbname=name))


async def make_trial(url: str, name: str, template: str) -> str:
    """Make a database like a template; returns how to connect to it."""
    make = SQL("CREATE DATABASE {} TEMPLATE {}").format(Identifier(name), Identifier(template))
    async with await connect(url, autocommit=True) as connection:
        await connection.execute(make)
    return make_conninfo(url, dbname=name)


async def drop_trial(url: str, name: str) -> None:
    """Remove a database, whoever is connected to it."""
    drop = SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(name))
    async with await connect(url, autocommit=True) as connection:
        await connection.execute(drop)


async def next_due(url: str, root: int) -> tuple[timedelta, str] | None:
    """How long until a run of a tree is due, and its state; None when none waits for a time."""
    async with await connect(url, autocommit=True) as connection:
        return await (await connection.execute(DUE, [root])).fetchone()


async def move_time(url: str, by: timedelta) -> None:
    """Let time pass: all that has happened and all that is due lies so much further back.

    No worker may work meanwhile; the tables of the user are not touched.
    """
    async with await connect(url) as connection:
        rows = await (await connection.execute(TIMES)).fetchall()
        for table, columns in rows:
            name = SQL("_data_manager_admin.{}").format(Identifier(table))
            moved = SQL(", ").join(
                SQL("{0} = {0} - %(by)s").format(Identifier(column)) for column in columns
            )
            await _plainly(connection, "ALTER TABLE {} DISABLE TRIGGER USER", name)
            await connection.execute(SQL("UPDATE {} SET {}").format(name, moved), {"by": by})
            await _plainly(connection, "ALTER TABLE {} ENABLE TRIGGER USER", name)


async def _plainly(
    connection: psycopg.AsyncConnection[Any],
    statement: LiteralString,
    name: Any,
) -> None:
    await connection.execute(SQL(statement).format(name))
