"""Ends: lets any number of callers wait for contexts with one small query for all of them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from dama import clock
from dama.broker.errors import CallError
from dama.errors import UnavailableError
from dama.operations.tasks import no_worker_text
from dama.store.errors import SchemaError

if TYPE_CHECKING:
    from dama.app import App
    from dama.store import Outcome

SOONEST, LATEST = 0.05, 0.5
LOOK_SECONDS = 2.0
PATIENCE_SECONDS = 15.0  # a worker that is deployed or killed is replaced meanwhile

_log = logging.getLogger("dama.broker")


class NoWorkerError(CallError):
    """Somebody waits for a run that no live worker would claim; it stays queued."""

    name = "NoWorkerError"
    status = 503
    code = "NO_WORKER"
    retryable = True

    def __init__(self, context_id: int, task: str) -> None:
        super().__init__(
            f"Context {context_id} is still queued: {no_worker_text(task)}.",
            f"`dama queue why {context_id}` says what is missing; `dama worker` starts one.",
            data={"context_id": context_id, "status": "OPEN", "task": task, "no_worker": True},
        )


class Ends:
    """Waits for contexts to end.

    Args:
        app: Where they are.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._waiting: dict[int, list[asyncio.Future[Outcome]]] = {}
        self._asking: asyncio.Task[None] | None = None
        self._is_news = asyncio.Event()
        self._without: dict[int, float] = {}
        self._looked_at = 0.0

    async def wait(self, context_id: int) -> Outcome:
        """Wait for the end of a context.

        Raises:
            UnknownContextError: There is no such context.
            NoWorkerError: For a while now no live worker would claim it.
        """
        await self._app.store.context(context_id)
        end: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(context_id, []).append(end)
        self._is_news.set()
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        try:
            return await end
        finally:
            waiting = self._waiting.get(context_id, [])
            if end in waiting:
                waiting.remove(end)
            if not waiting:
                self._waiting.pop(context_id, None)

    async def close(self) -> None:
        """Wait for nothing any more; who still does is told."""
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)
        self._fail(UnavailableError("Nobody here waits for the ends of runs any more."))

    async def _ask(self) -> None:
        try:
            await self._ask_always()
        except Exception as error:  # noqa: BLE001 - who waits must not wait forever
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        for end in [each for waiting in self._waiting.values() for each in waiting]:
            if not end.done():
                end.set_exception(error)

    async def _ask_always(self) -> None:
        """Ask as long as somebody waits: often at first, for most tasks are short."""
        pause = SOONEST
        while self._waiting:
            try:
                for context_id, outcome in (
                    await self._app.store.outcomes(list(self._waiting))
                ).items():
                    for end in self._waiting.pop(context_id, []):
                        if not end.done():
                            end.set_result(outcome)
                await self._look_for_workers()
            except SchemaError:
                raise  # nobody can say, and who waits may ask again
            except UnavailableError as error:
                _log.warning("nobody knows now what has ended: %s", error)
            self._is_news.clear()
            try:
                async with asyncio.timeout(pause):
                    await self._is_news.wait()
                pause = SOONEST
            except TimeoutError:
                pause = min(pause * 1.5, LATEST)

    async def _look_for_workers(self) -> None:
        """Tell those who wait for what nobody has been there to claim for a while."""
        now = clock.monotonic()
        if now - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = now
        found = await self._app.store.queue.without_worker(list(self._waiting))
        self._without = {each: self._without.get(each, now) for each in found}
        for context_id, since in self._without.items():
            if now - since >= PATIENCE_SECONDS:
                for end in self._waiting.pop(context_id, []):
                    if not end.done():
                        end.set_exception(NoWorkerError(context_id, found[context_id]))
