"""The archive: closed trees leave the tables that are worked with, come back, or go for good."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama.store.archive import MOST_COUNTED, Moved

if TYPE_CHECKING:
    from collections.abc import AsyncIterable
    from datetime import timedelta

    from dama.app import App


@dataclass(frozen=True)
class Closed:
    """What would be archived.

    Attributes:
        trees: How many, as far as they are counted.
        or_more: There may be more of them.
    """

    trees: int
    or_more: bool


async def count(app: App, age: timedelta, *, failed: bool = False) -> Closed:
    """How many trees `add` would move."""
    trees = await app.store.archive.closed(age, failed=failed)
    return Closed(trees, or_more=trees >= MOST_COUNTED)


async def add(app: App, age: timedelta, *, failed: bool = False) -> Moved:
    """Archive the trees in which nothing has happened for longer than an age.

    Args:
        app: Where they are.
        age: Since the last event of the tree.
        failed: Include trees that failed and could be resumed.
    """
    return await _sum(app.store.archive.add(age, failed=failed))


async def restore(app: App, context_id: int) -> int:
    """Bring back the tree of a context; returns the number of its contexts.

    Raises:
        UnknownContextError: It is not archived.
        IdempotencyConflictError: An idempotency key of it belongs to another context now.
    """
    return await app.store.archive.restore(context_id)


async def forget(app: App, age: timedelta) -> Moved:
    """Remove for good what has been archived for longer than an age."""
    return await _sum(app.store.archive.forget(age))


async def _sum(parts: AsyncIterable[Moved]) -> Moved:
    contexts = events = 0
    async for part in parts:
        contexts += part.contexts
        events += part.events
    return Moved(contexts, events)
