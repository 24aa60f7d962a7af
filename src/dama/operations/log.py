"""The log of all events: who reads it, how far they are, and what they could not handle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from dama.operations.acts import act
from dama.store.rows import LogFilter, ParkedRow

if TYPE_CHECKING:
    from dama.app import App
    from dama.domain.event import LoggedEvent
    from dama.shapes import Json


@dataclass(frozen=True)
class LogStatus:
    """How far the log is, and its durable subscriptions.

    Attributes:
        position: Of the last event.
        subscriptions: Each with its row and `behind`, the number of events that it has yet to see.
        parked: Contexts that wait because an event of theirs could not be handled.
    """

    position: int
    subscriptions: Sequence[dict[str, Any]]
    parked: Sequence[ParkedRow]


@dataclass(frozen=True)
class Resumed:
    """A parked context that continues.

    Attributes:
        subscription: The name of the subscription.
        context_id: The context.
        position: Of the event that could not be handled.
    """

    subscription: str
    context_id: int
    position: int


@dataclass(frozen=True)
class DroppedSubscription:
    """A subscription that is forgotten.

    Attributes:
        subscription: Its name.
        position: Up to which it had handled all.
        parked: How many contexts it had parked.
    """

    subscription: str
    position: int
    parked: int


async def status(app: App) -> LogStatus:
    """The last position, how far each subscription is behind, and what is parked."""
    log = app.store.log
    last, rows = await log.position(), await log.subscriptions()
    subscriptions = [
        msgspec.to_builtins(row) | {"behind": max(last - row.position, 0)} for row in rows
    ]
    return LogStatus(last, subscriptions, await log.parked())


async def position(app: App) -> int:
    """Of the last event."""
    return await app.store.log.position()


async def window(app: App, after: int, limit: int) -> Sequence[LoggedEvent]:
    """Events behind a position, in the order of the log."""
    return (await app.store.log.read(after, limit=limit)).events


async def look(app: App, after: int, root: int | None = None) -> tuple[int, bool]:
    """Wait for an event behind a position, and look whether one of a tree came.

    Args:
        app: Where the log is.
        after: How far was looked before.
        root: Of the tree; None for any event.

    Returns:
        The position that was looked to, from which to look again, and whether something came.
    """
    source = app.store.log
    await source.wait(after + 1)
    if root is not None:
        page = await source.read(after, LogFilter(root=root), limit=1)
        if not page.events:
            return max(page.position, after), False
    return await source.position(), True


async def resume(
    app: App,
    subscription: str,
    context_id: int,
    *,
    skip: bool = False,
    by: Mapping[str, Json] | None = None,
) -> Resumed:
    """Let a parked context continue, from the event that failed or after it.

    Raises:
        NotParkedError: The subscription has not parked the context.
        ArchivedError: The context is archived: its events are not in the log.
    """
    parked = {"subscription": subscription, "context_id": context_id, "skip": skip}
    done = act("subscription/resumed", parked, by)
    position = await app.store.log.resume(subscription, context_id, skip=skip, act=done)
    return Resumed(subscription, context_id, position)


async def drop(
    app: App, subscription: str, *, by: Mapping[str, Json] | None = None
) -> DroppedSubscription:
    """Forget a durable subscription that nobody reads any more; the events stay.

    Raises:
        UnknownSubscriptionError: There is no such subscription.
        SubscriptionInUseError: Its program runs, or it keeps the table of a slice.
    """
    done = act("subscription/dropped", {"subscription": subscription}, by)
    position, parked = await app.store.log.drop(subscription, done)
    return DroppedSubscription(subscription, position, parked)
