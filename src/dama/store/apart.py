"""Apart: transactions on connections of their own, which may take any time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg

from dama.store import session
from dama.store.connecting import connect
from dama.store.rights import rights_named
from dama.store.statements import statement
from dama.store.translation import translate_own

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from dama.store.database import Database

FIRST_LINES, MOST_LINES = 100, 2000
SIZE = 512 * 1024  # characters at once, as far as the lines before tell


@asynccontextmanager
async def transaction_apart(
    database: Database, name: str, isolation: psycopg.IsolationLevel
) -> AsyncGenerator[psycopg.AsyncConnection[Any]]:
    """A transaction of its own, which may take any time; undone unless it is committed.

    Args:
        database: Where.
        name: What it is called in `pg_stat_activity`.
        isolation: What it sees of others.

    Raises:
        DatabaseUnreachableError: The server went away.
    """
    try:
        async with await connect(
            database.conninfo,
            application_name=name,
            prepare_threshold=database.prepare_threshold,
            client_encoding="UTF8",
        ) as connection:
            with rights_named(connection.info.user):
                await session.begin_plainly(connection)
                await connection.set_isolation_level(isolation)
                await session.lift_timeouts(connection)
                await session.pin_transaction(connection)
                yield connection
                await connection.rollback()
    except psycopg.Error as error:
        raise translate_own(error) or error from error


async def lines_of(
    connection: psycopg.AsyncConnection[Any], name: str, params: Mapping[str, object]
) -> AsyncGenerator[list[str]]:
    """The only column of a statement, some rows at a time: the fewer, the longer they are.

    Args:
        connection: In a transaction.
        name: Of the file in `sql/`.
        params: By name.
    """
    count = FIRST_LINES
    async with connection.cursor("lines") as cursor:
        await cursor.execute(statement(name), params)
        while rows := await cursor.fetchmany(count):
            lines = [line for (line,) in rows]
            yield lines
            length = sum(map(len, lines)) // len(lines) + 1
            count = max(1, min(MOST_LINES, 4 * count, SIZE // length))
