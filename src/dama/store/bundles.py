"""Bundles: contexts with their events on their way out of a database, and into another one.

What leaves is read in one snapshot, whoever writes meanwhile. What comes in is one transaction: all
of it is there, or nothing. See functions/bundles.sql.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from dama.store.apart import lines_of, transaction_apart
from dama.store.items import as_json
from dama.store.statements import statement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.shapes import Json
    from dama.store.database import Database

LINES_AT_ONCE = 1000
CONTEXTS_AT_ONCE = 5000
READ_COMMITTED = psycopg.IsolationLevel.READ_COMMITTED
REPEATABLE_READ = psycopg.IsolationLevel.REPEATABLE_READ


class BundledContext(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A context as it stands in a bundle.

    Attributes:
        context: Its place among those of the bundle, from 1.
        parent: The place of its parent; None for one at the top.
        database: What tells the database that it ran in from all others.
        context_id: Its id there.
        task: The full name; None for one of an old program.
        status: After its last event; None without events.
        events: How many it has.
        created_at: When it was created.
    """

    context: int
    parent: int | None
    database: str
    context_id: int
    task: str | None
    status: str | None
    events: int
    created_at: datetime


@dataclass(frozen=True)
class ImportedFrom:
    """Where a context was imported from.

    Attributes:
        database: What tells the database that it ran in from all others.
        context_id: Its id there.
        version: How many events it came with.
    """

    database: str
    context_id: int
    version: int


@dataclass(frozen=True)
class Leaving:
    """What is exported.

    Attributes:
        contexts: Parents before their children.
        local_ids: The id of each in this database.
        events: Their events, a line of JSON each, some at a time.
    """

    contexts: Sequence[BundledContext]
    local_ids: Sequence[int]
    events: AsyncGenerator[list[str]]


@asynccontextmanager
async def leaving(
    database: Database, given: Sequence[int], *, plainly: bool = False
) -> AsyncGenerator[Leaving]:
    """Read contexts with all below them, also archived ones, as they are at one moment.

    Args:
        database: Where they are.
        given: Which. One that is not there is left out.
        plainly: Whether what was imported leaves as what it is here, and not as it came.

    Raises:
        DatabaseUnreachableError: The server went away.
    """
    here = await database.identity()
    params = {"given": list(given), "here": here, "plainly": plainly}
    async with transaction_apart(database, "dama export", REPEATABLE_READ) as connection:
        cursor = await connection.execute(statement("export_contexts"), params)
        rows = await cursor.fetchall()
        contexts = [
            BundledContext(
                context=n, parent=parent, database=source, context_id=source_id, task=task,
                status=status, events=upto, created_at=created_at,
            )
            for n, parent, source, source_id, task, status, upto, created_at, _ in rows
        ]  # fmt: skip
        yield Leaving(
            contexts, [row[-1] for row in rows], lines_of(connection, "export_events", params)
        )


class Coming:
    """What is imported in one transaction: contexts, then events in the order of the bundle.

    Args:
        connection: In the transaction.
        contexts: Parents before their children.
        come_back: Which of them have their own ids.
    """

    def __init__(
        self,
        connection: psycopg.AsyncConnection[Any],
        contexts: Sequence[BundledContext],
        come_back: Sequence[bool],
    ) -> None:
        self._connection = connection
        self._contexts = contexts
        self._come_back = come_back
        self._drawn: list[int] = []
        self.ids: list[int] = []

    async def begin(self) -> None:
        """Make the contexts; new ids are in the order of the bundle."""
        is_new = [not comes_back for comes_back in self._come_back]
        await self._rows("begin_import", {})
        rows = await self._rows("draw_contexts", {"count": sum(is_new)})
        self._drawn = [context_id for (context_id,) in rows]
        drawn = iter(self._drawn)
        places = {each.context: i for i, each in enumerate(self._contexts)}
        roots: list[int] = []
        items: list[dict[str, object]] = []
        for i, (each, new) in enumerate(zip(self._contexts, is_new, strict=True)):
            above = None if each.parent is None else places[each.parent]
            self.ids.append(next(drawn) if new else each.context_id)
            roots.append(self.ids[i] if above is None else roots[above])
            items.append({
                "context_id": self.ids[i],
                "parent_id": None if above is None else self.ids[above],
                "root_context_id": roots[i],
                "task": each.task,
                "created_at": each.created_at.isoformat(),
                "database": each.database if new else None,
                "source_id": each.context_id,
                "version": each.events,
            })  # fmt: skip
        for start in range(0, len(items), CONTEXTS_AT_ONCE):
            part = items[start : start + CONTEXTS_AT_ONCE]
            await self._rows("import_contexts", {"items": as_json(part)})

    async def add(
        self, lines: Sequence[str], contexts: Sequence[int], mark: Mapping[str, Any]
    ) -> None:
        """Add events.

        Args:
            lines: Of the bundle.
            contexts: The new context of each.
            mark: What the first event of each context says of the import.
        """
        params = {
            "lines": list(lines),
            "contexts": list(contexts),
            "first": min(self._drawn, default=0),
            "last": max(self._drawn, default=0),
            "mark": as_json(mark),
        }
        await self._rows("import_events", params)

    async def end(self, payload: Mapping[str, Json], meta: Mapping[str, Json]) -> list[int]:
        """Let the contexts be what their events say; returns those that were open, and are ended.

        Args:
            payload: Of their CANCELLED.
            meta: Of their CANCELLED.

        Raises:
            InvalidEventError: A context has not the events that it is said to have.
            IdempotencyConflictError: The key of the start of one that comes back is another's now.
        """
        params = {
            "contexts": self.ids,
            "versions": [each.events for each in self._contexts],
            "payload": as_json(payload),
            "meta": as_json(meta),
        }
        return [context_id for (context_id,) in await self._rows("end_import", params)]

    async def _rows(self, name: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        return await (await self._connection.execute(statement(name), params)).fetchall()


@asynccontextmanager
async def coming(
    database: Database, contexts: Sequence[BundledContext], come_back: Sequence[bool]
) -> AsyncGenerator[Coming]:
    """Import contexts; what is done within the block is one transaction.

    Args:
        database: Where to.
        contexts: Parents before their children.
        come_back: Which of them have their own ids, in a tree all or none.

    Raises:
        MissingRightError: Only who owns the tables may.
        DatabaseUnreachableError: The server went away; whether it committed is not known.
    """
    async with transaction_apart(database, "dama import", READ_COMMITTED) as connection:
        into = Coming(connection, contexts, come_back)
        await into.begin()
        yield into
        await connection.commit()


@dataclass(frozen=True)
class Known:
    """What the database has of a context of a bundle.

    Attributes:
        context_id: Its id here, if it was imported before or ran here; else None.
        comes_back: It ran here and is not there any more, and its id is nobody's.
    """

    context_id: int | None
    comes_back: bool


async def known(database: Database, contexts: Sequence[BundledContext]) -> list[Known]:
    """What the database has of each context."""
    params = {
        "databases": [each.database for each in contexts],
        "source_ids": [each.context_id for each in contexts],
        "created": [each.created_at.isoformat() for each in contexts],
        "here": await database.identity(),
    }
    rows = await database.rows("find_imported", params)
    return [Known(*row[1:]) for row in sorted(rows)]


async def origin_of(database: Database, context_id: int) -> ImportedFrom | None:
    """Where a context was imported from; None for one that ran here."""
    rows = await database.rows("read_imported", {"context_id": context_id})
    return ImportedFrom(*rows[0]) if rows else None
