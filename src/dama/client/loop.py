"""The loop of a client that is used without one: in a thread of its own."""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import CancelledError
from threading import Lock, Thread
from typing import TYPE_CHECKING, Any, TypeVar

from dama.duty import cancelled
from dama.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterator
    from concurrent.futures import Future

V = TypeVar("V")


class ForkedClientError(UsageError):
    """A client is used in a process that was forked after it had been connected."""

    code = "FORKED_CLIENT"

    def __init__(self) -> None:
        super().__init__(
            "This client was connected before the process was forked, and its connections are "
            "those of the parent.",
            "Connect in each process: when the first request comes, or in post_fork.",
        )


class ClosedClientError(UsageError):
    """A client is used after it was closed."""

    code = "CLOSED_CLIENT"

    def __init__(self) -> None:
        super().__init__("This client is closed.", "Connect again, or close it after its last use.")


class LoopThread:
    """A loop in a thread, which answers what other threads ask."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._asking = Lock()
        self._is_closed = False
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
            ClosedClientError: The loop has ended, or ends meanwhile.
            ForkedClientError: This process was forked from the one that has the thread.
        """
        future = self._asked(coroutine)
        try:
            return future.result()
        except CancelledError:
            if self._is_closed:
                raise ClosedClientError from None
            raise
        except BaseException:
            future.cancel()  # Ctrl-C: nobody waits for it any more
            raise

    def _asked(self, coroutine: Coroutine[Any, Any, V]) -> Future[V]:
        if not self.is_own:  # looked at first: the lock may have been held when it forked
            coroutine.close()
            raise ForkedClientError
        with self._asking:  # what is asked before the loop ends is answered by it
            if self._is_closed:
                coroutine.close()
                raise ClosedClientError
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def each(self, items: AsyncGenerator[V]) -> Iterator[V]:
        """What an asynchronous generator yields, one after the other."""
        try:
            while True:
                try:
                    yield self.answer(anext(items))
                except StopAsyncIteration:
                    return
        finally:
            if not self._is_closed:  # somebody has left it unread, and closed the client
                self.answer(items.aclose())

    def close(self) -> None:
        """End the loop; who still waits for an answer is told, and nothing is answered any more."""
        with self._asking:
            self._is_closed = True
        ending = asyncio.run_coroutine_threadsafe(_cancel_others(), self._loop)
        ending.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _cancel_others() -> None:
    await cancelled(asyncio.all_tasks() - {asyncio.current_task()})
