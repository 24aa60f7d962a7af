"""Transactions of steps: what a function writes and the events about it are one commit.

The function gets a connection of its own. What it gives are the events to append; they are the
last thing before the commit, so the locks of the contexts are held for a moment only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from dama.store.errors import translate
from dama.store.items import encode
from dama.store.statements import statement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dama.store.database import Database
    from dama.store.rows import Append

Connection = psycopg.Connection[tuple[Any, ...]]
AsyncConnection = psycopg.AsyncConnection[tuple[Any, ...]]


def commit_blocking(
    database: Database, name: str, function: Callable[[Connection], Sequence[Append]]
) -> None:
    """Call a function inside a transaction and append its events in the same commit.

    Args:
        database: Where.
        name: What `pg_stat_activity` shows as the application.
        function: Gets the connection, gives the events.

    Raises:
        DatabaseUnreachableError: The server went away; whether it committed is not known.
        DamaError: The store refused an event.
        Exception: What the function raised; nothing is written then.
    """
    try:
        with psycopg.connect(
            database.conninfo, application_name=name, prepare_threshold=database.prepare_threshold
        ) as connection:
            batch = encode(function(connection))
            connection.execute(statement("append_events"), {"batch": batch})
    except psycopg.Error as error:
        raise translate(error) or error from error


async def commit(
    database: Database,
    name: str,
    function: Callable[[AsyncConnection], Awaitable[Sequence[Append]]],
) -> None:
    """The same as `commit_blocking`, for a coroutine function."""
    try:
        opened = await psycopg.AsyncConnection.connect(
            database.conninfo, application_name=name, prepare_threshold=database.prepare_threshold
        )
        async with opened as connection:
            batch = encode(await function(connection))
            await connection.execute(statement("append_events"), {"batch": batch})
    except psycopg.Error as error:
        raise translate(error) or error from error
