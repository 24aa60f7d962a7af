"""Attempts: what a subscription of the log asks of the attempt that an event is of.

All is read on the connection of its handler, in the transaction of its checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dama.shapes import Json, is_list, is_object
from dama.store.session import own_search_path
from dama.store.statements import statement

if TYPE_CHECKING:
    from dama.store.subscription import Connection


@dataclass(frozen=True)
class Begun:
    """An attempt that has begun.

    Attributes:
        context_id: Of the task.
        task: Its full name.
        epoch: Of the first run of the attempt.
        version: Of the event that began it.
        meta: Of that event.
    """

    context_id: int
    task: str
    epoch: int
    version: int
    meta: Mapping[str, Json] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class Attempt:
    """An attempt, with what started its task.

    Attributes:
        own: The attempt.
        parent: That of the parent which has started the task; None at the top.
        root: That of the topmost ancestor; None at the top.
        scheduled_for: The firing of a schedule which has started the task; None for none.
    """

    own: Begun
    parent: Begun | None = None
    root: Begun | None = None
    scheduled_for: str | None = None


@dataclass(frozen=True)
class Written:
    """What an attempt says of a table.

    Attributes:
        table: Its name, as steps say it; None for what they read and wrote to no table.
        rows: How many were written; None where no step knows.
        inputs: The tables that were read for it.
    """

    table: str | None
    rows: int | None
    inputs: Sequence[str]


Column = tuple[str, str, str | None]  # its name, its type, and its comment


async def read_attempts(connection: Connection, event_ids: Sequence[int]) -> Mapping[int, Attempt]:
    """The attempts of events, by their ids; without those in which none had begun.

    Source: store/sql/read_attempts.sql
    """
    if not event_ids:
        return {}
    found: dict[int, dict[str, Begun]] = {}
    firings: dict[int, str] = {}
    for event_id, relation, context_id, task, epoch, version, meta, firing in await _rows(
        connection, "read_attempts", {"event_ids": list(event_ids)}
    ):
        known = dict[str, Any](meta) if is_object(meta) else {}
        begun = Begun(context_id, task or "", epoch or 0, version, known)
        found.setdefault(event_id, {})[relation] = begun
        if isinstance(firing, str):
            firings[event_id] = firing
    return {
        event_id: Attempt(
            of["own"], of.get("parent"), of.get("root", of.get("parent")), firings.get(event_id)
        )
        for event_id, of in found.items()
        if "own" in of
    }


async def read_written(
    connection: Connection, attempts: Sequence[tuple[int, int, int]]
) -> Mapping[int, Sequence[Written]]:
    """What attempts say of tables, by their contexts.

    Args:
        connection: Of the handler.
        attempts: The context of each, and the versions of its first and its last event.

    Source: store/sql/read_written.sql
    """
    contexts, begins, ends = [list(each) for each in zip(*attempts, strict=True)] or [[], [], []]
    params = {"contexts": contexts, "begins": begins, "ends": ends}
    found: dict[int, list[Written]] = {}
    for context_id, table, rows, inputs in await _rows(connection, "read_written", params):
        found.setdefault(context_id, []).append(Written(table, rows, _names(inputs)))
    return found


async def read_columns(
    connection: Connection, tables: Sequence[tuple[str, str]]
) -> Mapping[tuple[str, str], Sequence[Column]]:
    """The columns of tables and views as they are now, by their schemas and names.

    Source: store/sql/read_columns.sql
    """
    params = {"schemas": [schema for schema, _ in tables], "names": [name for _, name in tables]}
    return {
        tables[place - 1]: [tuple(each) for each in columns or ()]
        for place, columns in await _rows(connection, "read_columns", params)
    }


def _names(inputs: object) -> list[str]:
    """The strings within arrays within an array, each once."""
    lists = inputs if is_list(inputs) else []
    found = (each for names in lists if is_list(names) for each in names)
    return list(dict.fromkeys(each for each in found if isinstance(each, str)))


async def _rows(
    connection: Connection, name: str, params: Mapping[str, Any]
) -> Sequence[tuple[Any, ...]]:
    async with own_search_path(connection):
        return await (await connection.execute(statement(name), params)).fetchall()
