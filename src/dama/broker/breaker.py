"""Circuit breakers and bulkheads: what keeps one sick or busy action from making others wait."""

from __future__ import annotations

from asyncio import Future, get_running_loop
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any, Literal

from dama.broker.errors import QueueIsFullError, is_fault

if TYPE_CHECKING:
    from dama.broker.call import Call, Perform
    from dama.definitions.policies import BreakerPolicy, BulkheadPolicy

State = Literal["closed", "open", "half_open"]


class Breaker:
    """Counts the calls of one endpoint, and opens when too many fail.

    Args:
        policy: When.
    """

    def __init__(self, policy: BreakerPolicy) -> None:
        self.policy = policy
        self._state: State = "closed"
        self._trying = False
        self._opened_at = 0.0
        self._begin(monotonic())

    @property
    def state(self) -> State:
        """Whether calls pass: "closed" all, "half_open" one, "open" none."""
        wait = self.policy.half_open_after
        if self._state == "open" and monotonic() - self._opened_at >= wait:
            self._state, self._trying = "half_open", False
        return self._state

    @property
    def lets_pass(self) -> bool:
        """Whether a call may be made now."""
        state = self.state
        return state == "closed" or (state == "half_open" and not self._trying)

    async def perform(self, call: Call, perform: Perform) -> Any:
        """Make a call, and count it."""
        self._trying = self._state == "half_open"
        try:
            result = await perform(call)
        except Exception as error:
            self._count(failed=(self.policy.check or is_fault)(error))
            raise
        finally:
            self._trying = False
        self._count(failed=False)
        return result

    def _count(self, *, failed: bool) -> None:
        now = monotonic()
        if self._state == "half_open":
            if failed:
                self._open(now)
            else:
                self._state = "closed"
                self._begin(now)
            return
        if now - self._since > self.policy.window:
            self._begin(now)
        self._requests += 1
        self._failures += failed
        enough = self._requests >= self.policy.min_requests
        if enough and self._failures / self._requests >= self.policy.threshold:
            self._open(now)

    def _open(self, now: float) -> None:
        self._state, self._opened_at = "open", now
        self._begin(now)

    def _begin(self, now: float) -> None:
        self._since, self._requests, self._failures = now, 0, 0


class Bulkhead:
    """Lets some calls run at once, some wait, and refuses the rest.

    Args:
        policy: How many.
        node_id: For errors.
    """

    def __init__(self, policy: BulkheadPolicy, node_id: str) -> None:
        self._policy = policy
        self._node_id = node_id
        self._running = 0
        self._queue: deque[Future[None]] = deque()

    async def perform(self, call: Call, perform: Perform) -> Any:
        """Make a call when there is room.

        Raises:
            QueueIsFullError: Too many wait already.
        """
        if self._running >= self._policy.concurrency:
            await self._wait(call)
        else:
            self._running += 1
        try:
            return await perform(call)
        finally:
            self._leave()

    async def _wait(self, call: Call) -> None:
        """Wait for the place of another call, which hands it over."""
        if len(self._queue) >= self._policy.max_queue:
            raise QueueIsFullError(
                f"{len(self._queue)} calls of {call.name} wait already.",
                "Call again later.",
                data={
                    "action": call.name,
                    "nodeID": self._node_id,
                    "size": len(self._queue),
                    "limit": self._policy.max_queue,
                },
            )
        turn: Future[None] = get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._leave()  # the place came, and nobody is here to take it
            raise

    def _leave(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1
