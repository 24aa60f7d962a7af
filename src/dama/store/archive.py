"""The archive: closed trees leave the tables that are worked with, whole, and come back whole.

A tree is moved in one transaction, and few at a time, so whatever is cut off in the middle leaves
each of them in one place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama.store.errors import UnknownContextError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import timedelta

    from dama.store.database import Database

TREES_AT_ONCE = 100
MOST_COUNTED = 10_000


@dataclass(frozen=True)
class Moved:
    """What was moved or removed.

    Attributes:
        contexts: How many contexts.
        events: How many events.
    """

    contexts: int
    events: int


class Archive:
    """The archive of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def closed(self, age: timedelta, *, failed: bool = False) -> int:
        """How many trees `add` would move; counted in windows, up to `MOST_COUNTED` or more."""
        await self._database.rows("poll_log")
        closed, after = 0, 0
        while after is not None and closed < MOST_COUNTED:
            params = {"age": age, "failed": failed, "after": after}
            ((count, after),) = await self._database.rows("count_closed_trees", params)
            closed += count
        return closed

    async def add(self, age: timedelta, *, failed: bool = False) -> AsyncGenerator[Moved]:
        """Move the trees that have been closed for longer than an age, some at a time.

        What has no position in the log yet stays, and what a durable subscription has not handled.
        Idempotency keys of archived contexts are free again.

        Args:
            age: Since the last event of the tree.
            failed: Also trees whose root has failed, which could still be resumed.
        """
        after = 0
        await self._database.rows("poll_log")
        while True:
            params = {"age": age, "failed": failed, "after": after, "demand": TREES_AT_ONCE}
            rows = await self._database.rows("archive_trees", params, again=False)
            ((contexts, events, after),) = rows
            if after is None:
                return
            yield Moved(contexts, events)

    async def restore(self, context_id: int) -> int:
        """Bring the tree of a context back; returns the number of its contexts.

        Raises:
            UnknownContextError: It is not archived.
            IdempotencyConflictError: An idempotency key of it belongs to another context now.
        """
        rows = await self._database.rows("restore_tree", {"context_id": context_id}, again=False)
        ((count,),) = rows
        if not count:
            raise UnknownContextError(
                f"Context {context_id} is not archived.", "`dama ls` lists the others."
            )
        return count

    async def forget(self, age: timedelta) -> AsyncGenerator[Moved]:
        """Remove for good what has been in the archive for longer than an age, some at a time."""
        params = {"age": age, "demand": TREES_AT_ONCE}
        while True:
            ((contexts, events),) = await self._database.rows("forget_trees", params, again=False)
            if not contexts:
                return
            yield Moved(contexts, events)

    async def archived(self, age: timedelta, *, after: int = 0) -> list[int]:
        """The roots of some trees that were archived for longer than an age, behind a context."""
        params = {"age": age, "after": after, "limit": TREES_AT_ONCE}
        return await self._database.column("list_archived", params)

    async def forget_exported(self, root: int, contexts: int, events: int) -> bool:
        """Remove an archived tree that stands in a file; false where it is another one now.

        Args:
            root: Of the tree.
            contexts: How many the file has.
            events: How many the file has.
        """
        params = {"root": root, "contexts": contexts, "events": events}
        ((removed,),) = await self._database.rows("forget_exported", params, again=False)
        return removed
