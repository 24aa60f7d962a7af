"""The loop of a client that is used without one: in a thread of its own."""

from __future__ import annotations

import asyncio
import os
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeVar

from dama.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterator
    from concurrent.futures import Future

V = TypeVar("V")


class ForkedClientError(UsageError):
    """A client is used in a process that was forked after it had been connected."""

    code = "FORKED_CLIENT"


class ClosedClientError(UsageError):
    """A client is used after it was closed."""

    code = "CLOSED_CLIENT"


class LoopThread:
    """A loop in a thread, which answers what other threads ask."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        # It must not keep a program alive that ends without closing its client.
        self._thread = Thread(target=self._loop.run_forever, name="dama client", daemon=True)
        self._thread.start()

    @property
    def is_own(self) -> bool:
        """Whether the thread is of this process, not of the one that it was forked from."""
        return os.getpid() == self._pid

    def answer(self, coroutine: Coroutine[Any, Any, V]) -> V:
        """Wait for what a coroutine returns.

        Raises:
            ClosedClientError: The loop has ended.
            ForkedClientError: This process was forked from the one that has the thread.
        """
        if self._loop.is_closed():
            coroutine.close()
            raise ClosedClientError(
                "This client is closed.", "Connect again, or close it behind its last use."
            )
        if not self.is_own:
            coroutine.close()
            raise ForkedClientError(
                "This client was connected before the process was forked, and its connections "
                "are those of the parent.",
                "Connect in each process: when the first request comes, or in post_fork.",
            )
        future: Future[V] = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # Ctrl-C: nobody waits for it any more
            raise

    def each(self, items: AsyncGenerator[V]) -> Iterator[V]:
        """What an asynchronous generator yields, one after the other."""
        try:
            while True:
                try:
                    yield self.answer(anext(items))
                except StopAsyncIteration:
                    return
        finally:
            if not self._loop.is_closed():  # somebody has left it unread, and closed the client
                self.answer(items.aclose())

    def close(self) -> None:
        """End the loop; nothing is answered any more."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
