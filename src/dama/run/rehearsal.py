"""A rehearsal: what a test puts in the place of functions, and when it lets the process die.

There is one only where a test has set it (`dama.testing`); every run of a worker that was started
within it takes part.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from dama.domain.event import kind_of
from dama.domain.lifecycle import step_key

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass
class Rehearsal:
    """What a test wants of the runs in it.

    Attributes:
        stubs: What stands in: by the name of a step, of a task, or of an action; `*` in a name
            stands for anything.
        deaths: The names of events, or how many there have been, after which everything stops.
        calls: How often the function of each step was called.
        dying: Set when everything has stopped.
        count: How many events were written.
        asked: The names of what was about to be called.
        used: The names of the stubs that were called.
        written_names: The names of the events, each once.
    """

    stubs: Mapping[str, Callable[..., Any]]
    deaths: list[str | int]
    calls: Counter[str] = field(default_factory=Counter[str])
    dying: asyncio.Event = field(default_factory=asyncio.Event)
    count: int = 0
    asked: dict[str, None] = field(default_factory=dict[str, None])
    used: set[str] = field(default_factory=set[str])
    written_names: dict[str, None] = field(default_factory=dict[str, None])

    def stand_in(self, *names: str) -> Callable[..., Any] | None:
        """What stands in for what has one of these names."""
        self.asked |= dict.fromkeys(names)
        found = next((name for name in names if name in self.stubs), None)
        for pattern in self.stubs if found is None else ():
            if any(fnmatchcase(name, pattern) for name in names):
                found = pattern
                break
        if found is None:
            return None
        self.used.add(found)
        return self.stubs[found]

    async def alive(self) -> None:
        """Return while the process lives; when it has died, nothing ever continues."""
        if self.dying.is_set():
            await asyncio.Event().wait()

    async def written(self, types: Iterable[str]) -> None:
        """Events are durable: the process may die now, and whoever wrote them never learns it."""
        for type_ in types:
            self.count += 1
            self.written_names[short_name(type_).removesuffix(":DONE")] = None
            if self.deaths and self._is_death(type_, self.deaths[0]):
                self.deaths.pop(0)
                self.dying.set()
        await self.alive()

    def _is_death(self, type_: str, death: str | int) -> bool:
        if isinstance(death, int):
            return self.count == death
        short = short_name(type_)
        names = (type_, short, short.removesuffix(":DONE"))
        return any(fnmatchcase(name, death) for name in names)


def short_name(type_: str) -> str:
    """The type of an event without its task: `fetch:DONE` of `etl.load/fetch:DONE`."""
    if step := step_key(type_):
        return ":".join(step)
    return kind_of(type_) or type_


rehearsal: ContextVar[Rehearsal | None] = ContextVar("rehearsal", default=None)
