"""Adopting: one audit, then step after step, and a look whether nothing was lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama.store import schema
from dama.store.adoption import later
from dama.store.adoption.audit import Audit, examine
from dama.store.adoption.first import STEPS, Work
from dama.store.adoption.progress import Progress, State
from dama.store.adoption.session import act_as, opened
from dama.store.adoption.shape import FIRST, LATER, find
from dama.store.adoption.texts import text
from dama.store.errors import SchemaError
from dama.store.migrating import LOCK, blockers_told

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.store.adoption.later import Copied
    from dama.store.adoption.session import Connection
    from dama.store.adoption.shape import Shape

RIGHTS = """
SELECT has_schema_privilege('_data_manager_admin', 'USAGE')
   AND has_schema_privilege('_data_manager_admin', 'CREATE')
"""


@dataclass(frozen=True)
class Adopted:
    """What an adoption came to.

    Attributes:
        audit: What was found before.
        events: How many events were there before the first column was added.
        before: Their checksum before anything was changed, over the six columns.
        after: Their checksum now.
        is_done: Whether it was done before, and nothing was left to do.
    """

    audit: Audit
    events: int
    before: str
    after: str
    is_done: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether no event was changed or lost."""
        return self.before == self.after


async def adopt(
    conninfo: str, tell: Callable[[str], None], *, ends: bool = False
) -> Adopted | Copied | Audit:
    """Adopt the tables of the first generation in place, or copy those of the later one.

    An adoption that was cut off is continued; what was written into the tables of the later
    generation since the last time is copied too.

    Args:
        conninfo: Of the database.
        tell: Called with what is done and what is waited for, in words.
        ends: Whether the programs of the later generation are switched off.

    Returns:
        What it came to; the audit where something must be corrected before.

    Raises:
        SchemaError: There is nothing to adopt, or not as the first system made it.
        DatabaseUnreachableError: It does not answer.
    """
    async with opened(conninfo) as connection, blockers_told(conninfo, connection, tell):
        progress = Progress(connection, FIRST.name, tell)
        await _be_alone(connection)
        state = await progress.state()
        if state is None or state.ended_at is not None:
            shape = await _later_shape(connection)
            if shape is not None:
                return await _copy(conninfo, connection, shape, tell, ends=ends)
        if state is None:
            audit = await _begin(connection, progress)
            if audit.refused:
                return audit
            state = await progress.state()
        if state is None or state.ended_at is not None:
            return await _done(state)
        return await _continue(connection, progress, state)


async def _later_shape(connection: Connection) -> Shape | None:
    """The tables of the later generation, where they are what is to be adopted."""
    try:
        shape = await find(connection)
    except SchemaError:
        return None  # nothing, or what is said when the first generation is looked for
    return shape if shape.generation is LATER else None


async def _copy(
    conninfo: str,
    connection: Connection,
    shape: Shape,
    tell: Callable[[str], None],
    *,
    ends: bool,
) -> Copied | Audit:
    progress = Progress(connection, LATER.name, tell)
    state = await progress.state()
    if state is None:
        progress.tell("looks at all rows")
        audit = await examine(connection, shape)
        if audit.refused:
            return audit
        await later.begin(conninfo, connection, progress, audit)
    elif state.ended_at is not None:
        raise SchemaError(
            "The tables of the later generation were adopted, and are left.",
            "What is written into them now is not copied.",
        )
    else:
        audit = state.audit
    return await later.follow(connection, progress, shape, audit, ends=ends)


async def _be_alone(connection: Connection) -> None:
    row = await (await connection.execute("SELECT pg_try_advisory_lock(%s, 1)", [LOCK])).fetchone()
    if row != (True,):
        raise SchemaError(
            "Another adoption of this database is at work.",
            "Wait for it: it can be killed, and this one continues where it was.",
        )


async def _begin(connection: Connection, progress: Progress) -> Audit:
    shape = await find(connection)
    await act_as(connection, shape.owner)
    progress.tell("looks at all rows")
    audit = await examine(connection, shape)
    if not audit.refused:
        await schema.refuse_encoding(connection)
        await _refuse_without_rights(connection, shape.owner)
        await progress.begin(audit)
    return audit


async def _refuse_without_rights(connection: Connection, owner: str) -> None:
    row = await (await connection.execute(RIGHTS)).fetchone()
    if row != (True,):
        raise SchemaError(
            f"The owner of the tables, {owner}, may not create tables in their schema.",
            f"Execute GRANT USAGE, CREATE ON SCHEMA _data_manager_admin TO {owner}, as its owner.",
        )


async def _done(state: State | None) -> Adopted:
    if state is None:
        raise SchemaError("The adoption has no record of itself.", "Run dama db adopt again.")
    return Adopted(state.audit, 0, state.checksum or "", state.checksum or "", is_done=True)


async def _continue(connection: Connection, progress: Progress, state: State) -> Adopted:
    row = await (await connection.execute(text("owner"))).fetchone()
    await act_as(connection, str(row[0]) if row else "")
    unique = [name for (name,) in await (await connection.execute(text("unique_ids"))).fetchall()]
    work = Work(connection, progress, unique)
    names = [name for name, _, _ in STEPS]
    for name, words, act in STEPS[names.index(state.step) + 1 if state.step else 0 :]:
        progress.tell(words)
        await act(work)
        if name == "tables":
            await progress.keep_checksum((await _events(work))[1])
        await progress.finish(name)
    progress.tell("compares the checksums")
    events = await _events(work)
    await progress.end()
    state = await progress.state() or state
    return Adopted(state.audit, events[0], state.checksum or "", events[1])


async def _events(work: Work) -> tuple[int, str]:
    """How many events were there before the first column was added, and their checksum."""
    xid = await work.value("SELECT xid::text FROM _data_manager_admin.adoption")
    which = f"e.xid = '{xid}'::xid8"
    query = text("checksum", events="_data_manager_admin.event_store_prototype", which=which)
    row = await (await work.connection.execute(query)).fetchone()
    return (row[0], row[1]) if row else (0, "")
