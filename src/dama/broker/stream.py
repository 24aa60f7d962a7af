"""Streams: chunks that go with a call or come as its result.

A stream is read once, with `async for`. One that comes from another node has a bounded buffer. A
sender in Python waits while it is full; one in Node.js knows no way to, so a reader that falls too
far behind it gets an error, and the memory of the node stays its own.
"""

from __future__ import annotations

from asyncio import Event, Queue, get_running_loop
from collections.abc import AsyncIterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dama.broker.errors import QueueIsFullError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from typing_extensions import TypeIs

BUFFERED_BYTES = 64 * 1024 * 1024
FULL_BYTES = 16 * 1024 * 1024  # a sender that asks is answered when less than this is unread
_TEXTS = (bytes, bytearray, memoryview, str)
OBJECT_BYTES = 1024  # what a chunk that is neither a string nor bytes counts for


class Stream:
    """Chunks, from wherever they come.

    Args:
        source: Where they come from.
        object_mode: The chunks are JSON values; False for bytes or strings; None for what the
            first chunk is.
    """

    def __init__(self, source: AsyncIterable[Any], *, object_mode: bool | None = None) -> None:
        self._source = source
        self.object_mode = object_mode

    def __aiter__(self) -> AsyncIterator[Any]:
        return aiter(self._source)

    async def typed(self) -> Stream:
        """The same stream with its mode known; waits for the first chunk where it has to.

        Raises:
            BaseException: What its source raises before the first chunk.
        """
        if self.object_mode is not None:
            return self
        source = aiter(self)
        first = [chunk async for chunk in _first_of(source)]
        is_text = all(isinstance(chunk, _TEXTS) for chunk in first)
        return Stream(_joined(first, source), object_mode=not is_text)

    async def read(self) -> bytes:
        """All that is left, as bytes; texts as UTF-8."""
        parts = [c.encode() if isinstance(c, str) else bytes(c) async for c in self]
        return b"".join(parts)


async def _first_of(source: AsyncIterator[Any]) -> AsyncIterator[Any]:
    with suppress(StopAsyncIteration):
        yield await anext(source)


async def _joined(first: list[Any], rest: AsyncIterator[Any]) -> AsyncIterator[Any]:
    for chunk in first:
        yield chunk
    async for chunk in rest:
        yield chunk


def is_chunks(value: object) -> TypeIs[AsyncIterable[Any]]:
    """Whether a result is a stream, or chunks that become one."""
    return isinstance(value, AsyncIterable)


def as_stream(source: AsyncIterable[Any]) -> Stream:
    """Take chunks as a stream; one that is a stream already stays what it is."""
    return source if isinstance(source, Stream) else Stream(source)


class Inbox:
    """The chunks that another node sends, in the order of their numbers.

    Args:
        sender: The node, for messages.
        at_end: Called once when nothing more can come.
    """

    def __init__(self, sender: str, at_end: Callable[[], object]) -> None:
        self.sender = sender
        self._at_end = at_end
        self._queue: Queue[tuple[Any, BaseException | None, bool]] = Queue()
        self._early: dict[int, tuple[Any, BaseException | None, bool]] = {}
        self._next = 1
        self._bytes = 0
        self._has_room = Event()
        self._has_room.set()
        self.closed = False

    def put(
        self,
        number: int,
        chunk: Any,
        error: BaseException | None = None,
        *,
        last: bool,
    ) -> None:
        """Take a chunk, whichever came before; the last one has no data."""
        if self.closed or number < self._next or number in self._early:
            return
        self._bytes += _size(chunk)
        if self._bytes > FULL_BYTES:
            self._has_room.clear()
        self._early[number] = (chunk, error, last)
        while not self.closed and (found := self._early.pop(self._next, None)):
            self._next += 1
            self._queue.put_nowait(found)
            if found[2]:
                self._close()
        if self._bytes > BUFFERED_BYTES:
            self.fail(
                QueueIsFullError(
                    f"A stream of {self.sender} was not read, and more than "
                    f"{BUFFERED_BYTES >> 20} MiB of it came.",
                    data={"nodeID": self.sender, "limit": BUFFERED_BYTES},
                )
            )

    def fail(self, error: BaseException) -> None:
        """End it with an error; nothing more is taken."""
        if not self.closed:
            self._queue.put_nowait((None, error, True))
            self._close()

    async def next(self) -> Any:
        """The next chunk.

        Raises:
            StopAsyncIteration: There are no more.
            CallError: What the stream ended with, if it failed.
        """
        chunk, error, last = await self._queue.get()
        if error is not None or last:
            self._queue.put_nowait((chunk, error, last))  # for whoever asks again
            raise error or StopAsyncIteration
        self._bytes -= _size(chunk)
        if self._bytes <= FULL_BYTES:
            self._has_room.set()
        return chunk

    def abandon(self) -> None:
        """Take nothing more: nobody reads it."""
        if not self.closed:
            self._close()

    async def room(self) -> None:
        """Wait until not much is unread; at once when nothing more can come."""
        await self._has_room.wait()

    def _close(self) -> None:
        self.closed = True
        self._early.clear()
        self._has_room.set()
        self._at_end()


class Chunks:
    """The chunks of an inbox, for one reader. When the reader lets go of them, nobody reads it.

    Args:
        inbox: Where they come in.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._loop = get_running_loop()

    def __aiter__(self) -> Chunks:
        return self

    async def __anext__(self) -> Any:
        return await self._inbox.next()

    async def aclose(self) -> None:
        """Read no more of them."""
        self._inbox.abandon()

    def __del__(self) -> None:
        # In whatever thread the garbage is collected; a loop that is closed needs nothing more.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._inbox.abandon)


def _size(chunk: object) -> int:
    return len(chunk) if isinstance(chunk, bytes | str) else OBJECT_BYTES
