"""Replay: what the code asks for meets what its run has recorded, in the recorded order.

Each ask is bound to a record by its name, its branch and what it was called with. Whatever was
recorded comes to its turn in the order of the history, so that branches that run side by side see
each other's outcomes as they did before; what is new waits until all of it has. No record depends
on what is new, so a branch that asks for something new while records are left, and nothing else of
the run can move, runs other code than the one that recorded them: the run has diverged.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

from dama import clock
from dama.run.asking import asker
from dama.run.begun import Begun
from dama.run.errors import DivergedError
from dama.run.pace import Pace
from dama.run.records import (
    CANCELLED,
    Asked,
    Record,
    difference,
    is_its_own,
    record_of,
    without_parts,
)
from dama.run.unclaimed import Unclaimed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dama.domain.journal import Entry
    from dama.run.branch import Branches

TURNS = 12  # of the loop, in which a branch comes from one outcome to its next ask
PAUSE = 0.05
LOOKS = 4  # in a row that find nothing in motion: a timer may just have fired
PATIENCE = 60.0  # with a branch that can move and does not ask for what is recorded


class Replay:
    """What a run has recorded, and how far its code has come in it.

    Args:
        entries: What earlier runs recorded.
        branches: The branches of the function.
        tried: The keys of what failed and is tried again.
        is_ending: Whether the function is unwound, and not by itself.

    Attributes:
        diverged: How it has diverged, once it has: nothing more is done, whoever catches the error.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        branches: Branches,
        tried: frozenset[str] = frozenset(),
        *,
        is_ending: Callable[[], bool] = lambda: False,
    ) -> None:
        self._entries = without_parts(entries)
        self._branches = branches
        self._tried = tried
        self._is_ending = is_ending
        self._records: dict[str, Record] = {}
        self._unclaimed = Unclaimed(branches)
        self._is_taken = bytearray(len(self._entries))
        self._next = 0
        self._lenient = 0  # records before it may be left out
        self._begun = Begun()
        self._changed = asyncio.Event()
        self._stirred = 0  # rises whenever something may move again
        self._pace = Pace()
        self._held: list[tuple[int, object]] = []
        self._free: list[object] = []  # held, and let through when nothing else can move
        self.diverged: DivergedError | None = None
        for index, entry in enumerate(self._entries):
            self._add(index, entry)
        for index, entry in enumerate(self._entries):
            self._begun.add(index, entry, self._records)
        self._keys = {entry.key for entry in entries} | self._begun.keys()

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
        record = self._unclaimed.find(asked)
        if record is None:
            return self._begun.claim(asked) or self._new_key(asked)
        self._unclaimed.remove(record)
        if record.place == asked.place and (branch := asker.get()):
            branch.settle()
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
        if index == len(self._entries) and (begun := self._begun.index(key)) is not None:
            await self._hold(begun, found)
            return
        if index == len(self._entries) and key in self._tried:
            return
        if index < self._lenient:
            self._take(index)
            return
        if record is None or index == len(self._entries):
            await self._hold(index, found)
            return
        await self._hold_recorded(record, index, found)
        self._take(index)
        marker = self._records.get(f"{CANCELLED}{key}")
        if marker and marker.indexes and not record.indexes:
            await self._hold_cancelled(marker.indexes.pop(0), found)

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
        self._unclaimed.is_lenient = self._lenient > 0
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
            self._unclaimed.remove(record)
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
        self._pass_over(are_ended=True)
        if not self.is_over:
            self.diverge(self._missing(), "the function returned without it")

    async def _hold(self, index: int, found: object, *, is_kept: bool = False) -> None:
        """Wait until all before an entry have come to their turn, unless it has no order."""
        if self._next >= index or (isinstance(found, Asked) and found.is_unordered):
            return
        self._held.append((index, found))
        try:
            with self._branches.at_rest():
                await self._until(index, found, is_kept=is_kept)
        except asyncio.CancelledError:
            self._pace.given_up += 1
            raise
        finally:
            self._held.remove((index, found))

    async def _hold_recorded(self, record: Record, index: int, found: object) -> None:
        """Wait for the turn of what the function has got: who is cancelled meanwhile, is after it.

        Time passes otherwise than it did, so that a timer may come too early.
        """
        is_others = isinstance(found, Asked) and not is_its_own(record, found)
        is_begun = self._entries[index].kind == "WAITING" and not record.indexes
        is_kept = asker.get() is not None and not is_others and not is_begun
        try:
            await self._hold(index, found, is_kept=is_kept)
        except asyncio.CancelledError:
            if not self._is_ending():
                if is_others:
                    record.indexes.insert(0, index)
                    self._unclaimed.give_back(record)
                elif is_begun:
                    self._take(index)
            raise

    async def _hold_cancelled(self, index: int, found: object) -> None:
        """The function was cancelled before it got what is recorded: wait until it is again."""
        branch = asker.get()
        try:
            if branch is not None:
                branch.refuse_late()
            await self._hold(len(self._entries), found)
        except asyncio.CancelledError:
            self._take(index)
            raise

    async def _until(self, index: int, found: object, *, is_kept: bool) -> None:
        begun, turns, looks, stirred = clock.monotonic(), 0, 0, self._stirred
        while self._next < index and index >= self._lenient:
            if stirred != self._stirred:
                begun, turns, looks, stirred = clock.monotonic(), 0, 0, self._stirred
            if turns < TURNS:
                turns += 1
                await self._paused(0, is_kept=is_kept)
                continue
            looks = 0 if self._branches.can_move() else looks + 1
            if self.diverged or looks >= LOOKS or self._goes_round():
                if self._let_go(found, begun):
                    return
            elif clock.monotonic() - begun > PATIENCE:
                return
            await self._paused(PAUSE, is_kept=is_kept)

    async def _paused(self, seconds: float, *, is_kept: bool) -> None:
        """Let others move for a time, or until something has come to its turn."""
        changed, until = self._changed, clock.monotonic() + seconds
        while True:
            try:
                if not seconds:
                    await asyncio.sleep(0)
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout(until - clock.monotonic()):
                        await changed.wait()
            except asyncio.CancelledError as late:
                branch = asker.get()
                if branch is None or not is_kept or self._is_ending():
                    raise
                branch.late = late
            if changed.is_set() or clock.monotonic() >= until:
                return

    def _let_go(self, found: object, since: float) -> bool:
        """Nothing can move but a thread: time passes, or an end is let through; whether this one.

        Raises:
            DivergedError: Neither: the code is another.
        """
        if not self.diverged and (self._pass_over() or self._pass_time()):
            self._stir()
            return False
        is_patient = self._branches.have_threads and clock.monotonic() - since < PATIENCE
        if not self.diverged and not self._free and is_patient:
            return False
        if self.diverged or not self._free:
            _, latest = max(self._held, key=lambda held: held[0])  # what is new, if anything
            self.diverge(self._missing(), f"{latest} in its place")
        return self._free[0] is found

    def _pass_time(self) -> bool:
        is_passed = self._pace.may_pass and not self._goes_round() and self._branches.pass_time()
        self._pace.passed += is_passed
        return is_passed

    def _pass_over(self, *, are_ended: bool = False) -> bool:
        """Pass over what a branch was given up in: this time it was before it asked for that.

        The function got nothing of it. Once all are ended, those that live ask for nothing, too.
        """
        before = self._next
        while not self.is_over:
            record = self._records[self._entries[self._next].key]
            marker = self._records.get(f"{CANCELLED}{record.key}")
            is_cancelled = marker is not None and bool(marker.indexes)
            is_begun = [self._entries[index].kind for index in record.indexes] == ["WAITING"]
            is_left = record.place and (are_ended or not self._branches.is_live(record.place))
            if not (is_left and (is_cancelled or is_begun) and self._unclaimed.has(record)):
                break
            self._unclaimed.remove(record)
            for index in (*record.indexes, *(marker.indexes if marker else ())):
                self._take(index)
        return self._next != before

    def _goes_round(self) -> bool:
        return self._pace.goes_round and not self._branches.can_move()

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
            self._pace = Pace()
            self._stir()

    def _add(self, index: int, entry: Entry) -> None:
        record = self._records.get(entry.key)
        if record is None:
            self._records[entry.key] = record = record_of(entry)
            self._unclaimed.add(record)
        record.function = record.function or entry.function
        record.indexes.append(index)

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
