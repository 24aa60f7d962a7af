"""Sessions: what a database, a role, a service file or PG* may say, and dama says itself.

A date that is not ISO, a default of repeatable read or a timeout of a role would change how dama
reads and writes. So each session is pinned when it begins; behind a pooler of transactions, where a
session is anybody's, each transaction is. In a database that a subscription fills, statements only
read, as on a standby: what they wrote would be in the way of rows to come. The connection of a
transactional step belongs to its function: there only what the commit needs is pinned
(`dama.store.transaction`).
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any, LiteralString, cast

import psycopg

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    AnyAsync = psycopg.AsyncConnection[Any]
    AnySync = psycopg.Connection[Any]

PINS: dict[LiteralString, LiteralString] = {
    "statement_timeout": "0",
    "lock_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "row_security": "off",  # an error rather than a part of the rows
    "search_path": "pg_catalog, pg_temp",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "extra_float_digits": "1",
    "array_nulls": "on",
    "transform_null_equals": "off",
    "quote_all_identifiers": "off",
    "xmloption": "content",
    "exit_on_error": "off",
    "client_min_messages": "notice",
    "check_function_bodies": "on",
    "plan_cache_mode": "auto",
    "plpgsql.extra_errors": "none",
    "jit": "off",
    # What is large is read by its indexes, whatever is best for the statements of others.
    "seq_page_cost": "1",
    "random_page_cost": "1.1",
    "cpu_tuple_cost": "0.01",
    "cpu_index_tuple_cost": "0.005",
    "cpu_operator_cost": "0.0025",
    "parallel_setup_cost": "1000",
    "parallel_tuple_cost": "0.1",
    "effective_cache_size": "4GB",
    "cursor_tuple_fraction": "0.1",
    "join_collapse_limit": "8",
    "from_collapse_limit": "8",
    "enable_bitmapscan": "on",
    "enable_hashagg": "on",
    "enable_hashjoin": "on",
    "enable_incremental_sort": "on",
    "enable_indexonlyscan": "on",
    "enable_indexscan": "on",
    "enable_material": "on",
    "enable_mergejoin": "on",
    "enable_nestloop": "on",
    "enable_seqscan": "on",
    "enable_sort": "on",
}
WITH_TRANSACTION_TIMEOUT = 170000  # the version of PostgreSQL
SINCE: dict[int, dict[LiteralString, LiteralString]] = {
    140000: {"idle_session_timeout": "0", "enable_memoize": "on"},
    WITH_TRANSACTION_TIMEOUT: {"transaction_timeout": "0"},
}
# Of statements that stand alone: one that waited so long for a lock is sent again later, and keeps
# no connection meanwhile.
LOCK_TIMEOUT: dict[LiteralString, LiteralString] = {"lock_timeout": "250ms"}
# A function of others may be busy for hours between two statements of its transaction. The encoding
# is the driver's, and another client of a pooler may have changed it.
MAY_IDLE: dict[LiteralString, LiteralString] = {
    "client_encoding": "UTF8",
    "idle_in_transaction_session_timeout": "0",
}
# For a transaction in which functions of others write: what else is set is theirs.
NO_TIMEOUTS: dict[LiteralString, LiteralString] = {
    **MAY_IDLE,
    "statement_timeout": "0",
    "lock_timeout": "0",
}
# Where our statements stand in a transaction of others: what they find unqualified stays theirs.
TAKE_PATH = """
SELECT pg_catalog.current_setting('search_path'),
       pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', TRUE)
"""
GIVE_PATH = "SELECT pg_catalog.set_config('search_path', %s, TRUE)"
# The mark of a transaction, which ends with it.
MARK = "SELECT pg_catalog.set_config('dama.transaction', '1', TRUE)"
MARKED = "SELECT pg_catalog.current_setting('dama.transaction', TRUE)"
# Whether the tables are filled by a subscription, so that this is a copy.
READS_ONLY = """
CASE WHEN EXISTS (
  SELECT FROM pg_catalog.pg_subscription_rel s
    JOIN pg_catalog.pg_class c ON c.oid = s.srrelid
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = '_data_manager_admin') THEN 'on' ELSE """
# In one message with the statement that lifts the time limits, which it may not meet itself.
IN_ANY_TIME: LiteralString = "SET LOCAL statement_timeout = 0;"
FIRST_ATTEMPTS = 4  # and one more
READ_COMMITTED = psycopg.IsolationLevel.READ_COMMITTED


async def is_pooled(connection: AnyAsync) -> bool:
    """Whether somebody between us and the server answers in its name: a pooler invents the pid."""
    cursor = await _first(connection, f"{IN_ANY_TIME} SELECT pg_catalog.pg_backend_pid()")
    cursor.nextset()
    return await cursor.fetchone() != (connection.info.backend_pid,)


async def _first(connection: AnyAsync, query: LiteralString) -> psycopg.AsyncCursor[Any]:
    """Execute one of the first statements of a session, which is in no transaction.

    A time limit of a millisecond may be over before a busy server has read that it is lifted.
    """
    for _ in range(FIRST_ATTEMPTS):
        with suppress(psycopg.errors.QueryCanceled):
            return await connection.execute(query, prepare=False)
    return await connection.execute(query, prepare=False)


async def role_of(connection: AnyAsync) -> str:
    """Whose rights a session has: those of its user, unless the setting `role` says another."""
    cursor = await connection.execute("SELECT current_user", prepare=False)
    (role,) = await cursor.fetchone() or (connection.info.user,)
    return str(role)


async def pin(connection: AnyAsync, *, alone: bool = False) -> None:
    """Pin a session of our own, which is in no transaction; close it where that fails.

    Args:
        connection: Of the session.
        alone: Whether each of its statements is a transaction, so that none has to wait for locks.
    """
    try:
        await _first(connection, _statement(connection.info.server_version, alone=alone))
    except BaseException:  # a pool that made it would leave it open
        await connection.close()
        raise


def pin_blocking(connection: AnySync, *, alone: bool = False) -> None:
    """The same as `pin`."""
    query = _statement(connection.info.server_version, alone=alone)
    for _ in range(FIRST_ATTEMPTS):
        with suppress(psycopg.errors.QueryCanceled):
            connection.execute(query, prepare=False)
            return
    connection.execute(query, prepare=False)


async def pin_transaction(connection: AnyAsync, *, alone: bool = False) -> None:
    """Pin the transaction that was just begun: behind a pooler nothing outlives it."""
    version = connection.info.server_version
    await connection.execute(_statement(version, is_local=True, alone=alone), prepare=False)


def pin_transaction_blocking(connection: AnySync, *, alone: bool = False) -> None:
    """The same as `pin_transaction`."""
    version = connection.info.server_version
    connection.execute(_statement(version, is_local=True, alone=alone), prepare=False)


async def let_idle(connection: AnyAsync, *, is_pooled: bool) -> None:
    """Let transactions last: the whole session, before one begins, or that of a pooler, in it.

    Between the beginning of a transaction and its first statement a busy machine lets time pass.
    """
    query = _lasting(connection, MAY_IDLE, is_local=is_pooled)
    if is_pooled:
        await connection.execute(query, prepare=False)
        return
    was_autocommit = connection.autocommit
    await connection.set_autocommit(True)
    await connection.execute(query, prepare=False)
    await connection.set_autocommit(was_autocommit)


def let_idle_blocking(connection: AnySync, *, is_pooled: bool) -> None:
    """The same as `let_idle`."""
    query = _lasting(connection, MAY_IDLE, is_local=is_pooled)
    if is_pooled:
        connection.execute(query, prepare=False)
        return
    connection.autocommit = True
    connection.execute(query, prepare=False)
    connection.autocommit = False


async def mark(connection: AnyAsync) -> None:
    """Mark the transaction, so that another one is told from it; see `is_marked`."""
    await connection.execute(MARK, prepare=False)


def mark_blocking(connection: AnySync) -> None:
    """The same as `mark`."""
    connection.execute(MARK, prepare=False)


async def is_marked(connection: AnyAsync) -> bool:
    """Whether this is the transaction that was marked, which has not ended meanwhile."""
    return await (await connection.execute(MARKED, prepare=False)).fetchone() == ("1",)


def is_marked_blocking(connection: AnySync) -> bool:
    """The same as `is_marked`."""
    return connection.execute(MARKED, prepare=False).fetchone() == ("1",)


async def lift_timeouts(connection: AnyAsync) -> None:
    """Let the transaction that was just begun, and each of its statements, take any time."""
    await connection.execute(_lasting(connection, NO_TIMEOUTS, is_local=True), prepare=False)


@asynccontextmanager
async def own_search_path(connection: AnyAsync) -> AsyncGenerator[None]:
    """Let our statements find what is ours, within a transaction whose search path is another's."""
    path, _ = await (await connection.execute(TAKE_PATH)).fetchone() or (None, None)
    yield
    await connection.execute(GIVE_PATH, [path])


async def begin_plainly(connection: AnyAsync) -> None:
    """Let transactions begin as dama needs them, whatever the defaults say."""
    await connection.set_isolation_level(READ_COMMITTED)
    await connection.set_read_only(False)
    await connection.set_deferrable(False)


def begin_plainly_blocking(connection: AnySync) -> None:
    """The same as `begin_plainly`."""
    connection.isolation_level = READ_COMMITTED
    connection.read_only = False
    connection.deferrable = False


def _lasting(
    connection: AnyAsync | AnySync,
    pins: Mapping[LiteralString, LiteralString],
    *,
    is_local: bool,
) -> LiteralString:
    lasting: dict[LiteralString, LiteralString] = {**pins}
    if connection.info.server_version >= WITH_TRANSACTION_TIMEOUT:
        lasting["transaction_timeout"] = "0"
    return _setting(lasting, is_local=is_local)


def _setting(pins: Mapping[LiteralString, LiteralString], *, is_local: bool) -> LiteralString:
    flag: LiteralString = "TRUE" if is_local else "FALSE"
    calls = [f"pg_catalog.set_config('{name}', '{value}', {flag})" for name, value in pins.items()]
    # The limit of a transaction of others stays theirs.
    first = "" if is_local and "statement_timeout" not in pins else IN_ANY_TIME
    return cast("LiteralString", f"{first} SELECT " + ", ".join(calls))  # of nothing but literals


@cache
def _statement(
    server_version: int, *, is_local: bool = False, alone: bool = False
) -> LiteralString:
    pins: dict[LiteralString, LiteralString] = {**PINS, **(LOCK_TIMEOUT if alone else {})}
    for version, more in SINCE.items():
        if server_version >= version:
            pins |= more
    return _setting(pins, is_local=is_local) + _read_only(is_local=is_local, alone=alone)


def _read_only(*, is_local: bool, alone: bool) -> LiteralString:
    """What makes statements that stand alone read only in a copy; a migration it needs as well."""
    set_config: LiteralString = ", pg_catalog.set_config"
    if not alone:
        return "" if is_local else f"{set_config}('default_transaction_read_only', 'off', FALSE)"
    if not is_local:
        return f"{set_config}('default_transaction_read_only', {READS_ONLY} 'off' END, FALSE)"
    otherwise: LiteralString = "pg_catalog.current_setting('transaction_read_only')"
    return f"{set_config}('transaction_read_only', {READS_ONLY} {otherwise} END, TRUE)"
