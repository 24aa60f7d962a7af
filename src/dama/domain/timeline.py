"""Timelines: what a run went through, as spans of time, from the kinds and times of its events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

from dama.domain.lifecycle import step_key
from dama.shapes import Json

# What a run does after an event of a kind. After any other it runs, if it waited before.
AFTER = {
    "INITIAL": "queued", "RESUMED": "queued", "LOST": "queued", "RETRYING": "retrying",
    "STARTED": "running", "ADOPTED": "running", "WAITING": "waiting", "SPAWNED": "waiting",
}  # fmt: skip
ENDS = {"FINAL": "done", "ERROR": "failed", "CANCELLED": "cancelled"}
OUTCOMES = {**ENDS, "RETRYING": "failed", "LOST": "lost"}


class Mark(NamedTuple):
    """An event of a run, without what it says.

    Attributes:
        version: Its place in the context.
        type: Its type.
        at: When it was stored.
        epoch: Of the attempt that wrote it; None for what came from outside.
        worker: Who started an attempt: `host:pid`.
        dama: The version of dama that started it.
        usage: What a program that ended there had used.
    """

    version: int
    type: str
    at: datetime
    epoch: int | None = None
    worker: str | None = None
    dama: str | None = None
    usage: Mapping[str, Json] | None = None


@dataclass(frozen=True)
class Span:
    """A time in which a run was in one state, or in which it did a step.

    Attributes:
        kind: queued, running, waiting or retrying; done or failed for a step.
        begin: By the clock of the database.
        end: None while it lasts.
        name: The key of the step; of a wait, what it is for.
        version: The event that it begins with; of a step, that it ends with.
    """

    kind: str
    begin: datetime
    end: datetime | None
    name: str | None
    version: int


@dataclass(frozen=True)
class Try:
    """An attempt of a run.

    Attributes:
        number: 1 for the first.
        epoch: Fences earlier ones.
        worker: Who executed it: `host:pid`.
        dama: The version of dama.
        begin: When it began.
        end: When it ended; None while it lasts.
        outcome: done, failed, cancelled or lost; None while it lasts.
        usage: What its program used: `user` and `system` in seconds, `max_rss`, `bytes_read` and
            `bytes_written` in bytes; None where that is not known.
    """

    number: int
    epoch: int | None
    worker: str | None
    dama: str | None
    begin: datetime
    end: datetime | None
    outcome: str | None
    usage: Mapping[str, Json] | None


@dataclass
class Course:
    """The course of one run, from the marks that are known.

    Attributes:
        spans: States, without gaps until it ended.
        steps: The steps that ended, in the order of their ends.
        attempts: In their order; numbered from 1 when the marks begin with the first event.
    """

    spans: list[Span] = field(default_factory=list[Span])
    steps: list[Span] = field(default_factory=list[Span])
    attempts: list[Try] = field(default_factory=list[Try])


def course(marks: Iterable[Mark]) -> Course:
    """The course of a run. Its marks are in the order of their versions."""
    found = Course()
    begun: dict[str, datetime] = {}  # when steps started subtasks or began to wait
    before: datetime | None = None
    for mark in marks:
        suffix = mark.type.rpartition(":")[2]
        key = step_key(mark.type)
        _state(found, mark, suffix, key[0] if key else None)
        _attempt(found, mark, suffix)
        if key is not None and suffix in ("SPAWNED", "WAITING"):
            begun.setdefault(key[0], mark.at)
        elif key is not None:
            begin = begun.pop(key[0], before or mark.at)
            kind = "done" if suffix == "DONE" else "failed"
            found.steps.append(Span(kind, begin, mark.at, key[0], mark.version))
        before = mark.at
    return found


def _state(found: Course, mark: Mark, suffix: str, key: str | None) -> None:
    latest = found.spans[-1] if found.spans else None
    is_open = latest is not None and latest.end is None
    following = AFTER.get(suffix)
    if following is None and suffix not in ENDS:
        if is_open and latest is not None and latest.kind == "running":
            return
        following = "running"
    if is_open and latest is not None:
        found.spans[-1] = replace(latest, end=mark.at)
    if following is not None:
        found.spans.append(Span(following, mark.at, None, key, mark.version))


def _attempt(found: Course, mark: Mark, suffix: str) -> None:
    latest = found.attempts[-1] if found.attempts else None
    is_open = latest is not None and latest.outcome is None
    if latest is not None and is_open and suffix in OUTCOMES:
        found.attempts[-1] = replace(
            latest, end=mark.at, outcome=OUTCOMES[suffix], usage=mark.usage
        )
    elif latest is not None and is_open and suffix == "ADOPTED":
        found.attempts[-1] = replace(latest, epoch=mark.epoch, worker=mark.worker)
    elif suffix in ("STARTED", "ADOPTED"):
        if latest is not None and is_open:  # its worker died
            found.attempts[-1] = replace(latest, end=mark.at, outcome="lost")
        number = len(found.attempts) + 1
        found.attempts.append(
            Try(number, mark.epoch, mark.worker, mark.dama, mark.at, None, None, None)
        )


def total_usage(attempts: Sequence[Try]) -> Mapping[str, float] | None:
    """What all attempts used: the sums, and the most of memory; None where nothing is known."""
    known = [each.usage for each in attempts if each.usage]
    if not known:
        return None
    names = dict.fromkeys(name for usage in known for name in usage)
    numbers = {n: [u[n] for u in known if isinstance(u.get(n), int | float)] for n in names}
    return {n: max(v) if n == "max_rss" else sum(v) for n, v in numbers.items() if v}
