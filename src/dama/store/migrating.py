"""Migrating beside others: nobody is stopped, and what holds the migration up is said.

A statement that waits for the lock of a table stops all that come after it, so each waits a short
time only; then the transaction is given up, and tried again later. Large indexes are built without
a lock that a writer meets; one that was left half built, by a kill, is built again.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, LiteralString, TypeVar

import psycopg
from psycopg.sql import SQL, Identifier

from dama import clock
from dama.store import session
from dama.store.connecting import connect

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    Connection = psycopg.AsyncConnection[Any]
    Tell = Callable[[str], None]

T = TypeVar("T")

LOCK = 0x64616D61  # "dama"
FIRST_WAIT, LONGEST_WAIT = 0.2, 1.0  # for a lock: so long everybody else may have to wait, too
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
LOOK_SECONDS = 0.05
SAY_AGAIN_SECONDS = 30.0
LONGEST_QUERY = 100

BLOCKERS = """
SELECT a.pid, a.usename, a.application_name, a.state, a.xact_start, left(a.query, %(longest)s)
  FROM pg_catalog.pg_stat_activity a
  WHERE a.pid = ANY (pg_catalog.pg_blocking_pids(%(pid)s)) AND a.pid <> %(pid)s
  ORDER BY a.xact_start
"""
OTHERS = """
SELECT a.pid, a.usename, a.application_name, a.state, a.xact_start, left(a.query, %(longest)s)
  FROM pg_catalog.pg_locks l JOIN pg_catalog.pg_stat_activity a USING (pid)
  WHERE l.locktype = 'advisory' AND l.classid = 0 AND l.objid = %(lock)s AND l.granted
    AND a.datname = current_database() AND a.datid = l.database
"""
INDEX = """
SELECT i.indisvalid, EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p
                               WHERE p.index_relid = i.indexrelid)
  FROM pg_catalog.pg_index i
  WHERE i.indexrelid = to_regclass('_data_manager_admin.' || quote_ident(%s))
"""


class OtherMigrationError(Exception):
    """Another migration is at work."""


async def take_turn(connection: Connection) -> None:
    """Be the only migration until the end of the transaction.

    Raises:
        OtherMigrationError: Another one is at work.
    """
    cursor = await connection.execute("SELECT pg_try_advisory_xact_lock(%s)", [LOCK])
    if await cursor.fetchone() == (True,):
        return
    others = await (
        await connection.execute(OTHERS, {"lock": LOCK, "longest": LONGEST_QUERY})
    ).fetchall()
    raise OtherMigrationError("; ".join(_words(row) for row in others) or "one that just ended")


async def patiently(
    connection: Connection,
    act: Callable[[], Awaitable[T]],
    tell: Tell,
    *,
    longest: float = LONGEST_WAIT,
) -> T:
    """Act in a transaction, again and again until it gets each lock within a short time.

    Args:
        connection: In no transaction.
        act: What is done in it.
        tell: Called with what is waited for.
        longest: How long it waits for a lock at most; so do all who come after.
    """
    wait, pause = FIRST_WAIT, FIRST_PAUSE
    said = ""
    while True:
        try:
            async with connection.transaction():
                await session.pin_transaction(connection)
                milliseconds = f"{wait * 1000:.0f}"
                await connection.execute(
                    "SELECT set_config('lock_timeout', %s, TRUE)", [milliseconds]
                )
                return await act()
        except OtherMigrationError as other:
            if said != str(other):
                said = str(other)
                tell(f"waits for another migration: {said}")
        except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected):
            wait = min(wait * 1.5, longest)
        await clock.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, LONGEST_PAUSE)


async def build_index(connection: Connection, name: str, query: LiteralString, tell: Tell) -> None:
    """Build an index without stopping anybody; one that is half built is built again.

    Args:
        connection: In no transaction.
        name: Of the index.
        query: CREATE INDEX CONCURRENTLY, with this name.
        tell: Called with what is waited for.
    """
    pause = FIRST_PAUSE
    while (state := await _state_of(connection, name)) != (True, False):
        if state == (False, True):
            tell(f"waits for another session that builds {name}")
            await clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            continue
        await connection.execute("SET statement_timeout = 0")
        await connection.execute("SET lock_timeout = 0")  # it keeps nobody waiting
        if state is not None:
            drop = SQL("DROP INDEX CONCURRENTLY IF EXISTS _data_manager_admin.{}")
            await connection.execute(drop.format(Identifier(name)))
        with suppress(psycopg.errors.DuplicateTable, psycopg.errors.UniqueViolation):
            await connection.execute(query)  # another session may have begun at the same moment
        await connection.execute("RESET statement_timeout")
        await connection.execute("RESET lock_timeout")


async def _state_of(connection: Connection, index: str) -> tuple[Any, ...] | None:
    """Whether an index is whole, and whether somebody builds it; None when there is none."""
    async with connection.transaction():
        await session.pin_transaction(connection)
        return await (await connection.execute(INDEX, [index])).fetchone()


@asynccontextmanager
async def blockers_told(conninfo: str, connection: Connection, tell: Tell) -> AsyncGenerator[None]:
    """Say within the block whose locks a connection waits for: pid, who, since when, query."""
    watching = asyncio.create_task(_watch(conninfo, connection.info.backend_pid, tell))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(conninfo: str, pid: int, tell: Tell) -> None:
    said: dict[tuple[object, ...], float] = {}
    await clock.sleep(LOOK_SECONDS)  # most migrations are over by then, and need nobody to watch
    async with await connect(conninfo, autocommit=True) as connection:
        while True:
            params = {"pid": pid, "longest": LONGEST_QUERY}
            async with connection.transaction():
                await session.pin_transaction(connection)
                rows = await (await connection.execute(BLOCKERS, params)).fetchall()
            for row in rows:
                pid, _, _, _, since, _ = row
                who = (pid, since)
                if clock.monotonic() - said.get(who, -SAY_AGAIN_SECONDS) >= SAY_AGAIN_SECONDS:
                    said[who] = clock.monotonic()
                    tell(f"waits for {_words(row)}")
            await clock.sleep(LOOK_SECONDS)


def _words(row: tuple[Any, ...]) -> str:
    pid, user, application, state, since, query = row
    who = f"{application}, {user}" if application else str(user)
    begun = f" since {since:%Y-%m-%d %H:%M:%S %Z}" if since else ""
    text = " ".join(str(query or "").split())
    return f"pid {pid} ({who}; {state}{begun}): {text}"
