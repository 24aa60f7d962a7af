"""Policies of calls: tries, breakers, bulkheads and caches, for a broker or for one action.

The defaults are those of Moleculer. Durations are seconds, strings such as "5s" or timedelta.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dama.config.duration import Seconds, optional_duration
from dama.definitions.written import strings_of
from dama.errors import InvalidDefinitionError
from dama.shapes import is_whole


def is_retryable(error: Exception) -> bool:
    """Whether an error says that the same call may succeed later."""
    return bool(getattr(error, "retryable", False))


@dataclass(frozen=True)
class RetryPolicy:
    """How a call that failed is tried again.

    Attributes:
        retries: Further tries after the first.
        delay: Seconds before the second try.
        max_delay: The longest wait between two tries.
        factor: What each wait is longer than the one before.
        check: Which errors are worth another try.
    """

    retries: int = 5
    delay: Seconds = Seconds(0.1)
    max_delay: Seconds = Seconds(1.0)
    factor: float = 2.0
    check: Callable[[Exception], bool] = is_retryable

    def __post_init__(self) -> None:
        _refuse_below(0, retries=self.retries)

    def wait(self, number: int) -> float:
        """Seconds before a further try, the first of which is 1."""
        return min(self.delay * self.factor ** (number - 1), self.max_delay)


@dataclass(frozen=True)
class BreakerPolicy:
    """When an endpoint that fails gets no calls for a while.

    Attributes:
        threshold: The share of failed calls in the window at which it opens.
        window: Seconds that are counted together.
        min_requests: Fewer calls than these in a window open nothing.
        half_open_after: Seconds until one call may try whether it is well again.
        check: Which errors count; None for those that are the fault of the node, not of the caller.
    """

    threshold: float = 0.5
    window: Seconds = Seconds(60.0)
    min_requests: int = 20
    half_open_after: Seconds = Seconds(10.0)
    check: Callable[[Exception], bool] | None = None

    def __post_init__(self) -> None:
        _refuse_below(1, min_requests=self.min_requests)


@dataclass(frozen=True)
class BulkheadPolicy:
    """How many calls of an action run at once on a node.

    Attributes:
        concurrency: Running at once.
        max_queue: Waiting for their turn; more are refused.
    """

    concurrency: int = 10
    max_queue: int = 100

    def __post_init__(self) -> None:
        _refuse_below(1, concurrency=self.concurrency)
        _refuse_below(0, max_queue=self.max_queue)


@dataclass(frozen=True)
class CachePolicy:
    """How results of an action are kept.

    Attributes:
        keys: The params, or with `#` before it the meta (`#user.id`), that make two calls the same;
            None for all params.
        ttl: Seconds that a result is kept; None for as long as there is room.
    """

    keys: tuple[str, ...] | None = None
    ttl: float | None = None

    def __post_init__(self) -> None:
        if self.keys is not None:
            object.__setattr__(self, "keys", strings_of("CachePolicy: keys", self.keys))
        seconds = optional_duration(self.ttl, of="CachePolicy: ttl")
        object.__setattr__(self, "ttl", seconds)


def _refuse_below(least: int, **numbers: object) -> None:
    for name, value in numbers.items():
        if not is_whole(value) or value < least:
            raise InvalidDefinitionError(
                f"{name} is {value!r}: expected a whole number, at least {least}."
            )
