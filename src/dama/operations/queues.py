"""Queues: pause them, let them continue, limit them, for all workers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.domain.reserved import name_of
from dama.operations.who import person
from dama.store.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.app import App
    from dama.store.queue_rows import QueueRow, WorkerRow


async def all_of(app: App) -> list[QueueRow]:
    """The queues that have runs or settings."""
    return await app.store.queue.queues()


async def workers(app: App) -> list[WorkerRow]:
    """Who executes what is queued."""
    return await app.store.queue.workers()


async def pause(app: App, queue: str, by: Mapping[str, Any] | None = None) -> None:
    """Start nothing of a queue until it is resumed; what runs continues."""
    await app.store.queue.set_queue(queue, paused=True, by=name_of(by or person()))


async def resume(app: App, queue: str) -> None:
    """Let a paused queue continue."""
    await app.store.queue.set_queue(queue, paused=False)
    await app.store.hints.send()


async def limit(
    app: App, queue: str, *, concurrency: int | None = None, rate: float | None = None
) -> None:
    """Limit how much of a queue runs, on all workers together.

    Args:
        queue: Its name.
        concurrency: Runs at once; 0 for no limit, None to leave it as it is.
        rate: Starts a second; 0 for no limit, None to leave it as it is.

    Raises:
        InvalidValueError: Neither is given, or one is not a number to count with.
    """
    if concurrency is None and rate is None:
        raise InvalidValueError("Nothing to change.", "Give a concurrency, a rate or both.")
    await app.store.queue.set_queue(queue, concurrency=concurrency, rate=rate)
    await app.store.hints.send()
