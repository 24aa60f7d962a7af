"""The schema: numbered migrations for what has rows, and functions that are replaced as a whole.

A migration runs once, in its order, all of them in one transaction under a lock. One that builds
indexes CONCURRENTLY does nothing else and comes after the others, since everybody continues
meanwhile (`dama.store.migrating`). Functions, triggers and views have no rows: their files say what
they are now, and are applied after every migration. `schema_migration` keeps what was applied and
when.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, LiteralString, cast

import psycopg

from dama.store import session
from dama.store.connecting import connect
from dama.store.errors import SchemaError
from dama.store.migrating import LOCK, blockers_told, build_index, patiently, take_turn
from dama.store.rights import refused_to_migrate, rights_named
from dama.store.server_version import refuse_old_server
from dama.store.translation import first_line, translate, translate_own

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Applied = tuple[list[str], list["Migration"]]

INDEXES = re.compile(r"CREATE (?:UNIQUE )?INDEX CONCURRENTLY (\w+)[^;]*")
CODE = "functions"
CODE_FILES = (
    "replacing", "event_rules", "event_json", "locks", "runs", "append_events",
    "start_contexts", "dispatch", "acts",
    "limits", "places", "workers", "launchers", "park_run", "trees", "forks", "guards", "bundles",
    "state_at", "views", "sequence_log", "read_log", "list_contexts", "list_queues", "activity",
    "find_previous", "subscriptions", "slices", "schedules", "rebuild", "archive", "scrub",
    "privileges", "triggers",
)  # fmt: skip
TABLE = """
CREATE TABLE IF NOT EXISTS _data_manager_admin.schema_migration (
  name        text PRIMARY KEY,
  checksum    text NOT NULL,
  applied_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""
RECORD = """
INSERT INTO _data_manager_admin.schema_migration (name, checksum) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = clock_timestamp()
"""

# The triggers name the owner of the tables: after a restore as another one, or under a new name,
# the functions count as those of an older version. So they do after a restore without privileges,
# when PUBLIC may execute them.
APPLIED = """
SELECT m.name, CASE WHEN m.name = %(code)s AND (EXISTS (
         SELECT FROM pg_proc p
           WHERE p.pronamespace = to_regnamespace('_data_manager_admin')
             AND p.proname = 'append_events' AND p.proacl IS NULL) OR NOT EXISTS (
         SELECT FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
           WHERE t.tgname = 'event_admission'
             AND c.relnamespace = to_regnamespace('_data_manager_admin')
             AND strpos(pg_get_triggerdef(t.oid),  -- with no E'' as quote_literal() has
                        '<> ''' || replace(pg_get_userbyid(c.relowner), '''', '''''') || '''::'
                       ) > 0))
       THEN '' ELSE m.checksum END, m.applied_at
  FROM _data_manager_admin.schema_migration m
"""
OF_OURS = 3
COLUMNS = """
SELECT CASE WHEN c.oid IS NOT NULL THEN (
         SELECT count(*) FROM pg_attribute a
           WHERE a.attrelid = c.oid AND a.attname IN ('name', 'checksum', 'applied_at')) END
  FROM to_regclass('_data_manager_admin.schema_migration') c (oid)
"""
FIRST_SYSTEM = """
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND (n.nspname = '_data_manager_admin' AND c.relname IN ('etl_context', 'event_store_prototype')
         OR n.nspname = 'data_manager' AND c.relname IN ('etl_contexts', 'event_store'))),
  EXISTS (SELECT FROM pg_attribute a WHERE a.attname = 'root_context_id'  -- which only ours has
            AND a.attrelid = to_regclass('_data_manager_admin.etl_context')),
  to_regclass('_data_manager_admin.adoption') IS NOT NULL
    AND to_regclass('_data_manager_admin.schema_migration') IS NULL
"""
FIRST_IN_PLACE = FIRST_SYSTEM.replace("n.nspname = 'data_manager'", "FALSE")
# Whoever migrates, a superuser or a member: what is new belongs to the owner of the rest. An event
# trigger may have given away even the first table.
AS_OWNER = """
SELECT set_config('role', pg_get_userbyid(c.relowner), TRUE) FROM pg_class c
  WHERE c.oid = to_regclass('_data_manager_admin.schema_migration')
    AND pg_get_userbyid(c.relowner) <> current_user AND pg_has_role(c.relowner, 'MEMBER')
"""

_log = logging.getLogger("dama.migration")

Known = dict[str, tuple[str, datetime]]
Connection = psycopg.AsyncConnection[tuple[object, ...]]


@dataclass(frozen=True)
class Migration:
    """One step of the schema.

    Attributes:
        name: Its number and subject; `functions` for the functions and views.
        sql: Its statements.
    """

    name: str
    sql: LiteralString

    @property
    def is_concurrent(self) -> bool:
        """Whether it only builds indexes, and everybody continues meanwhile."""
        return bool(self.indexes)

    @property
    def indexes(self) -> list[tuple[str, LiteralString]]:
        """The indexes that it builds while everybody continues, with their statements."""
        return [(match[1], cast("LiteralString", match[0])) for match in INDEXES.finditer(self.sql)]

    @property
    def plain_sql(self) -> LiteralString:
        """Its statements for a database that nobody uses yet, as a part of one transaction."""
        return self.sql.replace("INDEX CONCURRENTLY", "INDEX")

    @property
    def checksum(self) -> str:
        """What tells one text from another."""
        return hashlib.sha256(self.sql.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class AppliedMigration:
    """A migration and when it was applied; None when it was not."""

    name: str
    applied_at: datetime | None


@cache
def migrations() -> tuple[Migration, ...]:
    """All migrations of this version in their order, the functions last."""
    folder = files("dama.store")
    numbered = sorted(
        (path for path in folder.joinpath("migrations").iterdir() if path.name.endswith(".sql")),
        key=lambda path: path.name,
    )
    code = _functions(CODE_FILES)
    texts = [(path.name.removesuffix(".sql"), path.read_text("utf-8")) for path in numbered]
    # Files of the package are as much literals as strings in the source.
    return tuple(
        Migration(name, cast("LiteralString", text)) for name, text in [*texts, (CODE, code)]
    )


def code_before_triggers() -> LiteralString:
    """The functions, views and rights: all but what keeps both tables right from then on."""
    return _functions(CODE_FILES[:-1])


def triggers() -> LiteralString:
    """The triggers of both tables."""
    return _functions(CODE_FILES[-1:])


def _functions(names: Sequence[str]) -> LiteralString:
    folder = files("dama.store").joinpath("functions")
    texts = [folder.joinpath(f"{name}.sql").read_text("utf-8") for name in names]
    return cast("LiteralString", "\n".join(texts))


@cache
def preflight() -> LiteralString:
    """What looks whether a database can have the schema, and makes the schema without tables."""
    text = files("dama.store").joinpath("preflight.sql").read_text("utf-8")
    return cast("LiteralString", text)


def script() -> str:
    """All that a migration from nothing executes, for people who apply it themselves."""
    parts = ["BEGIN;", f"SELECT pg_advisory_xact_lock({LOCK});", preflight(), TABLE]
    for migration in migrations():
        parts.append(migration.plain_sql)
        values = f"('{migration.name}', '{migration.checksum}')"
        parts.append(RECORD.strip().replace("(%s, %s)", values) + ";")
    return "\n".join([*parts, "COMMIT;"])


async def migrate(
    conninfo: str,
    *,
    up_to: str | None = None,
    tell: Callable[[str], None] = _log.info,
    beside_later: bool = False,
) -> list[str]:
    """Apply what is missing: tables and functions in one transaction, large indexes after it.

    Nobody is stopped by it: it waits for each lock a short time only, and begins again later. It
    may be killed at any moment and called any number of times at once.

    Args:
        conninfo: Of the database.
        up_to: The last migration to apply; all by default.
        tell: Called with what it waits for, in words.
        beside_later: Whether the tables of the first system's later generation, which are in a
            schema of their own, are about to be adopted.

    Returns:
        The names of those that were applied.

    Raises:
        SchemaError: The database is of a newer version, the server of a version that is too old, a
            right is missing, or the tables are those of the first system. Nothing was changed.
        DatabaseUnreachableError: It does not answer.
    """
    role = ""
    try:
        async with (
            await connect(conninfo, autocommit=True) as connection,
            blockers_told(conninfo, connection, tell),
        ):
            role = connection.info.user
            await session.begin_plainly(connection)
            if not await session.is_pooled(connection):
                await session.pin(connection)  # it idles between two attempts
            role = await session.role_of(connection)
            kept = FIRST_IN_PLACE if beside_later else FIRST_SYSTEM
            act = partial(_migrate_tables, connection, up_to, kept)
            return await _migrate(connection, act, tell)
    except psycopg.Error as error:
        raise translate_own(error) or refused_to_migrate(error, role) or _refused(error) from error


async def _migrate(
    connection: Connection, act: Callable[[], Awaitable[Applied]], tell: Callable[[str], None]
) -> list[str]:
    applied, later = await patiently(connection, act, tell)
    for migration in later:
        for name, query in migration.indexes:
            await build_index(connection, name, query, tell)
        await patiently(connection, partial(_record, connection, migration), tell)
        applied.append(migration.name)
    return sorted(applied, key=[migration.name for migration in migrations()].index)


async def _migrate_tables(
    connection: Connection, up_to: str | None, first_system: LiteralString
) -> Applied:
    """Apply what is missing, but what is built beside others; returns the names, and that."""
    await refuse_encoding(connection)
    await take_turn(connection)
    if first_system is FIRST_IN_PLACE:
        await connection.execute("SELECT set_config('dama.adopting', 'later', TRUE)")
    await connection.execute(preflight())
    await connection.execute(TABLE)
    await connection.execute(AS_OWNER)
    await connection.execute(preflight())
    known = await _known(connection, await session.role_of(connection))
    _refuse_newer(known)
    if not known:
        await _refuse_first_system(connection, first_system)
    applied: list[str] = []
    later: list[Migration] = []
    for migration in _up_to(up_to):
        if not (_is_missing(migration, known) or (applied and migration.name == CODE)):
            continue
        if migration.is_concurrent and known:
            later.append(migration)
            continue
        await connection.execute(migration.plain_sql)
        await connection.execute(RECORD, [migration.name, migration.checksum])
        applied.append(migration.name)
    return applied, later


def _refused(error: psycopg.Error) -> SchemaError:
    """What somebody's event trigger or a name that is taken says of the schema."""
    told = error.diag.message_hint
    return SchemaError(
        f"The database refuses the schema: {first_line(error)}. Nothing was changed.",
        f"It says: {told}"
        if told
        else "Look for an event trigger, and for something of that name in _data_manager_admin.",
    )


async def _record(connection: Connection, migration: Migration) -> None:
    await connection.execute(RECORD, [migration.name, migration.checksum])


def _up_to(name: str | None) -> list[Migration]:
    names = [migration.name for migration in migrations()]
    return list(migrations()[: names.index(name) + 1 if name in names else None])


async def refuse_encoding(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    """Refuse a database that cannot hold any text of JSON."""
    (encoding,) = await (await connection.execute("SHOW server_encoding")).fetchone() or (None,)
    if encoding != "UTF8":
        raise SchemaError(
            f"The database has the encoding {encoding}, which cannot hold every text; UTF8 can.",
            "Create one with CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0, and name it.",
        )


async def status(conninfo: str) -> list[AppliedMigration]:
    """All migrations of this version, and when each was applied.

    Raises:
        SchemaError: The tables are those of the first system, or the server is too old.
        MissingRightError: The role has no right to look.
        DatabaseUnreachableError: It does not answer.
    """
    try:
        async with await connect(conninfo) as connection:
            await session.pin_transaction(connection)
            known = await _known(connection, await session.role_of(connection))
            if not known:
                await _refuse_first_system(connection)
    except psycopg.Error as error:
        raise translate(error) or error from error
    return [
        AppliedMigration(m.name, None if _is_missing(m, known) else known[m.name][1])
        for m in migrations()
    ]


async def check(connection: Connection) -> str:
    """Hold the schema of a database against this version; returns whose rights the session has.

    Raises:
        SchemaError: It is missing, older or newer.
    """
    role = await session.role_of(connection)
    known = await _known(connection, role)
    _refuse_newer(known)
    if not known:
        await _refuse_first_system(connection)
    # What is only built to be faster is not waited for.
    missing = [m.name for m in migrations() if _is_missing(m, known) and not m.is_concurrent]
    if missing:
        older = f"has an older schema: {', '.join(missing)} missing"
        what = older if known else "has no schema yet"
        raise SchemaError(f"The database {what}.", "Bring it up to date: dama db migrate")
    return role


def _is_missing(migration: Migration, known: Known) -> bool:
    found = known.get(migration.name)
    return found is None or (migration.name == CODE and found[0] != migration.checksum)


def _refuse_newer(known: Known) -> None:
    newer: Sequence[str] = sorted(set(known) - {migration.name for migration in migrations()})
    if newer:
        raise SchemaError(
            f"The schema of the database is newer than this dama: it has {', '.join(newer)}.",
            "Install the newer version of dama-controller.",
        )


async def _refuse_first_system(connection: Connection, query: LiteralString = FIRST_SYSTEM) -> None:
    cursor = await connection.execute(query)
    is_first, is_ours, is_half_done = await cursor.fetchone() or (False, False, False)
    if is_half_done:
        raise SchemaError("The database is half adopted.", "Continue with: dama db adopt")
    if is_ours:
        raise SchemaError(
            "The database has tables of dama, and its list of migrations is empty.",
            "Restore the rows of _data_manager_admin.schema_migration from a backup.",
        )
    if is_first:
        raise SchemaError(
            "The database has the tables of the first system, and has not been adopted.",
            "See what is in them with: dama db adopt --dry-run. Then take them in: dama db adopt",
        )


async def _known(connection: Connection, role: str) -> Known:
    with rights_named(role):
        (columns,) = await (await connection.execute(COLUMNS)).fetchone() or (0,)
        if columns is None:
            refuse_old_server(connection.info.server_version)
            return {}
        if columns != OF_OURS:
            raise SchemaError(
                "The table _data_manager_admin.schema_migration is another program's.",
                "Take another database, or let that program have its tables elsewhere.",
            )
        rows = await (await connection.execute(APPLIED, {"code": CODE})).fetchall()
    return {str(name): (str(checksum), cast("datetime", at)) for name, checksum, at in rows}
