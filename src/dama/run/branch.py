"""Branches: the parts of a task's function that run side by side, and which of them can move.

The function itself is one; each asyncio task that it starts is another, with a number that it has
in every run of the same code: "1.2" is the second task that the first one started. The function of
a step that the branch does is "1.2:", and the tasks that it starts are "1.2:1", "1.2:2". What is
asked for outside of all of them, as by a thread that user code started, has the place "0".
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary, ref

from typing_extensions import override

from dama.contained import Offspring, offspring
from dama.run.errors import DivergedError, LostSignal, ParkSignal
from dama.run.kin import Recorded, below, kin_of
from dama.run.standing import is_of_branches, waits_for_branches

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

LATEST_SECONDS = 5.0  # in which what a timer has set in motion reaches the function
OUTSIDE = 0  # the number of what is asked for outside of the branches: none of them has it
PARTS = ":"  # ends the place of the function of a step, after that of the branch that asked for it


class _Timer:
    def __init__(self, fire: Callable[[], object]) -> None:
        self.fire = fire
        self.came_at: float | None = None  # None while the loop has not come to it


class Branches:
    """All branches of one run.

    Attributes:
        resting: The tasks that wait in their run, for their turn or for the world outside.
        blocked_threads: How many threads of the function wait for their run.
        recorded: The numbers of those that have recorded anything in earlier runs.
    """

    def __init__(self) -> None:
        self.resting: set[asyncio.Task[Any]] = set()
        self.blocked_threads = 0
        self._tasks: WeakSet[asyncio.Task[Any]] = WeakSet()
        self._places: WeakValueDictionary[str, Branch] = WeakValueDictionary()
        self._body: asyncio.Task[Any] | None = None
        self._is_threaded = False
        self._threads_before: WeakSet[threading.Thread] = WeakSet()
        self._at_work = 0
        self._timers: WeakKeyDictionary[asyncio.TimerHandle, _Timer] = WeakKeyDictionary()
        self._has_come = False  # whether one of them came since time was last asked to pass
        self.recorded = Recorded([])

    @contextmanager
    def body(self, *, is_threaded: bool) -> Generator[None]:
        """Call the function itself, in the current task or in a thread beside the loop."""
        self._is_threaded = is_threaded
        self._threads_before = WeakSet(threading.enumerate())
        self._body = None if is_threaded else asyncio.current_task()
        if self._body is not None:
            self._tasks.add(self._body)
        own = offspring.set(Branch(self))
        try:
            yield
        finally:
            offspring.reset(own)

    def add(self, task: asyncio.Task[Any], branch: Branch | None) -> None:
        """One more branch; None when it has no place of its own."""
        self._tasks.add(task)
        if branch is not None:
            branch.task = ref(task)
            self._places[branch.place] = branch

    def add_call(self, future: asyncio.Future[Any], branch: Branch | None) -> None:
        """One more branch, which is a function in a thread."""
        self._at_work += 1
        future.add_done_callback(self._end_call)
        if branch is not None:
            branch.task = ref(future)
            self._places[branch.place] = branch

    def _end_call(self, _future: asyncio.Future[Any]) -> None:
        self._at_work -= 1

    def is_live(self, place: str) -> bool:
        """Whether a branch has begun and not ended; the function of a step is of its branch."""
        place = place.rstrip(PARTS)
        branch = self._places.get(place)
        task = branch.task() if branch and branch.task else None
        is_always = place in {"", str(OUTSIDE)}
        return is_always or (task is not None and not task.done())

    def outside(self) -> Branch:
        """What asks for one thing outside of the branches."""
        return Branch(self, Branch(self), OUTSIDE)

    def renumber(self, branch: Branch, number: int) -> None:
        """A branch had the number of another one, which has come."""
        branch.number = number
        self._places = WeakValueDictionary({each.place: each for each in self._places.values()})

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

    @contextmanager
    def at_work(self) -> Generator[None]:
        """Something is done for one of them, which continues by itself when it is."""
        self._at_work += 1
        try:
            yield
        finally:
            self._at_work -= 1

    @property
    def are_alone(self) -> bool:
        """Whether the function does one thing at a time: no other branch lives, no timer is set."""
        return sum(not task.done() for task in self._tasks) <= 1 and not self._pending()

    @property
    def are_timed(self) -> bool:
        """Whether one of them continues when its time has come."""
        return bool(self._pending())

    @property
    def have_threads(self) -> bool:
        """Whether a thread lives that was started since the function was called, not by dama."""
        return any(
            thread not in self._threads_before and not thread.name.startswith(("dama", "asyncio_"))
            for thread in threading.enumerate()
        )

    def can_move(self) -> bool:
        """Whether one of them could still ask for something by itself, before its time comes."""
        if self._at_work or (self._is_threaded and not self.blocked_threads):
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
        return not (is_of_branches(waiter) or waits_for_branches(task))


class Branch(Offspring):
    """One branch of a run.

    Args:
        branches: All of them.
        parent: The branch that started it; None for the function itself.
        number: Its own among those that the parent starts; None for the function of a step.
        within: The keys of the steps that it is a part of, from the outermost.

    Attributes:
        task: Its task, or the call in a thread; None while that is started, and for a function.
        late: How it was cancelled while it waited for what is recorded: it is told after it.
        own_kin: What tells it from those beside it.
        is_known: Whether its number is its own: it has asked for what is recorded there.
    """

    def __init__(
        self,
        branches: Branches,
        parent: Branch | None = None,
        number: int | None = None,
        within: tuple[str, ...] = (),
    ) -> None:
        self.branches = branches
        self.parent = parent
        self.number = number
        self.within = within
        self.task: ref[asyncio.Future[Any]] | None = None
        self.late: asyncio.CancelledError | None = None
        self.own_kin = ""
        self.is_known = number is None
        self._recorded: dict[int, Branch] = {}  # children, by the numbers that are in the history
        self._born: Counter[str] = Counter()
        self._count = 0
        self._highest = 0
        self._latest: Branch | None = None  # a child that is being born
        self._asked: Counter[str] = Counter()

    @property
    def place(self) -> str:
        """The numbers on the way to it."""
        place = ""
        for each in self._lineage():
            place = below(place, PARTS if each.number is None else str(each.number))
        return place

    @property
    def kin(self) -> str:
        """What tells it, and each on the way to it, from those beside it."""
        return " ".join(each.own_kin for each in self._lineage() if each.number is not None)

    def settle(self) -> None:
        """It has asked for what is recorded at its place."""
        for each in self._lineage():
            each.is_known = True

    def _lineage(self) -> list[Branch]:
        """Those on the way to it, from below the function itself, and itself."""
        found: list[Branch] = []
        branch = self
        while branch.parent is not None:
            found.append(branch)
            branch = branch.parent
        return found[::-1]

    def refuse_late(self) -> None:
        """What is asked for was not answered before: it is told of a cancellation now.

        Raises:
            CancelledError: It was cancelled; with the words by which anyio knows its own.
        """
        if self.late is not None:
            late, self.late = self.late, None
            raise asyncio.CancelledError(*late.args)

    @property
    def is_outside(self) -> bool:
        """Whether it is no branch: what is asked for there comes in any order."""
        return self.number == OUTSIDE

    def nth(self, name: str) -> int | None:
        """How many asks of this branch had a name, with this one; None where order says nothing."""
        if self.is_outside:
            return None
        self._asked[name] += 1
        return self._asked[name]

    @override
    def child(self, coroutine: object) -> Branch:
        kin = kin_of(coroutine)
        self._born[kin] += 1
        if self._born[kin] > 1:
            kin = f"{kin}-{self._born[kin]}"
        number = self._number(kin)
        self._latest = child = Branch(self.branches, self, number, self.within)
        child.own_kin = kin
        if number <= self.branches.recorded.highest(self.place):
            self._recorded[number] = child
        return child

    def _number(self, kin: str) -> int:
        """The number that the next child has in the history, or may have had there."""
        place, recorded = self.place, self.branches.recorded
        self._count += 1
        highest = recorded.highest(place)
        self._highest = max(self._highest, highest)
        number = recorded.number(place, kin)
        holder = self._recorded.get(number or self._count)
        if number and (holder is None or not holder.is_known):
            if holder is not None:
                self.branches.renumber(holder, self._next())
            return number
        is_free = number is None and holder is None and self._count <= highest
        return self._count if is_free else self._next()

    def _next(self) -> int:
        self._highest += 1
        return self._highest

    @override
    def born(self, task: asyncio.Task[Any]) -> None:
        child, self._latest = self._latest, None
        self.branches.add(task, child)
        task.add_done_callback(_look_at)

    @override
    def called(self, future: asyncio.Future[Any]) -> None:
        child, self._latest = self._latest, None
        self.branches.add_call(future, child)

    @override
    def timed(self, handle: asyncio.TimerHandle, fire: Callable[[], object]) -> None:
        self.branches.add_timer(handle, fire)

    @override
    def came(self, handle: asyncio.TimerHandle) -> None:
        self.branches.timer_came(handle)


def _look_at(task: asyncio.Task[Any]) -> None:
    """Nobody may wait for a branch any more, and asyncio need not say that its run is over."""
    if isinstance(getattr(task, "_exception", None), ParkSignal | LostSignal | DivergedError):
        task.exception()
