"""The services `contexts` and `events`: what has happened, and what is added to it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from dama.beside import beside
from dama.definitions.service import Service
from dama.domain.event import ABSENT
from dama.domain.exact import decode, document
from dama.operations import contexts, diffs, finding, moments, run_files, supposing, timelines
from dama.operations.diffs import Side
from dama.operations.finding import EventFilter
from dama.operations.who import because
from dama.shipped.documents import Id, permit_context, starter
from dama.shipped.histories import add_bundles
from dama.store.windows import ContextFilter

if TYPE_CHECKING:
    from dama.app import App
    from dama.broker.call import Call

Limit = Annotated[int, Field(ge=1, le=1000)]
Version = Annotated[int, Field(ge=0, le=2**31 - 1)]
Attempt = Annotated[int, Field(ge=1)]
Status = Literal["OPEN", "DONE", "ERROR", "CANCELLED"]
State = Literal["queued", "delayed", "blocked", "placed", "running", "waiting", "retrying"]


def _object(value: object) -> object:
    """A param that an address has as JSON, which keeps numbers apart from strings."""
    return decode(value) if isinstance(value, str) else value


Within = Annotated[dict[str, Any], BeforeValidator(_object)]


def contexts_service(app: App) -> Service:
    """Make the service `contexts`."""
    service = Service("contexts", description="Read contexts: their trees, events and states.")

    @service.action(scope="viewer", rest="GET /")
    async def list(
        call: Call,
        *,
        status: Status | None = None,
        task: str | None = None,
        service: str | None = None,
        user: str | None = None,
        schedule: str | None = None,
        params: Within | None = None,
        queue: str | None = None,
        state: State | None = None,
        worker: Id | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        all: bool = False,
        before: Id | None = None,
        limit: Limit = 50,
    ) -> Any:
        """List contexts, newest first.

        At most 20,000 are looked at: there may be fewer than `limit`, or none, and more to read on
        to. `next_before` is null only where nothing is left.

        Args:
            status: Only those with this status.
            task: Only those of this task.
            service: Only those of the tasks of this service.
            user: Only what this user started.
            schedule: Only what this schedule started.
            params: Only those whose params contain this; in an address as JSON: {"year": 2013}.
            queue: Only those whose run is in this queue.
            state: Only those whose run is so: queued, delayed, blocked, placed, running, waiting,
                retrying.
            worker: Only what this worker runs, by its id.
            since: Only those that were created then or later.
            until: Only those that were created before.
            all: Subtasks too, not only what was started.
            before: Only those before this one: the next page.
            limit: At most this many.
        """
        chosen = ContextFilter(
            roots=not all, status=status, task=task, service=service, user=user, schedule=schedule,
            params=params, queue=queue, state=state, worker=worker, since=_aware(since),
            until=_aware(until),
        )  # fmt: skip
        return document(await contexts.all_of(app, chosen, before=before, limit=limit))

    @service.action(scope="viewer", rest="GET /:context_id")
    async def get(call: Call, context_id: Id) -> Any:
        """Read one context: status, life cycle, params, result or error."""
        await permit_context(app, call, context_id)
        return document(await contexts.read(app, context_id))

    @service.action(scope="viewer", rest="GET /:context_id/tree")
    async def tree(
        call: Call,
        context_id: Id,
        after: Annotated[int, Field(ge=0)] = 0,
        limit: Limit = 1000,
        at: Annotated[int, Field(ge=1)] | None = None,
    ) -> Any:
        """Read the tree that a context is in, depth first: the oldest `limit` of its contexts.

        Args:
            context_id: Any of its contexts.
            after: Only those with a greater id; the greatest of a full answer reads on.
            limit: At most this many.
            at: The id of an event: as they were after it, without those that came later.
        """
        await permit_context(app, call, context_id)
        found = await contexts.tree(app, context_id, after=after, limit=limit)
        return document(found if at is None else await moments.as_of(app, found, at))

    @service.action(scope="viewer", rest="GET /:context_id/children")
    async def children(
        call: Call,
        context_id: Id,
        *,
        status: Status | None = None,
        after: Annotated[int, Field(ge=0)] = 0,
        limit: Limit = 50,
    ) -> Any:
        """Read what a context has started; with status ERROR, the failed first.

        Args:
            context_id: Whose.
            status: Only those of this status, among 20,000 that are looked at.
            after: Only later ones; `next_after` reads on.
            limit: At most this many.
        """
        await permit_context(app, call, context_id)
        return document(
            await contexts.children(app, context_id, status=status, after=after, limit=limit)
        )

    @service.action(scope="viewer", rest="GET /:context_id/timeline")
    async def timeline(
        call: Call,
        context_id: Id,
        at: Id | None = None,
        after: Annotated[int, Field(ge=0)] = 0,
        limit: Annotated[int, Field(ge=1, le=200)] = 50,
    ) -> Any:
        """Read a context in time: when it and what it started were queued, ran and waited.

        Its steps and its attempts with what their programs used, too. The latest 1,000 of its
        events are looked at, and the latest 100 of each that it started.

        Args:
            context_id: Which.
            at: The id of an event: as it was after it.
            after: Only those children with a greater id; `next_after` reads on.
            limit: How many children at most.
        """
        await permit_context(app, call, context_id)
        return document(await timelines.timeline(app, context_id, at=at, after=after, limit=limit))

    @service.action(scope="viewer", rest="GET /:context_id/why")
    async def why(call: Call, context_id: Id) -> Any:
        """Say why a run is not running: every reason, with what to do."""
        await permit_context(app, call, context_id)
        return document(await contexts.why(app, context_id))

    _add_history(service, app)
    add_bundles(service, app)
    return service


def _add_history(service: Service, app: App) -> None:
    """What a context did: its events, what they add up to, the logs of its programs."""

    @service.action(scope="viewer", rest="GET /:context_id/events")
    async def events(
        call: Call,
        context_id: Id,
        after_version: Version = 0,
        limit: Limit = 1000,
    ) -> Any:
        """Read events of a context, in their order.

        Args:
            context_id: Whose.
            after_version: Only those after this one: the next page.
            limit: At most this many.
        """
        await permit_context(app, call, context_id)
        found = await contexts.events(app, context_id, after_version=after_version, limit=limit)
        return await beside(found.events, document, found)

    @service.action(scope="viewer", rest="GET /:context_id/events/find")
    async def find(
        call: Call,
        context_id: Id,
        *,
        type: str | None = None,
        text: str | None = None,
        failed: bool = False,
        marks: bool = False,
        before: Version | None = None,
        limit: Limit = 100,
    ) -> Any:
        """Find events of a context, the latest first.

        At most 20,000 are looked at, and 2,000 for a text: there may be fewer than `limit`, or
        none, and more to look through. `looked_to` is null only where nothing is left.

        Args:
            context_id: Whose.
            type: Only those of this type; a * in it is any text.
            text: Only those with this in their type, payload or meta, in any case.
            failed: Only errors.
            marks: Only errors, and where a run begins or ends.
            before: Only those before this version: the next page.
            limit: At most this many.
        """
        await permit_context(app, call, context_id)
        chosen = EventFilter(type, text, failed, marks)
        found = await finding.find(app, context_id, chosen, before=before, limit=limit)
        return await beside(found.events, document, found)

    @service.action(scope="viewer", rest="GET /:context_id/suppose")
    async def suppose(
        call: Call,
        context_id: Id,
        event: Id,
        slice: str = "lifecycle",
        payload: Annotated[Any, BeforeValidator(_object)] = None,
    ) -> Any:
        """Say what the state would be without an event, or with another payload; stores nothing.

        Args:
            context_id: Whose.
            event: The id of the event.
            slice: The slice that folds the events.
            payload: Its payload instead, a string of it as JSON; by default the event is left out.
        """
        await permit_context(app, call, context_id)
        other = ABSENT if payload is None else payload
        return document(await supposing.suppose(app, context_id, slice, event, payload=other))

    @service.action(scope="viewer", rest="GET /:context_id/logs/files")
    async def logs(call: Call, context_id: Id) -> Any:
        """Say which logs the programs of a context left on this host, the oldest run first."""
        await permit_context(app, call, context_id)
        return document(await run_files.logs_of(app, context_id))

    @service.action(scope="viewer", rest="GET /:context_id/state")
    async def state(
        call: Call,
        context_id: Id,
        slice: str = "lifecycle",
        at: Id | None = None,
    ) -> Any:
        """Give the state that the events of a context add up to.

        Args:
            context_id: Whose.
            slice: The slice that folds them.
            at: The last event that counts; by default the latest.
        """
        await permit_context(app, call, context_id)
        return document(await contexts.state(app, context_id, slice, at))

    @service.action(scope="viewer", rest="GET /:context_id/diff")
    async def diff(
        call: Call,
        context_id: Id,
        *,
        other: Id | None = None,
        at: Id | None = None,
        other_at: Id | None = None,
        attempt: Attempt | None = None,
        other_attempt: Attempt | None = None,
        slices: list[str] | None = None,
    ) -> Any:
        """Compare two moments of a context, two of its attempts, or two contexts.

        Args:
            context_id: The one side.
            other: The other side; by default the same context.
            at: The last event that counts of the one side; by default the latest.
            other_at: The same of the other.
            attempt: Only what this attempt did, on the one side.
            other_attempt: The same on the other.
            slices: The slices that are compared; by default all.
        """
        await permit_context(app, call, context_id)
        if other is not None:
            await permit_context(app, call, other)
        first = Side(context_id, at, attempt)
        second = Side(context_id if other is None else other, other_at, other_attempt)
        return document(await diffs.diff(app, first, second, names=slices))


def events_service(app: App) -> Service:
    """Make the service `events`."""
    service = Service("events", description="Append events, and read the log of all of them.")

    @service.action(scope="operator", rest="POST /:context_id")
    async def dispatch(
        call: Call,
        context_id: Id,
        event: dict[str, Any],
        expected: Version | None = None,
        reason: str | None = None,
    ) -> dict[str, int]:
        """Append an event to a context: a signal that a task waits for, an approval, a correction.

        Args:
            context_id: Whose.
            event: A Flux Standard Action: type, and payload, error, meta if it has them.
            expected: Refuse when the context has another version.
            reason: The reason; it is kept in the event.
        """
        await permit_context(app, call, context_id)
        by = because(starter(call), reason)
        event_id = await contexts.dispatch(app, context_id, event, expected=expected, by=by)
        return {"context_id": context_id, "event_id": event_id}

    @service.action(scope="viewer", rest="GET /")
    async def read(
        call: Call,
        after: Annotated[int, Field(ge=0, le=2**62)] = 0,
        limit: Limit = 1000,
    ) -> Any:
        """Read the log: all events in one order without gaps.

        Args:
            after: A position; 0 for the beginning.
            limit: At most this many.
        """
        await app.store.log.position()
        page = await app.store.log.read(after, limit=limit)
        return await beside(page, document, page)

    return service


def _aware(moment: datetime | None) -> datetime | None:
    """A time without a zone is one of UTC, as all times of the store are shown."""
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment
