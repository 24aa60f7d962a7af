"""Branches: the parts of a task's function that run side by side, and which of them can move.

The function itself is one; each asyncio task that it starts is another, numbered in the order in
which they are started, so that "1.2" is the same branch in every run of the same code. The function
of a step that the branch does is "1.2:", and the tasks that it starts are "1.2:1", "1.2:2".
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import count
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet

from typing_extensions import override

from dama.contained import Offspring, offspring
from dama.run.errors import DivergedError, LostSignal, ParkSignal

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import CodeType

LATEST_SECONDS = 5.0  # in which what a timer has set in motion reaches the function
PARTS = ":"  # ends the place of the function of a step, after that of the branch that asked for it
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


class _Timer:
    def __init__(self, fire: Callable[[], object]) -> None:
        self.fire = fire
        self.came_at: float | None = None  # None while the loop has not come to it


class Branches:
    """All branches of one run.

    Attributes:
        resting: The tasks that wait in their run, for their turn or for the world outside.
        blocked_threads: How many threads of the function wait for their run.
    """

    def __init__(self) -> None:
        self.resting: set[asyncio.Task[Any]] = set()
        self.blocked_threads = 0
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._body: asyncio.Task[Any] | None = None
        self._is_threaded = False
        self._timers: WeakKeyDictionary[asyncio.TimerHandle, _Timer] = WeakKeyDictionary()
        self._has_come = False  # whether one of them came since time was last asked to pass

    @contextmanager
    def body(self, *, is_threaded: bool) -> Generator[None]:
        """Call the function itself, in the current task or in a thread beside the loop."""
        self._is_threaded = is_threaded
        self._body = None if is_threaded else asyncio.current_task()
        if self._body is not None:
            self._tasks.add(self._body)
        own = offspring.set(Branch(self))
        try:
            yield
        finally:
            offspring.reset(own)

    def add(self, task: asyncio.Task[Any]) -> None:
        """One more branch."""
        self._tasks.add(task)

    def add_timer(self, handle: asyncio.TimerHandle, fire: Callable[[], object]) -> None:
        """Something continues when its time has come."""
        self._timers[handle] = _Timer(fire)

    def timer_came(self, handle: asyncio.TimerHandle) -> None:
        """The loop has come to a timer; the function learns of it some turns later."""
        self._has_come = True
        if (timer := self._timers.get(handle)) is not None:
            timer.came_at = asyncio.get_running_loop().time()

    def cancel(self) -> None:
        """End those that wait in their run, but for the function itself and who says so.

        Others may be tasks that a library keeps for later, such as those of a pool.
        """
        this = asyncio.current_task()
        for task in list(self.resting):
            if task is not this and task is not self._body:
                task.cancel()

    @contextmanager
    def at_rest(self) -> Generator[None]:
        """The current branch waits for its run, and asks for nothing meanwhile."""
        task = asyncio.current_task()
        if task is None or task in self.resting:
            yield
            return
        self.resting.add(task)
        try:
            yield
        finally:
            self.resting.discard(task)

    @property
    def are_alone(self) -> bool:
        """Whether the function does one thing at a time: no other branch lives, no timer is set."""
        return sum(not task.done() for task in self._tasks) <= 1 and not self._pending()

    @property
    def are_timed(self) -> bool:
        """Whether one of them continues when its time has come."""
        return bool(self._pending())

    def can_move(self) -> bool:
        """Whether one of them could still ask for something by itself, before its time comes."""
        if self._is_threaded and not self.blocked_threads:
            return True
        return any(self._moves(task) for task in self._tasks if not task.done())

    def pass_time(self) -> bool:
        """Let the time come that the first of them waits for.

        Returns:
            Whether any waits for one, or one has come since this was last asked: what it has set
            in motion may not have reached the function yet, however late the loop is.
        """
        is_moved, self._has_come = self._has_come, False
        pending = self._pending()
        now = asyncio.get_running_loop().time()
        later = [handle for handle in pending if handle.when() > now]
        if later:
            handle = min(later, key=asyncio.TimerHandle.when)
            timer = self._timers.pop(handle)
            handle.cancel()
            timer.fire()
        return bool(pending) or is_moved

    def _pending(self) -> list[asyncio.TimerHandle]:
        """The timers that are set, and those whose effect may not have reached the function.

        A loop that is late may not have come to one that is long due.
        """
        since = asyncio.get_running_loop().time() - LATEST_SECONDS
        timers = [*self._timers.items()]
        return [
            handle
            for handle, timer in timers
            if not handle.cancelled() and (timer.came_at is None or timer.came_at > since)
        ]

    def _moves(self, task: asyncio.Task[Any]) -> bool:
        if task in self.resting:
            return False
        waiter: Any = getattr(task, "_fut_waiter", None)
        if waiter is None or waiter.done():
            return True
        return not (_is_of_branches(waiter) or _waits_for_branches(task))


class Branch(Offspring):
    """One branch of a run.

    Args:
        branches: All of them.
        place: The numbers on the way to it.
        within: The keys of the steps that it is a part of, from the outermost.
    """

    def __init__(self, branches: Branches, place: str = "", within: tuple[str, ...] = ()) -> None:
        self.branches = branches
        self.place = place
        self.within = within
        self._numbers = count(1)

    @override
    def child(self) -> Branch:
        number = next(self._numbers)
        is_first = not self.place or self.place.endswith(PARTS)
        place = f"{self.place}{number}" if is_first else f"{self.place}.{number}"
        return Branch(self.branches, place, self.within)

    @override
    def born(self, task: asyncio.Task[Any]) -> None:
        self.branches.add(task)
        task.add_done_callback(_look_at)

    @override
    def timed(self, handle: asyncio.TimerHandle, fire: Callable[[], object]) -> None:
        self.branches.add_timer(handle, fire)

    @override
    def came(self, handle: asyncio.TimerHandle) -> None:
        self.branches.timer_came(handle)


asker: ContextVar[Branch | None] = ContextVar("asker", default=None)
"""The branch that asked for what is done now; what does it is no part of the branch."""


@contextmanager
def asking() -> Generator[None]:
    """Do something that a branch asked for: its tasks and timers are not those of user code."""
    branch = offspring.get()
    if not isinstance(branch, Branch):  # asked from within what it asked for, or by its thread
        yield
        return
    asked, own = asker.set(branch), offspring.set(None)
    try:
        yield
    finally:
        offspring.reset(own)
        asker.reset(asked)


@contextmanager
def inside(step: str) -> Generator[None]:
    """Call the function of a step: what it asks for is a part of the step."""
    branch = asker.get()
    if branch is None:
        yield
        return
    parts = Branch(branch.branches, branch.place + PARTS, (*branch.within, step))
    own = offspring.set(parts)
    try:
        yield
    finally:
        offspring.reset(own)


@contextmanager
def from_thread() -> Generator[None]:
    """Let the loop do something for this thread, which waits meanwhile."""
    with asking():
        branch = asker.get()
        if branch is None:  # a thread that user code started
            yield
            return
        branch.branches.blocked_threads += 1
        try:
            yield
        finally:
            branch.branches.blocked_threads -= 1


def _look_at(task: asyncio.Task[Any]) -> None:
    """Nobody may wait for a branch any more, and asyncio need not say that its run is over."""
    if isinstance(getattr(task, "_exception", None), ParkSignal | LostSignal | DivergedError):
        task.exception()


def _is_of_branches(waiter: object) -> bool:
    """Whether a future is done by other branches: a task, a gather, a shield."""
    if isinstance(waiter, asyncio.Task) or type(waiter).__name__ == "_GatheringFuture":
        return True
    callbacks: Any = getattr(waiter, "_callbacks", None) or ()
    return any(getattr(each, "__qualname__", "").startswith("shield.") for each, _ in callbacks)


def _waits_for_branches(task: asyncio.Task[Any]) -> bool:
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


def _stack(task: asyncio.Task[Any]) -> list[CodeType]:
    """The code of its coroutines, the innermost last."""
    stack: list[CodeType] = []
    coroutine: Any = task.get_coro()
    while (code := getattr(coroutine, "cr_code", None)) is not None:
        stack.append(code)
        coroutine = coroutine.cr_await
    return stack
