"""The later generation: its tables are copied, with their ids, and followed until they are left.

Nobody who writes the old tables meets anything: they are only read, batch after batch. A round
copies what was not there at the last one, also what committed late; the final one locks the old
tables for a moment, compares both sides, and ends it. Each batch is a transaction, so a kill costs
one. Ids that are drawn here stand far above those that the old programs still draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dama.store import schema
from dama.store.adoption.audit import Audit
from dama.store.adoption.first import LONGEST_WAIT
from dama.store.adoption.session import act_as
from dama.store.adoption.texts import text
from dama.store.errors import SchemaError
from dama.store.migrating import patiently

if TYPE_CHECKING:
    from typing import LiteralString

    from dama.store.adoption.progress import Progress
    from dama.store.adoption.session import Connection
    from dama.store.adoption.shape import Relation, Shape

CONTEXTS = 2000
EVENTS = 10_000
FIRST_OF_ALL = -(2**62)  # behind this id all come
LATE = 100_000  # ids: what is drawn earlier by so many has committed, or is found at the end
ROOM_FOR_CONTEXTS = 1_000_000
ROOM_FOR_EVENTS = 100_000_000
OURS = "_data_manager_admin.event_store_prototype"
THEIRS = "data_manager.event_store"
TAKEN = """
SELECT EXISTS (SELECT FROM _data_manager_admin.etl_context WHERE context_id <= %s)
    OR EXISTS (SELECT FROM _data_manager_admin.event_store_prototype WHERE event_id <= %s)
"""
OWNER = """
SELECT pg_get_userbyid(relowner) FROM pg_class
  WHERE oid = '_data_manager_admin.etl_context'::regclass
"""
ZONE = "SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'"
LAST_EVENT = """
SELECT coalesce(max(event_id), 0) FROM _data_manager_admin.event_store_prototype
  WHERE event_id <= %s
"""
LAST_CONTEXT = "SELECT position FROM _data_manager_admin.adoption WHERE generation = 'later'"
COME_TO = """
UPDATE _data_manager_admin.adoption SET position = greatest(position, %s) WHERE generation = 'later'
"""
LOCK_OLD = "LOCK TABLE data_manager.etl_contexts, data_manager.event_store IN SHARE MODE"
REWRITE = "SET dama.rewrite_history = 'on'"


@dataclass(frozen=True)
class Copied:
    """What a round of copying came to.

    Attributes:
        audit: What was found before the first one.
        contexts: How many contexts were looked at.
        events: How many events were looked at, some of which were there before.
        is_ended: Whether the old tables are left, and both sides were compared.
        before: The checksum of the old events; None before the end.
        after: That of their copies; None before the end.
    """

    audit: Audit
    contexts: int
    events: int
    is_ended: bool = False
    before: str | None = None
    after: str | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the copies are what the old events are."""
        return self.before == self.after


async def begin(conninfo: str, connection: Connection, progress: Progress, audit: Audit) -> None:
    """Make the schema of this version beside the old tables, and draw ids above theirs.

    Raises:
        SchemaError: The schema is there and has rows whose ids are those of the old tables.
    """
    await schema.migrate(conninfo, tell=progress.tell, beside_later=True)
    contexts = _above(audit.contexts.latest, ROOM_FOR_CONTEXTS)
    events = _above(audit.events.latest, ROOM_FOR_EVENTS)
    row = await (await connection.execute(TAKEN, [contexts, events])).fetchone()
    if row != (False,):
        raise SchemaError(
            "dama has contexts of its own in this database, with ids that the old tables use.",
            "Adopt into a database that dama has not worked in yet: restore the old tables there.",
        )
    await _be_owner(connection)
    row = await (await connection.execute(text("later_against"))).fetchone()
    unique = "" if row == (True,) else "UNIQUE"
    query = text("later_begin", contexts=str(contexts), events=str(events), unique=unique)

    async def act() -> None:
        await connection.execute(query)
        await progress.note(audit)

    await patiently(connection, act, progress.tell)


async def follow(
    connection: Connection, progress: Progress, shape: Shape, audit: Audit, *, ends: bool
) -> Copied:
    """Copy what is not there yet.

    Args:
        connection: In no transaction.
        progress: What is said of it.
        shape: Of the old tables.
        audit: What was found before the first round.
        ends: Whether the old programs are switched off: what is left is copied under a lock, and
            both sides are compared.
    """
    await _be_owner(connection)
    copy = _Copy(connection, progress, shape, audit, await _zone(connection))
    contexts, events = await copy.round(late=LATE)
    if not ends:
        return Copied(audit, contexts, events)

    async def act() -> tuple[str, str]:
        await connection.execute(LOCK_OLD)
        await copy.round(late=None)
        return await copy.checksum(THEIRS), await copy.checksum(OURS)

    progress.tell("copies what is left, and compares both sides")
    before, after = await patiently(connection, act, progress.tell, longest=LONGEST_WAIT)
    if before == after:
        await progress.keep_checksum(after)
        await progress.end()
    await connection.execute("SELECT _data_manager_admin.sequence_log()")
    return Copied(audit, contexts, events, is_ended=True, before=before, after=after)


class _Copy:
    """Copies from the old tables, batch after batch."""

    def __init__(
        self,
        connection: Connection,
        progress: Progress,
        shape: Shape,
        audit: Audit,
        zone: str,
    ) -> None:
        self._connection = connection
        self._progress = progress
        self._limits = {
            "contexts": _above(audit.contexts.latest, ROOM_FOR_CONTEXTS),
            "events": _above(audit.events.latest, ROOM_FOR_EVENTS),
        }
        self._times = {
            "created": _moment(shape.contexts, "_created_timestamp", "o", zone),
            "modified": _moment(shape.contexts, "_modified_timestamp", "o", zone),
        }
        self._written = _moment(shape.events, "_created_timestamp", "s", zone)

    async def round(self, late: int | None) -> tuple[int, int]:
        """One look at both tables; how many rows it had.

        Args:
            late: How many ids before the last that is here it begins; None for all.
        """
        contexts = await self._batches("contexts", CONTEXTS, late)
        events = await self._batches("events", EVENTS, late)
        return contexts, events

    async def checksum(self, table: str) -> str:
        """Of all events of a table that are of the old programs."""
        which = "TRUE" if table == THEIRS else f"e.event_id <= {self._limits['events']}"
        query = text("later_checksum", events=table, which=which)
        row = await (await self._connection.execute(query)).fetchone()
        return f"{row[0]} events, {row[1]}" if row else ""

    async def _batches(self, what: str, most: int, late: int | None) -> int:
        after, done = await self._last(what, late), 0
        while True:
            copy = self._copy_events if what == "events" else self._copy_contexts
            async with self._connection.transaction():
                row = await copy(after, most)
            if row is None:
                return done
            self._refuse_beyond(what, row[0])
            after, done = row[0], done + row[1]
            self._progress.tell_now_and_then(f"{done:,} rows of {what}")

    async def _copy_contexts(self, after: int, most: int) -> tuple[int, int] | None:
        row = await self._contexts("later_next", after, most)
        if row is not None:
            await self._connection.execute(COME_TO, [row[0]])
        return row

    async def _copy_events(self, after: int, most: int) -> tuple[int, int] | None:
        await self._contexts("later_named", after, most)  # which may have come since
        query = text(
            "later_events", after=str(after), most=str(most), said=text("said"), time=text("time"),
            created=self._written,
        )  # fmt: skip
        return await self._row(query)

    async def _contexts(self, batch: str, after: int, most: int) -> tuple[int, int] | None:
        ids = text(batch, after=str(after), most=str(most))
        return await self._row(text("later_contexts", batch=ids, **self._times))

    async def _row(self, query: LiteralString) -> tuple[int, int] | None:
        return await (await self._connection.execute(query)).fetchone()

    async def _last(self, what: str, late: int | None) -> int:
        """Behind which id a round begins."""
        if late is None:
            return FIRST_OF_ALL
        if what == "events":
            cursor = await self._connection.execute(LAST_EVENT, [self._limits[what]])
        else:  # not the last that is there: a parent is copied with its child, whatever its id is
            cursor = await self._connection.execute(LAST_CONTEXT)
        row = await cursor.fetchone()
        return int(row[0]) - late if row and row[0] else FIRST_OF_ALL

    def _refuse_beyond(self, what: str, last: int) -> None:
        limit = self._limits[what]
        if last > limit:
            raise SchemaError(
                f"The old programs have drawn the id {last}, and those above {limit} are dama's.",
                "Switch the old programs off; what they wrote beyond is not copied.",
            )


def _above(latest: int, room: int) -> int:
    """The last id that the old programs may draw: so much room, and a round number."""
    return (latest // room + 2) * room


def _moment(relation: Relation, column: str, alias: str, zone: str) -> str:
    """A time of the old tables; one without a zone is in that of the database."""
    kind = relation.columns[column]["type"]
    plain = f"{alias}.{column}"
    quoted = zone.replace("'", "''")
    return plain if kind.endswith("with time zone") else f"({plain} AT TIME ZONE '{quoted}')"


async def _zone(connection: Connection) -> str:
    row = await (await connection.execute(ZONE)).fetchone()
    return str(row[0]) if row else "UTC"


async def _be_owner(connection: Connection) -> None:
    row: Any = await (await connection.execute(OWNER)).fetchone()
    await act_as(connection, row[0])
    await connection.execute(REWRITE)
