"""Outcomes: the outcome of a run, decided from how its attempt went. Nothing is written here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Done:
    """The task returned.

    Attributes:
        result: As JSON builtins.
    """

    result: Any


@dataclass(frozen=True)
class Failed:
    """The task failed for good.

    Attributes:
        error: The exception.
    """

    error: BaseException


@dataclass(frozen=True)
class Retry:
    """The attempt failed; another one follows.

    Attributes:
        error: The exception.
        delay: Seconds until it is queued again.
    """

    error: BaseException
    delay: float


@dataclass(frozen=True)
class Waiting:
    """The run waits, and needs no worker meanwhile. The first of these wakes it.

    Attributes:
        awaited: Contexts of subtasks: all of them have ended.
        on_failure: Also when one of them has failed.
        until: This time has come.
        types: An event of one of these types came from outside the run.
        seen: The version of the context up to which such events are known.
        any_end: One of the awaited has ended is enough.
    """

    awaited: Sequence[int]
    on_failure: bool
    until: datetime | None
    types: Sequence[str]
    seen: int
    any_end: bool = False


@dataclass(frozen=True)
class Interrupted:
    """The attempt could not be completed, for a reason that is not the task's own; it was none.

    Attributes:
        error: The reason.
    """

    error: BaseException


@dataclass(frozen=True)
class Lost:
    """Another run took the context over; this one writes nothing any more."""


Outcome = Done | Failed | Retry | Waiting | Interrupted | Lost


def backoff(attempt: int, first: float, longest: float, jitter: float) -> float:
    """Seconds until the next attempt: doubled each time, spread so that many do not come at once.

    Args:
        attempt: The one that failed, from 1.
        first: The wait after attempt 1.
        longest: The longest wait.
        jitter: 0 to 1, random: the wait is between half and all of it.
    """
    full = min(first * 2.0 ** min(attempt - 1, 60), longest)
    return full * (0.5 + jitter / 2)
