"""Contained: what user code may not do to its process.

`sys.exit()` and a KeyboardInterrupt that somebody raises are meant for a whole process. In one that
does the work of many they end what called them and nothing else. asyncio takes both past every
handler of a task and out of the loop, so they are replaced where user code is called, and for tasks
that user code starts by itself in the loop's own factory.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from dama.errors import DamaError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from concurrent.futures import Executor
    from contextvars import Context

V = TypeVar("V")


class Offspring(Protocol):
    """What is told of the asyncio tasks and timers that user code starts."""

    def child(self, coroutine: object) -> Offspring:
        """What the next task has in its place, which is to run a coroutine."""
        ...

    def born(self, task: asyncio.Task[Any]) -> None:
        """The task was started."""
        ...

    def called(self, future: asyncio.Future[Any]) -> None:
        """A function was called in a thread of an executor."""
        ...

    def timed(self, handle: asyncio.TimerHandle, fire: Callable[[], object]) -> None:
        """A timer was started; `fire` does what it does, as if its time had come."""
        ...

    def came(self, handle: asyncio.TimerHandle) -> None:
        """The loop has come to a timer, and does now what it is for."""
        ...


offspring: ContextVar[Offspring | None] = ContextVar("offspring", default=None)
sender: ContextVar[threading.Thread | None] = ContextVar("sender", default=None)
"""The thread that had the loop do what is done now; None for what the loop began by itself."""


class ExitError(DamaError):
    """User code tried to end the process."""

    code = "EXIT"
    exit_code = 1

    def __init__(self, error: BaseException) -> None:
        what = f"{type(error).__name__} was raised"
        if isinstance(error, SystemExit):
            code = "" if error.code is None else repr(error.code)
            what = f"sys.exit({code}) was called"
        super().__init__(f"{what}. It fails what raised it; the process continues.")


@contextmanager
def contained() -> Generator[None]:
    """Call user code.

    Raises:
        ExitError: It tried to end the process.
    """
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        raise ExitError(error) from error


def carried(function: Callable[..., V]) -> Callable[..., V]:
    """A function whose errors a future can carry: StopIteration would leave it waiting forever."""

    def call(*arguments: Any, **named: Any) -> V:
        with contained():
            try:
                return function(*arguments, **named)
            except StopIteration as error:
                raise RuntimeError(
                    "StopIteration was raised: next() met the end of an iterator."
                ) from error

    return call


def is_async(function: Callable[..., object]) -> bool:
    """Whether a function, or what is called as one, is an `async def`."""
    while isinstance(function, partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - what its __call__ is
    )


async def settled(value: V | Awaitable[V]) -> V:
    """What a function returned; awaited where that is a coroutine, as of `lambda: load(1)`."""
    if not inspect.isawaitable(value):
        return cast("V", value)
    with contained():
        return cast("V", await value)


def running_loop() -> asyncio.AbstractEventLoop | None:
    """The loop that runs in this thread; None when none does."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def contain_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Contain every task that is started in a loop from now on, user code's own included."""
    if loop.get_task_factory() is None:
        loop.set_task_factory(_task)
        _watch_timers(loop)
        _watch_threads(loop)
        _watch_executors(loop)


def _watch_threads(loop: asyncio.AbstractEventLoop) -> None:
    send = loop.call_soon_threadsafe

    def call_soon_threadsafe(
        callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        if context is None and running_loop() is not loop:
            context = copy_context()
            context.run(sender.set, threading.current_thread())
        return send(callback, *args, context=context)

    setattr(loop, "call_soon_threadsafe", call_soon_threadsafe)  # noqa: B010 - as below


def _watch_executors(loop: asyncio.AbstractEventLoop) -> None:
    run = loop.run_in_executor

    def run_in_executor(
        executor: Executor | None, function: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        parent = offspring.get()
        is_of_loop = getattr(function, "__module__", None) == "socket"  # it looks up a host
        if parent is None or is_of_loop or not isinstance(executor, ThreadPoolExecutor | None):
            return run(executor, function, *args)
        context = copy_context()
        context.run(offspring.set, parent.child(partial(function, *args)))
        future = run(executor, partial(context.run, function, *args))
        parent.called(future)
        return future

    setattr(loop, "run_in_executor", run_in_executor)  # noqa: B010 - as below


def _watch_timers(loop: asyncio.AbstractEventLoop) -> None:
    start = loop.call_at

    def call_at(
        when: float, callback: Callable[..., object], *args: Any, **options: Any
    ) -> asyncio.TimerHandle:
        parent = offspring.get()
        if parent is None:
            return start(when, callback, *args, **options)

        held: list[asyncio.TimerHandle] = []

        def come() -> None:
            parent.came(held.pop())  # what has come is forgotten at once, without a circle
            callback(*args)

        handle = start(when, come, **options)
        held.append(handle)
        parent.timed(handle, partial(_fire, loop, callback, *args, **options))
        return handle

    setattr(loop, "call_at", call_at)  # noqa: B010 - a loop has no hook for its timers


def _fire(
    loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any, **options: Any
) -> None:
    """Call back before the time has come."""
    scope: Any = getattr(callback, "__self__", None)
    if type(scope).__name__ == "CancelScope":  # of anyio, which looks at the time again
        scope.deadline = loop.time()
    else:
        loop.call_soon(callback, *args, **options)


def _task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, V] | Generator[Any, None, V],
    **options: Any,
) -> asyncio.Task[V]:
    parent = offspring.get()
    child = None if parent is None else parent.child(coroutine)
    task = asyncio.Task(_performed(coroutine, child), loop=loop, **options)
    if parent is not None:
        parent.born(task)
    # One that was cancelled before its first step has not come to its coroutine.
    task.add_done_callback(lambda _: coroutine.close())
    return task


async def _performed(
    coroutine: Coroutine[Any, Any, V] | Generator[Any, None, V], child: Offspring | None
) -> V:
    this = asyncio.current_task()
    if child is not None:  # in its own context, whether that was given or copied
        offspring.set(child)
    try:
        with contained():
            return await cast("Coroutine[Any, Any, V]", coroutine)
    except GeneratorExit as error:
        if running_loop() is None or asyncio.current_task() is not this:  # somebody closes it
            raise
        # Raised by its own code. Whoever awaits the task would be closed by it, not told.
        raise ExitError(error) from error
