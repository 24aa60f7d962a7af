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
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from dama import clock
from dama.run.branch import PARTS
from dama.run.errors import DivergedError
from dama.run.records import Asked, Record, difference, fits, is_alike

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.domain.journal import Entry
    from dama.run.branch import Branches

TURNS = 12  # of the loop, in which a branch comes from one outcome to its next ask
PAUSE = 0.05
LOOKS = 4  # in a row that find nothing in motion: a timer may just have fired
MOST_PASSED = 300  # times in a row: what is set again and again leads nowhere
PATIENCE = 60.0  # with a branch that can move and does not ask for what is recorded

_NUMBER = re.compile(r"(#\d+)+$")
_KINDS = {"SPAWNED": "subtask", "SENT": "event"}


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
        self._records: dict[str, Record] = {}
        self._unclaimed: dict[str, dict[str, list[Record]]] = {}
        self._is_taken = bytearray(len(self._entries))
        self._next = 0
        self._lenient = 0  # records before it may be left out
        self._begun: dict[str, _Begun] = {}
        self._changed = asyncio.Event()
        self._stirred = 0  # rises whenever something may move again
        self._passed = 0  # how often time was let pass since something came to its turn
        self._held: list[tuple[int, object]] = []
        self._free: list[object] = []  # held, and let through when nothing else can move
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
        if not self._is_forgiven(record) and (differs := difference(record, asked)):
            self.diverge(*differs)
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

    async def last(self, found: object) -> None:
        """Wait until all that was recorded has come to its turn, or can come only after this.

        Raises:
            DivergedError: The run has diverged meanwhile.
        """
        self._free.append(found)
        try:
            await self._hold(len(self._entries), found)
        finally:
            self._free.remove(found)
            self._stir()

    async def stuck(self) -> None:
        """Wait until nothing of the function can move; time that it waits for passes at once."""
        looks = stirred = 0
        while looks < LOOKS:
            await asyncio.sleep(PAUSE)
            looks = 0 if stirred != self._stirred or self._branches.can_move() else looks + 1
            stirred = self._stirred
            if looks == LOOKS and self._branches.pass_time():
                self._stir()
                looks = 0

    def has(self, key: str, kind: str) -> bool:
        """Whether something of a kind is recorded with a key."""
        record = self._records.get(key)
        return record is not None and any(self._entries[i].kind == kind for i in record.indexes)

    @property
    def position(self) -> int | None:
        """The event that the code has come to; None before the first."""
        return self._entries[self._next - 1].event_id if self._next else None

    @property
    def left(self) -> str | None:
        """What is recorded next; None when all of it has come to its turn."""
        return None if self.is_over else self._missing()

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
                await self._until(index, found)
        finally:
            self._held.remove((index, found))

    async def _until(self, index: int, found: object) -> None:
        begun, turns, looks, stirred = clock.monotonic(), 0, 0, self._stirred
        while self._next < index and index >= self._lenient:
            if stirred != self._stirred:
                begun, turns, looks, stirred = clock.monotonic(), 0, 0, self._stirred
            if turns < TURNS:
                turns += 1
                await asyncio.sleep(0)
                continue
            looks = 0 if self._branches.can_move() else looks + 1
            if self.diverged or looks >= LOOKS:
                if self._let_go(found):
                    return
            elif clock.monotonic() - begun > PATIENCE:
                return
            changed = self._changed
            with suppress(TimeoutError):
                async with asyncio.timeout(PAUSE):
                    await changed.wait()

    def _let_go(self, found: object) -> bool:
        """Nothing can move: time has passed then, or an end is let through; whether it is this one.

        Raises:
            DivergedError: Neither: the code is another.
        """
        is_let_go = False
        if not self.diverged and self._passed < MOST_PASSED and self._branches.pass_time():
            self._passed += 1
            self._stir()
        elif not self.diverged and self._free:
            is_let_go = self._free[0] is found
        else:
            _, latest = max(self._held, key=lambda held: held[0])  # what is new, if anything
            self.diverge(self._missing(), f"{latest} in its place")
        return is_let_go

    def _stir(self) -> None:
        self._stirred += 1
        self._changed.set()
        self._changed = asyncio.Event()

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
            self._passed = 0
            self._stir()

    def _add(self, index: int, entry: Entry) -> None:
        record = self._records.get(entry.key)
        if record is None:
            what = _KINDS.get(entry.kind, "wait" if entry.kind == "WAITING" else "step")
            record = Record(entry.key, what, entry.function, entry.args, entry.place)
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

    def _record_of(self, asked: Asked) -> Record | None:
        places = self._unclaimed.get(_base(asked.name))
        if not places:
            return None
        same = [r for r in places.get(asked.place, ()) if r.what == asked.what]
        for record in same:
            if fits(record, asked):
                return record
        others = [r for place, found in places.items() if place != asked.place for r in found]
        for record in others:
            if record.what == asked.what and is_alike(record, asked):
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

    def _is_forgiven(self, record: Record) -> bool:
        return all(index < self._lenient for index in record.indexes)

    def _missing(self) -> str:
        return str(self._records[self._entries[self._next].key])


def _base(key: str) -> str:
    return _NUMBER.sub("", key)


def _without_parts(entries: Sequence[Entry]) -> list[Entry]:
    """Entries but for the parts of steps that have an outcome: their functions are not called."""
    ended = {entry.key for entry in entries if entry.kind in {"DONE", "FAILED"}}
    return [entry for entry in entries if ended.isdisjoint(entry.within)]
