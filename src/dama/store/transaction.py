"""Transactions of steps: what a function writes and the events about it are one commit.

The function gets a connection of its own. What it gives are the events to append; they are the
last thing before the commit, so the locks of the contexts are held for a moment only.
"""

from __future__ import annotations

import os
import socket
from contextlib import closing, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import psycopg

from dama.store import session
from dama.store.connecting import connect, connect_blocking
from dama.store.errors import IdempotencyConflictError
from dama.store.items import encode
from dama.store.statements import statement
from dama.store.translation import concerns_server, translate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence

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
        Exception: What the function raised, and what the server refused of it at the commit, as it
            is; nothing is written then.
    """
    with _told():
        opened = _connect(database, name)
    # The block leaves the connection open when its own end fails, or its thread is ended within it.
    with closing(opened), opened as connection:
        on_open(partial(_end, connection))
        with _told():
            session.begin_plainly_blocking(connection)
            session.let_idle_blocking(connection, is_pooled=database.is_pooled)
        with _told(connection):
            events = function(connection)
        with _told():
            session.pin_transaction_blocking(connection)  # nothing of the function comes after it
            batch = {"batch": encode(events)}
            _refuse_repetitions(connection.execute(statement("append_events"), batch).fetchall())
        with _told(connection):
            connection.commit()


async def commit(
    database: Database,
    name: str,
    function: Callable[[AsyncConnection], Awaitable[Sequence[Append]]],
) -> None:
    """The same as `commit_blocking`, for a coroutine function."""
    with _told():
        opened = await connect(
            database.conninfo,
            application_name=name,
            prepare_threshold=database.prepare_threshold,
            client_encoding="UTF8",
        )
    try:
        async with opened as connection:
            with _told():
                await session.begin_plainly(connection)
                await session.let_idle(connection, is_pooled=database.is_pooled)
            with _told(connection):
                events = await function(connection)
            with _told():
                await session.pin_transaction(connection)
                batch = {"batch": encode(events)}
                cursor = await connection.execute(statement("append_events"), batch)
                _refuse_repetitions(await cursor.fetchall())
            with _told(connection):
                await connection.commit()
    finally:  # as above
        await opened.close()


@contextmanager
def _told(theirs: Connection | AsyncConnection | None = None) -> Generator[None]:
    """Say what the driver raises within the block in our words, where it is ours to say.

    Args:
        theirs: The connection of a function, which may raise errors of its own statements, of other
            servers and of its commit. They stay as they are: of them only the end of the connection
            and what the server as a whole cannot do now are ours. None where all of it is ours.
    """
    try:
        yield
    except psycopg.Error as error:
        is_ours = theirs is None or theirs.closed or concerns_server(error)
        if is_ours and (told := translate(error)):
            raise told from error
        raise


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
