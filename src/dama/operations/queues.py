"""Queues: pause them, let them continue, limit them, for all workers at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.domain.reserved import name_of
from dama.operations.acts import act
from dama.operations.who import person
from dama.store.errors import InvalidValueError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.app import App
    from dama.store.queue_rows import QueueRow, WorkerRow


async def all_of(app: App) -> list[QueueRow]:
    """The queues that have runs or settings."""
    return await app.store.queue.queues()


async def workers(app: App) -> list[WorkerRow]:
    """Who executes what is queued."""
    return await app.store.queue.workers()


async def without_worker(app: App, contexts: Sequence[int]) -> dict[int, str]:
    """Those of some contexts that no live worker would claim as things are; each with its task."""
    return await app.store.queue.without_worker(contexts)


async def pause(app: App, queue: str, by: Mapping[str, Any] | None = None) -> None:
    """Start nothing of a queue until it is resumed; what runs continues."""
    by = by or person()
    reason = f": {by['reason']}" if by.get("reason") else ""
    await app.store.queue.set_queue(
        queue,
        paused=True,
        by=f"{name_of(by)}{reason}",
        act=act("queue/paused", {"queue": queue}, by),
    )


async def resume(app: App, queue: str, by: Mapping[str, Any] | None = None) -> None:
    """Let a paused queue continue."""
    done = act("queue/resumed", {"queue": queue}, by)
    await app.store.queue.set_queue(queue, paused=False, act=done)
    app.store.hints.send()


async def limit(
    app: App,
    queue: str,
    *,
    concurrency: int | None = None,
    rate: float | None = None,
    by: Mapping[str, Any] | None = None,
) -> None:
    """Limit how much of a queue runs, on all workers together.

    Args:
        queue: Its name.
        concurrency: Runs at once; 0 for no limit, None to leave it as it is.
        rate: Starts a second; 0 for no limit, None to leave it as it is.
        by: Who does it, and why; by default the user of this process.

    Raises:
        InvalidValueError: Neither is given, or one is not a number to count with.
    """
    if concurrency is None and rate is None:
        raise InvalidValueError("Nothing to change.", "Give a concurrency, a rate or both.")
    limits = {"queue": queue, "concurrency": concurrency, "rate": rate}
    done = act("queue/limited", limits, by)
    await app.store.queue.set_queue(queue, concurrency=concurrency, rate=rate, act=done)
    app.store.hints.send()


async def placed(app: App) -> list[str]:
    """What each launcher has placed, in a line: how many, and what its engine says of them."""
    said: dict[str, list[str]] = {}
    totals: dict[str, int] = {}
    for each in await app.store.placements.counts():
        totals[each.launcher] = totals.get(each.launcher, 0) + each.runs
        reason = f": {each.reason}" if each.reason else ""
        said.setdefault(each.launcher, []).append(f"{each.runs} {each.state}{reason}")
    return [f"{name} has {totals[name]} ({'; '.join(said[name])})" for name in said]
