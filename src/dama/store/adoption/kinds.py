"""Kinds of findings: what an audit of the first system's tables counts, and what is done about it.

Nothing of what is found is corrected: history stays as it is, and whoever reads it copes with it.
Only what no table of this version can hold is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, LiteralString

Level = Literal["refused", "flagged", "kept", "note"]


@dataclass(frozen=True)
class Kind:
    """What an audit counts.

    Attributes:
        name: In few words.
        condition: In SQL, of a row `o`.
        will: What is done about it.
        level: `refused`: nothing is adopted before it is corrected; `flagged`: history that is
            against the rules; `kept`: an event beyond the profile of today; `note`: nothing wrong.
    """

    name: str
    condition: LiteralString
    will: str
    level: Level = "flagged"


CORRECT = "nothing is adopted: remove or correct these rows first"
READ = "kept as it is, and read as it is; a new event like this is refused"

CONTEXTS = (
    Kind("context without an id", "o.id IS NULL", CORRECT, "refused"),
    Kind("context without events", "NOT o.has_events", "kept, without a status", "note"),
    Kind(
        "parent without a row",
        "o.is_orphan",
        "a context without events is added for each missing parent",
    ),
    Kind(
        "cycle of parents",
        "o.is_in_cycle",
        "kept; the smallest id of the cycle counts as the root of all that is in it and below it",
    ),
)
LIVES = (
    Kind(
        "events without a context",
        "NOT o.is_known",
        "kept; a context is added under each id that they name, so that they can be read",
    ),
    Kind("no INITIAL", "o.initials = 0", "kept; the first event counts as the beginning"),
    Kind("INITIAL not first", "o.initial > o.first", "kept in the order of their ids"),
    Kind("several INITIAL", "o.initials > 1", "kept; a further one is refused"),
    Kind("several FINAL", "o.finals > 1", "kept; the last one is the result"),
    Kind(
        "events after FINAL",
        "o.last > o.final",
        "kept; the last event says the status, and `dama cancel` ends a context that is open",
    ),
)
EVENTS = (
    Kind("event without an id", "o.event_id IS NULL", CORRECT, "refused"),
    Kind("event without a context id", "o.etl_context_id IS NULL", CORRECT, "refused"),
    Kind("event without a type", "o.type IS NULL", CORRECT, "refused"),
    Kind(
        "type empty or over 1,000 bytes", "o.type = '' OR octet_length(o.type) > 1000", READ, "kept"
    ),
    Kind("meta not an object", "jsonb_typeof(o.meta) NOT IN ('object', 'null')", READ, "kept"),
    Kind("payload or meta beyond the limits of size, depth or numbers", "o.is_odd", READ, "kept"),
    Kind(
        "error without an object",
        "o.error AND jsonb_typeof(o.payload) IS DISTINCT FROM 'object'",
        READ,
        "kept",
    ),
    Kind(
        "ERROR without error: true",
        "o.error IS NOT TRUE AND o.type LIKE '%:ERROR'",
        f"{READ}; its context has the status ERROR",
        "kept",
    ),
    Kind(
        "keys in meta that dama uses",
        "jsonb_typeof(o.meta) IS NOT DISTINCT FROM 'object'"
        " AND o.meta ?| '{idempotency_key,epoch,start_key}'",
        "kept; a new event with the same idempotency key is refused",
        "kept",
    ),
    Kind(
        "types that mean something to dama",
        "o.word IN ('STARTED', 'ADOPTED', 'LOST', 'RETRYING', 'RESUMED', 'CANCELLED', 'PROGRESS')",
        "kept, and read as what they mean now",
        "kept",
    ),
    Kind(
        "types that the life cycle does not know",
        "o.word NOT IN ('INITIAL', 'FINAL', 'ERROR', 'STARTED', 'ADOPTED', 'LOST', 'RETRYING',"
        " 'RESUMED', 'CANCELLED', 'PROGRESS')",
        "kept as events of the program's own",
        "note",
    ),
    Kind(
        "no time in meta",
        "o.at IS NULL",
        "created_at is 1970-01-01, since when they were written is not known",
        "note",
    ),
)


def flags(kinds: tuple[Kind, ...]) -> str:
    """The SQL of a column for each kind: whether a row is one."""
    return ", ".join(f"{kind.condition} AS is_{n}" for n, kind in enumerate(kinds))


def counted(kinds: tuple[Kind, ...]) -> str:
    """The SQL that counts kinds by these columns: of each [count, at most five ids], by name."""
    parts = [
        f"'{kind.name}', jsonb_build_array(count(*) FILTER (WHERE o.is_{n}),"
        f" coalesce(to_jsonb((array_agg(o.id) FILTER (WHERE o.is_{n}))[1:5]), '[]'))"
        for n, kind in enumerate(kinds)
    ]
    return f"jsonb_build_object({', '.join(parts)})"
