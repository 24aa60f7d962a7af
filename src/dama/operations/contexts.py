"""Contexts: end them, let them continue, follow and read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dama import clock
from dama.domain.event import ABSENT, StoredEvent, parse_event
from dama.domain.lifecycle import lifecycle
from dama.domain.own_code import named
from dama.domain.reserved import refuse_reserved, without_who
from dama.domain.slice import Slice, find_slice
from dama.operations import questions, trends
from dama.operations.who import person
from dama.shapes import Json, is_object
from dama.store import ContextRow, Outcome
from dama.store.bundles import ImportedFrom, origin_of
from dama.store.errors import LifeCycleError, UnknownContextError
from dama.store.forks import Origin
from dama.store.windows import TREE_PAGE, Place
from dama.upkeep.why import Reason, reasons

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dama.app import App
    from dama.store.windows import ChildPage, ContextFilter

FOLLOW_SECONDS = 0.1


@dataclass(frozen=True)
class ContextReport(ContextRow):
    """A context with what came of it.

    Attributes:
        result: What its task returned; None when it returned nothing or is not done.
        error: What it failed with.
        why: Why its run is not running; empty when it is, or when there is none.
        lifecycle: The state of its life cycle: params, attempts, steps, progress.
        forked_from: Where its first events come from; None for one that is no fork.
        forks: The latest contexts that were forked from it.
        imported_from: The database that it ran in, and its id there; None for one that ran here.
        place: Its queue, its epoch, and the worker that holds it; None when it has no run.
        usual_seconds: What half of the latest runs of the task that were done took at most, with
            what they waited; None when there are none.
        checks: What its checks found, and those of the 10 runs of the task before it.
    """

    result: object = None
    error: Mapping[str, Any] | None = None
    why: tuple[Reason, ...] = ()
    lifecycle: object = None
    forked_from: Origin | None = None
    forks: Sequence[int] = ()
    imported_from: ImportedFrom | None = None
    place: Place | None = None
    usual_seconds: float | None = None
    checks: Sequence[trends.CheckTrend] = ()


async def read(app: App, context_id: int) -> ContextReport:
    """A context with what came of it.

    Raises:
        UnknownContextError: There is none.
    """
    context = await app.store.context(context_id)
    ended = await outcome(app, context_id)
    is_idle = context.run is not None and context.run.state != "running"
    origin, forks = await app.store.forks.of(context_id)
    return ContextReport(
        **vars(context),
        result=None if ended.result is ABSENT else ended.result,
        error=ended.error,
        why=tuple(await why(app, context_id)) if is_idle else (),
        lifecycle=await state(app, context_id, lifecycle.name),
        forked_from=origin,
        forks=forks,
        imported_from=await origin_of(app.store.database, context_id),
        place=await place(app, context),
        usual_seconds=await trends.usual_seconds(app, context),
        checks=await trends.checks(app, context),
    )


async def row_of(app: App, context_id: int) -> ContextRow:
    """A context without what came of it: one look.

    Raises:
        UnknownContextError: There is none.
    """
    return await app.store.context(context_id)


async def lineage(app: App, context_id: int) -> tuple[Origin | None, Sequence[int]]:
    """Where a context was forked from, and the latest contexts that were forked from it."""
    return await app.store.forks.of(context_id)


async def place(app: App, context: ContextRow) -> Place | None:
    """Where the run of a context is, and who holds it; None when it has none."""
    return None if context.run is None else await app.store.windows.place(context.context_id)


@dataclass(frozen=True)
class ListedContext(ContextRow):
    """A context of a listing.

    Attributes:
        no_worker: Its run is queued, and no live worker would claim it.
    """

    no_worker: bool = False


@dataclass(frozen=True)
class ContextList:
    """Contexts, newest first.

    Attributes:
        contexts: Maybe fewer than were asked for, or none, with more to read on to.
        next_before: Reads on; None where nothing is left.
    """

    contexts: Sequence[ListedContext]
    next_before: int | None


@dataclass(frozen=True)
class EventList:
    """Events of a context, in their order.

    Attributes:
        events: As they are stored.
        next_after_version: Reads on; None where nothing is left.
    """

    events: Sequence[StoredEvent]
    next_after_version: int | None


async def all_of(
    app: App, chosen: ContextFilter, *, before: int | None = None, limit: int = 50
) -> ContextList:
    """List contexts, newest first; at most 20,000 are looked at."""
    page = await app.store.windows.contexts(chosen, before=before, limit=limit)
    queued = [c.context_id for c in page.contexts if c.run is not None and c.run.state == "queued"]
    without = await app.store.queue.without_worker(queued)
    listed = [ListedContext(**vars(c), no_worker=c.context_id in without) for c in page.contexts]
    return ContextList(listed, page.next_before)


async def tree(
    app: App, context_id: int, *, after: int = 0, limit: int | None = None
) -> list[ContextRow]:
    """The tree that a context is in, depth first: all of it, or the oldest `limit` contexts.

    Raises:
        UnknownContextError: There is no such context.
    """
    return await app.store.tree(context_id, after=after, limit=limit)


async def children(
    app: App, context_id: int, *, status: str | None = None, after: int = 0, limit: int = 50
) -> ChildPage:
    """What a context has started; with status ERROR, the failed first."""
    return await app.store.windows.children(context_id, status=status, after=after, limit=limit)


async def rolled_up(app: App, context_id: int) -> Mapping[str, Mapping[str, int]]:
    """How many subtasks of each task a context started, by status; of the first 20,000."""
    found: dict[str, dict[str, int]] = {}
    for task, status, count in await app.store.windows.child_counts(context_id):
        found.setdefault(task or "-", {})[(status or "OPEN").lower()] = count
    return found


async def events(
    app: App,
    context_id: int,
    *,
    after_version: int = 0,
    up_to_event: int | None = None,
    limit: int = 1000,
) -> EventList:
    """Events of a context, in their order.

    Raises:
        UnknownContextError: There is no such context.
    """
    await app.store.context(context_id)
    found = await app.store.events(
        context_id, after_version=after_version, up_to_event=up_to_event, limit=limit
    )
    return EventList(found, found[-1].version if len(found) == limit else None)


async def tree_events(app: App, context_id: int) -> AsyncGenerator[StoredEvent]:
    """All events of the tree that a context is in, in the order of their ids.

    Raises:
        UnknownContextError: There is no such context.
    """
    root = (await app.store.context(context_id)).root_context_id
    async for event in follow(app, root, tree=True, wait=False):
        yield event


async def dispatch(
    app: App,
    context_id: int,
    event: Mapping[str, Any],
    *,
    expected: int | None = None,
    by: Mapping[str, Json] | None = None,
) -> int:
    """Append an event from outside: a signal that a task waits for, an approval; returns its id.

    A context without a task is of a program of the first system, which ends it itself; in all
    others the controller's own events are refused.

    Args:
        context_id: Whose.
        event: A Flux Standard Action: type, and payload, error, meta if it has them.
        expected: Refuse when the context has another version.
        by: Who does it; by default the user of this process.

    Raises:
        InvalidEventError: It is none; the key and the rule are named.
        ReservedEventError: Only the controller may write it.
        InvalidAnswerError: The task asks for another payload.
        UnknownContextError: There is no such context.
        StaleVersionError: The context has another version.
    """
    meta: object = event.get("meta")
    if meta is None or is_object(meta):  # what is not an object is refused below
        meta = {**without_who(meta or {}), **(by or person())}
    parsed = parse_event({**event, "meta": meta})
    context = await app.store.context(context_id)
    if context.task is not None:
        refuse_reserved(parsed)
        if context.status == "OPEN":
            await questions.refuse_unfit(app, context_id, parsed)
    (event_id,) = await app.store.append(context_id, [parsed], expected=expected)
    return event_id


async def cancel(app: App, context_id: int, by: Mapping[str, Json] | None = None) -> list[int]:
    """Cancel a context and all below it that have not ended; returns their ids.

    Raises:
        UnknownContextError: There is none.
        LifeCycleError: It has ended already.
    """
    # What only reads contexts needs nothing of programs.
    from dama.programs.programs import end_programs_of

    context = await app.store.context(context_id)
    by = by or person()
    message = str(by.get("reason") or "cancelled by an operator")
    cancelled = await app.store.cancel([context_id], message, by)
    if not cancelled:
        raise LifeCycleError(
            f"Context {context_id} is {context.status}; there is nothing to cancel.",
            f"`dama tree {context_id}` shows it with its subtasks.",
        )
    # A worker does so, too; there may be none on this host.
    await end_programs_of(app.store, app.home, cancelled)
    return cancelled


async def resume(
    app: App, context_id: int, by: Mapping[str, Json] | None = None, *, here: bool = True
) -> None:
    """Let a context continue: one that failed is reopened; one that was interrupted waits already.

    Args:
        app: Where it is.
        context_id: Which.
        by: Who does it; by default the user of this process.
        here: Only what this process could run; else whatever some worker may know.

    Raises:
        UnknownContextError: There is none.
        LifeCycleError: It is done.
        UnknownTaskError: No module of this project has its task.
    """
    context = await app.store.context(context_id)
    if context.status == "DONE":
        raise LifeCycleError(
            f"Context {context_id} is done; there is nothing to resume.",
            f"`dama show {context_id}` shows its result.",
        )
    if context.task is None:
        raise UnknownContextError(
            f"Context {context_id} has no task to resume.", "It was not started by dama."
        )
    if here:
        app.registry.task(context.task)  # raises, where nobody here could run it
    if context.run is None:
        await app.store.resume(context_id, by or person())


async def why(app: App, context_id: int) -> list[Reason]:
    """Why a run is not running: all reasons, never none.

    Raises:
        UnknownContextError: There is no such context.
    """
    context = await app.store.context(context_id)
    obstacles = await app.store.queue.obstacles(context_id)
    return reasons(context, obstacles, await app.store.queue.circle(context_id))


async def follow(
    app: App, context_id: int, *, tree: bool = False, wait: bool = True
) -> AsyncGenerator[StoredEvent]:
    """All events of a context or of a tree, from the first.

    Args:
        app: Where it is.
        context_id: Which.
        tree: Those of the contexts below it as well.
        wait: Until the context has ended; else only those that are there.

    Raises:
        UnknownContextError: There is no such context.
    """
    seen: dict[int, int] = {}
    while True:
        # Asked before the events: what is read afterwards holds the end.
        ended = not wait or await _has_ended(app, context_id)
        async for page in _news(app, context_id, seen, tree=tree):
            for event in page:
                seen[event.context_id] = event.version
                yield event
        if ended:
            if not seen:
                await app.store.context(context_id)
            return
        await clock.sleep(FOLLOW_SECONDS)


async def outcome(app: App, context_id: int) -> Outcome:
    """How a context has ended; its status is OPEN when it has not."""
    while (found := (await app.store.outcomes([context_id])).get(context_id)) is None:
        status = (await app.store.context(context_id)).status
        if status in (None, "OPEN"):  # else it has ended between the two
            return Outcome(status)
    return found


async def state(
    app: App, context_id: int, slice_: Slice[Any] | str, at: int | None = None
) -> object:
    """The state of a context in a slice, after an event or after the latest.

    Raises:
        UnknownContextError: There is no such context.
        UnknownSliceError: No module defines the slice.
        ReducerError: One of its functions raised.
    """
    await app.store.context(context_id)
    if isinstance(slice_, str):
        slice_ = lifecycle if slice_ == lifecycle.name else find_slice(slice_)
    with named(slice_):
        return await app.store.state(context_id, slice_, at)


async def _has_ended(app: App, context_id: int) -> bool:
    context = await app.store.context(context_id)
    return context.status is not None and context.status != "OPEN"


async def _news(
    app: App, context_id: int, seen: Mapping[int, int], *, tree: bool
) -> AsyncGenerator[list[StoredEvent]]:
    if tree:
        # Who follows marks what is yielded as seen before it asks on.
        while page := await app.store.tree_events(context_id, seen):
            yield page
            if len(page) < TREE_PAGE:
                return
        return
    async for page in app.store.pages(context_id, after_version=seen.get(context_id, 0)):
        yield page
