"""The head of the log: how far it is, asked once for all who wait in this process.

Polling is the truth: what was committed gets its position from whoever asks next, and no message
can be missed. The pause grows to a second while nothing comes, so an idle process asks once a
second however many wait in it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dama import clock

if TYPE_CHECKING:
    from dama.store.database import Database

FIRST_PAUSE = 0.02
LONGEST_PAUSE = 1.0


class Head:
    """The last position of one database's log.

    Attributes:
        position: As of the last poll.
        behind: The durable subscriptions that have something to handle.
    """

    def __init__(self, database: Database) -> None:
        self.position = 0
        self.behind: frozenset[str] = frozenset()
        self._database = database
        self._pause = FIRST_PAUSE
        self._polling: asyncio.Task[None] | None = None
        self._waiting = 0

    async def poll(self) -> None:
        """Sequence and look, now.

        Raises:
            DatabaseUnreachableError: The database does not answer.
        """
        ((position, behind),) = await self._database.rows("poll_log")
        news = position > self.position
        self._pause = FIRST_PAUSE if news else min(self._pause * 2, LONGEST_PAUSE)
        # Polls of one process may overlap; the log never shrinks.
        self.position = max(position, self.position)
        self.behind = frozenset(behind)

    async def next_poll(self) -> None:
        """Wait for the next poll, which all who wait share.

        Raises:
            DatabaseUnreachableError: The database does not answer.
        """
        if self._polling is None:
            self._polling = asyncio.create_task(self._poll_later())
        polling = self._polling
        self._waiting += 1
        try:
            await asyncio.shield(polling)
        finally:
            self._waiting -= 1
            if not self._waiting and self._polling is polling:
                polling.cancel()
                self._polling = None

    async def beyond(self, position: int) -> None:
        """Wait until the log goes beyond a position.

        Raises:
            DatabaseUnreachableError: The database does not answer.
        """
        while self.position <= position:
            await self.next_poll()

    async def _poll_later(self) -> None:
        try:
            await clock.sleep(self._pause)
            await self.poll()
        finally:
            if self._polling is asyncio.current_task():
                self._polling = None
