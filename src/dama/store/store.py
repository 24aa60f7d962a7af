"""The event store: the append-only log of every context, and what is derived from it.

Appends to one context are serialised, so the order that readers see is the order of commit.
Nothing here knows what an event means: see `dama.domain.slice`. Claims and leases are in
`dama.store.queue`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from dama.beside import beside
from dama.domain.event import ABSENT, Event, StoredEvent, event_dict
from dama.domain.exact import decode_stored, reader
from dama.shapes import as_object, is_object
from dama.store.activity import Activity
from dama.store.acts import Acts
from dama.store.archive import Archive
from dama.store.browser_sessions import BrowserSessions
from dama.store.database import Database, Row
from dama.store.errors import UnknownContextError
from dama.store.forks import Forks
from dama.store.hints import Hints
from dama.store.items import as_json, encode, start_item
from dama.store.lineage import Lineage
from dama.store.log import Log
from dama.store.placements import Placements
from dama.store.queue import RunQueue
from dama.store.rows import Append, Appended, ContextRow, Difference, Outcome, Start, context_of
from dama.store.schedules import Schedules
from dama.store.slice_tables import SliceTables
from dama.store.states import States
from dama.store.tokens import Tokens
from dama.store.windows import TREE_PAGE, ContextFilter, Windows

if TYPE_CHECKING:
    from datetime import datetime

    from dama.domain.slice import Slice

PAGE = 5000

_read = reader(StoredEvent)


class Store:
    """The contexts and events of one database.

    Attributes:
        database: Where they are.
        queue: The run queue of the same database.
        hints: Wakes workers before they look by themselves.
        log: All events of the same database in one order.
        schedules: What starts tasks by itself.
        archive: Closed trees, out of the way.
        forks: Contexts with the history of others.
        tokens: Who may call over HTTP.
        browser_sessions: Browsers that have shown a token.
        windows: Bounded reads of what may be long.
        activity: What happened when.
        lineage: Which steps wrote a table.
        acts: What people did beside contexts.
        placements: Runs that engines place elsewhere.
        slice_tables: Slices whose states are kept as tables.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.queue = RunQueue(database)
        self.hints = Hints(database)
        self.log = Log(database)
        self.schedules = Schedules(database)
        self.archive = Archive(database)
        self.forks = Forks(database)
        self.tokens = Tokens(database)
        self.browser_sessions = BrowserSessions(database)
        self.windows = Windows(database)
        self.activity = Activity(database)
        self.lineage = Lineage(database)
        self.acts = Acts(database)
        self.placements = Placements(database)
        self.slice_tables = SliceTables(database, self.log)
        self._states = States(database, self.pages)

    @classmethod
    @asynccontextmanager
    async def opened(cls, conninfo: str) -> AsyncGenerator[Store]:
        """Open the store of a database; see `Database.opened` for the errors."""
        async with Database.opened(conninfo) as database:
            store = cls(database)
            try:
                yield store
            finally:
                await store.hints.close()

    async def append(
        self, context_id: int, events: Sequence[Event], *, expected: int | None = None
    ) -> list[int]:
        """Append events to a context in one transaction.

        Args:
            context_id: An existing context.
            events: 1 to 1,000 events.
            expected: Version of the context last seen (0 for none); None skips the check.

        Returns:
            The event ids, in the order given.

        Raises:
            InvalidEventError: One is not a Flux Standard Action.
            UnknownContextError: There is no such context.
            VersionConflictError: Another writer appended after `expected`.
            LifeCycleError: The context has ended, or the first event is no INITIAL.

        Source: store/functions/append_events.sql
        """
        items = [Append(context_id, e, None if n else expected) for n, e in enumerate(events)]
        appended = await self.append_many(items)
        self.hints.send()  # it may be a signal
        return [each.event_id for each in appended]

    async def append_many(self, items: Sequence[Append], *, waits: bool = True) -> list[Appended]:
        """Append events of any contexts in one transaction: all of them or none.

        Args:
            items: What to append.
            waits: Whether it waits for locks of other transactions, however long; see
                `Database.rows`.

        Raises:
            DamaError: As `append`; also StaleEpochError and IdempotencyConflictError.
        """
        # Sent again after an outage only when each event has a key that makes that harmless.
        again = all(_is_keyed(item.event) for item in items)
        batch = await beside([item.event.payload for item in items], encode, items)
        rows = await self.database.rows("append_events", {"batch": batch}, again=again, waits=waits)
        return [Appended(*row) for row in rows]

    async def find_locked(self, context_ids: Sequence[int]) -> set[int]:
        """Those of some contexts that another transaction has locked now."""
        params = {"context_ids": list(context_ids)}
        return set(await self.database.column("find_locked", params))

    async def start(
        self, starts: Sequence[Start], *, parent: int | None = None, spawned: Event | None = None
    ) -> list[int]:
        """Create contexts with their INITIAL events and queue their runs, in one transaction.

        Args:
            starts: What to create.
            parent: The context that starts them.
            spawned: The event of the parent that records their ids.

        Returns:
            The context ids, in the order given.

        Raises:
            DamaError: As `append_many`, for the event of the parent.

        Source: store/functions/start_contexts.sql
        """
        params = {
            "batch": await beside([start.params for start in starts], _batch, starts),
            "spawned": None if spawned is None else as_json(event_dict(spawned)),
            "parent": parent,
        }
        again = spawned is None and all(start.key for start in starts)
        rows = await self.database.rows("start_contexts", params, again=again)
        self.hints.send()
        return [context_id for context_id, _is_new in rows]

    async def context(self, context_id: int) -> ContextRow:
        """Read one context.

        Raises:
            UnknownContextError: There is none.
        """
        rows = await self.database.rows("read_context", {"context_id": context_id})
        if not rows:
            raise await self._unknown(context_id)
        return context_of(rows[0])

    async def started_how(self, context_id: int) -> tuple[Mapping[str, Any], str | None]:
        """The meta of a context's INITIAL, and the idempotency key of its start."""
        for text, key in await self.database.rows("read_start", {"context_id": context_id}):
            meta = decode_stored(text or "{}")
            return (as_object(meta)), key
        return {}, None

    async def contexts(
        self,
        *,
        status: str | None = None,
        task: str | None = None,
        roots_only: bool = True,
        before: int | None = None,
        limit: int = 50,
    ) -> list[ContextRow]:
        """List contexts, newest first; see `Windows.contexts` for what it looks at."""
        chosen = ContextFilter(roots=roots_only, status=status, task=task)
        return (await self.windows.contexts(chosen, before=before, limit=limit)).contexts

    async def tree(
        self, context_id: int, *, after: int = 0, limit: int | None = None
    ) -> list[ContextRow]:
        """The tree that a context is in, depth first, from the root.

        Args:
            context_id: Any of its contexts.
            after: Only those with a greater id, to read on.
            limit: How many at most: the oldest, so that parents are there before their children.
        """
        params = {"context_id": context_id, "after": after, "limit": limit}
        rows = await self.database.rows("read_tree", params)
        if not rows:
            await self.context(context_id)  # raises when there is none
        contexts = [context_of(row) for row in rows]
        ids = {context.context_id for context in contexts}
        children: dict[int | None, list[ContextRow]] = {}
        for context in contexts:
            above = context.parent_id if context.parent_id in ids else None
            children.setdefault(above, []).append(context)
        ordered: list[ContextRow] = []
        stack = children.get(None, [])[::-1]
        while stack:
            context = stack.pop()
            ordered.append(context)
            stack += children.get(context.context_id, [])[::-1]
        return ordered

    async def events(
        self,
        context_id: int,
        *,
        after_version: int = 0,
        up_to_event: int | None = None,
        limit: int | None = None,
    ) -> list[StoredEvent]:
        """Read events of a context, in order. For long histories see `pages`."""
        params = {
            "context_id": context_id,
            "after_version": after_version,
            "up_to_event": up_to_event,
            "limit": limit,
        }
        rows = await self.database.rows("read_events", params)
        return await beside(rows, _events, rows)

    async def pages(
        self, context_id: int, *, after_version: int = 0, up_to_event: int | None = None
    ) -> AsyncGenerator[list[StoredEvent]]:
        """Read events of a context a page at a time: memory stays flat."""
        while True:
            page = await self.events(
                context_id, after_version=after_version, up_to_event=up_to_event, limit=PAGE
            )
            if page:
                yield page
            if len(page) < PAGE:
                return
            after_version = page[-1].version

    async def tree_events(self, root: int, seen: Mapping[int, int]) -> list[StoredEvent]:
        """A page of what is new in a tree; `seen` is the version that was read of each context."""
        params = {
            "context_id": root,
            "seen_ids": list(seen),
            "seen_versions": list(seen.values()),
        }
        rows = await self.database.rows("read_tree_events", {**params, "limit": TREE_PAGE})
        return await beside(rows, _events, rows)

    async def outcomes(self, context_ids: Sequence[int]) -> dict[int, Outcome]:
        """How contexts have ended; those that have not are left out."""
        rows = await self.database.rows("read_outcomes", {"context_ids": list(context_ids)})
        return await beside(rows, _outcomes, rows)

    async def ends(self, context_ids: Sequence[int]) -> dict[int, tuple[str, float]]:
        """The status of contexts, and seconds since their last events; without archived ones."""
        rows = await self.database.rows("read_ends", {"context_ids": list(context_ids)})
        return {context_id: (status, age) for context_id, status, age in rows}

    async def now(self) -> datetime:
        """What time it is, by the clock of the database."""
        ((now,),) = await self.database.rows("read_clock")
        return now

    async def cancel(
        self,
        context_ids: Sequence[int],
        why: str,
        meta: Mapping[str, Any],
        *,
        parent: int | None = None,
    ) -> list[int]:
        """End contexts and all below them that have not ended; returns their ids.

        Args:
            context_ids: Which.
            why: Goes into their events.
            meta: Who does it.
            parent: Only those that it started; None for all.
        """
        params = {
            "context_ids": list(context_ids),
            "parent": parent,
            "payload": as_json({"message": why}),
            "meta": as_json(meta),
        }
        rows = await self.database.rows("cancel_trees", params, again=False)
        self.hints.send()
        return [each for (each,) in rows]

    async def resume(self, context_id: int, meta: Mapping[str, Any]) -> list[int]:
        """Reopen a context that failed or was cancelled, and what failed below it."""
        params = {"context_id": context_id, "meta": as_json(meta)}
        rows = await self.database.rows("resume_tree", params, again=False)
        self.hints.send()
        return [each for (each,) in rows]

    async def differences(self, limit: int = 100) -> list[Difference]:
        """Where contexts are not what their events say; workers may continue meanwhile."""
        rows = await self.database.rows("list_differences", {"limit": limit})
        return [Difference(*row) for row in rows]

    async def rebuild(self) -> tuple[int, int]:
        """Derive again what follows from the events: contexts, the run queue, snapshots.

        Returns:
            How many contexts were another than their events say, and how many runs are queued now.

        Raises:
            WorkersAliveError: A worker lives.

        Source: store/functions/rebuild.sql
        """
        ((contexts, runs),) = await self.database.rows("rebuild", again=False)
        return contexts, runs

    async def state(self, context_id: int, slice_: Slice[Any], at: int | None = None) -> Any:
        """Fold the events of a context through a slice, up to an event.

        States are cached along the way; a lost cache costs time only. See `dama.store.states`.
        """
        return await self._states.state(context_id, slice_, at)

    async def _unknown(self, context_id: int) -> UnknownContextError:
        """Why a context is not among the others."""
        for (moved,) in await self.database.rows("is_archived", {"context_id": context_id}):
            return UnknownContextError(
                f"Context {context_id} is archived since {moved:%Y-%m-%d %H:%M %Z}.",
                f"`dama archive restore {context_id}` brings it back; until then it is in "
                "archived_context and archived_event.",
            )
        return UnknownContextError(
            f"There is no context {context_id}.", "`dama ls` lists the contexts."
        )


def _is_keyed(event: Event) -> bool:
    return isinstance(event.meta, Mapping) and "idempotency_key" in event.meta


def _batch(starts: Sequence[Start]) -> str:
    return as_json([start_item(start) for start in starts])


def _events(rows: Sequence[Row]) -> list[StoredEvent]:
    return [_read(text) for (text,) in rows]


def _outcomes(rows: Sequence[Row]) -> dict[int, Outcome]:
    found: dict[int, Outcome] = {}
    for context_id, status, has_payload, text in rows:
        payload = decode_stored(text) if has_payload else ABSENT
        error = payload if is_object(payload) else None
        found[context_id] = (
            Outcome(status, result=payload) if status == "DONE" else Outcome(status, error=error)
        )
    return found
