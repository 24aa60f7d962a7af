"""Slices as tables: made, kept, listed and dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from dama.domain.lifecycle import lifecycle
from dama.domain.slice import find_slice
from dama.operations.acts import act

if TYPE_CHECKING:
    from dama.app import App
    from dama.shapes import Json
    from dama.store.slice_build import SliceBuild
    from dama.store.slice_tables import SliceTable


@dataclass(frozen=True)
class SliceTables:
    """The slices that are kept as tables.

    Attributes:
        position: Of the last event of the log.
        tables: Each with its row and `behind`, the number of positions that it has yet to pass.
    """

    position: int
    tables: Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Dropped:
    """A slice that is no longer kept as a table.

    Attributes:
        slice: Its name.
        rows: How many rows were removed.
    """

    slice: str
    rows: int


async def begin(app: App, name: str, *, rebuild: bool = False) -> SliceBuild:
    """The build of a slice to work on; made unless there is one.

    Args:
        app: Whose events are folded.
        name: Of the slice.
        rebuild: Fold all again beside the table that is shown.

    Raises:
        UnknownSliceError: No module defines the slice.
        SliceTableError: The table is of another version of the slice, and `rebuild` is false.
    """
    slice_ = lifecycle if name == lifecycle.name else find_slice(name)
    await app.store.slice_tables.remove_left_over()
    return await app.store.slice_tables.begin(slice_, again=rebuild)


async def materialise(app: App, build: SliceBuild) -> SliceTable | None:
    """Fold all that is committed now and show it; None for a build that was dropped meanwhile."""
    await build.catch_up()
    await app.store.slice_tables.remove_left_over()
    found = await app.store.slice_tables.tables()
    return next((table for table in found if table.build == build.build), None)


async def tables(app: App) -> SliceTables:
    """The slices that are kept as tables, and how far each is behind the log."""
    last, rows = await app.store.log.position(), await app.store.slice_tables.tables()
    return SliceTables(
        last,
        [msgspec.to_builtins(row) | {"behind": max(last - row.position, 0)} for row in rows],
    )


async def drop(app: App, name: str, *, by: Mapping[str, Json] | None = None) -> Dropped:
    """Keep a slice no longer as a table; its rows are removed.

    Raises:
        UnknownSliceTableError: It is not kept as one.
    """
    done = act("slice/dropped", {"slice": name}, by)
    return Dropped(name, await app.store.slice_tables.drop(name, done))
