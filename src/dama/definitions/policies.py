"""Policies of calls: tries, breakers, bulkheads and caches, for a broker or for one action.

The defaults are those of Moleculer; durations are in seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


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
    delay: float = 0.1
    max_delay: float = 1.0
    factor: float = 2.0
    check: Callable[[Exception], bool] = is_retryable

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
    window: float = 60.0
    min_requests: int = 20
    half_open_after: float = 10.0
    check: Callable[[Exception], bool] | None = None


@dataclass(frozen=True)
class BulkheadPolicy:
    """How many calls of an action run at once on a node.

    Attributes:
        concurrency: Running at once.
        max_queue: Waiting for their turn; more are refused.
    """

    concurrency: int = 10
    max_queue: int = 100


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
