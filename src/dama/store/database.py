"""The database: a pool of connections, statements by name, and patience when the server is away.

An outage is the normal case: a statement that is safe to send again is sent again until the server
answers or patience is over. Errors of the driver that have a meaning leave as errors of the
product.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from dama import clock
from dama.store import schema, session
from dama.store.connecting import PromptConnection, connect
from dama.store.errors import DatabaseUnreachableError, InvalidValueError, LockedError
from dama.store.lending import Lending
from dama.store.rights import rights_named
from dama.store.statements import statement
from dama.store.translation import is_of_standby, is_outage, translate, translate_own

Row = tuple[Any, ...]
Params = Mapping[str, object]

PATIENCE = 60.0
# Of whoever cannot wait out an outage, as a person before a page; None for that of the database.
short_patience: ContextVar[float | None] = ContextVar("short_patience", default=None)
# Of the patience, until one is made or free. The pool's own pauses grow to minutes: it gives up
# sooner, and whoever asks then makes it begin again.
CONNECTION_SECONDS = 5.0
RECONNECT_SECONDS = 3.0
PREPARE_AFTER = 5
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
TELL_SECONDS = 5.0  # that a statement waits for somebody else's transaction
MOST_WAITING = 2  # connections for statements that have met a lock: the others stay free

_log = logging.getLogger("dama.store")

# It warns of each attempt to connect; an outage is told once, by who gives up.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


class _NotSentError(psycopg.OperationalError):
    """The connection had ended before the statement was sent."""


class Database:
    """One PostgreSQL, as the store sees it.

    Args:
        conninfo: As libpq takes it.
        is_pooled: Whether a pooler of transactions is in between: the next statement may go to
            another session, so nothing is prepared, and nobody can listen.
        patience: Seconds that an outage may last before it becomes an error; a minute by default.
        most: Connections at once.
        name: What they are called in `pg_stat_activity`.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        is_pooled: bool = False,
        patience: float | None = None,
        most: int = 8,
        name: str = "dama",
    ) -> None:
        self.conninfo = conninfo
        self.is_pooled = is_pooled
        self.role: str | None = None
        self.prepare_threshold = None if is_pooled else PREPARE_AFTER
        self._patience = PATIENCE if patience is None else patience
        self._waiting = asyncio.Semaphore(MOST_WAITING)
        self._pool = AsyncConnectionPool[PromptConnection](
            conninfo,
            min_size=0,  # with one the first statement would have a second one made beside it
            max_size=most,
            connection_class=PromptConnection,
            open=False,
            timeout=CONNECTION_SECONDS,
            reconnect_timeout=RECONNECT_SECONDS,
            configure=session.begin_plainly if is_pooled else partial(session.pin, alone=True),
            kwargs={
                "autocommit": True,
                "application_name": name,
                "prepare_threshold": self.prepare_threshold,
            },
        )
        self._lending = Lending(self._pool)

    @classmethod
    @asynccontextmanager
    async def opened(cls, conninfo: str) -> AsyncGenerator[Database]:
        """Connect, check the schema, and close at the end.

        Raises:
            DatabaseUnreachableError: It does not answer.
            SchemaError: The schema is not that of this version.
        """
        # A first connection by itself: a pool would hide why it fails.
        try:
            async with await connect(conninfo, autocommit=True) as first:
                with rights_named(first.info.user):
                    pooled = await session.is_pooled(first)
                    if not pooled:
                        await session.pin(first)
                    async with first.transaction():
                        if pooled:
                            await session.pin_transaction(first)
                        role = await schema.check(first)
        except psycopg.Error as error:
            raise translate(error) or error from error
        database = cls(conninfo, is_pooled=pooled)
        database.role = role
        async with database._open():
            yield database

    @classmethod
    @asynccontextmanager
    async def joined(cls, conninfo: str, name: str, *, is_pooled: bool) -> AsyncGenerator[Database]:
        """One that another process has checked; who asks nothing of it needs no connection."""
        database = cls(conninfo, is_pooled=is_pooled, most=2, name=name)
        async with database._open():
            yield database

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[None]:
        async with self._pool:
            yield
        await self._lending.ended()

    async def identity(self) -> str:
        """What tells it from all other databases."""
        ((system, oid),) = await self.rows("read_identity")
        return f"{system}-{oid}"

    def pool_use(self) -> dict[str, int]:
        """How many connections there are, how many are free, and how many wait for one."""
        told = self._pool.get_stats()
        return {
            "open": told.get("pool_size", 0),
            "free": told.get("pool_available", 0),
            "waited_for": told.get("requests_waiting", 0),
        }

    async def rows(
        self,
        name: str,
        params: Params | None = None,
        *,
        again: bool = True,
        waits: bool = True,
    ) -> list[Row]:
        """Execute a statement by its name.

        Args:
            name: Of the file in `sql/`.
            params: By name.
            again: Whether it may be sent again when its answer was lost.
            waits: Whether it waits, however long, when another transaction has locked what it
                needs. It takes no connection meanwhile, so it keeps nobody else waiting.

        Raises:
            LockedError: Another transaction has, and it does not wait.
            DamaError: What the database refused, or that it does not answer.
        """
        wait = _Wait(name)
        while waits:
            try:
                async with self._waiting if wait.has_begun else nullcontext():
                    return await self._patiently(name, params, again=again)
            except LockedError:
                await wait.sleep()
        return await self._patiently(name, params, again=again)

    async def column(self, name: str, params: Params | None = None) -> list[Any]:
        """The values of the first column that a statement returns: see `rows`."""
        return [value for value, *_ in await self.rows(name, params)]

    async def _patiently(self, name: str, params: Params | None, *, again: bool) -> list[Row]:
        """Execute it; an outage is waited for."""
        short = short_patience.get()
        deadline = clock.monotonic() + (self._patience if short is None else short)
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._rows_once(name, params, again=again)
            except (psycopg.Error, PoolTimeout) as error:
                harmless = again and _is_outage(error)
                if not (harmless or _was_not_done(error)) or clock.monotonic() > deadline:
                    raise _translated(error) from error
            await clock.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _rows_once(self, name: str, params: Params | None, *, again: bool) -> list[Row]:
        async with self._lending.connection() as connection:
            # It may have died since it was used: better seen before than after. Behind a pooler
            # that says nothing of the server.
            if not again and (self.is_pooled or not connection.is_surely_there):
                await _check(connection)
            if not self.is_pooled:
                found = await self._fetched(connection, name, params)
                connection.answered_at = clock.monotonic()
                return found
            async with connection.transaction():
                await session.pin_transaction(connection, alone=True)
                return await self._fetched(connection, name, params)

    async def _fetched(
        self, connection: psycopg.AsyncConnection[Row], name: str, params: Params | None
    ) -> list[Row]:
        try:
            with rights_named(self.role or connection.info.user):
                cursor = await connection.execute(statement(name), params)
        except (psycopg.errors.FeatureNotSupported, psycopg.errors.ReadOnlySqlTransaction):
            # What it prepared was replaced by a migration, and stays unusable; or its server was
            # made a standby, and another one writes now.
            await connection.close()
            raise
        except UnicodeEncodeError as error:  # as from an argument that is not UTF-8
            raise InvalidValueError(
                "A text has a lone surrogate, which is not Unicode text.",
                "Is it from a terminal or a file that is not UTF-8?",
            ) from error
        return await cursor.fetchall() if cursor.description else []


class _Wait:
    """The wait of a statement for somebody else's lock, with longer and longer pauses."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._pause = FIRST_PAUSE
        self._since: float | None = None
        self._told = False

    @property
    def has_begun(self) -> bool:
        return self._since is not None

    async def sleep(self) -> None:
        now = clock.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > TELL_SECONDS and not self._told:
            self._told = True
            _log.warning("%s waits for a lock that another transaction holds", self._name)
        await clock.sleep(self._pause * random.uniform(0.5, 1.0))
        self._pause = min(self._pause * 2, LONGEST_PAUSE)


def _is_outage(error: Exception) -> bool:
    """Whether it may pass; a pool that this process has closed stays closed."""
    is_closed = isinstance(error, PoolClosed)
    return isinstance(error, psycopg.Error) and is_outage(error) and not is_closed


async def _check(connection: PromptConnection) -> None:
    """Ask whether its server is there, before anything is sent that may be done only once."""
    try:
        await AsyncConnectionPool.check_connection(connection)
    except psycopg.OperationalError as error:
        raise _NotSentError(str(error)) from error


def _was_not_done(error: Exception) -> bool:
    """It was not sent; or it gave way to another transaction or to a migration: nothing is left."""
    undone = (psycopg.errors.DeadlockDetected, psycopg.errors.FeatureNotSupported)
    return isinstance(error, PoolTimeout | _NotSentError) or (
        isinstance(error, undone) and not is_of_standby(error)
    )


def _translated(error: Exception) -> Exception:
    if isinstance(error, psycopg.Error):
        return translate_own(error) or error
    return DatabaseUnreachableError(
        "The database does not answer, and no connection became free.",
        "Is it running? `dama db status` tells.",
    )
