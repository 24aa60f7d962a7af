"""Retries: what follows an attempt of a task, or a try of a step, that failed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Protocol, cast

from dama.definitions.errors import UndeclaredCommandError
from dama.domain.outcome import Failed, Outcome, Retry, backoff
from dama.run.errors import DivergedError, ProgramError, UnawaitedError
from dama.run.errors import Retry as Wish
from dama.store.errors import CircleError

HOPELESS = (UndeclaredCommandError, DivergedError, UnawaitedError, CircleError)

if TYPE_CHECKING:
    from dama.definitions.task import TaskDefinition


class Tried(Protocol):
    """What says how often something is tried: the options of a task or of a step."""

    @property
    def retries(self) -> int:
        """How many further tries follow a first one that failed."""
        ...

    @property
    def backoff(self) -> float:
        """Seconds before the second try."""
        ...

    @property
    def max_backoff(self) -> float:
        """The longest wait between two of them."""
        ...

    @property
    def retry_on(self) -> tuple[type[BaseException], ...]:
        """Only these errors are worth a further one."""
        ...

    @property
    def fail_on(self) -> tuple[type[BaseException], ...]:
        """These never are."""
        ...


def after_failure(task: TaskDefinition[Any], attempt: int, error: BaseException) -> Outcome:
    """Another attempt, or the end."""
    delay = delay_after(task.options, attempt, error)
    return Failed(error) if delay is None else Retry(error, delay)


def delay_after(options: Tried, attempt: int, error: BaseException) -> float | None:
    """Seconds until the next try; None when there is none."""
    leaves = _leaves(error)
    hopeless = any(isinstance(leaf, (*options.fail_on, *HOPELESS)) for leaf in leaves)
    hopeless = hopeless or not all(
        isinstance(leaf, Wish) or _is_worth_it(leaf, options.retry_on) for leaf in leaves
    )
    hopeless = hopeless or any(isinstance(e, ProgramError) and e.is_final for e in leaves)
    if hopeless or attempt > options.retries:
        return None
    pauses = [leaf.after for leaf in leaves if isinstance(leaf, Wish) and leaf.after is not None]
    if pauses:
        return max(pauses)
    jitter = random.random()
    return backoff(attempt, options.backoff, options.max_backoff, jitter)


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
