"""The schema: numbered migrations for what has rows, and functions that are replaced as a whole.

A migration runs once, in its order, all of them in one transaction under a lock. Functions,
triggers and views have no rows: their files say what they are now, and are applied after every
migration. `schema_migration` keeps what was applied and when.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, LiteralString, cast

import psycopg

from dama.store.errors import SchemaError, translate

if TYPE_CHECKING:
    from collections.abc import Sequence

LOCK = 0x64616D61  # "dama"
CODE = "functions"
CODE_FILES = (
    "event_rules", "event_json", "runs", "append_events", "start_contexts", "dispatch", "limits",
    "workers", "park_run", "trees", "guards", "state_at", "views", "sequence_log", "read_log",
    "subscriptions", "schedules", "rebuild", "archive",
)  # fmt: skip
TABLE = """
CREATE SCHEMA IF NOT EXISTS _data_manager_admin;
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
    code = "\n".join(
        folder.joinpath("functions", f"{name}.sql").read_text("utf-8") for name in CODE_FILES
    )
    texts = [(path.name.removesuffix(".sql"), path.read_text("utf-8")) for path in numbered]
    # Files of the package are as much literals as strings in the source.
    return tuple(
        Migration(name, cast("LiteralString", text)) for name, text in [*texts, (CODE, code)]
    )


def script() -> str:
    """All that a migration from nothing executes, for people who apply it themselves."""
    parts = ["BEGIN;", f"SELECT pg_advisory_xact_lock({LOCK});", TABLE]
    for migration in migrations():
        parts.append(migration.sql)
        values = f"('{migration.name}', '{migration.checksum}')"
        parts.append(RECORD.strip().replace("(%s, %s)", values) + ";")
    return "\n".join([*parts, "COMMIT;"])


async def migrate(conninfo: str, *, up_to: str | None = None) -> list[str]:
    """Apply what is missing, in one transaction.

    Args:
        conninfo: Of the database.
        up_to: The last migration to apply; all by default.

    Returns:
        The names of those that were applied.

    Raises:
        SchemaError: The database is of a newer version.
        DatabaseUnreachableError: It does not answer.
    """
    try:
        async with await psycopg.AsyncConnection.connect(conninfo) as connection:
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
            await connection.execute(TABLE)
            known = await _applied(connection)
            _refuse_newer(known)
            applied: list[str] = []
            for migration in migrations():
                if _is_missing(migration, known) or (applied and migration.name == CODE):
                    await connection.execute(migration.sql)
                    await connection.execute(RECORD, [migration.name, migration.checksum])
                    applied.append(migration.name)
                if migration.name == up_to:
                    break
            return applied
    except psycopg.Error as error:
        raise translate(error) or error from error


async def status(conninfo: str) -> list[AppliedMigration]:
    """All migrations of this version, and when each was applied."""
    try:
        async with await psycopg.AsyncConnection.connect(conninfo, autocommit=True) as connection:
            known = await _known(connection)
    except psycopg.Error as error:
        raise translate(error) or error from error
    return [
        AppliedMigration(
            m.name,
            None if _is_missing(m, {k: v[0] for k, v in known.items()}) else known[m.name][1],
        )
        for m in migrations()
    ]


async def check(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> None:
    """Hold the schema of a database against this version.

    Raises:
        SchemaError: It is missing, older or newer.
    """
    known = {name: checksum for name, (checksum, _) in (await _known(connection)).items()}
    _refuse_newer(known)
    missing = [m.name for m in migrations() if _is_missing(m, known)]
    if missing:
        what = (
            "has no schema yet"
            if not known
            else f"has an older schema: {', '.join(missing)} missing"
        )
        raise SchemaError(f"The database {what}.", "Bring it up to date: dama db migrate")


def _is_missing(migration: Migration, known: dict[str, str]) -> bool:
    found = known.get(migration.name)
    return found is None or (migration.name == CODE and found != migration.checksum)


def _refuse_newer(known: dict[str, str]) -> None:
    ours = {migration.name for migration in migrations()}
    newer: Sequence[str] = sorted(set(known) - ours)
    if newer:
        raise SchemaError(
            f"The schema of the database is newer than this dama: it has {', '.join(newer)}.",
            "Install the newer version of dama-controller.",
        )


async def _applied(connection: psycopg.AsyncConnection[tuple[object, ...]]) -> dict[str, str]:
    rows = await (
        await connection.execute("SELECT name, checksum FROM _data_manager_admin.schema_migration")
    ).fetchall()
    return {str(name): str(checksum) for name, checksum in rows}


async def _known(
    connection: psycopg.AsyncConnection[tuple[object, ...]],
) -> dict[str, tuple[str, datetime]]:
    cursor = await connection.execute(
        "SELECT to_regclass('_data_manager_admin.schema_migration') IS NOT NULL"
    )
    if (await cursor.fetchone()) != (True,):
        return {}
    rows = await (
        await connection.execute(
            "SELECT name, checksum, applied_at FROM _data_manager_admin.schema_migration"
        )
    ).fetchall()
    return {str(name): (str(checksum), cast("datetime", at)) for name, checksum, at in rows}
