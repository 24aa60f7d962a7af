"""What the queue is told and tells: workers, renewals, queues, obstacles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

MOST_COUNTED = 10_000


@dataclass(frozen=True)
class WorkerIdentity:
    """Which process a worker is, so that nobody takes another one for it.

    Attributes:
        host: Its name.
        boot_id: Of the host: pids mean nothing after another boot.
        pid: Of the process.
        pid_started: When it started, as the host counts: a pid can be used again.
        version: Of dama.
        place: Host, machine, user and DAMA_HOME; the host alone where nobody says.
        pid_namespace: Where the pid means something.
    """

    host: str
    boot_id: str
    pid: int
    pid_started: str
    version: str
    place: str = ""
    pid_namespace: str = ""


@dataclass(frozen=True)
class Renewal:
    """What a worker learns with its lease.

    Attributes:
        gone: Contexts that it held and that are no longer its own: cancelled, or taken over. None
            when it was presumed dead itself.
        work: Whether something is queued for it.
        next_due: Seconds until a run is due, expires or is late; None when none will be.
        next_firing: Seconds until a schedule fires; None when none will.
    """

    gone: list[int] | None
    work: bool
    next_due: float | None
    next_firing: float | None


@dataclass(frozen=True)
class QueueRow:
    """A queue. No number is higher than `MOST_COUNTED`, which stands for so many or more.

    Attributes:
        queue: Its name.
        paused: Whether nothing of it is started.
        concurrency: The limit of runs at once; None for no limit.
        rate: The limit of starts a second; None for no limit.
        queued: How many could start.
        delayed: How many wait for their time, retries included.
        blocked: How many wait for others with their key.
        placed: How many wait for an engine to start them.
        running: How many run.
        waiting: How many wait for subtasks, times or signals.
        oldest: Since when the oldest of the queued is there.
    """

    queue: str
    paused: bool
    concurrency: int | None
    rate: float | None
    queued: int
    delayed: int
    blocked: int
    placed: int
    running: int
    waiting: int
    oldest: datetime | None


@dataclass(frozen=True)
class WorkerRow:
    """A worker as others see it.

    Attributes:
        worker_id: Its id.
        host: Where it runs.
        pid: Of its process.
        version: Of dama.
        queues: What it claims from.
        labels: What it offers.
        root_context_id: The only tree that it works on; None for all.
        slots: How many runs it executes at once.
        running: How many it executes now.
        started_at: Since when.
        alive: Whether its lease holds.
        trouble: What fails in its background at the moment; None when it is well.
        seen_at: When it renewed its lease last, which it does about every second.
    """

    worker_id: int
    host: str
    pid: int
    version: str
    queues: list[str]
    labels: list[str]
    root_context_id: int | None
    slots: int
    running: int
    started_at: datetime
    alive: bool
    trouble: str | None
    seen_at: datetime


@dataclass(frozen=True)
class Obstacle:
    """One thing that keeps a run from running.

    Attributes:
        reason: Its kind.
        facts: What the database knows of it.
    """

    reason: str
    facts: Mapping[str, Any]
