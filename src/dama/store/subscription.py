"""Durable subscriptions: each event of the log is handled once, in the order of its tree.

What a handler writes commits with the checkpoint, so a crash loses or doubles nothing. An event
that cannot be handled parks its own context: its later events wait, all others continue. The root
contexts are dealt into lanes; whoever handles a lane holds its row for one transaction, so any
number of processes share the lanes of a subscription and none waits for another.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import psycopg

from dama import clock
from dama.beside import beside
from dama.contained import contained
from dama.domain.errors import UnreadableEventError
from dama.domain.event import LoggedEvent, StoredEvent, error_payload
from dama.domain.exact import Undecoded
from dama.store.connecting import connect
from dama.store.errors import DatabaseUnreachableError, LanesError, NotNowError
from dama.store.items import as_json
from dama.store.log_page import page_of, query
from dama.store.session import begin_plainly, let_idle, lift_timeouts, own_search_path
from dama.store.statements import statement
from dama.store.translation import is_transient, translate

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dama.store.database import Database, Params, Row
    from dama.store.head import Head
    from dama.store.rows import LogFilter

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Handler = Callable[[Connection, LoggedEvent], Awaitable[object]]

BATCH = 100  # events that share a commit
LARGE_BATCH = 1000  # of those that are handled together
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
TRIES = 5  # of a transaction that others undo, before its event is held to be the reason


@dataclass(frozen=True)
class Together:
    """Handles many events at once; one by one only where that fails.

    Attributes:
        handle: Gets a connection and events in their order, those of several contexts.
        size: How many events it gets at most, which share a commit.
    """

    handle: Callable[[Connection, Sequence[LoggedEvent]], Awaitable[object]]
    size: int = LARGE_BATCH

    async def __call__(self, connection: Connection, event: LoggedEvent) -> None:
        """Handle one."""
        await self.handle(connection, [event])


class Subscription:
    """A durable subscription; made by `Log.subscription`.

    Attributes:
        name: Under which its checkpoint is kept.
    """

    def __init__(
        self,
        database: Database,
        head: Head,
        name: str,
        handler: Handler,
        filter_: LogFilter,
        after: int | None,
        lanes: int,
    ) -> None:
        self.name = name
        self._database = database
        self._head = head
        self._handler = handler
        self._filter = filter_
        self._after = after
        self._lanes = lanes

    async def run(self, until: Callable[[], Awaitable[bool]] | None = None) -> None:
        """Handle what there is and what comes, until it is cancelled.

        An outage of the database is waited for, however long it lasts.

        Args:
            until: Asked whenever nothing is left to do; true ends it.

        Raises:
            LanesError: It exists with another number of lanes.
            NotNowError: The handler says that what it needs is away; nothing is passed over.
        """
        await self._create()
        pause = FIRST_PAUSE
        while True:
            try:
                async with self._connected() as connection:
                    while True:
                        while await self._handle_batch(connection):
                            pause = FIRST_PAUSE
                        if await self._wait_for_work(until):
                            return
            except DatabaseUnreachableError:
                pass
            except psycopg.Error as error:
                if not is_transient(error):
                    raise translate(error) or error from error
            await clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def catch_up(self) -> None:
        """Handle what is committed now and not yet handled by anybody, then return.

        Raises:
            LanesError: It exists with another number of lanes.
            DatabaseUnreachableError: The database does not answer.
            NotNowError: The handler says that what it needs is away; nothing is passed over.
        """
        await self._create()
        await self._head.poll()
        try:
            async with self._connected() as connection:
                while await self._handle_batch(connection):
                    pass
        except psycopg.Error as error:
            raise translate(error) or error from error

    async def _create(self) -> None:
        if self._after is None:
            return
        params = {"name": self.name, "lanes": self._lanes, "after": self._after}
        ((lanes,),) = await self._database.rows("create_subscription", params)
        if lanes != self._lanes:
            raise LanesError(
                f"The subscription {self.name} has {lanes} lanes, not {self._lanes}.",
                f"Run it with lanes={lanes}, or begin another one under a new name.",
            )

    async def _wait_for_work(self, until: Callable[[], Awaitable[bool]] | None) -> bool:
        """Wait for something to handle; true when it is to end instead."""
        await self._head.next_poll()
        while self.name not in self._head.behind:
            if until is not None and await until():
                return True
            await self._head.next_poll()
        return False

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[Connection]:
        opened = await connect(
            self._database.conninfo,
            autocommit=True,
            client_encoding="UTF8",
            application_name=f"dama log {self.name}",
            prepare_threshold=self._database.prepare_threshold,
        )
        async with opened as connection:
            await begin_plainly(connection)  # the rest of the session is the handler's
            if not self._database.is_pooled:
                await let_idle(connection, is_pooled=False)
            yield connection

    async def _handle_batch(self, connection: Connection) -> bool:
        """Handle a batch of one lane in one transaction; False when no lane has or gives work."""
        for attempt in range(1, TRIES + 1):
            try:
                async with connection.transaction():
                    await lift_timeouts(connection)
                    work = Lane(connection, self.name, self._filter, self._handler)
                    return await work.handle(is_last=attempt == TRIES)
            except psycopg.Error as error:
                if connection.closed or not is_transient(error) or attempt == TRIES:
                    raise
            await clock.sleep(FIRST_PAUSE * attempt)
        raise AssertionError


class Lane:
    """The lane that one transaction handles."""

    def __init__(
        self, connection: Connection, name: str, filter_: LogFilter, handler: Handler
    ) -> None:
        self._connection = connection
        self._name = name
        self._filter = filter_
        self._handler = handler
        self._parked: set[int] = set()

    async def handle(self, *, is_last: bool) -> bool:
        """Take a lane and handle a batch; False when there is none to take."""
        async with own_search_path(self._connection):
            taken = await self._rows("take_lane", {})
            if not taken:
                return False
            ((lane, position, resumed),) = taken
            keys = {"subscription": self._name, "lane": lane}
            size = self._handler.size if isinstance(self._handler, Together) else BATCH
            params = query(position, self._filter, size) | keys
            rows = () if resumed else await self._rows("read_log", params)
        if resumed:
            await self._go_on(lane, position, is_last=is_last)
            return True
        page = await beside(rows, page_of, rows)
        if not await self._handle_together(page.events):
            for event in page.events:
                if event.context_id not in self._parked:
                    await self._handle_or_park(lane, event, is_last=is_last)
        async with own_search_path(self._connection):
            await self._rows("advance_lane", {"lane": lane, "position": page.position})
        return True

    async def _handle_together(self, events: Sequence[LoggedEvent]) -> bool:
        """Whether all were handled at once; if not, nothing of it was kept."""
        if not isinstance(self._handler, Together):
            return False
        try:
            async with self._connection.transaction():
                for event in events:
                    refuse_undecoded(event)
                with contained():
                    await self._handler.handle(self._connection, events)
        except NotNowError:
            raise
        except Exception as error:  # one by one, the events show whose fault it is
            if self._connection.closed or _is_transient(error):
                raise
            return False
        return True

    async def _go_on(self, lane: int, position: int, *, is_last: bool) -> None:
        """Handle what a resumed context missed, up to where its lane is."""
        async with own_search_path(self._connection):
            ((context_id, first),) = await self._rows("take_resumed", {"lane": lane})
            missed = query(first - 1, self._filter, BATCH, up_to=position)
            params = missed | {"context": context_id, "subscription": self._name, "lane": lane}
            rows = await self._rows("read_log", params)
        page = await beside(rows, page_of, rows)
        for event in page.events:
            if not await self._handle_or_park(lane, event, is_last=is_last):
                return
        key = {"context_id": context_id}
        async with own_search_path(self._connection):
            if page.position >= position:
                await self._rows("unpark_context", key)
            else:
                await self._rows("advance_parked", key | {"position": page.position + 1})

    async def _handle_or_park(self, lane: int, event: LoggedEvent, *, is_last: bool) -> bool:
        """Whether the event was handled. What a handler that failed has written is undone."""
        try:
            async with self._connection.transaction():
                refuse_undecoded(event)
                with contained():
                    await self._handler(self._connection, event)
        except NotNowError:
            raise
        except Exception as error:  # whatever it is: it must not stop the other contexts
            # Not the event's fault, unless it happens each time.
            if self._connection.closed or (not is_last and _is_transient(error)):
                raise
            failure = error
        else:
            return True
        self._parked.add(event.context_id)
        params = {
            "context_id": event.context_id,
            "lane": lane,
            "position": event.position,
            "error": as_json(error_payload(failure)),
        }
        async with own_search_path(self._connection):
            await self._rows("park_context", params)
        return False

    async def _rows(self, name: str, params: Params) -> Sequence[Row]:
        cursor = await self._connection.execute(statement(name), {"name": self._name, **params})
        return await cursor.fetchall() if cursor.description else []


def refuse_undecoded(event: StoredEvent) -> None:
    """Refuse an event whose payload or meta could not be read.

    Raises:
        UnreadableEventError: It is nested too deeply.
    """
    if isinstance(event.payload, Undecoded) or isinstance(cast("object", event.meta), Undecoded):
        raise UnreadableEventError(
            f"Event {event.event_id} ({event.type}) is nested too deeply to be read.",
            "`dama events` shows it; `dama log resume --skip` leaves it out.",
        )


def _is_transient(error: Exception) -> bool:
    return isinstance(error, psycopg.Error) and is_transient(error)
