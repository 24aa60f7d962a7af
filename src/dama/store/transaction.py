"""Transactions of steps: what a function writes and the events about it are one commit.

The function gets a connection of its own. What it gives are the events to append; they are the
last thing before the commit, so the locks of the contexts are held for a moment only.
"""

from __future__ import annotations

import os
import socket
from contextlib import closing, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from dama.store import session
from dama.store.connecting import connect, connect_blocking
from dama.store.errors import IdempotencyConflictError
from dama.store.items import encode
from dama.store.statements import statement
from dama.store.translation import translate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dama.store.database import Database
    from dama.store.rows import Append

Connection = psycopg.Connection[tuple[Any, ...]]
CANCEL_SECONDS = 5.0
AsyncConnection = psycopg.AsyncConnection[tuple[Any, ...]]


def commit_blocking(
    database: Database,
    name: str,
    function: Callable[[Connection], Sequence[Append]],
    on_open: Callable[[Callable[[], None]], None],
) -> None:
    """Call a function inside a transaction and append its events in the same commit.

    Args:
        database: Where.
        name: What `pg_stat_activity` shows as the application.
        function: Gets the connection, gives the events.
        on_open: Gets what ends the transaction from another thread: the statement that runs is
            cancelled, and the server sees its client gone and lets go of all locks.

    Raises:
        DatabaseUnreachableError: The server went away; whether it committed is not known.
        IdempotencyConflictError: An earlier try had committed after all; nothing is written now.
        DamaError: The store refused an event.
        Exception: What the function raised; nothing is written then.
    """
    try:
        opened = _connect(database, name)
        # The block commits, and leaves the connection open when that fails.
        with closing(opened), opened as connection:
            on_open(partial(_end, connection))
            session.begin_plainly_blocking(connection)
            session.let_idle_blocking(connection, is_pooled=database.is_pooled)
            batch = encode(function(connection))
            session.pin_transaction_blocking(connection)  # nothing of the function comes after it
            cursor = connection.execute(statement("append_events"), {"batch": batch})
            _refuse_repetitions(cursor.fetchall())
    except psycopg.Error as error:
        raise translate(error) or error from error


async def commit(
    database: Database,
    name: str,
    function: Callable[[AsyncConnection], Awaitable[Sequence[Append]]],
) -> None:
    """The same as `commit_blocking`, for a coroutine function."""
    try:
        opened = await connect(
            database.conninfo,
            application_name=name,
            prepare_threshold=database.prepare_threshold,
            client_encoding="UTF8",
        )
        try:
            async with opened as connection:
                await session.begin_plainly(connection)
                await session.let_idle(connection, is_pooled=database.is_pooled)
                batch = encode(await function(connection))
                await session.pin_transaction(connection)
                cursor = await connection.execute(statement("append_events"), {"batch": batch})
                _refuse_repetitions(await cursor.fetchall())
        finally:  # as above
            await opened.close()
    except psycopg.Error as error:
        raise translate(error) or error from error


def _end(connection: Connection) -> None:
    """End a transaction whose thread may be anywhere: in Python, or waiting for the server."""
    with suppress(psycopg.Error, OSError, ValueError):  # it has ended by itself
        connection.cancel_safe(timeout=CANCEL_SECONDS)
    with (
        suppress(psycopg.Error, OSError, ValueError),
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as same,
    ):
        same.shutdown(socket.SHUT_RDWR)


def _refuse_repetitions(appended: Sequence[tuple[Any, ...]]) -> None:
    """An event that was there already: what the function wrote is there too, and not again."""
    if not all(is_new for _, _, is_new in appended):
        raise IdempotencyConflictError(
            "This was done by an earlier try, whose connection was lost during its commit.",
            "Read the events of the context: they have its result.",
        )


def _connect(database: Database, name: str) -> Connection:
    return connect_blocking(
        database.conninfo,
        application_name=name,
        prepare_threshold=database.prepare_threshold,
        client_encoding="UTF8",
    )
