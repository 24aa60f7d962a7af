"""States: what the events of a context add up to in a slice, from the nearest state that is cached.

Where a fold has come a certain way its state is kept: a ladder along the history, so that the state
after any event is found from a rung not far below it. A cache that is lost, or cannot be read or
written, costs time only.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg

from dama.beside import off_loop
from dama.contained import contained
from dama.domain.exact import decode_stored
from dama.store.errors import (
    DiskFullError,
    ReadOnlyDatabaseError,
    StatementEndedError,
)
from dama.store.items import encode_json

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from dama.domain.event import StoredEvent
    from dama.domain.slice import Slice
    from dama.store.database import Database, Params

SNAPSHOT_EVERY = 1000
RUNG_SHARE = 50  # a rung is at most this part of the history behind the one below it, or 1,000
LARGEST_STATE = 8 * 1024 * 1024
# Who only reads has no right to write, a standby cannot, and a full disk has no room.
UNWRITTEN = (
    ReadOnlyDatabaseError,
    DiskFullError,
    StatementEndedError,
    psycopg.errors.InsufficientPrivilege,
)

# What encoders raise, those of a codec of somebody's included.
NO_JSON = (NotImplementedError, TypeError, ValueError, OverflowError, RecursionError)


class States:
    """The states of the contexts of one database.

    Args:
        database: Where they are.
        pages: Reads the events of a context; see `Store.pages`.
    """

    def __init__(
        self, database: Database, pages: Callable[..., AsyncGenerator[list[StoredEvent]]]
    ) -> None:
        self._database = database
        self._pages = pages

    async def state(self, context_id: int, slice_: Slice[Any], at: int | None) -> Any:
        """Fold the events of a context up to one of them, or to the latest."""
        fold = _Fold(slice_)
        key = {"context_id": context_id, "slice": slice_.name, "slice_version": slice_.version}
        await self._begin(fold, key, at)
        first = fold.version
        async for page in self._pages(context_id, after_version=fold.version, up_to_event=at):
            await fold.take(page)
            if fold.rungs:
                rungs = encode_json(fold.rungs)
                await self._write("write_rungs", {**key, "rungs": rungs})
                fold.rungs.clear()
        is_far = at is None and fold.version - first >= SNAPSHOT_EVERY
        if is_far and (text := await off_loop(fold.text)):
            await self._write("write_snapshot", {**key, "version": fold.version, "state": text})
        return fold.state

    async def _begin(self, fold: _Fold, key: Params, at: int | None) -> None:
        """From the nearest state that is cached and can be read: a standby has none."""
        names = ("read_snapshot", "read_rung") if at is None else ("read_rung",)
        with suppress(ReadOnlyDatabaseError):
            for name in names:
                for version, text in await self._database.rows(name, {**key, "event_id": at}):
                    fold.begin(version, text)

    async def _write(self, name: str, params: Params) -> None:
        with suppress(*UNWRITTEN):
            await self._database.rows(name, params)


class _Fold:
    """A fold on its way."""

    def __init__(self, slice_: Slice[Any]) -> None:
        self._slice = slice_
        self.state: Any = slice_.initial
        self.version = 0
        self.rungs: list[tuple[int, str]] = []
        self._has_json = True
        self._next = _rung_after(0)

    def begin(self, version: int, text: str) -> None:
        """Begin with a cached state, unless it is an earlier one or cannot be read."""
        if version <= self.version:
            return
        with suppress(msgspec.DecodeError, ValueError):
            self.state = self._slice.decode_state(decode_stored(text))
            self.version, self._next = version, _rung_after(version)

    async def take(self, page: Sequence[StoredEvent]) -> None:
        """Take in a page of events, and keep the states at rungs."""
        done = 0
        while done < len(page):
            end = min(done + self._next - self.version, len(page))
            with contained():
                self.state = self._slice.fold(page[done:end], self.state)
            self.version, done = page[end - 1].version, end
            if self.version >= self._next:
                self._next = _rung_after(self.version)
                if text := await off_loop(self.text):
                    self.rungs.append((self.version, text))

    def text(self) -> str | None:
        """The state as JSON; None for one that JSON does not give back as it is."""
        if not self._has_json:
            return None
        text = text_of(self._slice, self.state)
        self._has_json = text is not None and len(text) <= LARGEST_STATE
        return text if self._has_json else None


def text_of(slice_: Slice[Any], state: Any) -> str | None:
    """A state as JSON; None for one that JSON does not give back as it is."""
    # What a codec of somebody's raises is one more reason to keep nothing.
    with suppress(*NO_JSON):
        text = encode_json(slice_.encode_state(state))
        back = slice_.decode_state(decode_stored(text))
        if encode_json(slice_.encode_state(back)) == text and (back == state) is True:
            return text
    return None


def _rung_after(version: int) -> int:
    """The first rung above a version: the same ones, wherever a fold begins."""
    rung = 0
    while rung <= version:
        rung += max(SNAPSHOT_EVERY, rung // RUNG_SHARE)
    return rung
