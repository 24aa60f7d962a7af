"""Ends: lets any number of callers wait for contexts with one small query for all of them."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from dama.errors import UnavailableError
from dama.store.errors import SchemaError

if TYPE_CHECKING:
    from dama.app import App
    from dama.store import Outcome

SOONEST, LATEST = 0.05, 0.5

_log = logging.getLogger("dama.broker")


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

    async def wait(self, context_id: int) -> Outcome:
        """Wait for the end of a context.

        Raises:
            UnknownContextError: There is no such context.
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
        """Wait for nothing any more."""
        if self._asking:
            self._asking.cancel()
            await asyncio.gather(self._asking, return_exceptions=True)

    async def _ask(self) -> None:
        try:
            await self._ask_always()
        except Exception as error:  # noqa: BLE001 - who waits must not wait for ever
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
