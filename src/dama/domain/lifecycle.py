"""The life cycle of a task, as a slice: status, attempts, steps, subtasks, progress, outcome.

None, then OPEN with the INITIAL, ERROR when the task failed for good, OPEN again with any later
event, DONE with the FINAL, CANCELLED until an operator resumes it. The store refuses what may not
come; the fold itself is total and takes any history, old and bad ones too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from dama.domain.event import ABSENT, Event, StoredEvent, kind_of
from dama.domain.slice import Slice
from dama.shapes import Json, is_array, is_object


class Status(StrEnum):
    """The status of a context that has events."""

    OPEN = "OPEN"
    ERROR = "ERROR"
    DONE = "DONE"
    CANCELLED = "CANCELLED"


@dataclass(frozen=True)
class Attempt:
    """One run of the task.

    Attributes:
        epoch: Which run it was; rises with each.
        worker: Who ran it: `host:pid`.
        started_at: By the clock of the database.
        ended_at: When it failed, was cancelled or ended; None while it runs or when it was lost.
        outcome: done, failed, cancelled, or lost for a program that nobody knows the end of; None
            while it runs, when its worker died, or where a fork's history ends in its middle.
        release: Of the code, where its worker names one.
        commit: Of the code, where its worker started in a checkout of Git.
        dama: The version of dama.
    """

    epoch: int
    worker: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    outcome: str | None = None
    release: str | None = None
    commit: str | None = None
    dama: str | None = None


@dataclass(frozen=True)
class Lifecycle:
    """What a context is and has done.

    Attributes:
        status: None before the first event.
        task: The full name of the task.
        params: The payload of the INITIAL.
        result: The payload of the FINAL.
        error: The payload of the latest error of the task; None when it continued.
        attempts: The runs, the latest last.
        steps: The keys of the steps that are done.
        subtasks: The ids of the subtasks, by the key of the step that started them.
        progress: The payload of the latest PROGRESS.
    """

    status: Status | None = None
    task: str | None = None
    params: Any = None
    result: Any = None
    error: Mapping[str, Any] | None = None
    attempts: tuple[Attempt, ...] = ()
    steps: tuple[str, ...] = ()
    subtasks: Mapping[str, tuple[int, ...]] | None = None
    progress: Mapping[str, Json] | None = None


STATUS_OF = {"FINAL": Status.DONE, "ERROR": Status.ERROR, "CANCELLED": Status.CANCELLED}

lifecycle = Slice("lifecycle", initial=Lifecycle())


def step_key(type_: str) -> tuple[str, str] | None:
    """The key and the suffix of a step's event, `flights.load/extract:DONE`; None for others."""
    name, _, suffix = type_.rpartition(":")
    if suffix not in {"DONE", "FAILED", "SPAWNED", "WAITING"} or "/" not in name:
        return None
    # A service may have slashes but no dot, a task has neither, a key may have both.
    dot = name.find(".")
    slash = name.find("/", dot) if dot >= 0 else -1
    return (name[slash + 1 :], suffix) if slash >= 0 else None


def _spawned_ids(event: Event) -> tuple[int, ...]:
    """The contexts that a SPAWNED names; what is not an id in it is left out."""
    found: object = (_object(event) or {}).get("context_ids")
    ids = found if is_array(found) else []
    return tuple(i for i in ids if isinstance(i, int) and not isinstance(i, bool))


@lifecycle.on_match(lambda _: True)
def live(state: Lifecycle, event: Event) -> Lifecycle:  # noqa: PLR0911 - a case for each kind
    """Any event keeps a context open, unless it ends it."""
    kind = kind_of(event.type)
    status = STATUS_OF.get(kind or "", Status.OPEN)
    if status is not state.status:
        state = replace(state, status=status)
    match kind:
        case "INITIAL":
            task = event.type.rpartition(":")[0] or None
            return replace(state, task=task, params=_value(event))
        case "STARTED" | "ADOPTED" | "LOST":
            return _begun(state, event, kind)
        case "PROGRESS":
            return replace(state, progress=_object(event))
        case "RETRYING" | "ERROR":
            return replace(_ended(state, event, "failed"), error=_object(event))
        case "CANCELLED":
            return _ended(state, event, "cancelled")
        case "FINAL":
            return replace(_ended(state, event, "done"), result=_value(event), error=None)
        case _:
            found = step_key(event.type)
            return state if found is None else history(state, (event,))


@lifecycle.fold_many
def history(state: Lifecycle, events: Iterable[Event]) -> Lifecycle:
    """Many events at once: a task may have any number of steps, and they are copied once."""
    steps: list[str] = []
    spawned: dict[str, list[int]] = {}
    for event in events:
        found = step_key(event.type)
        if found is None:
            state = live(state, event)
            continue
        if state.status is not Status.OPEN:
            state = replace(state, status=Status.OPEN)
        key, suffix = found
        if suffix == "DONE":
            steps.append(key)
        elif suffix == "SPAWNED":
            spawned.setdefault(key, []).extend(_spawned_ids(event))
    return _with_steps(state, steps, spawned)


def _with_steps(
    state: Lifecycle, steps: Sequence[str], spawned: Mapping[str, Sequence[int]]
) -> Lifecycle:
    if steps:
        state = replace(state, steps=(*state.steps, *steps))
    if spawned:
        known = state.subtasks or {}
        added = {key: (*known.get(key, ()), *ids) for key, ids in spawned.items()}
        state = replace(state, subtasks={**known, **added})
    return state


def _attempt(event: Event) -> Attempt:
    meta = _meta(event)

    def text(name: str) -> str | None:
        value: object = meta.get(name)
        return value if isinstance(value, str) else None

    return Attempt(
        epoch=_integer(meta.get("epoch")),
        worker=text("worker"),
        started_at=_at(event),
        release=text("release"),
        commit=text("commit"),
        dama=text("version"),
    )


def _begun(state: Lifecycle, event: Event, kind: str) -> Lifecycle:
    """An attempt begins, continues with another worker and epoch, or was lost."""
    if kind == "LOST":
        return replace(_ended(state, event, "lost"), error=_object(event))
    by = _attempt(event)
    if kind == "STARTED" or not state.attempts or state.attempts[-1].outcome is not None:
        return replace(state, error=None, attempts=(*state.attempts, by))
    latest = replace(state.attempts[-1], epoch=by.epoch, worker=by.worker)
    return replace(state, attempts=(*state.attempts[:-1], latest))


def _ended(state: Lifecycle, event: Event, outcome: str) -> Lifecycle:
    if not state.attempts or state.attempts[-1].outcome is not None:
        return state
    latest = replace(state.attempts[-1], ended_at=_at(event), outcome=outcome)
    return replace(state, attempts=(*state.attempts[:-1], latest))


def _at(event: Event) -> datetime | None:
    return event.created_at if isinstance(event, StoredEvent) else None


def _value(event: Event) -> Any:
    return None if event.payload is ABSENT else event.payload


def _object(event: Event) -> Mapping[str, Any] | None:
    payload: object = event.payload
    return payload if is_object(payload) else None


def _meta(event: Event) -> Mapping[str, Any]:
    return event.meta if isinstance(event.meta, Mapping) else {}


def _integer(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
