"""Scrubbing: a secret that got in leaves all tables, those of history too; the act is on record.

Only the owner of the tables may. Rows are changed in place, few at a time, while workers live; an
event keeps its id, version and position. A row may be written or moved meanwhile, so all tables are
looked at again until a look finds nothing.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.types.json import Jsonb

from dama import clock
from dama.store import schema, session
from dama.store.connecting import connect
from dama.store.errors import MissingRightError, UnknownContextError
from dama.store.translation import translate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from dama.domain.secrets import Secrets

ROWS_AT_ONCE = 500
MOST_LOOKS = 5
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # until rows are free
NO_RIGHT = "42501"
TABLES = "SELECT DISTINCT relation FROM _data_manager_admin.scrub_columns() ORDER BY 1"
TREE = """
SELECT c.context_id FROM (
    SELECT context_id, root_context_id FROM _data_manager_admin.etl_context
    UNION ALL SELECT context_id, root_context_id FROM _data_manager_admin.archived_context) c
  WHERE c.root_context_id = (
    SELECT root_context_id FROM _data_manager_admin.etl_context
      WHERE context_id = %(context)s
    UNION SELECT root_context_id FROM _data_manager_admin.archived_context
      WHERE context_id = %(context)s)
"""


_log = logging.getLogger("dama.store")


class Scrubbing:
    """One act: what it looks for, and what it has found.

    Args:
        connection: Of the owner of the tables.
        secrets: The secret, in all forms.
        document: Why, and where; the payload of the event that begins the act.
        meta: Who.

    Attributes:
        contexts: The contexts that are looked at; None for the whole store.
        rows: How many rows were changed, or would be, by table.
        kept: How many rows have it in a word that acts, by table.
        context_id: That of the act; None while nothing was changed.
    """

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        secrets: Secrets,
        document: Mapping[str, object],
        meta: Mapping[str, object],
    ) -> None:
        self._connection = connection
        self._secrets = secrets
        self._document = document
        self._meta = meta
        self._forms = [form for form in secrets.forms if _is_storable(form)]
        self._patterns = [f"%{_escaped(form)}%" for form in self._forms]
        self.contexts: list[int] | None = None
        self.rows: dict[str, int] = {}
        self.kept: dict[str, int] = {}
        self.context_id: int | None = None

    async def choose(self, context_id: int, *, tree: bool) -> None:
        """Look at one context only, or at its whole tree, archived ones too.

        Raises:
            UnknownContextError: There is no such context.
        """
        cursor = await self._connection.execute(TREE, {"context": context_id})
        found = [int(each) for (each,) in await cursor.fetchall()]
        if context_id not in found:
            raise UnknownContextError(f"There is no context {context_id}.", "`dama ls` lists them.")
        self.contexts = found if tree else [context_id]

    async def count(self) -> None:
        """Say how many rows have it; change nothing."""
        for table in await self._tables():
            self._add(self.rows, table, await self._call(table, "count"))
        await self._count_kept()

    async def strike(self) -> None:
        """Strike it out of all tables, until no row has it.

        Rows that another transaction has locked are waited for, without a lock.
        """
        looks, pause = 0, FIRST_PAUSE
        while looks < MOST_LOOKS:
            if await self._strike_once():
                looks += 1
            elif locked := await self._tables_with_it():
                if pause == FIRST_PAUSE:
                    _log.warning("other transactions have locked rows of %s", ", ".join(locked))
                await clock.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                break
        await self._count_kept()

    async def _strike_once(self) -> int:
        changed = 0
        for table in await self._tables():
            while count := await self._strike_some(table):
                self._add(self.rows, table, count)
                changed += count
        return changed

    async def _tables_with_it(self) -> list[str]:
        return [table for table in await self._tables() if await self._call(table, "count")]

    async def begin(self) -> None:
        """Put the act on record, once."""
        if self.context_id is None:
            document, meta = self._struck(self._document), self._struck(self._meta)
            cursor = await self._connection.execute(
                "SELECT _data_manager_admin.begin_scrub(%s, %s)", [document, meta]
            )
            ((self.context_id,),) = await cursor.fetchall()

    async def end(self, files: int) -> None:
        """Put on record how many places there were, when there were any."""
        found = {**self._document, "rows": self.rows, "kept": self.kept, "files": files}
        if self.context_id is not None:
            await self._connection.execute(
                "SELECT _data_manager_admin.end_scrub(%s, %s, %s)",
                [self.context_id, self._struck(found), self._struck(self._meta)],
            )

    async def _strike_some(self, table: str) -> int:
        async with self._connection.transaction():
            if count := await self._call(table, "strike"):
                await self.begin()
        return count

    async def _count_kept(self) -> None:
        for table in await self._tables():
            self._add(self.kept, table, await self._call(table, "kept"))

    async def _tables(self) -> Sequence[str]:
        cursor = await self._connection.execute(TABLES)
        return [table for (table,) in await cursor.fetchall()]

    async def _call(self, table: str, act: str) -> int:
        cursor = await self._connection.execute(
            "SELECT _data_manager_admin.scrub_table(%s, %s, %s, %s, %s, %s)",
            [table, self._patterns, self._forms, self.contexts, ROWS_AT_ONCE, act],
        )
        ((count,),) = await cursor.fetchall()
        return int(count)

    def _struck(self, document: Mapping[str, object]) -> Jsonb:
        return Jsonb(self._secrets.strike_all(dict(document)))

    @staticmethod
    def _add(counts: dict[str, int], table: str, count: int) -> None:
        if count:
            counts[table] = counts.get(table, 0) + count


@asynccontextmanager
async def scrubbing(
    conninfo: str, secrets: Secrets, document: Mapping[str, object], meta: Mapping[str, object]
) -> AsyncGenerator[Scrubbing]:
    """Begin to look for a secret.

    Args:
        conninfo: Of the owner of the tables.
        secrets: The secret.
        document: Why, and where.
        meta: Who.

    Raises:
        MissingRightError: The role is not the owner of the tables.
        SchemaError: The schema is not that of this version.
        DatabaseUnreachableError: The database does not answer.
    """
    try:
        async with await connect(conninfo, autocommit=True) as connection:
            await session.pin(connection)
            await schema.check(connection)
            # A log of slow statements would keep what is looked for; not everybody may turn it off.
            with suppress(psycopg.errors.InsufficientPrivilege):
                await connection.execute("SET log_parameter_max_length = 0")
            yield Scrubbing(connection, secrets, document, meta)
    except psycopg.Error as error:
        if error.sqlstate == NO_RIGHT:
            raise MissingRightError(
                "The role of this connection may not rewrite history.",
                "Run it as the owner of the tables, with DAMA_DATABASE_URL.",
            ) from error
        raise translate(error) or error from error


def _is_storable(form: str) -> bool:
    """Whether PostgreSQL can hold it; what it cannot is in no table."""
    return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in form)


def _escaped(form: str) -> str:
    for special in ("\\", "%", "_"):
        form = form.replace(special, f"\\{special}")
    return form
