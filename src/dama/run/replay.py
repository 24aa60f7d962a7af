"""Replay: what the code asks for meets what its run has recorded, in the recorded order.

Each ask is bound to a record by its name, its branch and what it was called with. Whatever was
recorded comes to its turn in the order of the history, so that branches that run side by side see
each other's outcomes as they did before; what is new waits until all of it has. No record depends
on what is new, so a branch that asks for something new while records are left, and nothing else of
the run can move, runs other code than the one that recorded them: the run has diverged.
"""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from typing_extensions import override

from dama import clock
from dama.run.branch import PARTS
from dama.run.errors import DivergedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.domain.journal import Entry
    from dama.run.branch import Branches

MAINS = frozenset({"__main__", "__dama_main__"})
TURNS = 12  # of the loop, in which a branch comes from one outcome to its next ask
PAUSE = 0.05
LOOKS = 4  # in a row that find nothing in motion: a timer may just have fired
NO_ARGS = ""
ANY_ARGS = "?"
PATIENCE = 60.0  # with a branch that can move and does not ask for what is recorded

_NUMBER = re.compile(r"(#\d+)+$")
_KINDS = {"SPAWNED": "subtask", "SENT": "event"}


@dataclass(frozen=True)
class Asked:
    """What the code asks for.

    Attributes:
        name: Of the step, subtask, wait or event.
        what: step, subtask, wait or event.
        function: Of a step.
        args: A digest of what it is called with: `NO_ARGS`, or `ANY_ARGS` when it cannot be said.
        place: The branch.
        within: The keys of the steps that it is a part of, from the outermost.
    """

    name: str
    what: str
    function: str | None = None
    args: str = NO_ARGS
    place: str = ""
    within: tuple[str, ...] = ()

    @override
    def __str__(self) -> str:
        """How an error names it."""
        return _words(self.what, self.name, self.function)


@dataclass
class _Record:
    key: str
    what: str
    function: str | None
    args: str | None
    place: str
    indexes: list[int] = field(default_factory=list[int])

    @override
    def __str__(self) -> str:
        return _words(self.what, self.key, self.function)


@dataclass
class _Begun:
    index: int
    place: str
    is_taken: bool = False


class Replay:
    """What a run has recorded, and how far its code has come in it.

    Args:
        entries: What earlier runs recorded.
        branches: The branches of the function.
        tried: The keys of what failed and is tried again.

    Attributes:
        diverged: How it has diverged, once it has: nothing more is done, whoever catches the error.
    """

    def __init__(
        self, entries: Sequence[Entry], branches: Branches, tried: frozenset[str] = frozenset()
    ) -> None:
        self._entries = _without_parts(entries)
        self._branches = branches
        self._tried = tried
        self._records: dict[str, _Record] = {}
        self._unclaimed: dict[str, dict[str, list[_Record]]] = {}
        self._is_taken = bytearray(len(self._entries))
        self._next = 0
        self._lenient = 0  # records before it may be left out
        self._begun: dict[str, _Begun] = {}
        self._changed = asyncio.Event()
        self._held: list[tuple[int, object]] = []
        self.diverged: DivergedError | None = None
        for index, entry in enumerate(self._entries):
            self._add(index, entry)
        for index, entry in enumerate(self._entries):
            self._add_begun(index, entry)
        self._keys = {entry.key for entry in entries} | set(self._begun)

    @property
    def is_over(self) -> bool:
        """Whether all that was recorded has come to its turn."""
        return self._next >= len(self._entries)

    def bind(self, asked: Asked) -> str:
        """The key of what is asked for: that of its record, or a new one.

        Raises:
            DivergedError: It is recorded with another function, or was called with something else.
        """
        if self.diverged:
            raise self.diverged
        record = self._record_of(asked)
        if record is None:
            return self._begun_key(asked) or self._new_key(asked)
        self._unclaimed[_base(record.key)][record.place].remove(record)
        if not self._is_forgiven(record) and (difference := _difference(record, asked)):
            self.diverge(*difference)
        return record.key

    def diverge(self, recorded: str, found: str) -> NoReturn:
        """The run has diverged.

        Raises:
            DivergedError: Always: the first one.
        """
        self.diverged = self.diverged or DivergedError(recorded, found)
        raise self.diverged

    async def turn(self, key: str, found: object) -> None:
        """Wait until what is recorded next with a key has its turn; if there is nothing, until all.

        Raises:
            DivergedError: It never will.
        """
        record = self._records.get(key)
        index = record.indexes.pop(0) if record and record.indexes else len(self._entries)
        if key in self._begun and index == len(self._entries):
            await self._hold(self._begun[key].index, found)
            return
        if index == len(self._entries) and key in self._tried:
            return
        if index < self._lenient:
            self._take(index)
            return
        await self._hold(index, found)
        if index < len(self._entries):
            self._take(index)

    async def all(self, found: object) -> None:
        """Wait until all that was recorded has come to its turn: what follows is new.

        Raises:
            DivergedError: It never will.
        """
        await self._hold(len(self._entries), found)

    def has(self, key: str, kind: str) -> bool:
        """Whether something of a kind is recorded with a key."""
        record = self._records.get(key)
        return record is not None and any(self._entries[i].kind == kind for i in record.indexes)

    @property
    def position(self) -> int | None:
        """The event that the code has come to; None before the first."""
        return self._entries[self._next - 1].event_id if self._next else None

    def event_id(self, key: str) -> int | None:
        """The event of what comes next with a key; None when nothing is recorded."""
        record = self._records.get(key)
        return self._entries[record.indexes[0]].event_id if record and record.indexes else None

    def forgive(self, key: str) -> None:
        """What is left in the record before a marker may be left out, or be done otherwise."""
        record = self._records.get(key)
        until = record.indexes[0] if record and record.indexes else len(self._entries)
        self._lenient = max(self._lenient, until)
        self._advance()

    def is_forgiven(self, key: str) -> bool:
        """Whether what is recorded with a key may be done otherwise."""
        record = self._records.get(key)
        return record is not None and self._is_forgiven(record)

    def again(self, key: str, entries: Sequence[Entry]) -> None:
        """A step is tried again: what its parts have recorded is theirs again, in any order.

        Args:
            key: Of the step.
            entries: Those of its parts that are not tried again themselves.
        """
        parts = {entry.key for entry in (*self._entries, *entries) if key in entry.within}
        for record in [self._records.pop(part) for part in parts if part in self._records]:
            unclaimed = self._unclaimed[_base(record.key)][record.place]
            unclaimed[:] = [each for each in unclaimed if each is not record]
        for entry in entries:
            self._entries.append(entry)
            self._is_taken.append(1)
            self._add(len(self._entries) - 1, entry)
        self._advance()

    def refuse_left(self) -> None:
        """The function has returned: nothing that was recorded is left.

        Raises:
            DivergedError: Something is.
        """
        if self.diverged:
            raise self.diverged
        if not self.is_over:
            self.diverge(self._missing(), "the function returned without it")

    async def _hold(self, index: int, found: object) -> None:
        if self._next >= index:
            return
        self._held.append((index, found))
        try:
            with self._branches.at_rest():
                await self._until(index)
        finally:
            self._held.remove((index, found))

    async def _until(self, index: int) -> None:
        begun, turns, looks = clock.monotonic(), 0, 0
        while self._next < index and index >= self._lenient:
            if turns < TURNS:
                turns += 1
                await asyncio.sleep(0)
                continue
            looks = 0 if self._branches.can_move() else looks + 1
            if self.diverged or looks >= LOOKS:
                _, found = max(self._held, key=lambda held: held[0])  # what is new, if anything
                self.diverge(self._missing(), f"{found} in its place")
            if clock.monotonic() - begun > PATIENCE:
                return
            changed = self._changed
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await changed.wait()
                    turns = looks = 0

    def _take(self, index: int) -> None:
        self._is_taken[index] = 1
        self._advance()

    def _advance(self) -> None:
        before = self._next
        while self._next < len(self._entries) and (
            self._is_taken[self._next] or self._next < self._lenient
        ):
            self._next += 1
        if self._next != before:
            self._changed.set()
            self._changed = asyncio.Event()

    def _add(self, index: int, entry: Entry) -> None:
        record = self._records.get(entry.key)
        if record is None:
            what = _KINDS.get(entry.kind, "wait" if entry.kind == "WAITING" else "step")
            record = _Record(entry.key, what, entry.function, entry.args, entry.place)
            self._records[entry.key] = record
            places = self._unclaimed.setdefault(_base(entry.key), {})
            places.setdefault(entry.place, []).append(record)
        record.function = record.function or entry.function
        record.indexes.append(index)

    def _add_begun(self, index: int, entry: Entry) -> None:
        """The steps that an entry is a part of and that have no outcome."""
        places = entry.place.split(PARTS)
        for depth, key in enumerate(entry.within):
            if key not in self._records and key not in self._begun:
                self._begun[key] = _Begun(index, PARTS.join(places[: depth + 1]))

    def _begun_key(self, asked: Asked) -> str | None:
        """The key of a step that was under way when its run ended: its parts are recorded."""
        for key, begun in self._begun.items():
            is_asked = asked.what == "step" and _base(key) == _base(asked.name)
            if is_asked and begun.place == asked.place and not begun.is_taken:
                begun.is_taken = True
                return key
        return None

    def _record_of(self, asked: Asked) -> _Record | None:
        places = self._unclaimed.get(_base(asked.name))
        if not places:
            return None
        same = [r for r in places.get(asked.place, ()) if r.what == asked.what]
        for record in same:
            if _fits(record, asked):
                return record
        others = [r for place, found in places.items() if place != asked.place for r in found]
        for record in others:
            if record.what == asked.what and _is_alike(record, asked):
                return record
        left = [record for record in same if record.indexes]
        return left[0] if left else None

    def _new_key(self, asked: Asked) -> str:
        key, number = asked.name, 1
        while key in self._keys:
            number += 1
            key = f"{asked.name}#{number}"
        self._keys.add(key)
        return key

    def _is_forgiven(self, record: _Record) -> bool:
        return all(index < self._lenient for index in record.indexes)

    def _missing(self) -> str:
        return str(self._records[self._entries[self._next].key])


def _difference(record: _Record, asked: Asked) -> tuple[str, str] | None:
    """What was recorded, and what is asked for; None when both are the same."""
    if record.what == "step" and not _is_function(record.function, asked.function):
        return str(record), str(asked)
    # Who starts subtasks compares them itself, and can name the params.
    if record.what != "subtask" and not _fits(record, asked):
        return (
            f"{record}, called with {_said(record.args)}",
            f"{asked}, called with {_said(asked.args)}",
        )
    return None


def _is_function(known: str | None, name: str | None) -> bool:
    """Whether a function is the one that a journal names."""
    if known is None or name is None or known == name or ":" not in known:  # of an older version
        return True
    (module, own), (other, theirs) = name.split(":", 1), known.split(":", 1)
    # A module that was started as a program has two names.
    is_same_module = module == other or not MAINS.isdisjoint((module, other))
    return own == theirs and is_same_module


def _said(args: str | None) -> str:
    """What is known of arguments: they may hold secrets, so their digest stands for them."""
    return f"arguments of the digest {args}" if args else "no arguments"


def _fits(record: _Record, asked: Asked) -> bool:
    unknown = {None, ANY_ARGS}
    return record.args in unknown or asked.args in unknown or record.args == asked.args


def _is_alike(record: _Record, asked: Asked) -> bool:
    """Whether a record of another branch will do: its result is what this one would be."""
    if record.args is None:  # of an older version, which did not say its branch
        return True
    is_told = asked.args not in {NO_ARGS, ANY_ARGS}
    return is_told and record.args == asked.args and record.function == asked.function


def _words(what: str, key: str, function: str | None) -> str:
    key = key.removeprefix("dispatch/") if what == "event" else key
    return f"the {what} {key}" + (f", done by {function}" if function else "")


def _base(key: str) -> str:
    return _NUMBER.sub("", key)


def _without_parts(entries: Sequence[Entry]) -> list[Entry]:
    """Entries but for the parts of steps that have an outcome: their functions are not called."""
    ended = {entry.key for entry in entries if entry.kind in {"DONE", "FAILED"}}
    return [entry for entry in entries if ended.isdisjoint(entry.within)]
