"""Slices as tables: the state of each context in a row, kept by a durable subscription.

A build holds the rows of one version of a slice (`dama.store.slice_build`). A new one is made
beside the one that is shown, and takes its place in one transaction when it has caught up.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dama.domain.errors import InvalidSliceError
from dama.store.acts import kept
from dama.store.errors import SliceTableError, UnknownSliceTableError
from dama.store.slice_build import SliceBuild
from dama.store.states import text_of

if TYPE_CHECKING:
    from dama.domain.event import Event
    from dama.domain.slice import Slice
    from dama.store.database import Database
    from dama.store.log import Log

REMOVED_AT_ONCE = 10_000


@dataclass(frozen=True)
class SliceTable:
    """A slice that is kept as a table.

    Attributes:
        slice: Its name.
        version: Of the slice, by which it was folded.
        state: `shown` in slice_states, or `building`: it will take the place of what is shown.
        build: The number of the build.
        rows: How many contexts it has; 10,000 stand for so many or more.
        subscription: The name of the subscription that keeps it.
        position: All events up to it are folded, or parked.
        parked: How many contexts wait for a person; `dama log status` has them.
        modified_at: When it last moved.
    """

    slice: str
    version: int
    state: str
    build: int
    rows: int
    subscription: str
    position: int
    parked: int
    modified_at: datetime


class SliceTables:
    """The slices of one database that are kept as tables."""

    def __init__(self, database: Database, log: Log) -> None:
        self._database = database
        self._log = log

    async def begin(self, slice_: Slice[Any], *, again: bool = False) -> SliceBuild:
        """The build of a slice to work on, begun unless there is one.

        Args:
            slice_: Which.
            again: Begin a new build, unless one of this version is on its way.

        Raises:
            InvalidSliceError: JSON does not give its states back as they are.
            SliceTableError: The table is of another version of the slice.
        """
        if text_of(slice_, slice_.initial) is None:
            raise InvalidSliceError(
                f"States of the slice {slice_.name} cannot be kept: JSON does not give the initial "
                "one back as it is. Give the slice a state_type or a codec."
            )
        params = {"slice": slice_.name, "version": slice_.version, "again": again}
        # Sent again after an outage it finds the build that it has made.
        rows = await self._database.rows("begin_slice", params)
        if not rows:
            raise SliceTableError(
                f"The table of the slice {slice_.name} is not of version {slice_.version}.",
                f"Fold it again: dama slice materialise {slice_.name} --rebuild",
            )
        return SliceBuild(self._database, self._log, slice_, *rows[0])

    async def tables(self) -> list[SliceTable]:
        """All of them; a slice that is being built again has two."""
        rows = await self._database.rows("list_slice_builds")
        return [SliceTable(*row) for row in rows]

    async def drop(self, name: str, act: Event | None = None) -> int:
        """Keep a slice no longer, and remove its rows; returns how many.

        Args:
            name: Of the slice; its code may be gone.
            act: What is kept of it.

        Raises:
            UnknownSliceTableError: It is not kept.
        """
        params = {"slice": name, "act": kept(act)}
        if not await self._database.rows("drop_slice", params, again=False):
            raise UnknownSliceTableError(
                f"The slice {name!r} is not kept as a table.", "`dama slice ls` lists those."
            )
        return await self.remove_left_over()

    async def remove_left_over(self) -> int:
        """Remove the rows of builds that nobody keeps, some at a time; returns how many."""
        removed, count = 0, REMOVED_AT_ONCE
        while count == REMOVED_AT_ONCE:
            rows = await self._database.rows("remove_slice_rows", {"demand": REMOVED_AT_ONCE})
            ((count,),) = rows
            removed += count
        return removed
