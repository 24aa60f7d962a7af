"""Lineage: who wrote a table, from what, when, and whether what it was made from has changed since.

Steps say what they wrote: those of `task.copy`, taps and dbt, and any whose result has a `table`.
Tasks declare it: what they have as `outputs` is written when they are done. A step that says
nothing of what it read has read what its task declares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dama.store.lineage import Write

if TYPE_CHECKING:
    from dama.app import App
    from dama.definitions.task import TaskDefinition

PUBLIC = "public."
MOST = 1000
MOST_TABLES = 500  # of one answer


@dataclass(frozen=True)
class Source:
    """A table that others are made from.

    Attributes:
        table: Its name.
        written: Its latest write; None where no write is recorded.
        is_newer: Whether it was written after what was made from it.
        sources: What it is made from itself; empty where it is shown elsewhere in the answer.
    """

    table: str
    written: Write | None
    is_newer: bool
    sources: Sequence[Source] = ()


@dataclass(frozen=True)
class TableLineage:
    """Where a table comes from.

    Attributes:
        table: Its name.
        writes: The latest ones, the latest first; empty where none is recorded.
        sources: The tables that the latest one read.
        is_fresh: Whether none of these was written since, nor what they are made from after them.
    """

    table: str
    writes: Sequence[Write]
    sources: Sequence[Source] = ()
    is_fresh: bool = True


async def read(app: App, table: str, *, most: int = 1) -> TableLineage:
    """Where a table comes from, as far back as steps say it and tasks declare it.

    Args:
        app: What the process has; tasks that its registry does not know declare nothing.
        table: As a step or a task says it; with `public.` or without.
        most: How many of its writes, at most 1,000.
    """
    found = await _writes(app, names_of(table), min(most, MOST))
    writes = sorted(found, key=lambda write: write.at, reverse=True)[:most]
    if not writes:
        return TableLineage(table, [])
    known = await _behind(app, writes[0])
    sources = _sources(writes[0], known, {_plain(table)})
    return TableLineage(writes[0].table, writes, sources, not any(map(_is_stale, sources)))


def names_of(table: str) -> list[str]:
    """The names by which steps may call a table."""
    plain = _plain(table)
    return [plain] if "." in plain else [plain, f"{PUBLIC}{plain}"]


def _plain(table: str) -> str:
    return table.removeprefix(PUBLIC)


async def _writes(app: App, names: Sequence[str], most: int) -> list[Write]:
    """The latest writes of tables, by what steps say and what tasks declare."""
    wanted, tasks = set(names), app.registry.tasks
    by_task = {
        name: [each for each in task.options.outputs if each in wanted]
        for task in tasks.values()
        if wanted.intersection(task.options.outputs)
        for name in task.names
    }
    said = [_with_declared(write, tasks) for write in await app.store.lineage.writes(names, most)]
    if not by_task:
        return said
    known = {(write.table, write.context_id) for write in said}
    declared = [
        Write(table, context_id, epoch, task, None, at)
        for task, context_id, epoch, at in await app.store.lineage.done([*by_task], most)
        for table in by_task[task]
        if (table, context_id) not in known
    ]
    return [*said, *(_with_declared(write, tasks) for write in declared)]


def _with_declared(write: Write, tasks: Mapping[str, TaskDefinition[Any]]) -> Write:
    """A write with what its task reads, where its step does not say what it read."""
    task = None if write.inputs or write.task is None else tasks.get(write.task)
    return write if task is None else replace(write, inputs=task.options.inputs)


async def _behind(app: App, write: Write) -> dict[str, Write | None]:
    """The latest write of each table that one was made from, and so on."""
    known: dict[str, Write | None] = {}
    ahead = {_plain(name) for name in write.inputs}
    while ahead and len(known) < MOST_TABLES:
        known |= dict.fromkeys(ahead)
        names = [name for each in sorted(ahead) for name in names_of(each)]
        for found in await _writes(app, names, 1):
            before = known[_plain(found.table)]
            if before is None or before.at < found.at:
                known[_plain(found.table)] = found
        inputs = (known[name] for name in ahead)
        ahead = {_plain(i) for each in inputs if each is not None for i in each.inputs} - {*known}
    return known


def _sources(write: Write, known: dict[str, Write | None], shown: set[str]) -> list[Source]:
    found: list[Source] = []
    for name in dict.fromkeys(map(_plain, write.inputs)):
        written = known.get(name)
        is_new = name not in shown
        shown.add(name)
        sources = _sources(written, known, shown) if written is not None and is_new else []
        is_newer = written is not None and written.at > write.at
        found.append(Source(name, written, is_newer, sources))
    return found


def _is_stale(source: Source) -> bool:
    return source.is_newer or any(map(_is_stale, source.sources))
