"""Folding in a process of its own: recorded history through the reducers of some modules.

The process is told on its standard input where the events are and which modules to import, then one
context a line; it answers with a line for each. So two versions of a slice, which have one name,
fold beside each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, Self

import msgspec

from dama.domain.exact import document, encode_hook
from dama.domain.slice import Slice, find_slice
from dama.duty import in_words
from dama.errors import DamaError, UsageError
from dama.store import Store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.domain.event import StoredEvent

LONGEST_LINE = 64 * 1024 * 1024
_encode = msgspec.json.Encoder(enc_hook=encode_hook, order="deterministic").encode


class Begin(msgspec.Struct, frozen=True):
    """What a process is told first.

    Attributes:
        conninfo: Where the events are.
        path: Folders to import from.
        modules: What defines the slice.
        slice: Its name.
    """

    conninfo: str
    path: list[str]
    modules: list[str]
    slice: str


class Ask(msgspec.Struct, frozen=True):
    """A context to fold.

    Attributes:
        context_id: Which.
        trace: Answer with a digest after each event.
        version: Answer with the state after this event; None for a digest of the last one.
    """

    context_id: int
    trace: bool = False
    version: int | None = None


class Fold(msgspec.Struct, frozen=True, omit_defaults=True):
    """What came of it.

    Attributes:
        events: How many were folded.
        digests: Of the state after the last event, or after each of them.
        state: After the version that was asked for, as JSON shows it.
        error: What a reducer raised.
        failed_at: The version of the event that it raised at.
    """

    events: int = 0
    digests: list[str] = []
    state: Any = None
    error: str | None = None
    failed_at: int | None = None


class Folder:
    """A process that folds.

    Args:
        begin: What it is told first.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        """Start it; modules that cannot be imported are told.

        Raises:
            UnfoldableError: The modules cannot be imported, or none of them defines the slice.
            FoldingError: The process ended.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__, stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE, limit=LONGEST_LINE,
        )  # fmt: skip
        said = await self._said(self._begin)
        if said.error:
            await self.__aexit__()
            raise UnfoldableError(f"The slice {self._begin.slice!r} cannot be folded: {said.error}")
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def ask(self, ask: Ask) -> Fold:
        """Fold one context."""
        return await self._said(ask)

    async def _said(self, what: msgspec.Struct) -> Fold:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise FoldingError("The process that folds has not been started.")
        process.stdin.write(msgspec.json.encode(what) + b"\n")
        await process.stdin.drain()
        line = await process.stdout.readline()
        if not line:
            raise FoldingError(f"The process that folds ended: {await process.wait()}.")
        return msgspec.json.decode(line, type=Fold)


class FoldingError(DamaError):
    """The process that folds is not there."""

    code = "FOLDING"


class UnfoldableError(UsageError):
    """History cannot be folded with some modules."""

    code = "UNFOLDABLE"


async def _fold(store: Store, slice_: Slice[Any], ask: Ask) -> Fold:
    state: Any = slice_.initial
    events, digests = 0, list[str]()
    async for page in store.pages(ask.context_id):
        wanted = [e for e in page if ask.version is None or e.version <= ask.version]
        state, failed_at, error = through(slice_, state, wanted, digests if ask.trace else None)
        events += len(wanted)
        if error is not None:
            return Fold(events, digests, error=error, failed_at=failed_at)
        if len(wanted) < len(page):
            break
    shown = document(slice_.encode_state(state))
    if ask.version is not None:
        return Fold(events, state=shown)
    return Fold(events, digests if ask.trace else [_digest(shown)])


def through(
    slice_: Slice[Any], state: Any, events: Sequence[StoredEvent], digests: list[str] | None = None
) -> tuple[Any, int | None, str | None]:
    """The state after events, or the event that a reducer raised at, and what.

    Args:
        slice_: The reducers.
        state: The state before.
        events: In their order.
        digests: Gets a digest of the state after each; None for none.
    """
    if digests is None:
        try:
            return slice_.fold(events, state), None, None
        except Exception:  # noqa: BLE001, S110 - found again below, one by one
            pass
    for event in events:
        try:
            state = slice_.reduce(state, event)
        except Exception as error:  # noqa: BLE001 - a reducer is somebody's code
            return state, event.version, in_words(error)
        if digests is not None:
            digests.append(_digest(document(slice_.encode_state(state))))
    return state, None, None


def _digest(state: object) -> str:
    return hashlib.sha1(_encode(state), usedforsecurity=False).hexdigest()


async def _serve() -> None:
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what modules print is no answer

    def answer(fold: Fold) -> None:
        answers.write(_encode(fold) + b"\n")
        answers.flush()

    begin = msgspec.json.decode(sys.stdin.buffer.readline(), type=Begin)
    try:
        sys.path[:0] = begin.path
        for module in begin.modules:
            importlib.import_module(module)
        slice_ = find_slice(begin.slice)
    except Exception as error:  # noqa: BLE001 - told to who started the process
        answer(Fold(error=in_words(error)))
        return
    async with Store.opened(begin.conninfo) as store:
        answer(Fold())
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            answer(await _fold(store, slice_, msgspec.json.decode(line, type=Ask)))


if __name__ == "__main__":
    asyncio.run(_serve())
