"""Windows: bounded reads of what may be long, each with the place to read on from.

No window costs more in a large store than in a small one: it goes along an index, and it ends after
so many rows that it returns or that it looks at. Whether there is more is said, and never counted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from dama.beside import beside
from dama.domain.errors import EmptyRangeError
from dama.domain.event import StoredEvent
from dama.domain.exact import decode_stored, reader
from dama.domain.timeline import Mark
from dama.shapes import is_object
from dama.store.items import as_json
from dama.store.rows import ContextRow, context_of

if TYPE_CHECKING:
    from dama.store.database import Database, Row

_read = reader(StoredEvent)
LATEST_RUNS = 100  # of a task, that are looked at for how long it usually takes
TREE_PAGE = 20_000  # events of a tree: each page is put in order again, so few large ones


@dataclass(frozen=True)
class ContextFilter:
    """Which contexts; what is not given does not matter.

    Attributes:
        roots: Only what no other context started.
        status: OPEN, DONE, ERROR or CANCELLED.
        task: The full name; a * in it is any text.
        service: Of the task.
        state: Of its run: queued, delayed, blocked, running, waiting or retrying.
        queue: Of its run.
        worker: Who runs it: the id of a worker.
        user: Who started it.
        schedule: What started it.
        params: What its params contain.
        since: Created then or later.
        until: Created before.

    Raises:
        EmptyRangeError: `until` is not after `since`.
    """

    roots: bool = True
    status: str | None = None
    task: str | None = None
    service: str | None = None
    state: str | None = None
    queue: str | None = None
    worker: int | None = None
    user: str | None = None
    schedule: str | None = None
    params: Mapping[str, Any] | None = None
    since: datetime | None = None
    until: datetime | None = None

    def __post_init__(self) -> None:
        """Refuse a time in which nothing can be created.

        Raises:
            EmptyRangeError: `until` is not after `since`.
        """
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise EmptyRangeError(
                f"Nothing is created since {self.since} and before {self.until}.",
                "`until` must be after `since`. As ages `since` is the longer one: "
                "dama ls --since 90d --until 1d",
            )

    def as_json(self) -> str:
        """As the statement takes it."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        times = {n: given[n].isoformat() for n in ("since", "until") if n in given}
        return as_json({**given, **times})


@dataclass(frozen=True)
class ContextPage:
    """A window of contexts.

    Attributes:
        contexts: Those that the filter lets through, the newest first; perhaps none.
        next_before: Where to read on, where there may be more; None when nothing is left.
    """

    contexts: list[ContextRow]
    next_before: int | None


@dataclass(frozen=True)
class ChildPage:
    """A window of what a context has started.

    Attributes:
        contexts: In the order of their ids.
        next_after: Where to read on, where there may be more; None when nothing is left.
    """

    contexts: list[ContextRow]
    next_after: int | None


@dataclass(frozen=True)
class Place:
    """Where a run is.

    Attributes:
        queue: Its queue.
        epoch: Which run it is; rises with each.
        host: Of the worker that holds it; None, as what follows, where nobody does.
        pid: Of its process.
        dama: Its version of dama.
        lease_seconds: Until its lease ends, which it renews; negative when it has lapsed.
        seen_at: When it renewed its lease last.
    """

    queue: str
    epoch: int
    host: str | None
    pid: int | None
    dama: str | None
    lease_seconds: float | None
    seen_at: datetime | None


class Windows:
    """The windows on one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def contexts(
        self, filter_: ContextFilter, *, before: int | None = None, limit: int = 50
    ) -> ContextPage:
        """Contexts that a filter fits, newest first.

        Args:
            filter_: Which.
            before: Only older ones.
            limit: At most so many. There may be fewer though some are left: 20,000 are looked at.

        Source: store/functions/list_contexts.sql
        """
        params = {"filter": filter_.as_json(), "before": before, "limit": limit}
        rows = await self._database.rows("list_contexts", params)
        found = [context_of(row) for is_found, *row in rows if is_found]
        looked = [context_id for is_found, context_id, *_ in rows if not is_found]
        # A page that is full may have been the last one.
        following = looked[0] if looked else found[-1].context_id if len(found) == limit else None
        return ContextPage(found, following)

    async def at(
        self, context_ids: Sequence[int], position: int
    ) -> dict[int, tuple[int, str, datetime, str]]:
        """Version, last type and its time, and status of contexts at a position of the log.

        Those that had no event yet are left out.
        """
        params = {"context_ids": list(context_ids), "position": position}
        rows = await self._database.rows("read_contexts_at", params)
        return {
            context_id: (version, type_, at, status)
            for context_id, version, type_, at, status in rows
        }

    async def children(
        self, parent: int, *, status: str | None = None, after: int = 0, limit: int = 50
    ) -> ChildPage:
        """What a context has started, by ids; of a status, such as ERROR to see the failed first.

        Args:
            parent: Which context.
            status: Only those of this status, among 20,000 that are looked at.
            after: Only those after this one: the next page.
            limit: At most this many.
        """
        params = {"parent": parent, "status": status, "after": after, "limit": limit}
        rows = await self._database.rows("list_children", params)
        found = [context_of(row) for is_found, *row in rows if is_found]
        looked = [context_id for is_found, context_id, *_ in rows if not is_found]
        following = looked[0] if looked else found[-1].context_id if len(found) == limit else None
        return ChildPage(found, following)

    async def child_counts(self, parent: int) -> list[tuple[str | None, str | None, int]]:
        """How many contexts a context started, by task and status, of the first 20,000."""
        rows = await self._database.rows("count_children", {"parent": parent})
        return [(task, status, count) for task, status, count in rows]

    async def marks(self, rows: Sequence[ContextRow], most: int) -> dict[int, list[Mark]]:
        """What the runs of contexts went through, up to the version of each row, oldest first.

        Args:
            rows: Which contexts.
            most: So many of the latest events of each are looked at.
        """
        if not rows:
            return {}
        params = {
            "context_ids": [row.context_id for row in rows],
            "versions": [row.version for row in rows],
            "most": most,
        }
        found: dict[int, list[Mark]] = {}
        for row in await self._database.rows("read_marks", params):
            context_id, version, type_, at, epoch, worker, dama, usage = row
            known = int(epoch) if epoch and epoch.isdecimal() else None
            used: Any = decode_stored(usage) if usage else None
            mark = Mark(version, type_, at, known, worker, dama, used if is_object(used) else None)
            found.setdefault(context_id, []).append(mark)
        return found

    async def place(self, context_id: int) -> Place | None:
        """Where the run of a context is, and who holds it; None when it has none."""
        rows = await self._database.rows("read_place", {"context_id": context_id})
        return Place(*rows[0]) if rows else None

    async def usual(self, task: str, before: int) -> list[float]:
        """The seconds that the latest runs of a task took that were done, before a context."""
        params = {"task": task, "before": before, "most": LATEST_RUNS}
        return await self._database.column("read_usual", params)

    async def find_events(
        self, context_id: int, low: int, high: int, **chosen: object
    ) -> list[StoredEvent]:
        """Events of a context with versions from `low` to `high` that fit.

        Source: store/sql/find_events.sql, whose params `chosen` has.
        """
        params = {"context_id": context_id, "low": low, "high": high, **chosen}
        rows = await self._database.rows("find_events", params)
        return await beside(rows, _events, rows)

    async def waits(self, context_id: int) -> list[tuple[Any, datetime]]:
        """The waits for events that have begun and not ended: what they began with, and when."""
        waits: dict[str, tuple[Any, datetime]] = {}
        after: int | None = 0
        while after is not None:
            params = {"context_id": context_id, "after_version": after, "open": list(waits)}
            after = None
            for version, type_, payload, created_at in await self._database.rows(
                "read_open_waits", params
            ):
                if type_ is None:
                    after = version
                elif version is None:
                    waits.pop(type_, None)
                else:
                    waits[type_] = (payload, created_at)
        return list(waits.values())

    async def tree_ends(self, roots: Sequence[int]) -> dict[int, tuple[str, float]]:
        """The status of trees (OPEN while anything in them is), and seconds since their last event.

        Archived ones are left out.
        """
        rows = await self._database.rows("read_ends", {"context_ids": list(roots)})
        return {root: await self._tree_end(root, status, age) for root, status, age in rows}

    async def _tree_end(self, root: int, status: str, age: float) -> tuple[str, float]:
        after: int | None = 0
        while after is not None and status != "OPEN":
            params = {"root": root, "after": after}
            after = None
            for is_open, latest, last in await self._database.rows("read_tree_ends", params):
                status, age, after = "OPEN" if is_open else status, min(age, latest), last
        return status, age


def _events(rows: Sequence[Row]) -> list[StoredEvent]:
    return [_read(text) for (text,) in rows]
