"""The shape of what is there: which generation of the first system, and whether it is one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, LiteralString

from dama.store.adoption.texts import text
from dama.store.errors import SchemaError

if TYPE_CHECKING:
    from dama.store.adoption.session import Connection

INTEGERS = ("integer", "bigint")
ANY_TIME = ("timestamp without time zone", "timestamp with time zone")
SIX = {
    "event_id": INTEGERS,
    "etl_context_id": INTEGERS,
    "type": ("text",),
    "payload": ("jsonb",),
    "meta": ("jsonb",),
    "error": ("boolean",),
}
STATES = ("not begun", "under way", "done")


@dataclass(frozen=True)
class Generation:
    """One generation of the first system: its two tables.

    Attributes:
        name: `first` or `later`.
        schema: Where its tables are.
        contexts: The table of contexts.
        events: The table of events.
        id_column: Of a context.
        parent_column: Of a context.
        context_columns: Of the table of contexts, with the types that each may have.
        event_columns: Of the table of events.
    """

    name: str
    schema: LiteralString
    contexts: LiteralString
    events: LiteralString
    id_column: LiteralString
    parent_column: LiteralString
    context_columns: Mapping[str, Sequence[str]]
    event_columns: Mapping[str, Sequence[str]]


FIRST = Generation(
    "first",
    "_data_manager_admin",
    "etl_context",
    "event_store_prototype",
    "context_id",
    "parent_id",
    {"context_id": INTEGERS, "parent_id": INTEGERS},
    SIX,
)
LATER = Generation(
    "later",
    "data_manager",
    "etl_contexts",
    "event_store",
    "etl_context_id",
    "parent_context_id",
    {
        "etl_context_id": INTEGERS,
        "parent_context_id": INTEGERS,
        "source_id": INTEGERS,
        "etl_task_id": INTEGERS,
        "etl_status": ("text", "character varying", "USER-DEFINED"),
        "initial_event_id": INTEGERS,
        "latest_event_id": INTEGERS,
        "_created_timestamp": ANY_TIME,
        "_modified_timestamp": ANY_TIME,
    },
    {**SIX, "_created_timestamp": ANY_TIME},
)


@dataclass(frozen=True)
class Relation:
    """A table, as the catalog has it."""

    schema: str
    name: str
    kind: str
    owner: str
    may_own: bool
    rows: int
    has_row_security: bool
    columns: Mapping[str, Mapping[str, Any]]
    keys: Sequence[str]
    references: Sequence[str]
    triggers: Sequence[str]
    updates: Sequence[str]
    rules: Sequence[str]


@dataclass(frozen=True)
class Shape:
    """What was found.

    Attributes:
        generation: Which one is to be adopted.
        contexts: Its table of contexts.
        events: Its table of events.
        is_under_way: Whether an adoption has begun and not ended.
        is_ours: Whether the schema of this version is there.
    """

    generation: Generation
    contexts: Relation
    events: Relation
    is_under_way: bool
    is_ours: bool

    @property
    def owner(self) -> str:
        """Who owns both tables."""
        return self.events.owner


async def find(connection: Connection) -> Shape:
    """Find what there is to adopt.

    Raises:
        SchemaError: Nothing, or something that is not what the first system made.
    """
    rows = await (await connection.execute(text("shape"))).fetchall()
    found = {(r.schema, r.name): r for r in (Relation(*row) for row in rows)}
    is_ours = ("_data_manager_admin", "schema_migration") in found
    is_under_way = ("_data_manager_admin", "adoption") in found and not is_ours
    for generation in (LATER,) if is_ours else (FIRST, LATER):
        contexts = found.get((generation.schema, generation.contexts))
        events = found.get((generation.schema, generation.events))
        if contexts is None and events is None:
            continue
        if contexts is None or events is None:
            missing = generation.events if events is None else generation.contexts
            raise SchemaError(
                f"The table {generation.schema}.{missing} is missing: one alone is not adopted.",
                "Restore it, or migrate another database.",
            )
        shape = Shape(generation, contexts, events, is_under_way, is_ours)
        _refuse_other_shapes(shape)
        return shape
    raise SchemaError(
        "The database has no tables of the first system: there is nothing to adopt.",
        "Bring its schema up to date: dama db migrate",
    )


def _refuse_other_shapes(shape: Shape) -> None:
    generation = shape.generation
    wanted = (
        (shape.contexts, generation.context_columns),
        (shape.events, generation.event_columns),
    )
    for relation, columns in wanted:
        name = f"{relation.schema}.{relation.name}"
        if relation.kind != "r":
            raise SchemaError(
                f"{name} is not a plain table, so it cannot be adopted.",
                "Views, foreign and partitioned tables stay as they are: use another database.",
            )
        if relation.has_row_security:
            raise SchemaError(
                f"{name} has row level security, which hides rows from who adopts it.",
                f"ALTER TABLE {name} DISABLE ROW LEVEL SECURITY",
            )
        if relation.rules and generation is FIRST:
            raise SchemaError(
                f"{name} has rules, which change what is written: {', '.join(relation.rules)}.",
                f"ALTER TABLE {name} DISABLE RULE {relation.rules[0]}",
            )
        _refuse_columns(name, relation, columns, shape)
    if shape.contexts.owner != shape.events.owner:
        raise SchemaError(
            f"The two tables belong to {shape.contexts.owner} and {shape.events.owner}.",
            "Give both to one role: ALTER TABLE ... OWNER TO ...",
        )
    if not shape.events.may_own:
        raise SchemaError(
            f"The tables belong to {shape.owner}, and this role may not change them.",
            f"Adopt them as {shape.owner}, or as a superuser.",
        )


def _refuse_columns(
    name: str, relation: Relation, columns: Mapping[str, Sequence[str]], shape: Shape
) -> None:
    missing = [column for column in columns if column not in relation.columns]
    others = [
        f"{column} {relation.columns[column]['type']} (not {' or '.join(types)})"
        for column, types in columns.items()
        if column in relation.columns
        and "USER-DEFINED" not in types
        and relation.columns[column]["type"] not in types
    ]
    further = [column for column in relation.columns if column not in columns]
    if shape.is_under_way or shape.generation is LATER:
        further = []  # ours; what is copied leaves columns of others where they are
    if missing or others or further:
        told = [
            f"{what}: {', '.join(names)}"
            for what, names in (("missing", missing), ("other types", others), ("further", further))
            if names
        ]
        raise SchemaError(
            f"{name} has not the columns that the first system made; {'; '.join(told)}.",
            "Tables are adopted as they were made. Move further columns to a table of their own.",
        )
