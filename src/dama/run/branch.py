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
from weakref import WeakSet

from typing_extensions import override

from dama.contained import Offspring, offspring
from dama.run.errors import LostSignal, ParkSignal

if TYPE_CHECKING:
    from collections.abc import Generator

PARTS = ":"  # ends the place of the function of a step, after that of the branch that asked for it
# Where a coroutine stands that waits for others of its process; but for asyncio.sleep.
_WAITING_FILES = frozenset({"tasks.py", "taskgroups.py", "queues.py", "locks.py"})


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
        self._timers: WeakSet[asyncio.TimerHandle] = WeakSet()

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

    def add_timer(self, handle: asyncio.TimerHandle) -> None:
        """Something continues when its time has come."""
        self._timers.add(handle)

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

    def can_move(self) -> bool:
        """Whether one of them could still ask for something by itself."""
        if self._is_threaded and not self.blocked_threads:
            return True
        now = asyncio.get_running_loop().time()
        if any(not handle.cancelled() and handle.when() > now for handle in self._timers):
            return True
        return any(self._moves(task) for task in self._tasks if not task.done())

    def _moves(self, task: asyncio.Task[Any]) -> bool:
        if task in self.resting:
            return False
        waiter: object = getattr(task, "_fut_waiter", None)
        if isinstance(waiter, asyncio.Task) or type(waiter).__name__ == "_GatheringFuture":
            return False
        code = _innermost(task)
        where = PurePath(getattr(code, "co_filename", ""))
        is_inside = where.parent.name == "asyncio" and where.name in _WAITING_FILES
        return waiter is None or not is_inside or getattr(code, "co_name", "") == "sleep"


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
    def timed(self, handle: asyncio.TimerHandle) -> None:
        self.branches.add_timer(handle)


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
    if isinstance(getattr(task, "_exception", None), ParkSignal | LostSignal):
        task.exception()


def _innermost(task: asyncio.Task[Any]) -> object:
    coroutine: Any = task.get_coro()
    while hasattr(inner := getattr(coroutine, "cr_await", None), "cr_await"):
        coroutine = inner
    return getattr(coroutine, "cr_code", None)
