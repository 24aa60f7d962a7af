"""Slices as tables: the state of each context in a row, kept by a durable subscription.

The rows of a batch of events commit with the checkpoint, so whoever keeps a table may be killed at
any moment. A build holds the rows of one version of a slice. A new one is made beside the one that
is shown, and takes its place in one transaction when it has caught up. Archived contexts are not in
the log: they are folded first, while the subscription keeps others from being archived.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from dama import clock
from dama.beside import beside, off_loop
from dama.contained import contained
from dama.domain.errors import InvalidSliceError
from dama.domain.event import StoredEvent
from dama.domain.exact import decode_stored, reader
from dama.store.acts import kept
from dama.store.errors import SliceTableError, UnknownSliceTableError
from dama.store.rows import LogFilter
from dama.store.statements import statement
from dama.store.states import text_of
from dama.store.subscription import Together

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from dama.domain.event import Event
    from dama.domain.slice import Slice
    from dama.store.database import Database
    from dama.store.log import Log
    from dama.store.subscription import Connection

ARCHIVED_AT_ONCE = 100
ARCHIVED_PAGE = 5000
REMOVED_AT_ONCE = 10_000
PAUSE = 0.2

_read = reader(StoredEvent)


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
                f"The slice {name!r} is not kept as a table.", "`dama slice list` lists those."
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


class SliceBuild:
    """One build of a slice, which any number of processes may work on.

    Attributes:
        build: Its number.
        subscription: The name of its subscription.
    """

    def __init__(
        self,
        database: Database,
        log: Log,
        slice_: Slice[Any],
        build: int,
        subscription: str,
        archived_after: int | None,
    ) -> None:
        self.build = build
        self.subscription = subscription
        self._database = database
        self._log = log
        self._slice = slice_
        self._archived_after = archived_after
        types = None if slice_.types is None else tuple(sorted(slice_.types))
        self._reader = log.subscription(
            subscription, Together(self._fold), filter=LogFilter(types=types), after=None
        )

    async def catch_up(self) -> None:
        """Fold all that is committed now, then show it.

        Raises:
            DatabaseUnreachableError: The database does not answer.
        """
        await self._fold_archived()
        position = await self._log.position()
        await self._reader.catch_up()
        while await self.is_wanted() and await self._position() < position:
            await clock.sleep(PAUSE)  # another process has the lane, and may die with it
            await self._reader.catch_up()
        await self._database.rows("show_slice", {"build": self.build})

    async def follow(self) -> None:
        """Fold what there is and what comes, until it is cancelled or nobody wants the build."""
        await self._reader.run(until=self._is_unwanted)

    async def is_wanted(self) -> bool:
        """Whether it was neither dropped nor replaced by another."""
        return bool(await self._database.rows("find_slice_build", {"build": self.build}))

    async def _is_unwanted(self) -> bool:
        return not await self.is_wanted()

    async def _position(self) -> int:
        for row in await self._log.subscriptions():
            if row.name == self.subscription:
                return row.position
        return 0

    async def _fold(self, connection: Connection, events: Sequence[StoredEvent]) -> None:
        """Fold events of any contexts; the transaction has the lane of the build."""
        own: dict[int, list[StoredEvent]] = {}
        for event in events:
            own.setdefault(event.context_id, []).append(event)
        params: Mapping[str, Any] = {"build": self.build, "context_ids": list(own)}
        cursor = await connection.execute(statement("read_slice_rows"), params)
        known = {row[0]: (row[1], row[2]) for row in await cursor.fetchall()}
        rows = await beside(
            [*known.values(), *(e.payload for e in events)], self._folded, own, known
        )
        if rows:
            written = {"build": self.build, "rows": _as_json(rows)}
            await connection.execute(statement("write_slice_rows"), written)

    def _folded(
        self, own: Mapping[int, Sequence[StoredEvent]], known: Mapping[int, tuple[int, str]]
    ) -> list[_Row]:
        rows: list[_Row] = []
        for context_id, events in own.items():
            version, text = known.get(context_id, (0, None))
            news = [event for event in events if event.version > version]
            state = self._decoded(text)
            with contained():
                after = self._slice.fold(news, state)
            # The initial state needs no row: who has none is in it.
            if news and not (text is None and after is self._slice.initial):
                rows.append((context_id, news[-1].version, news[-1].event_id, self._text(after)))
        return rows

    def _decoded(self, text: str | None) -> Any:
        initial = self._slice.initial
        return initial if text is None else self._slice.decode_state(decode_stored(text))

    def _text(self, state: Any) -> str:
        text = text_of(self._slice, state)
        if text is None:
            raise InvalidSliceError(
                f"A state of the slice {self._slice.name} cannot be kept: JSON does not give it "
                "back as it is."
            )
        return text

    async def _fold_archived(self) -> None:
        while self._archived_after is not None:
            params = {"after": self._archived_after, "limit": ARCHIVED_AT_ONCE}
            found = await self._database.rows("list_archived_contexts", params)
            rows = [row for (each,) in found async for row in self._archived(each)]
            if rows:
                written = {"build": self.build, "rows": _as_json(rows)}
                await self._database.rows("write_slice_rows", written)
            self._archived_after = found[-1][0] if found else None
            noted = {"build": self.build, "after": self._archived_after}
            await self._database.rows("note_slice_archived", noted)

    async def _archived(self, context_id: int) -> AsyncGenerator[_Row]:
        """The row of an archived context, if it has one."""
        state, latest, types = self._slice.initial, None, self._slice.types
        async for events in self._archived_pages(context_id):
            news = [each for each in events if types is None or each.type in types]
            with contained():
                state = self._slice.fold(news, state)
            latest = news[-1] if news else latest
        if latest is not None and state is not self._slice.initial:
            text = await off_loop(self._text, state)
            yield context_id, latest.version, latest.event_id, text

    async def _archived_pages(self, context_id: int) -> AsyncGenerator[list[StoredEvent]]:
        after = 0
        while True:
            params = {"context_id": context_id, "after_version": after, "limit": ARCHIVED_PAGE}
            found = await self._database.rows("read_archived_events", params)
            events = [_read(text) for (text,) in found]
            if events:
                yield events
            if len(events) < ARCHIVED_PAGE:
                return
            after = events[-1].version


_Row = tuple[int, int, int, str]


def _as_json(rows: Sequence[_Row]) -> str:
    return msgspec.json.encode(rows).decode()
