"""Duties: what a process does in the background for as long as it lives.

A duty that fails is logged, and started again after a pause that doubles. An outage is waited for,
however long it lasts. What fails for another reason again and again ends the process with that
reason, so that whatever supervises it can act: a process that looks alive and no longer does a part
of its work is the worse of the two.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from dama import clock
from dama.errors import DamaError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
STEADY_SECONDS = 30.0  # without a failure, and it is well again
AGAIN_SECONDS = 5.0
MOST_FAILURES = 10  # in a row, outages aside; together they take about a minute

_log = logging.getLogger("dama.duty")
_done_here: set[Duty] = set()


class DutyError(DamaError):
    """A duty of this process failed again and again."""

    code = "DUTY"

    def __init__(self, name: str, error: BaseException) -> None:
        super().__init__(
            f"{name} failed {MOST_FAILURES} times in a row, the last time with {in_words(error)}.",
            "This process ends so that its supervisor starts another. The log has the traceback.",
        )


class Duty:
    """One duty.

    Args:
        name: What it does, as the subject of a sentence: "claiming runs".
        work: Does it, until it is cancelled. One that returns is done.
        on_change: Called when it fails, and when it is well again.
        steady: Seconds without a failure after which it is well again; None where only the work
            can say so, since it mostly sleeps.

    Attributes:
        name: As given.
        trouble: The error that it failed with last; None when it is well.
    """

    def __init__(
        self,
        name: str,
        work: Callable[[], Coroutine[Any, Any, object]],
        on_change: Callable[[Duty], None] = lambda _: None,
        *,
        steady: float | None = STEADY_SECONDS,
    ) -> None:
        self.name = name
        self.trouble: str | None = None
        self._work = work
        self._on_change = on_change
        self._steady = steady
        self._failures = 0
        self._pause = FIRST_PAUSE
        self._is_told_to_end = False

    def well(self) -> None:
        """It has done a piece of its work."""
        self._failures = 0
        self._pause = FIRST_PAUSE
        if self.trouble is not None:
            _log.info("%s: well again", self.name)
            self.trouble = None
            self._on_change(self)

    def end(self) -> None:
        """The next cancellation ends it; before, one would be a failure like any other."""
        self._is_told_to_end = True

    async def run(self, block: asyncio.Task[Any] | None = None) -> None:
        """Do it until it is told to end.

        Args:
            block: What it is done for: once that has ended nobody is left to tell, and the next
                cancellation is the end of the loop.

        Raises:
            DutyError: It failed again and again.
        """
        _done_here.add(self)
        try:
            while not await self._is_done(block):
                await clock.sleep(self._pause)
                self._pause = min(self._pause * 2, LONGEST_PAUSE)
        finally:
            _done_here.discard(self)

    async def _is_done(self, block: asyncio.Task[Any] | None) -> bool:
        loop = asyncio.get_running_loop()
        steady = None if self._steady is None else loop.call_later(self._steady, self.well)
        try:
            await self._work()
        except DutyError:  # of a duty that this one looks after
            raise
        except BaseException as error:  # one that dies would not be missed
            if self._is_told_to_end or (block is not None and block.done()):
                raise
            self._take(error)
            return False
        finally:
            if steady is not None:
                steady.cancel()
        return True

    def _take(self, error: BaseException) -> None:
        self.trouble = f"{self.name}: {in_words(error)}"
        is_outage = isinstance(error, UnavailableError)
        _log.error("%s; again in %.1f s", self.trouble, self._pause, exc_info=not is_outage)
        self._on_change(self)
        self._failures += not is_outage
        if self._failures >= MOST_FAILURES:
            raise DutyError(self.name, error) from error


def troubles() -> Sequence[str]:
    """What the duties of this process fail with at the moment."""
    return sorted(duty.trouble for duty in _done_here if duty.trouble is not None)


@asynccontextmanager
async def on_duty(*duties: Duty) -> AsyncGenerator[None]:
    """Do these duties in the background of a block.

    Raises:
        DutyError: One failed again and again; the block was cancelled.
    """
    block = asyncio.current_task()
    failures: list[DutyError] = []

    async def watched(duty: Duty) -> None:
        try:
            await duty.run(block)
        except DutyError as error:
            failures.append(error)
            if block is not None and len(failures) == 1:
                block.cancel()

    tasks = [asyncio.create_task(watched(duty), name=duty.name) for duty in duties]
    try:
        yield
    except asyncio.CancelledError:
        if not failures or (block is not None and block.uncancel() > 0):
            raise
    finally:
        for duty in duties:
            duty.end()
        await cancelled(tasks)
    if failures:
        raise failures[0]


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end.

    One that continues is cancelled again: `asyncio.wait_for` of Python 3.11, in whatever library,
    may have forgotten the first time, and whoever waits here would wait forever.
    """
    tasks = list(tasks)
    while pending := [task for task in tasks if not task.done()]:
        for task in pending:
            task.cancel()
        await asyncio.wait(pending, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)  # or asyncio says that nobody asked


def in_words(error: BaseException) -> str:
    """An error with its class, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
