"""Hints: NOTIFY, so that a worker need not wait for its next look. Polling stays the truth.

A notifying commit takes a lock of the whole server, so a hint is a commit of its own, after the
fact, and at most one in `INTERVAL` seconds leaves a process; many changes share it. Behind a pooler
of transactions nobody can listen, and workers find their work when they look.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from contextvars import Context
from typing import TYPE_CHECKING

import psycopg

from dama import clock
from dama.errors import UnavailableError
from dama.store import session
from dama.store.connecting import connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.store.database import Database

CHANNEL = "dama_queue"
INTERVAL = 0.02
RECONNECT_SECONDS = 1.0
CLOSE_SECONDS = 1.0

_log = logging.getLogger("dama.hints")


class Hints:
    """The hints of one process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._next = 0.0
        self._is_due = False
        self._sending: asyncio.Task[None] | None = None

    def send(self) -> None:
        """Say that the queue changed, beside whoever changed it: nobody waits for a hint."""
        self._is_due = True
        if self._sending is None or self._sending.done():
            # Of no context: it is no part of the run that has changed something.
            loop = asyncio.get_running_loop()
            self._sending = Context().run(loop.create_task, self._send())

    async def close(self) -> None:
        """Let what is about to be said be said, before the connections are closed."""
        if self._sending is not None and not self._sending.done():
            await asyncio.wait([self._sending], timeout=CLOSE_SECONDS)
            self._sending.cancel()
            await asyncio.wait([self._sending])

    @property
    def arrive(self) -> bool:
        """Whether they reach those who listen: not behind a pooler of transactions."""
        return not self._database.is_pooled

    async def listen(self, heard: Callable[[], None]) -> None:
        """Call a function at each hint, if they arrive; also after each new connection."""
        if not self.arrive:
            _log.warning("behind a pooler of transactions: queued runs are found once a second")
            return
        while True:
            with suppress(psycopg.Error):
                async with await connect(
                    self._database.conninfo, autocommit=True, application_name="dama hints"
                ) as connection:
                    await session.pin(connection)
                    await connection.execute(f"LISTEN {CHANNEL}")
                    heard()  # something may have come while nobody listened
                    async for _ in connection.notifies():
                        heard()
            _log.debug("no hints for a moment: the connection is gone")
            await clock.sleep(RECONNECT_SECONDS)

    async def _send(self) -> None:
        while self._is_due:  # what changes while one is under way has a hint of its own
            wait = self._next - clock.monotonic()
            if wait > 0:
                await clock.sleep(wait)
            self._is_due = False
            self._next = clock.monotonic() + INTERVAL
            with suppress(UnavailableError):
                await self._database.rows("notify_workers", again=False)
