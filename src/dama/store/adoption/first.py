"""The first generation in place: columns beside those that are there, and then the guards.

Old programs insert all the while. Nothing is held for longer than some hundred milliseconds: what
was there before is numbered in batches, indexes are built beside the writers, and what they wrote
meanwhile is caught up with, the last few rows in the transaction that turns the guards on. Each
step is repeated after a kill, and those with batches continue behind the last one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from dama.counts import number_of
from dama.store import schema
from dama.store.adoption.progress import Progress
from dama.store.adoption.session import Connection
from dama.store.adoption.texts import text
from dama.store.migrating import build_index, patiently

LONGEST_WAIT = 0.2  # for a lock: so long writers may have to wait behind it
BATCH = 20_000
CONTEXTS = 5000
FEW = 500  # so many rows are caught up with while nobody else can write
FIRST_OF_ALL = "0001_contexts_and_events"  # its tables are there
MIGRATIONS = "UPDATE _data_manager_admin.adoption SET migrations = %s"
WALLS = "AND event_id > {}"
SNAPSHOTS = """
CREATE UNLOGGED TABLE IF NOT EXISTS _data_manager_admin.slice_snapshot (
  context_id bigint NOT NULL, slice text NOT NULL, slice_version int NOT NULL,
  version bigint NOT NULL, state jsonb NOT NULL, PRIMARY KEY (context_id, slice, slice_version))
"""


class NotYetError(Exception):
    """More was written meanwhile than can be caught up with under a lock."""


@dataclass
class Work:
    """One adoption.

    Attributes:
        connection: Of the owner of the tables, in no transaction.
        progress: What is said of it, and how far it has come.
        unique: Which of the two tables have a unique id, by name.
    """

    connection: Connection
    progress: Progress
    unique: Sequence[str]

    async def shortly(self, act: Callable[[], Awaitable[Any]]) -> None:
        """Act in a transaction that nobody waits for longer than a short time."""
        tell = self.progress.tell
        await patiently(self.connection, act, tell, longest=LONGEST_WAIT)

    async def value(self, query: str) -> Any:
        """The first value that a query returns."""
        row = await (await self.connection.execute(query.encode())).fetchone()
        return row[0] if row else None

    async def execute(self, query: str) -> None:
        """Execute statements."""
        await self.connection.execute(query.encode())

    async def in_batches(self, name: str, most: int, total: int) -> None:
        """Execute a statement for batch after batch, each a transaction, until nothing is left."""
        after = await self.progress.position()
        done = 0
        while True:
            query = text(name, after=str(after), most=str(most))
            row = await (await self.connection.execute(query)).fetchone()
            if row is None:
                return
            after, done = row[0], done + row[1]
            self.progress.count(done, total)


async def add_keys(work: Work) -> None:
    """Unique ids, where the tables have none."""
    for table, column in (("etl_context", "context_id"), ("event_store_prototype", "event_id")):
        if table in work.unique:
            continue
        name = f"{table}_pkey"
        query = text("unique_index", name=name, table=table, column=column)
        await build_index(work.connection, name, query, work.progress.tell)


async def add_columns(work: Work) -> None:
    """The columns of this version, without a look at any row."""

    async def add() -> None:
        if await work.value(text("has_columns")):
            return
        await work.execute(text("columns"))

    await work.shortly(add)


async def make_tables(work: Work) -> None:
    """All other tables and the functions; nobody meets them yet."""

    async def make() -> None:
        if await work.value("SELECT to_regclass('_data_manager_admin.run_queue') IS NOT NULL"):
            return
        await work.execute(SNAPSHOTS)
        names = [FIRST_OF_ALL]
        for migration in schema.migrations():
            names.append(migration.name)
            if migration.name in {FIRST_OF_ALL, schema.CODE} or migration.is_concurrent:
                continue
            await work.execute(migration.plain_sql)
        await work.execute(schema.code_before_triggers())
        await work.connection.execute(MIGRATIONS, [names[1:]])

    await work.shortly(make)


async def stage(work: Work) -> None:
    """What is to be written into each event, beside them."""
    await work.execute("SET work_mem = '128MB'")
    await work.execute(text("stage_versions", said=text("said"), time=text("time")))


async def place_events(work: Work) -> None:
    """A place in the log for each event; those that are written meanwhile come after."""

    async def place() -> None:
        if not await work.value("SELECT EXISTS (SELECT FROM _data_manager_admin.event_log)"):
            await work.execute(text("place_events"))

    await work.shortly(place)


async def number_events(work: Work) -> None:
    """A version for each event, and its time."""
    staged = "SELECT count(*) FROM _data_manager_admin.adoption_version"
    total = await work.value(staged)
    if not total:  # unlogged: a crash of the server has emptied it
        await stage(work)
        total = await work.value(staged)
    await work.in_batches("number_events", BATCH, total)


async def place_contexts(work: Work) -> None:
    """What its events say of each context; missing ones are added before."""
    added = await work.value(text("add_missing"))
    if added:
        work.progress.tell(
            f"{number_of(added, 'context is', 'contexts are')} added that events or contexts name"
        )
    await work.execute("SET work_mem = '128MB'")
    await work.execute(text("stage_contexts"))
    total = await work.value("SELECT count(*) FROM _data_manager_admin.adoption_context")
    await work.in_batches("place_contexts", CONTEXTS, total)


async def build_indexes(work: Work) -> None:
    """All indexes, beside the writers."""
    ours = schema.Migration("indexes", text("indexes", walls=await _walls(work)))
    indexes = [*ours.indexes]
    indexes += [i for m in schema.migrations() if m.is_concurrent for i in m.indexes]
    for name, query in indexes:
        work.progress.tell(f"builds the index {name}")
        await build_index(work.connection, name, query, work.progress.tell)


async def _walls(work: Work) -> str:
    """Which events the second wall leaves out: those that are there, where they are against it."""
    if not await work.value(text("against")):
        return ""
    latest = await work.value("SELECT max(event_id) FROM _data_manager_admin.event_store_prototype")
    return WALLS.format(latest)


async def _catch_up(work: Work, most: int) -> None:
    await work.execute(text("catch_up_contexts", most=str(most)))
    await work.execute(text("catch_up_events", most=str(most)))


async def switch(work: Work) -> None:
    """Catch up with what was written meanwhile, and turn the guards on in the same moment."""
    few = text("is_behind", most=str(FEW))

    async def turn() -> None:
        await work.execute(
            "LOCK TABLE _data_manager_admin.etl_context, _data_manager_admin.event_store_prototype"
            " IN SHARE ROW EXCLUSIVE MODE"
        )
        if await work.value(few):
            raise NotYetError
        await _catch_up(work, FEW)
        await work.execute(schema.triggers())
        await work.execute(text("sequences"))
        await work.execute(schema.TABLE)
        names = await work.value("SELECT migrations FROM _data_manager_admin.adoption")
        for migration in schema.migrations():
            if migration.name in names:
                record = [migration.name, migration.checksum]
                await work.connection.execute(schema.RECORD, record)

    while True:
        while await work.value(few):
            await work.shortly(partial(_catch_up, work, BATCH // 4))
        try:
            await work.shortly(turn)
        except NotYetError:
            continue
        return


async def constrain(work: Work) -> None:
    """What holds for every row is said to the database, validated beside the writers."""
    rows = await (await work.connection.execute(text("unfilled"))).fetchall()
    for table, column, has_check in rows:
        alter = f"ALTER TABLE _data_manager_admin.{table}"
        check = f"adoption_{column}"
        if not has_check:
            add = f"{alter} ADD CONSTRAINT {check} CHECK ({column} IS NOT NULL) NOT VALID"
            await work.shortly(partial(work.execute, add))
        await work.shortly(partial(work.execute, f"{alter} VALIDATE CONSTRAINT {check}"))
        # In one ALTER TABLE the check goes first, and all rows are read while everybody waits.
        fill = f"{alter} ALTER COLUMN {column} SET NOT NULL; {alter} DROP CONSTRAINT {check}"
        await work.shortly(partial(work.execute, fill))
    await work.shortly(partial(work.execute, text("references")))
    for name in ("etl_context_status_check", "etl_context_parent_id_fkey"):
        validate = f"ALTER TABLE _data_manager_admin.etl_context VALIDATE CONSTRAINT {name}"
        await work.shortly(partial(work.execute, validate))


async def sequence(work: Work) -> None:
    """Places in the log for the events that were written meanwhile."""
    await work.execute("ANALYZE _data_manager_admin.etl_context")
    await work.execute("ANALYZE _data_manager_admin.event_store_prototype")
    await work.value("SELECT _data_manager_admin.sequence_log()")


async def clear(work: Work) -> None:
    """Take away what only the adoption needed."""
    for name in ("adoption_new_context", "adoption_new_event"):
        await work.execute("SET lock_timeout = 0")
        await work.execute(f"DROP INDEX CONCURRENTLY IF EXISTS _data_manager_admin.{name}")
    await work.execute("DROP TABLE IF EXISTS _data_manager_admin.adoption_version")
    await work.execute("DROP TABLE IF EXISTS _data_manager_admin.adoption_context")


STEPS: tuple[tuple[str, str, Callable[[Work], Awaitable[None]]], ...] = (
    ("keys", "gives the tables unique ids", add_keys),
    ("columns", "adds columns", add_columns),
    ("tables", "makes the other tables and the functions", make_tables),
    ("stage", "counts the events of each context", stage),
    ("places", "gives the events their places in the log", place_events),
    ("events", "numbers the events", number_events),
    ("contexts", "places the contexts", place_contexts),
    ("indexes", "builds indexes", build_indexes),
    ("switch", "turns the guards on", switch),
    ("constraints", "validates constraints", constrain),
    ("log", "gives the last events their places in the log", sequence),
    ("clear", "clears up", clear),
)
