"""The log: all events of a database in one order without gaps, to read, to follow, to subscribe to.

An event has its position within moments of its commit, whatever transactions are open elsewhere,
and keeps it through dump and restore. Positions are given by `functions/sequence_log.sql`, which
whoever waits here calls; `head` waits, `subscription` remembers how far a reader came.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dama import clock
from dama.beside import beside
from dama.domain.exact import decode_stored
from dama.shapes import is_dict
from dama.store.acts import kept
from dama.store.errors import (
    ArchivedError,
    NotParkedError,
    SubscriptionInUseError,
    UnknownSubscriptionError,
)
from dama.store.head import FIRST_PAUSE, LONGEST_PAUSE, Head
from dama.store.items import check_name
from dama.store.log_page import page_of, query
from dama.store.rows import LogFilter, LogPage, ParkedRow, SubscriptionRow
from dama.store.subscription import Handler, Subscription, Together

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from dama.domain.event import Event, LoggedEvent
    from dama.store.database import Database

ALL = LogFilter()
PAGE = 1000
HINTS_IN_USE = {
    "read": "End the programs that run it first.",
    "slice": "It keeps the table of a slice: `dama slice drop` ends that.",
}


class Log:
    """The log of one database.

    Args:
        database: Where it is.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._head = Head(database)

    async def position(self) -> int:
        """The position of the newest committed event; 0 when there is none."""
        await self._head.poll()
        return self._head.position

    async def read(
        self,
        after: int = 0,
        filter: LogFilter = ALL,
        *,
        limit: int = PAGE,
    ) -> LogPage:
        """Read a piece of the log, as far as it was sequenced; `position` sequences.

        Args:
            after: A position; 0 for the beginning.
            filter: Which events.
            limit: At most this many.

        Returns:
            The events, perhaps none, and the position to read on from. At the end of the log it is
            that of the newest event, even if the filter does not let that through.

        Source: store/functions/read_log.sql
        """
        params = {"subscription": None, "lane": None}
        rows = await self._database.rows("read_log", params | query(after, filter, limit))
        return await beside(rows, page_of, rows)

    async def subscribe(
        self,
        after: int = 0,
        filter: LogFilter = ALL,
    ) -> AsyncGenerator[LoggedEvent]:
        """All events after a position, each once, in order; then those to come, as they come.

        Raises:
            DatabaseUnreachableError: The database does not answer; begin again after the last one.
        """
        await self._head.poll()
        while True:
            page = await self.read(after, filter)
            for event in page.events:
                yield event
            after = max(after, page.position)
            await self._head.beyond(after)

    def subscription(
        self,
        name: str,
        handler: Handler | Together,
        *,
        filter: LogFilter = ALL,
        after: int | None = 0,
        lanes: int = 1,
    ) -> Subscription:
        """A durable subscription: each event is handled once, and its effects are kept once.

        Any number of processes may run it: they share its lanes.

        Args:
            name: Under which the checkpoint is kept.
            handler: Gets a connection and an event, or many `Together`. What it writes there is
                kept or lost together with the checkpoint; it neither commits nor keeps the
                connection.
            filter: Which events. May change between two runs; what was passed over stays so.
            after: Where it begins, when it is new; None for one that is there already, and ends
                for good when somebody removes it.
            lanes: Into how many its root contexts are dealt, when it is new: so many may be
                handled at the same time. 1 keeps the order of the log.

        Raises:
            InvalidValueError: The name cannot be kept.
        """
        check_name(name, "a subscription")
        return Subscription(self._database, self._head, name, handler, filter, after, lanes)

    async def position_of(self, event_id: int) -> int | None:
        """The position of a committed event; None when there is no such event.

        Another process may be about to place it: then this waits for that.
        """
        pause = FIRST_PAUSE
        deadline = clock.monotonic() + LONGEST_PAUSE
        while True:
            await self._head.poll()
            for position in await self._database.column("find_position", {"event_id": event_id}):
                return position
            if clock.monotonic() > deadline:
                return None
            await clock.sleep(pause)

    async def wait(self, position: int, subscription: str | None = None) -> None:
        """Wait until the log has a position, or until a durable subscription has handled it.

        With `position_of` of an event that was just appended: read what you have written, in what
        a subscription makes of it. `asyncio.timeout` sets an end to it.

        Args:
            position: All events up to it.
            subscription: The name of one. A context that it parked counts as handled.

        Raises:
            UnknownSubscriptionError: There is no such subscription.
        """
        pause = FIRST_PAUSE
        while await self._reached(subscription) < position:
            await clock.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _reached(self, subscription: str | None) -> int:
        if subscription is None:
            return await self.position()
        for row in await self.subscriptions():
            if row.name == subscription:
                return row.position
        raise _unknown(subscription)

    async def subscriptions(self) -> list[SubscriptionRow]:
        """The durable subscriptions and how far they are."""
        return [SubscriptionRow(*row) for row in await self._database.rows("list_subscriptions")]

    async def parked(self, limit: int = 100) -> list[ParkedRow]:
        """Contexts that wait because an event of theirs could not be handled, newest first."""
        rows = await self._database.rows("list_parked", {"limit": limit})
        return [
            ParkedRow(name, context_id, position, _error(text), parked_at, resumed_at)
            for name, context_id, position, text, parked_at, resumed_at in rows
        ]

    async def drop(self, subscription: str, act: Event | None = None) -> tuple[int, int]:
        """Forget a durable subscription: how far it is, and what it has parked.

        Args:
            subscription: Its name.
            act: What is kept of it.

        Returns:
            The position up to which it had handled all, and how many contexts it had parked.

        Raises:
            UnknownSubscriptionError: There is no such subscription.
            SubscriptionInUseError: Its program runs, or it keeps the table of a slice.

        Source: store/functions/subscriptions.sql
        """
        params = {"name": subscription, "act": kept(act)}
        ((said, position, parked, _),) = await self._database.rows(
            "drop_subscription", params, again=False
        )
        if said == "unknown":
            raise _unknown(subscription)
        if said != "dropped":
            raise SubscriptionInUseError(
                f"The subscription {subscription!r} is in use.", HINTS_IN_USE[said]
            )
        return position, parked

    async def resume(
        self, subscription: str, context_id: int, *, skip: bool = False, act: Event | None = None
    ) -> int:
        """Let a parked context continue; whoever runs the subscription handles its events in order.

        Args:
            subscription: Its name.
            context_id: The context.
            skip: Leave out the event that failed.
            act: What is kept of it.

        Returns:
            The position of the event that failed.

        Raises:
            NotParkedError: The subscription has not parked the context.
            ArchivedError: It is archived: its events are not in the log.
        """
        if await self._database.rows("is_archived", {"context_id": context_id}):
            raise ArchivedError(
                f"Context {context_id} is archived: its events are not in the log.",
                f"Bring it back with `dama archive restore {context_id}`, then resume it.",
            )
        params = {"name": subscription, "context_id": context_id, "skip": skip, "act": kept(act)}
        for resumed in await self._database.column("resume_parked", params):
            return resumed
        raise NotParkedError(
            f"The subscription {subscription!r} has not parked context {context_id}.",
            "`dama log status` lists what is parked.",
        )


def _unknown(subscription: str) -> UnknownSubscriptionError:
    return UnknownSubscriptionError(
        f"There is no subscription {subscription!r}.", "`dama log status` lists them."
    )


def _error(text: str) -> Mapping[str, object]:
    found = decode_stored(text)
    return found if is_dict(found) else {"message": text}
