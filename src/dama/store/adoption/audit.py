"""The audit: what is in the tables of the first system, and what will be done about it.

It reads in one snapshot, changes nothing, and stops nobody.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dama.store.adoption import kinds
from dama.store.adoption.kinds import Kind, Level, counted, flags
from dama.store.adoption.session import act_as, opened
from dama.store.adoption.shape import FIRST, Relation, Shape, find
from dama.store.adoption.texts import text
from dama.store.errors import SchemaError

if TYPE_CHECKING:
    from dama.store.adoption.session import Connection

LARGEST = 2**31 - 1
WIDEN = "ids stay integers; docs/howto/adopt.md has how they become bigint, in a pause"
REFERENCES = "they stay; the archive cannot take contexts that they name"
UPDATES = (
    "executed for each row, as the columns of dama are filled by UPDATE; disable one that refuses "
    "an UPDATE until the adoption has ended: ALTER TABLE ... DISABLE TRIGGER"
)
OURS = ("context_place", "contexts_are_kept", "contexts_follow_their_events", "context_admission",
        "event_history_is_immutable", "event_admission", "event_effects")  # fmt: skip
WARN_FROM = 0.8  # of the largest id
TWICE = "id that comes twice"
SEQUENCES = (
    ("_data_manager_admin.etl_context", "etl_context_context_id_seq"),
    ("_data_manager_admin.event_store_prototype", "event_store_prototype_event_id_seq"),
)
DRAWN = """
SELECT pg_sequence_last_value(c.oid) FROM pg_class c
  WHERE c.relkind = 'S' AND c.relname = %s
    AND c.relnamespace = to_regnamespace('_data_manager_admin')
"""


@dataclass(frozen=True)
class Found:
    """Something that an audit found.

    Attributes:
        kind: What.
        level: `refused`, `flagged`, `kept` or `note`.
        count: How often.
        examples: Ids of at most five contexts or events, or names.
        will: What is done about it.
    """

    kind: str
    level: Level
    count: int
    examples: Sequence[int | str]
    will: str


@dataclass(frozen=True)
class Table:
    """A table that was looked at.

    Attributes:
        name: With its schema.
        rows: How many.
        latest: Its largest id.
        id_type: `integer` or `bigint`.
        checksum: Of the columns of the first system, over all rows.
    """

    name: str
    rows: int
    latest: int
    id_type: str
    checksum: str


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        generation: `first` or `later`.
        owner: The role that the tables belong to.
        contexts: The table of contexts.
        events: The table of events.
        found: What is odd, and what is done about it.
    """

    generation: str
    owner: str
    contexts: Table
    events: Table
    found: Sequence[Found]

    @property
    def refused(self) -> Sequence[Found]:
        """What has to be corrected before anything can be adopted."""
        return [each for each in self.found if each.level == "refused"]


async def audit(conninfo: str) -> Audit:
    """Look at the tables of the first system; nothing is changed.

    Raises:
        SchemaError: There are none, or not as the first system made them.
        DatabaseUnreachableError: It does not answer.
    """
    async with opened(conninfo) as connection:
        shape = await find(connection)
        await act_as(connection, shape.owner)
        return await examine(connection, shape)


async def examine(connection: Connection, shape: Shape) -> Audit:
    """The audit in a session; in one snapshot."""
    await connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    await connection.execute("SET LOCAL enable_nestloop = off; SET LOCAL work_mem = '128MB'")
    try:
        events = await _look_at_events(connection, shape)
        contexts = await _look_at_contexts(connection, shape)
        twice = contexts.pop("twice") + await _events_twice(connection, shape)
        drawn = await _drawn(connection, shape)
    finally:
        await connection.execute("ROLLBACK")
    generation = shape.generation
    tables = [
        Table(
            f"{generation.schema}.{name}", r["rows"], r["latest"], _type(of, column), r["checksum"]
        )
        for name, r, of, column in (
            (generation.contexts, contexts, shape.contexts, generation.id_column),
            (generation.events, events, shape.events, "event_id"),
        )
    ]
    found = [
        *_kinds_found(kinds.CONTEXTS, contexts),
        *([Found(TWICE, "refused", twice, [], kinds.CORRECT)] if twice else []),
        *_kinds_found(kinds.LIVES, contexts),
        *_kinds_found(kinds.EVENTS, events),
        *(each for t in tables for each in _of_ids(t, drawn.get(t.name))),
        *_surroundings(shape),
    ]
    return Audit(generation.name, shape.owner, tables[0], tables[1], found)


async def _look_at_events(connection: Connection, shape: Shape) -> dict[str, Any]:
    generation = shape.generation
    query = text(
        "audit_events",
        events=f"{generation.schema}.{generation.events}",
        kinds=counted(kinds.EVENTS),
        flags=flags(kinds.EVENTS),
        said=text("said"),
        time=text("time"),
    )
    row = await (await connection.execute(query)).fetchone()
    return dict(row[0]) if row else {}


async def _look_at_contexts(connection: Connection, shape: Shape) -> dict[str, Any]:
    generation = shape.generation
    query = text(
        "audit_contexts",
        contexts=f"{generation.schema}.{generation.contexts}",
        events=f"{generation.schema}.{generation.events}",
        id=generation.id_column,
        parent=generation.parent_column,
        kinds=counted(kinds.CONTEXTS),
        lives=counted(kinds.LIVES),
        flags=flags(kinds.CONTEXTS),
        signs=flags(kinds.LIVES),
    )
    row = await (await connection.execute(query)).fetchone()
    return dict(row[0]) if row else {}


async def _events_twice(connection: Connection, shape: Shape) -> int:
    """How many ids of events are there once more; none where the database sees to it."""
    if "event_id" in shape.events.keys:
        return 0
    query = text("count_twice", events=f"{shape.events.schema}.{shape.events.name}")
    row = await (await connection.execute(query)).fetchone()
    return int(row[0]) if row else 0


async def _drawn(connection: Connection, shape: Shape) -> dict[str, int]:
    """How far the sequences have come, by table."""
    if shape.generation is not FIRST:
        return {}
    drawn: dict[str, int] = {}
    for table, sequence in SEQUENCES:
        row = await (await connection.execute(DRAWN, [sequence])).fetchone()
        if row is None:
            raise SchemaError(
                f"The sequence _data_manager_admin.{sequence} is missing: ids are drawn from it.",
                f"Make it as the first system had it: a serial column of {table}.",
            )
        drawn[table] = row[0] or 0
    return drawn


def _kinds_found(known: Sequence[Kind], counts: Mapping[str, Any]) -> list[Found]:
    return [
        Found(kind.name, kind.level, counts[kind.name][0], sorted(counts[kind.name][1]), kind.will)
        for kind in known
        if counts[kind.name][0]
    ]


def _type(relation: Relation, column: str) -> str:
    return str(relation.columns[column]["type"])


def _of_ids(table: Table, drawn: int | None) -> list[Found]:
    """Whether there is room for more ids, and whether the sequence is behind."""
    found: list[Found] = []
    if drawn is not None and drawn < table.latest:
        will = f"the sequence continues after {table.latest}"
        found.append(Found(f"sequence behind the ids of {table.name}", "flagged", 1, [drawn], will))
    last = max(drawn or 0, table.latest)
    if table.id_type == "integer" and last >= WARN_FROM * LARGEST:
        used = f"{last / LARGEST:.1%} of the ids of {table.name} are drawn"
        found.append(Found(used, "flagged", 1, [last], WIDEN))
    return found


def _surroundings(shape: Shape) -> list[Found]:
    """What hangs on the tables and stays as it is."""
    found: list[Found] = []
    for relation in (shape.contexts, shape.events):
        name = f"{relation.schema}.{relation.name}"
        if relation.references:
            found.append(
                Found(
                    f"tables that refer to {name}",
                    "note",
                    len(relation.references),
                    relation.references,
                    REFERENCES,
                )
            )
        updates = [t for t in relation.updates if t not in OURS and shape.generation is FIRST]
        if updates:
            found.append(
                Found(f"triggers on UPDATE of {name}", "flagged", len(updates), updates, UPDATES)
            )
        triggers = [t for t in relation.triggers if t not in OURS and t not in updates]
        if triggers:
            found.append(
                Found(
                    f"triggers of {name}",
                    "note",
                    len(triggers),
                    triggers,
                    "they stay, and are executed as before",
                )
            )
    return found
