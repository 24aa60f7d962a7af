"""Retries: what follows an attempt that failed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, cast

from dama.definitions.errors import UndeclaredCommandError
from dama.domain.outcome import Failed, Outcome, Retry, backoff
from dama.run.errors import DivergedError, ProgramError, UnawaitedError
from dama.run.errors import Retry as Wish
from dama.store.errors import CircleError

HOPELESS = (UndeclaredCommandError, DivergedError, UnawaitedError, CircleError)

if TYPE_CHECKING:
    from dama.definitions.task import TaskDefinition


def after_failure(task: TaskDefinition[Any], attempt: int, error: BaseException) -> Outcome:
    """Another attempt, or the end."""
    options = task.options
    leaves = _leaves(error)
    hopeless = any(isinstance(leaf, (*options.fail_on, *HOPELESS)) for leaf in leaves)
    hopeless = hopeless or not all(
        isinstance(leaf, Wish) or _is_worth_it(leaf, options.retry_on) for leaf in leaves
    )
    hopeless = hopeless or any(isinstance(e, ProgramError) and e.is_final for e in leaves)
    if hopeless or attempt > options.retries:
        return Failed(error)
    pauses = [leaf.after for leaf in leaves if isinstance(leaf, Wish) and leaf.after is not None]
    if pauses:
        return Retry(error, max(pauses))
    jitter = random.random()
    return Retry(error, backoff(attempt, options.backoff, options.max_backoff, jitter))


def _is_worth_it(error: BaseException, retry_on: tuple[type[BaseException], ...]) -> bool:
    # A CancelledError or the like that the task itself raised is a failure as any other.
    is_odd = not isinstance(error, Exception) and Exception in retry_on
    return is_odd or isinstance(error, retry_on)


def _leaves(error: BaseException) -> list[BaseException]:
    """The errors of a group, such as of a TaskGroup, and of the groups in it; or the error."""
    if not isinstance(error, BaseExceptionGroup):
        return [error]
    group = cast("BaseExceptionGroup[BaseException]", error)
    return [leaf for each in group.exceptions for leaf in _leaves(each)]
