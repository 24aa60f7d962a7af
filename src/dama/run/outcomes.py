"""Outcomes of a body that raised: decided once, in a worker as in a process of its own."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from dama.domain.outcome import Interrupted, Lost, Outcome
from dama.domain.retries import after_failure
from dama.errors import UnavailableError
from dama.run.body import end_beyond
from dama.run.errors import LostSignal, ParkSignal

if TYPE_CHECKING:
    from dama.definitions.task import TaskDefinition
    from dama.run.execution import Execution


def outcome_of(
    task: TaskDefinition[Any],
    execution: Execution,
    error: BaseException,
    *,
    may_interrupt: bool = True,
) -> Outcome:
    """The outcome of an attempt whose body raised.

    Args:
        task: What it ran.
        execution: Its run.
        error: What it raised; a run that leaves memory or diverges ends with that instead.
        may_interrupt: Whether a database that was away makes it no attempt at all.
    """
    error = end_beyond(execution, error) or error
    match error:
        case ParkSignal():
            return execution.pending.parked()
        case LostSignal():
            return Lost()
        case UnavailableError() if may_interrupt:
            return Interrupted(error)
        case _:
            return after_failure(task.options, execution.attempt, error, random.random())
