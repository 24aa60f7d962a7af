"""Threads: blocking functions of a run. Python cannot kill a thread, so a run waits for its own.

A run that timed out or was cancelled tells its threads to stop: an exception is raised in them at
their next line of Python, their open transaction is ended, and whatever they ask of their task
raises. Until they have ended, no other attempt begins beside them.

Two places are no place for that exception. While a thread takes or releases the lock of a handler
of the log, the lock would stay taken, and every thread of the process that logs would wait for it
forever. While it imports, the module would stay half imported. A thread that is at one of them is
told a moment later; should it get there in that very moment, the lock is released when it ends.
"""

from __future__ import annotations

import asyncio
import ctypes
import logging
import sys
import threading
import traceback
from contextvars import copy_context
from typing import TYPE_CHECKING, Any

from dama import clock
from dama.contained import carried
from dama.run.errors import LostSignal
from dama.run.limit import NO_LIMIT, Limit

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future, ThreadPoolExecutor
    from types import FrameType

TELL_SECONDS = 0.5
AGAIN_SECONDS = 0.01
SAY_SECONDS = 10.0
LOCKING = {"acquire", "release", "_acquireLock", "_releaseLock"}  # of `logging`

_log = logging.getLogger("dama.worker")


class BlockingCall:
    """A blocking function in a thread.

    Args:
        function: What to call.

    Attributes:
        interrupt: Ends what the function waits for outside of Python, such as a statement.
    """

    def __init__(self, function: Callable[[], Any]) -> None:
        self.interrupt: Callable[[], None] | None = None
        self._function = function
        self._context = copy_context()
        self._lock = threading.Lock()
        self._thread: int | None = None
        self._is_told = False

    def __call__(self) -> tuple[Any, BaseException | None]:
        """Call it; its value, or what it raised, which no future must carry."""
        with self._lock:
            self._thread = threading.get_ident()
        try:
            return self._context.run(carried(self._function)), None
        except BaseException as error:  # noqa: BLE001 - it is raised where the value is awaited
            return None, error
        finally:
            with self._lock:  # what is told now has no line of Python before the first of these
                self._thread = None
                if self._is_told:
                    _raise_in(threading.get_ident(), None)
                    _free_the_log()

    def tell(self) -> bool:
        """Raise LostSignal in the thread, at its next line of Python; False where it must wait."""
        with self._lock:
            if self._thread is None:
                return True
            if _is_delicate(self._frame()):
                return False
            self._is_told = True
            _raise_in(self._thread, ctypes.py_object(LostSignal))
            if _is_delicate(self._frame()):  # in between it went there, and met it or will not
                _raise_in(self._thread, None)
                return False
            return True

    def where(self) -> str:
        """The line that the thread is at."""
        frame = self._frame()
        if frame is None:
            return "at its end"
        line = traceback.extract_stack(frame)[-1]
        return f"at {line.filename}:{line.lineno}, in {line.name}"

    def _frame(self) -> FrameType | None:
        """What the thread is in now."""
        return sys._current_frames().get(self._thread or 0)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the only way


def _raise_in(thread: int, error: object) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), error)


def _is_delicate(frame: FrameType | None) -> bool:
    """Whether an exception here would leave a lock of the log taken, or a module half imported."""
    if frame is None:
        return False
    if _module_of(frame) == "logging" and frame.f_code.co_name in LOCKING:
        return True
    while frame is not None:
        if _module_of(frame) == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False


def _free_the_log() -> None:
    """Release the locks of handlers of the log that this thread has taken, and left with them."""
    known: list[Callable[[], logging.Handler | None]] = vars(logging)["_handlerList"]
    for handler_of in list(known):
        lock = getattr(handler_of(), "lock", None)
        is_owned = getattr(lock, "_is_owned", None)
        while lock is not None and is_owned is not None and is_owned():
            lock.release()


def _module_of(frame: FrameType) -> str | None:
    return frame.f_globals.get("__name__")


class Threads:
    """The threads of one run.

    Args:
        pool: Where they are.
        name: What the log calls the run.
    """

    def __init__(self, pool: ThreadPoolExecutor, name: str) -> None:
        self._pool = pool
        self._name = name
        self._calls: set[BlockingCall] = set()
        self._ended = asyncio.Event()

    @property
    def are_busy(self) -> bool:
        """Whether one of them has not ended."""
        return bool(self._calls)

    async def call(self, call: BlockingCall, limit: Limit = NO_LIMIT) -> Any:
        """Call a function in a thread; when this is cancelled, the thread is told to stop.

        Args:
            call: The function.
            limit: How long it may take; then it is stopped, and has ended when this raises.

        Raises:
            TimeoutError: It took longer.
            BaseException: What the function raised.
        """
        loop = asyncio.get_running_loop()
        future = self._pool.submit(call)
        self._calls.add(call)

        def ended(_future: Future[Any]) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._forget, call)

        future.add_done_callback(ended)
        try:
            async with limit.held():
                value, error = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self.tell()
            raise
        except TimeoutError:
            await self.end(only=call)
            raise
        if error is not None:
            raise error
        return value

    def tell(self, only: BlockingCall | None = None) -> bool:
        """Tell all of them to stop, or one; whether that could be told to each of them now."""
        are_told = True
        for call in self._calls if only is None else {only}:
            are_told &= call.tell()
            if call.interrupt is not None:
                interrupt, call.interrupt = call.interrupt, None
                threading.Thread(target=interrupt, name="dama interrupt", daemon=True).start()
        return are_told

    async def end(self, patience: float | None = None, only: BlockingCall | None = None) -> bool:
        """Tell them, or one, to stop until they have; whether they did within so many seconds."""
        begun = clock.monotonic()
        say_at = begun + SAY_SECONDS
        while only in self._calls if only else self._calls:
            now = clock.monotonic()
            if patience is not None and now - begun > patience:
                return False
            pause = TELL_SECONDS if self.tell(only) else AGAIN_SECONDS
            if now >= say_at:
                say_at = now + SAY_SECONDS
                _log.warning("%s: its thread does not stop: %s", self._name, self.where())
            self._ended.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._ended.wait()
            except TimeoutError:
                continue
        return True

    def where(self) -> str:
        """Where they are."""
        return "; ".join(call.where() for call in self._calls)

    def _forget(self, call: BlockingCall) -> None:
        self._calls.discard(call)
        self._ended.set()
