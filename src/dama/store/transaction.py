"""Transactions of steps: what a function writes and the events about it are one commit.

The function gets a connection of its own, within a transaction that the driver lets nobody else
commit. What it gives are the events to append; they are the last thing before the commit, so the
locks of the contexts are held for a moment only.
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
from dama.store.errors import IdempotencyConflictError, TransactionEndedError
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
        TransactionEndedError: The function ended the transaction, or closed the connection.
        DamaError: The store refused an event.
        Exception: What the function raised, and what the server refused of it at the commit, as it
            is; nothing is written then.
    """
    with _told():
        opened = _connect(database, name)
    with closing(opened) as connection:  # also when its thread is ended within the block
        on_open(partial(_end, connection))
        with _told():
            session.begin_plainly_blocking(connection)
            if not database.is_pooled:
                session.let_idle_blocking(connection, is_pooled=False)
        with _told(connection), connection.transaction():
            with _told():
                session.mark_blocking(connection)
                if database.is_pooled:
                    session.let_idle_blocking(connection, is_pooled=True)
            with _kept_open(connection):
                events = function(connection)
            with _told():
                if not session.is_marked_blocking(connection):
                    raise TransactionEndedError
                session.pin_transaction_blocking(connection)  # nothing of theirs comes after it
                batch = {"batch": encode(events)}
                appended = connection.execute(statement("append_events"), batch).fetchall()
                _refuse_repetitions(appended)


async def commit(
    database: Database,
    name: str,
    function: Callable[[AsyncConnection], Awaitable[Sequence[Append]]],
) -> None:
    """The same as `commit_blocking`, for a coroutine function."""
    with _told():
        connection = await connect(
            database.conninfo,
            application_name=name,
            prepare_threshold=database.prepare_threshold,
            client_encoding="UTF8",
        )
    try:
        with _told():
            await session.begin_plainly(connection)
            if not database.is_pooled:
                await session.let_idle(connection, is_pooled=False)
        with _told(connection):
            async with connection.transaction():
                with _told():
                    await session.mark(connection)
                    if database.is_pooled:
                        await session.let_idle(connection, is_pooled=True)
                with _kept_open(connection):
                    events = await function(connection)
                with _told():
                    if not await session.is_marked(connection):
                        raise TransactionEndedError
                    await session.pin_transaction(connection)
                    batch = {"batch": encode(events)}
                    cursor = await connection.execute(statement("append_events"), batch)
                    _refuse_repetitions(await cursor.fetchall())
    finally:
        await connection.close()


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


@contextmanager
def _kept_open(connection: Connection | AsyncConnection) -> Generator[None]:
    """Tell a function that closed its connection from a server that went away."""
    try:
        yield
    finally:
        if connection.closed and not connection.broken:
            raise TransactionEndedError


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
