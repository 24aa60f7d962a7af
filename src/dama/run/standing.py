"""Where a branch stands: whether it waits for other branches of its run, or for a time."""

from __future__ import annotations

import asyncio
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType

# Where a coroutine stands that waits for others of its process, or for a time.
_WAITING_FILES = frozenset({"tasks.py", "taskgroups.py", "queues.py", "locks.py", "timeouts.py"})
# Of anyio, which waits for sockets and threads by the same locks.
_OF_ANYIO = (
    "TaskGroup.",
    "Event.",
    "Lock.",
    "Semaphore.",
    "CapacityLimiter.",
    "AsyncIOBackend.sleep",
)


def is_of_branches(waiter: object) -> bool:
    """Whether a future is done by other branches: a task, a gather, a shield."""
    if isinstance(waiter, asyncio.Task) or type(waiter).__name__ == "_GatheringFuture":
        return True
    callbacks: Any = getattr(waiter, "_callbacks", None) or ()
    return any(getattr(each, "__qualname__", "").startswith("shield.") for each, _ in callbacks)


def waits_for_branches(task: asyncio.Task[Any]) -> bool:
    """Whether a task stands where a coroutine waits for others of its process, or for a time."""
    stack = _stack(task)
    where = PurePath(stack[-1].co_filename)
    if where.match("anyio/_backends/_asyncio.py"):
        return stack[-1].co_qualname.startswith(_OF_ANYIO)
    if where.parent.name != "asyncio" or where.name not in _WAITING_FILES:
        return False
    above = stack[-2] if len(stack) > 1 else stack[-1]
    is_of_anyio = PurePath(above.co_filename).match("anyio/_backends/_asyncio.py")
    return not is_of_anyio or above.co_qualname.startswith(_OF_ANYIO)


def sleeps(task: asyncio.Task[Any]) -> bool:
    """Whether a task stands in `asyncio.sleep`, or in that of anyio."""
    where = _stack(task)[-1]
    return where.co_name == "sleep" and PurePath(where.co_filename).match("asyncio/tasks.py")


def _stack(task: asyncio.Task[Any]) -> list[CodeType]:
    """The code of its coroutines, the innermost last."""
    stack: list[CodeType] = []
    coroutine: Any = task.get_coro()
    while (code := getattr(coroutine, "cr_code", None)) is not None:
        stack.append(code)
        coroutine = coroutine.cr_await
    return stack
