"""Asks: what a task's function has asked of its task, until each is answered.

A coroutine that is never awaited does nothing. Python says so in a warning that nobody reads, and
the run would be DONE without its step; so each is kept here, and a function that returns without
having awaited one fails. What is under way when a function returns is completed first.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Coroutine
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from dama.contained import running_loop, sender
from dama.errors import UnavailableError
from dama.run.asking import asking
from dama.run.errors import LostSignal, UnawaitedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.run.branch import Branches

P = ParamSpec("P")
V = TypeVar("V")

TURNS = 3  # of the loop, in which what was cancelled before it began is closed


class _Number:
    """Tells one ask from all others of its process."""


@dataclass(frozen=True)
class _Ask:
    what: str
    coroutine: Coroutine[Any, Any, Any]


class Asks:
    """What one run has asked and not got yet.

    Args:
        branches: Those that ask.

    Attributes:
        are_cut_off: Whether an answer was that the run is lost, or the database out of reach.
    """

    def __init__(self, branches: Branches) -> None:
        self.are_cut_off = False
        self._branches = branches
        self._loop = asyncio.get_running_loop()
        self._open: dict[_Number, _Ask] = {}
        self._sent: set[asyncio.Task[Any]] = set()  # by threads, which wait for them

    def take(
        self,
        what: str,
        ask: Callable[[], Coroutine[Any, Any, V]],
        args: tuple[Any, ...] = (),
    ) -> Coroutine[Any, Any, V]:
        """Keep an ask until it is answered.

        Args:
            what: How the code reads: `task.step('load')`.
            ask: Gives the coroutine that does it, when it is awaited.
            args: What tells it from the like, where it is a branch of its own.
        """
        number = _Number()
        coroutine = self._answered(number, ask, what, args)
        self._open[number] = _Ask(what, coroutine)
        return coroutine

    async def _answered(
        self,
        number: _Number,
        ask: Callable[[], Coroutine[Any, Any, V]],
        _what: str,  # what tells the coroutine from its like, also in histories: see `kin_of`
        _args: tuple[Any, ...],
    ) -> V:
        try:
            if running_loop() is not self._loop:  # that of a thread, as of `asyncio.run` there
                asked = asyncio.run_coroutine_threadsafe(self._done(ask, _what, _args), self._loop)
                return await asyncio.wrap_future(asked)
            return await self._done(ask, _what, _args)
        except (LostSignal, UnavailableError):
            self.are_cut_off = True
            raise
        finally:
            self._open.pop(number, None)

    async def _done(
        self, ask: Callable[[], Coroutine[Any, Any, V]], _what: str, _args: tuple[Any, ...]
    ) -> V:
        this = asyncio.current_task() if sender.get() else None
        if this:
            self._sent.add(this)
        try:
            with asking(self._branches):
                return await ask()
        finally:
            if this:
                self._sent.discard(this)

    async def refuse_forgotten(self) -> None:
        """The function has returned: everything that it asked for was awaited.

        Raises:
            UnawaitedError: Something was not.
        """
        for _ in range(TURNS if self._open else 0):
            await asyncio.sleep(0)
        forgotten = self._forgotten()
        if forgotten:
            self.close()
            raise UnawaitedError([ask.what for ask in forgotten])

    def close(self) -> None:
        """Nothing that has not begun begins any more, and Python need not warn of it."""
        for ask in self._forgotten():
            ask.coroutine.close()
        self._open.clear()

    def release(self) -> None:
        """The attempt is over: no thread waits for an answer any more."""
        for task in self._sent:
            task.cancel()

    def _forgotten(self) -> list[_Ask]:
        return [
            ask
            for ask in list(self._open.values())
            if inspect.getcoroutinestate(ask.coroutine) == inspect.CORO_CREATED
        ]


class Asking(Protocol):
    """What has asks."""

    @property
    def asks(self) -> Asks:
        """Its asks."""
        ...


T = TypeVar("T", bound=Asking)


def asked(
    method: Callable[Concatenate[T, P], Coroutine[Any, Any, V]],
) -> Callable[Concatenate[T, P], Coroutine[Any, Any, V]]:
    """A method of a task that must be awaited; see `Asks`."""

    @wraps(method)
    def ask(self: T, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, V]:
        told = (*args, kwargs, vars(self).get("context_id"))  # of a subtask
        return self.asks.take(_text_of(method, args), lambda: method(self, *args, **kwargs), told)

    return ask


def _text_of(method: Callable[..., object], args: tuple[object, ...]) -> str:
    first = args[0] if args else None
    named = first if isinstance(first, str) else getattr(first, "name", None)
    shown = repr(named) if isinstance(named, str) else "" if first is None else "..."
    return f"task.{getattr(method, '__name__', 'ask')}({shown[:100]})"
