"""Retries: what follows an attempt that failed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from dama.definitions.errors import UndeclaredCommandError
from dama.domain.outcome import Failed, Outcome, Retry, backoff
from dama.run.errors import DivergedError, ProgramError, UnawaitedError
from dama.store.errors import CircleError

HOPELESS = (UndeclaredCommandError, DivergedError, UnawaitedError, CircleError)

if TYPE_CHECKING:
    from dama.definitions.service import TaskDefinition


def after_failure(task: TaskDefinition[Any], attempt: int, error: BaseException) -> Outcome:
    """Another attempt, or the end."""
    options = task.options
    # A CancelledError or the like that the task itself raised is a failure as any other.
    is_odd = not isinstance(error, Exception) and Exception in options.retry_on
    hopeless = isinstance(error, options.fail_on)
    hopeless = hopeless or not (isinstance(error, options.retry_on) or is_odd)
    hopeless = hopeless or (isinstance(error, ProgramError) and error.is_final)
    hopeless = hopeless or isinstance(error, HOPELESS)
    if hopeless or attempt > options.retries:
        return Failed(error)
    jitter = random.random()  # noqa: S311 - not a secret
    return Retry(error, backoff(attempt, options.backoff, options.max_backoff, jitter))
