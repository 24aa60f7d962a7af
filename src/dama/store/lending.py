"""Lending: a connection of a pool comes back to it, whatever cancels those who ask for it.

The pool loses a connection when the task that takes it or gives it back is cancelled at the wrong
moment, as user code does with timers around what it asks for; a worker would run dry of them. So
both are done by tasks that nobody cancels, but for the usual case: where nobody waits for one, both
are done at once.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import Context
from typing import TYPE_CHECKING, Any, TypeVar

from psycopg.pq import TransactionStatus

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from psycopg_pool import AsyncConnectionPool

    from dama.store.connecting import PromptConnection

V = TypeVar("V")


class Lending:
    """Lends the connections of a pool.

    Args:
        pool: Where they are.
    """

    def __init__(self, pool: AsyncConnectionPool[PromptConnection]) -> None:
        self._pool = pool
        self._under_way: set[asyncio.Task[Any]] = set()

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[PromptConnection]:
        """One of the connections, whose transaction ends with the block.

        Raises:
            PoolTimeout: None became free in time.
        """
        connection = await self._taken()
        try:
            async with connection:
                yield connection
        finally:
            await self._returned(connection)

    async def ended(self) -> None:
        """Wait for what is under way; the pool is closed."""
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _taken(self) -> PromptConnection:
        if not self._under_way and self._pool.get_stats()["pool_available"]:
            return await self._pool.getconn()  # it waits for nothing: nothing can cancel it there
        taking = self._aside(self._pool.getconn())
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            taking.add_done_callback(self._give_back)
            raise

    async def _returned(self, connection: PromptConnection) -> None:
        returning = self._pool.putconn(connection)
        is_idle = connection.info.transaction_status == TransactionStatus.IDLE
        if is_idle and not self._under_way:  # nobody waits for one, and this waits for nothing
            await returning
        else:
            await asyncio.shield(self._aside(returning))

    def _give_back(self, taken: asyncio.Task[PromptConnection]) -> None:
        """Nobody wants what was asked for any more."""
        if not taken.cancelled() and taken.exception() is None:
            self._aside(self._pool.putconn(taken.result()))

    def _aside(self, work: Coroutine[Any, Any, V]) -> asyncio.Task[V]:
        """Do something in a task that is no part of whoever asks for it."""
        task: asyncio.Task[V] = Context().run(asyncio.get_running_loop().create_task, work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task
