"""The client that this process has connected: what `TaskDefinition.start` starts tasks by.

Who connects says so here, so that a definition need not know the client.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from typing_extensions import TypeVar

from dama.errors import UsageError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Generator

    from dama.config.duration import Duration

R_co = TypeVar("R_co", covariant=True)


class NotConnectedError(UsageError):
    """A task was started by its definition, and this process has no client."""

    code = "NOT_CONNECTED"


class Started(Protocol[R_co]):
    """A run that was started."""

    @property
    def context_id(self) -> int:
        """Its context."""
        ...

    async def result(self, timeout: Duration | None = None) -> R_co:
        """Wait for its end and return its result."""
        ...

    async def cancel(self, reason: str | None = None) -> list[int]:
        """End it, and all below it."""
        ...


Start = Callable[..., Awaitable[Started[Any]]]
"""Queues a task: gets its definition and its params."""

_starters: list[tuple[AbstractEventLoop, Start]] = []


@contextmanager
def connecting(start: Start) -> Generator[None]:
    """Let definitions start their tasks by this client meanwhile, in the loop that runs here."""
    from asyncio import get_running_loop  # who only defines tasks has no loop

    starter = (get_running_loop(), start)
    _starters.append(starter)
    try:
        yield
    finally:
        _starters.remove(starter)


def connected(task: str) -> Start:
    """The start of the client that was connected last in the loop that runs here.

    Raises:
        NotConnectedError: There is none.
    """
    from asyncio import get_running_loop

    here = get_running_loop()
    starts = [start for loop, start in _starters if loop is here]
    if not starts:
        raise NotConnectedError(
            f"{task} cannot be started here: this process has no client"
            f"{' that belongs to this event loop' if _starters else ''}.",
            "Write `async with dama.connect():` around it, once for the whole program; within a "
            "task, use task.run or task.start.",
        )
    return starts[-1]
