"""Reserved events: what only the controller writes, because replay and the queue trust it.

A run says that it started, took a step, spawned a subtask or ended. If anybody else could say so, a
result could be forged and a step left out. Whoever writes from outside a run (a person, a service,
a packet) therefore has every other type, may not speak as a run, and may not take a key that a run
will use. The database has the same rule for contexts that have a run (`event_rules.sql`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dama.domain.errors import ReservedEventError
from dama.domain.event import Event, kind_of
from dama.domain.lifecycle import step_key
from dama.shapes import Json, as_object

if TYPE_CHECKING:
    from collections.abc import Mapping

RESERVED_KINDS = frozenset(
    {
        "INITIAL",
        "PLACED",
        "UNPLACED",
        "STARTED",
        "ADOPTED",
        "LOST",
        "RETRYING",
        "RESUMED",
        "ERROR",
        "CANCELLED",
        "FINAL",
    }
)
# What a program may write of its own run: how far it is, and steps that it keeps account of itself.
PROGRAM_STEPS = frozenset({"DONE", "FAILED"})
# Who wrote an event and by which way it came: for the controller to say, never for the writer.
WHO = frozenset(
    {
        "user",
        "user_as_said",
        "token",
        "node",
        "request_id",
        "caller",
        "worker",
        "program_host",
        "program_epoch",
    }
)
# The idempotency keys of runs: an event with one of them would take the place of the run's own.
_KEYS_OF_RUNS = re.compile(
    r"(PLACED|UNPLACED|STARTED|ADOPTED|LOST|RETRYING|ERROR|FINAL|PROGRESS|LOG)([#@]|$)"
    r"|(DONE|FAILED|SPAWNED|WAITING|dispatch|ship)/"
)


def name_of(by: Mapping[str, Json]) -> str | None:
    """What to call somebody: the user, else the token, else what a node says."""
    names = (by.get(key) for key in ("user", "token", "user_as_said", "node"))
    return next((name for name in names if isinstance(name, str)), None)


def is_reserved(type_: str) -> bool:
    """Whether only the controller writes events of a type: those of the life cycle and of steps."""
    return kind_of(type_) in RESERVED_KINDS or step_key(type_) is not None


def is_for_programs(type_: str) -> bool:
    """Whether a program may write events of a type into the context of its own run."""
    step = step_key(type_)
    return kind_of(type_) not in RESERVED_KINDS and (step is None or step[1] in PROGRAM_STEPS)


def event_of_program(event: Event, task: str, own: Mapping[str, Any]) -> Event:
    """The event that a program means with one that it sent, in the context of its own run.

    Args:
        event: As it came; a type that begins with `:` or `/` is one of its task.
        task: The full name of the task.
        own: What the controller says in its meta, whatever the program says there.

    Raises:
        ReservedEventError: Only the controller writes such an event.
    """
    type_ = f"{task}{event.type}" if event.type[0] in ":/" else event.type
    if not is_for_programs(type_):
        raise ReservedEventError(
            f"Only the controller writes events of the type {event.type}: it belongs to the life "
            "cycle.",
            "Choose another type, or end with an exit code.",
        )
    theirs = without_who(as_object(event.meta))
    if "idempotency_key" not in own and is_key_of_a_run(theirs.get("idempotency_key")):
        raise ReservedEventError(
            f"The controller uses the key {theirs['idempotency_key']!r} for an event of its own.",
            "Choose another idempotency_key, such as one with your own prefix.",
        )
    return Event(type_, event.payload, event.error, {**theirs, **own})


def is_key_of_a_run(key: object) -> bool:
    """Whether an idempotency key is one of those that runs use for their own events."""
    return isinstance(key, str) and _KEYS_OF_RUNS.match(key) is not None


def without_who(meta: Mapping[str, Json]) -> dict[str, Any]:
    """The meta that a writer gave, but for what it may not say of itself."""
    return {name: value for name, value in meta.items() if name not in WHO}


def refuse_reserved(event: Event) -> None:
    """Refuse an event from outside a run that only a run or the controller may write.

    Raises:
        ReservedEventError: Its type is reserved, it claims to be of a run, or its key is one
            of those that runs use.
    """
    if is_reserved(event.type):
        raise ReservedEventError(
            f"Only the controller writes events of the type {event.type!r}.",
            "Choose another type. `dama cancel` and `dama resume` end and reopen a context.",
        )
    meta = as_object(event.meta)
    if "epoch" in meta:
        raise ReservedEventError(
            "meta.epoch says which run writes an event, and this one comes from outside a run.",
            "Leave it out. A program writes with $DAMA_EVENTS, stdout or the token of its run.",
        )
    key = meta.get("idempotency_key")
    if is_key_of_a_run(key):
        raise ReservedEventError(
            f"meta.idempotency_key is {key!r}, which a run uses for an event of its own.",
            "Choose another key, such as one with your own prefix.",
        )
