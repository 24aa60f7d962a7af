"""Retries: what follows an attempt of a task, or a try of a step, that failed.

Time and chance are not looked up here: who asks passes the random number in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from dama.config.duration import Duration, optional_duration
from dama.domain.outcome import Failed, backoff
from dama.domain.outcome import Retry as Again
from dama.errors import DamaError

if TYPE_CHECKING:
    from collections.abc import Iterator


class Retry(DamaError):  # noqa: N818 - what is raised is a wish, as `raise Retry(after="5m")`
    """Raised by a task or a step: try again later, as one of the task's retries.

    Args:
        message: Why.
        after: When: seconds, a string such as "5m", or a timedelta; None for the task's own
            backoff.
    """

    code = "RETRY"
    exit_code = 1

    def __init__(
        self, message: str = "It asks to be tried again.", *, after: Duration | None = None
    ) -> None:
        super().__init__(message)
        self.after = optional_duration(after, of="Retry: after")


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


def after_failure(
    options: Tried, attempt: int, error: BaseException, chance: float
) -> Failed | Again:
    """Another attempt, or the end; see `delay_after`."""
    delay = delay_after(options, attempt, error, chance)
    return Failed(error) if delay is None else Again(error, delay)


def delay_after(options: Tried, attempt: int, error: BaseException, chance: float) -> float | None:
    """Seconds until the next try; None when there is none.

    Args:
        options: Of the task or the step.
        attempt: The number of the one that failed, from 1.
        error: What it raised, perhaps a group.
        chance: From 0 to 1, random, so that many that fail at once do not come back at once.
    """
    errors = [error, *_within(error)]
    hopeless = any(isinstance(each, options.fail_on) or _is_final(each) for each in errors)
    hopeless = hopeless or not _is_worth_it(error, options.retry_on)
    if hopeless or attempt > options.retries:
        return None
    pauses = [each.after for each in errors if isinstance(each, Retry) and each.after is not None]
    if pauses:
        return max(pauses)
    return backoff(attempt, options.backoff, options.max_backoff, chance)


def _is_final(error: BaseException) -> bool:
    return isinstance(error, DamaError) and error.is_final


def _is_worth_it(error: BaseException, retry_on: tuple[type[BaseException], ...]) -> bool:
    """Whether an error is worth another try: by its own class, or a group by all that are in it."""
    # A CancelledError or the like that the task itself raised is a failure as any other.
    is_odd = not isinstance(error, Exception) and Exception in retry_on
    if is_odd or isinstance(error, (Retry, *retry_on)):
        return True
    inner = _members(error)
    return bool(inner) and all(_is_worth_it(each, retry_on) for each in inner)


def _within(error: BaseException) -> Iterator[BaseException]:
    """The errors of a group, such as of a TaskGroup, and of the groups in it."""
    for each in _members(error):
        yield each
        yield from _within(each)


def _members(error: BaseException) -> tuple[BaseException, ...]:
    if not isinstance(error, BaseExceptionGroup):
        return ()
    return cast("BaseExceptionGroup[BaseException]", error).exceptions
