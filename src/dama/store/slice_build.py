"""A build of a slice table: the states of all contexts by one version of a slice.

The rows of a batch of events commit with the checkpoint, so whoever keeps a build may be killed at
any moment. Archived contexts are not in the log: they are folded first, while the subscription
keeps others from being archived. One with an event at which a reducer raises is parked, as in the
log: it continues when it was brought back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama import clock
from dama.beside import beside, off_loop
from dama.contained import contained
from dama.domain.errors import InvalidSliceError
from dama.domain.event import StoredEvent, error_payload
from dama.domain.exact import decode_stored, reader
from dama.store.items import as_json, encode_json
from dama.store.rows import LogFilter
from dama.store.statements import statement
from dama.store.states import text_of
from dama.store.subscription import Together, refuse_undecoded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    from dama.domain.slice import Slice
    from dama.store.database import Database
    from dama.store.log import Log
    from dama.store.subscription import Connection

ARCHIVED_AT_ONCE = 100
ARCHIVED_PAGE = 5000
PAUSE = 0.2

_read = reader(StoredEvent)


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
        known = {context_id: (version, text) async for context_id, version, text in cursor}
        rows = await beside(
            [*known.values(), *(e.payload for e in events)], self._folded, own, known
        )
        if rows:
            written = {"build": self.build, "rows": encode_json(rows)}
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
            outcomes = [await self._archived(each) for (each,) in found]
            written = {
                "build": self.build,
                "rows": encode_json([row for row, _ in outcomes if row]),
                "failed": encode_json([failed for _, failed in outcomes if failed]),
            }
            await self._database.rows("keep_archived", written)
            self._archived_after = found[-1][0] if found else None
            noted = {"build": self.build, "after": self._archived_after}
            await self._database.rows("note_slice_archived", noted)

    async def _archived(self, context_id: int) -> tuple[_Row | None, _Failed | None]:
        """The row of an archived context, if it has one, and the event that it waits at, if any."""
        state, latest, types = self._slice.initial, None, self._slice.types
        failure: tuple[StoredEvent, Exception] | None = None
        async for events in self._archived_pages(context_id):
            news = [each for each in events if types is None or each.type in types]
            state, last, failure = self._as_far_as_possible(news, state)
            latest = last or latest
            if failure:
                break
        row = None
        if latest is not None and state is not self._slice.initial:
            text = await off_loop(self._text, state)
            row = (context_id, latest.version, latest.event_id, text)
        if failure is None:
            return row, None
        event, error = failure
        return row, (context_id, event.event_id, as_json(error_payload(error)))

    def _as_far_as_possible(
        self, events: Sequence[StoredEvent], state: Any
    ) -> tuple[Any, StoredEvent | None, tuple[StoredEvent, Exception] | None]:
        """The state, the last event that is in it, and the one at which a reducer raised, and what.

        All at once; one by one only where that raises.
        """
        try:
            for event in events:
                refuse_undecoded(event)
            with contained():
                return self._slice.fold(events, state), events[-1] if events else None, None
        except Exception as error:  # noqa: BLE001 - whatever it is, other contexts continue
            if len(events) == 1:
                return state, None, (events[0], error)
        last = None
        for event in events:
            state, _, failure = self._as_far_as_possible([event], state)
            if failure:
                return state, last, failure
            last = event
        return state, last, None

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
_Failed = tuple[int, int, str]  # context, event, error
