"""Lineage: who wrote a table, from what, when, and whether what it was made from has changed since.

Steps say what they wrote: those of `task.copy`, taps and dbt, and any whose result has a `table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama.store.lineage import Write

if TYPE_CHECKING:
    from dama.app import App

PUBLIC = "public."
MOST = 1000
MOST_TABLES = 500  # of one answer


@dataclass(frozen=True)
class Source:
    """A table that others are made from.

    Attributes:
        table: Its name.
        written: Its latest write; None where no step says that it wrote it.
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
        writes: The latest ones, the latest first; empty where no step says that it wrote it.
        sources: The tables that the latest one read.
        is_fresh: Whether none of these was written since, nor what they are made from after them.
    """

    table: str
    writes: Sequence[Write]
    sources: Sequence[Source] = ()
    is_fresh: bool = True


async def read(app: App, table: str, *, most: int = 1) -> TableLineage:
    """Where a table comes from, as far back as steps say it.

    Args:
        app: What the process has.
        table: As a step says it; with `public.` or without.
        most: How many of its writes, at most 1,000.
    """
    found = await app.store.lineage.writes(names_of(table), min(most, MOST))
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


async def _behind(app: App, write: Write) -> dict[str, Write | None]:
    """The latest write of each table that one was made from, and so on."""
    known: dict[str, Write | None] = {}
    ahead = {_plain(name) for name in write.inputs}
    while ahead and len(known) < MOST_TABLES:
        known |= dict.fromkeys(ahead)
        names = [name for each in sorted(ahead) for name in names_of(each)]
        for found in await app.store.lineage.writes(names, 1):
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
