"""Folding in a process of its own: recorded history through the reducers of some modules.

The process is told which modules to import, then what to fold: contexts and their events, as the
database has them. So two versions of a slice, which have one name, fold beside each other, each
event is read once for both, and the code that is tried has no way to the database from here.

What goes in and out are frames: eight bytes of length, and so many bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import hashlib
import importlib
import os
import sys
from itertools import groupby
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar

import msgspec

from dama.contained import contained
from dama.domain.event import StoredEvent
from dama.domain.exact import canonical, document, line_reader
from dama.domain.slice import Slice, find_slice
from dama.duty import in_words
from dama.errors import DamaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")

LENGTH = 8  # bytes
ALLOCATIONS = 100_000  # between looks for circles; events have none, and are looked through in vain
LIFECYCLE = "dama.domain.lifecycle"  # its slice is known everywhere
NOTHING = b""  # the frame after the last events
_events = line_reader(StoredEvent)


class Begin(msgspec.Struct, frozen=True, tag=True):
    """What a process is told first; it answers with `Ready`.

    Attributes:
        path: Folders to import from.
        modules: What defines the slice.
        slice: Its name.
    """

    path: list[str]
    modules: list[str]
    slice: str


class Contexts(msgspec.Struct, frozen=True, tag=True):
    """Contexts whose events follow, some in a frame; it answers with a `Fold` of each.

    Attributes:
        ids: In the order of their events; there need not be events of each.
    """

    ids: list[int]


class Step(msgspec.Struct, frozen=True, tag=True):
    """The next events of one context follow, in one frame; it answers with a `Trace`.

    Attributes:
        is_first: Whether they are the first of the context.
    """

    is_first: bool


class Show(msgspec.Struct, frozen=True, tag=True):
    """It answers with what is `Shown` of the state within the events of the last step.

    Attributes:
        count: After so many of them.
    """

    count: int


_told: msgspec.json.Decoder[Contexts | Step | Show] = msgspec.json.Decoder(Contexts | Step | Show)


class Ready(msgspec.Struct, frozen=True):
    """The slice is there.

    Attributes:
        types: The types of the events that it folds; None when a function chooses them.
        error: Why it is not there.
    """

    types: list[str] | None = None
    error: str | None = None


class Fold(msgspec.Struct, frozen=True):
    """What came of the events of a context.

    Attributes:
        digest: Of the state after the last one.
        error: What a reducer raised.
        failed_at: The version of the event that it raised at.
    """

    digest: str = ""
    error: str | None = None
    failed_at: int | None = None


class Trace(msgspec.Struct, frozen=True):
    """What came of each of some events.

    Attributes:
        digests: Of the state after each of them, up to the one that a reducer raised at.
        error: What it raised.
    """

    digests: list[str] = []
    error: str | None = None


class Shown(msgspec.Struct, frozen=True):
    """A state.

    Attributes:
        state: As JSON shows it.
    """

    state: Any


class Folder:
    """A process that folds.

    Args:
        begin: What it is told first.

    Attributes:
        types: The types of the events that its slice folds; None when a function chooses them.
    """

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._process: asyncio.subprocess.Process | None = None
        self.types: list[str] | None = None

    async def __aenter__(self) -> Self:
        """Start it; modules that cannot be imported are told.

        Raises:
            UnfoldableError: The modules cannot be imported, or none of them defines the slice.
            FoldingError: The process ended.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", __name__,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        try:
            await self.tell(self._begin)
            ready = await self.answer(Ready)
        except BaseException:
            await self.__aexit__()
            raise
        if ready.error:
            await self.__aexit__()
            raise UnfoldableError(
                f"The slice {self._begin.slice!r} cannot be folded: {ready.error}"
            )
        self.types = ready.types
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def tell(self, what: Begin | Contexts | Step | Show) -> None:
        """Say what is to be folded, or what follows."""
        await self.send(canonical(what))

    async def send(self, frame: bytes) -> None:
        """Send events, a line of JSON each; `NOTHING` after the last ones of `Contexts`.

        Raises:
            FoldingError: The process ended.
        """
        process = self._process
        if process is None or process.stdin is None:
            raise FoldingError("The process that folds has not been started.")
        try:
            process.stdin.write(len(frame).to_bytes(LENGTH) + frame)
            await process.stdin.drain()
        except ConnectionError:
            raise await self._ended() from None

    async def answer(self, type_: type[T]) -> T:
        """The next answer.

        Raises:
            FoldingError: The process ended.
        """
        process = self._process
        if process is None or process.stdout is None:
            raise FoldingError("The process that folds has not been started.")
        try:
            length = int.from_bytes(await process.stdout.readexactly(LENGTH))
            frame = await process.stdout.readexactly(length)
        except asyncio.IncompleteReadError:
            raise await self._ended() from None
        return msgspec.json.decode(frame, type=type_)

    async def _ended(self) -> FoldingError:
        code = None if self._process is None else await self._process.wait()
        return FoldingError(f"The process that folds ended: {code}.")


class FoldingError(DamaError):
    """The process that folds is not there."""

    code = "FOLDING"


class UnfoldableError(UsageError):
    """History cannot be folded with some modules."""

    code = "UNFOLDABLE"


def through(
    slice_: Slice[Any], state: Any, events: Sequence[StoredEvent]
) -> tuple[Any, int | None, str | None]:
    """The state after events, or the event that a reducer raised at, and what.

    Args:
        slice_: The reducers.
        state: The state before.
        events: In their order.
    """
    try:
        with contained():
            return slice_.fold(events, state), None, None
    except Exception:  # noqa: BLE001, S110 - found again below, one by one
        pass
    for event in events:
        try:
            with contained():
                state = slice_.reduce(state, event)
        except Exception as error:  # noqa: BLE001 - a reducer is somebody's code
            return state, event.version, in_words(error)
    return state, None, None


class Folding:
    """The process that folds: what it was told, and what it answers."""

    def __init__(self, slice_: Slice[Any], frames: BinaryIO) -> None:
        self._slice = slice_
        self._frames = frames
        self._state: Any = slice_.initial
        self._before: Any = slice_.initial
        self._step: list[StoredEvent] = []
        self._digest = ""

    def contexts(self, told: Contexts) -> list[Fold]:
        """Fold contexts whose events come one context after the other."""
        done: dict[int, Fold] = {}
        state: dict[int, Any] = {}  # of the context whose events are being folded
        while frame := read(self._frames):
            for context_id, events in groupby(_events(frame), _context_of):
                if context_id in done:  # a reducer has raised
                    continue
                if context_id not in state:
                    done |= self._folds(state)
                    state = {context_id: self._slice.initial}
                after, failed_at, error = through(self._slice, state[context_id], list(events))
                if error is None:
                    state[context_id] = after
                else:
                    done[context_id] = Fold(error=error, failed_at=failed_at)
                    state = {}
        done |= self._folds(state)
        (without,) = self._folds({0: self._slice.initial}).values()
        return [done.get(each, without) for each in told.ids]

    def step(self, told: Step) -> Trace:
        """Fold the next events of a context, and tell the state after each."""
        if told.is_first:
            self._state, self._digest = self._slice.initial, ""
        self._before, self._step = self._state, _events(read(self._frames))
        digests: list[str] = []
        for event in self._step:
            before = self._state
            try:
                with contained():
                    self._state = self._slice.reduce(before, event)
                if self._state is not before or not self._digest:
                    self._digest = self._digest_of(self._state)
            except Exception as error:  # noqa: BLE001 - a reducer is somebody's code
                return Trace(digests, in_words(error))
            digests.append(self._digest)
        return Trace(digests)

    def show(self, told: Show) -> Shown:
        """The state after some of the events of the last step."""
        return Shown(self._shown(self._slice.fold(self._step[: told.count], self._before)))

    def _folds(self, states: Mapping[int, Any]) -> dict[int, Fold]:
        folds: dict[int, Fold] = {}
        for context_id, state in states.items():
            try:
                folds[context_id] = Fold(self._digest_of(state))
            except Exception as error:  # noqa: BLE001 - a codec is somebody's code
                folds[context_id] = Fold(error=in_words(error))
        return folds

    def _digest_of(self, state: Any) -> str:
        with contained():
            return hashlib.sha1(canonical(self._shown(state)), usedforsecurity=False).hexdigest()

    def _shown(self, state: Any) -> Any:
        return document(self._slice.encode_state(state))


def _context_of(event: StoredEvent) -> int:
    return event.context_id


def read(frames: BinaryIO) -> bytes:
    """The next frame; empty at the end."""
    return frames.read(int.from_bytes(frames.read(LENGTH)))


def _serve() -> None:
    answers, frames = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)  # what modules print is no answer, and what they read no frame
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def answer(what: object) -> None:
        frame = canonical(what)
        answers.write(len(frame).to_bytes(LENGTH) + frame)
        answers.flush()

    begin = msgspec.json.decode(read(frames), type=Begin)
    try:
        with contained():
            sys.path[:0] = begin.path
            for module in (LIFECYCLE, *begin.modules):
                importlib.import_module(module)
            slice_ = find_slice(begin.slice)
    except Exception as error:  # noqa: BLE001 - told to who started the process
        answer(Ready(error=in_words(error)))
        return
    gc.freeze()  # what was imported is looked through no more
    gc.set_threshold(ALLOCATIONS)
    answer(Ready(None if slice_.types is None else sorted(slice_.types)))
    folding = Folding(slice_, frames)
    while frame := read(frames):
        match _told.decode(frame):
            case Contexts() as told:
                answer(folding.contexts(told))
            case Step() as told:
                answer(folding.step(told))
            case Show() as told:
                answer(folding.show(told))


if __name__ == "__main__":
    _serve()
