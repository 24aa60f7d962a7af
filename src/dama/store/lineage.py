"""Lineage: which steps wrote a table, as their events say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from dama.domain.lifecycle import step_key
from dama.shapes import is_list

if TYPE_CHECKING:
    from dama.store.database import Database


@dataclass(frozen=True)
class Write:
    """A step that wrote a table.

    Attributes:
        table: Its name, as the step says it.
        context_id: Of the run.
        epoch: Of the run.
        task: The full name.
        step: Its key; None where the task declares the table, and no step of the run says more.
        at: When it was done.
        rows: How many rows it wrote; None where that is not known.
        inputs: The tables that it read, as far as it says so.
    """

    table: str
    context_id: int
    epoch: int | None
    task: str | None
    step: str | None
    at: datetime
    rows: int | None = None
    inputs: Sequence[str] = field(default_factory=list[str])


class Lineage:
    """The lineage of the tables of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def writes(self, tables: Sequence[str], most: int) -> list[Write]:
        """The latest writes of each table, the latest first.

        Args:
            tables: Their names, as steps say them.
            most: How many of each.

        Source: store/sql/read_writes.sql
        """
        rows = await self._database.rows("read_writes", {"tables": [*tables], "most": most})
        return [
            Write(
                table, context_id, epoch, task, _key(type_), at, rows_,
                [each for each in inputs if isinstance(each, str)] if is_list(inputs) else [],
            )
            for table, context_id, epoch, task, type_, at, rows_, inputs in rows
        ]  # fmt: skip

    async def done(self, tasks: Sequence[str], most: int) -> list[tuple[str, int, int, datetime]]:
        """The latest contexts of tasks that are done: task, id, epoch, and when.

        Args:
            tasks: Their full names.
            most: How many of each.

        Source: store/sql/read_done_of_tasks.sql
        """
        rows = await self._database.rows("read_done_of_tasks", {"tasks": [*tasks], "most": most})
        return [(task, context_id, epoch, at) for task, context_id, epoch, at in rows]


def _key(type_: str) -> str:
    found = step_key(type_)
    return type_ if found is None else found[0]
