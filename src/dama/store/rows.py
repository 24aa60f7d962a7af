"""Rows: what the store gives to its readers, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from dama.domain.event import ABSENT, AbsentType, Event, LoggedEvent
from dama.shapes import Json


@dataclass(frozen=True)
class RunRow:
    """The place of a context in the run queue.

    Attributes:
        state: queued, delayed, blocked, running, waiting or retrying.
        attempt: How often it was claimed.
        worker: `host:pid` of who runs it.
        due_at: When it is queued again.
    """

    state: str
    attempt: int
    worker: str | None
    due_at: datetime | None


@dataclass(frozen=True)
class ContextRow:
    """A context.

    Attributes:
        context_id: Its id.
        parent_id: Of the context that started it.
        root_context_id: The topmost ancestor; itself at the top.
        task: The full name of its task; None for contexts of old programs.
        status: OPEN, ERROR, DONE or CANCELLED; None before its first event.
        version: How many events it has.
        created_at: By the clock of the database.
        modified_at: Of its latest event.
        run: Its place in the queue; None when it has ended.
    """

    context_id: int
    parent_id: int | None
    root_context_id: int
    task: str | None
    status: str | None
    version: int
    created_at: datetime
    modified_at: datetime
    run: RunRow | None

    def took(self, now: datetime) -> float:
        """How long it took from its creation to its end, or has taken so far, in seconds."""
        end = now if self.status == "OPEN" else self.modified_at
        return (end - self.created_at).total_seconds()


@dataclass(frozen=True)
class Append:
    """An event to append.

    Attributes:
        context_id: Whose it is.
        event: What happened.
        expected: The version that the writer last saw; None skips the check.
        is_checked: Known to be an event: nothing from outside was written into it.
    """

    context_id: int
    event: Event
    expected: int | None = None
    is_checked: bool = False


@dataclass(frozen=True)
class Appended:
    """An event that is durable.

    Attributes:
        event_id: Its id.
        version: Its place in the context.
        is_new: False when its idempotency key was known: this is the first event with it.
    """

    event_id: int
    version: int
    is_new: bool


@dataclass(frozen=True)
class Start:
    """A context to create.

    Attributes:
        task: The full name.
        params: JSON builtins: the payload of the INITIAL.
        queue: Where its run waits.
        priority: Higher ones are claimed first.
        key: An idempotency key: a second start with it returns the first context.
        delay: Seconds before it is queued; None for at once.
        expires: Seconds in which it must start, or it fails; None for no limit.
        deadline: Seconds in which it must end, over all attempts; None for no limit.
        labels: What its worker must offer.
        limit_key: At most `key_limit` runs with this key are begun and not ended.
        key_limit: See there.
        when_open: How this start is handled when a run with the key is open.
        is_awaited: The parent waits for it from the start on.
        meta: Who starts it.
    """

    task: str
    params: Mapping[str, Any]
    queue: str = "default"
    priority: int = 0
    key: str | None = None
    delay: float | None = None
    expires: float | None = None
    deadline: float | None = None
    labels: Sequence[str] = ()
    limit_key: str | None = None
    key_limit: int = 1
    when_open: Literal["queue", "refuse", "return"] = "queue"
    is_awaited: bool = False
    meta: Mapping[str, Json] | None = None


@dataclass(frozen=True)
class Claim:
    """A run that a worker holds.

    Attributes:
        context_id: Its context.
        parent_id: The parent's context.
        root_context_id: The topmost ancestor.
        task: The full name.
        epoch: Fences earlier runs of the context.
        attempt: 1 for the first.
        queue: Where it was.
        priority: In its queue.
        params: The payload of the INITIAL.
        program_epoch: The one that started a program on this host, which may still run.
        deaths: How many workers died in a row while they held it and it got no further.
        deaths_alone: Those of them that held nothing else.
        flaw: Why its params cannot be read; None when they can.
        is_limited: Others may wait for its place: its queue or its key has a limit.
    """

    context_id: int
    parent_id: int | None
    root_context_id: int
    task: str
    epoch: int
    attempt: int
    queue: str
    priority: int
    params: Any
    program_epoch: int | None = None
    deaths: int = 0
    deaths_alone: int = 0
    flaw: str | None = None
    is_limited: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a context has ended.

    Attributes:
        status: DONE, ERROR or CANCELLED; OPEN or None when it has not.
        result: The payload of the FINAL.
        error: The payload of the ERROR.
    """

    status: str | None
    result: Any | AbsentType = ABSENT
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Difference:
    """Where a context is not what its events say.

    Attributes:
        context_id: Which.
        column: Of etl_context.
        stored: What is there, as text.
        derived: What follows from the events, as text.
    """

    context_id: int
    column: str
    stored: str | None
    derived: str | None


@dataclass(frozen=True)
class LogFilter:
    """Which events of the log; what is not given does not matter.

    Attributes:
        types: One of these.
        prefix: How the type begins.
        root: Of the tree below this root context.
        context: Of this context.
    """

    types: tuple[str, ...] | None = None
    prefix: str | None = None
    root: int | None = None
    context: int | None = None


@dataclass(frozen=True)
class LogPage:
    """A piece of the log.

    Attributes:
        events: Those that the filter lets through, in order.
        position: Where to read on: all up to it was looked at.
    """

    events: list[LoggedEvent]
    position: int


@dataclass(frozen=True)
class SubscriptionRow:
    """How far a durable subscription is.

    Attributes:
        name: Its name.
        lanes: Into how many its root contexts are dealt.
        position: All up to it is handled, or parked.
        parked: How many contexts are parked; `MOST_COUNTED` stands for so many or more.
        modified_at: When it last moved.
    """

    name: str
    lanes: int
    position: int
    parked: int
    modified_at: datetime


@dataclass(frozen=True)
class ParkedRow:
    """A context that waits because a subscription could not handle an event of it.

    Attributes:
        subscription: The name of the subscription.
        context_id: The context.
        position: Of the event.
        error: What was raised: name, message, stack.
        parked_at: When.
        resumed_at: When an operator let it continue; it has not been handled since.
    """

    subscription: str
    context_id: int
    position: int
    error: Mapping[str, Any]
    parked_at: datetime
    resumed_at: datetime | None


def context_of(row: Sequence[Any]) -> ContextRow:
    """A row of those statements that return contexts with their runs."""
    *context, state, attempt, worker, due_at = row
    run = None if state is None else RunRow(state, attempt, worker, due_at)
    return ContextRow(*context, run=run)
