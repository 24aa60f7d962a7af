"""Group commit: the events of concurrent runs share commits.

Whoever appends waits until its own events are durable, never less. While one commit is under way
the next batch gathers, so the batches grow with the load and an idle writer adds no delay. An
event that is refused fails only the caller who sent it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from dama.errors import DamaError, RefusedError
from dama.store import Append, Appended, Store

LARGEST_BATCH = 500


@dataclass(frozen=True)
class _Request:
    items: Sequence[Append]
    answer: asyncio.Future[list[Appended]]


class GroupCommit:
    """Appends for many runs of one process.

    Args:
        store: Where to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._requests: list[_Request] = []
        self._writing: asyncio.Task[None] | None = None

    def submit(self, items: Sequence[Append]) -> asyncio.Future[list[Appended]]:
        """Take events, all or none, into the next commit; in the order of the calls.

        Returns:
            What is done when they are durable, with the errors of `Store.append_many` for these
            events alone.
        """
        answer: asyncio.Future[list[Appended]] = asyncio.get_running_loop().create_future()
        self._requests.append(_Request(items, answer))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return answer

    async def _write(self) -> None:
        try:
            while self._requests:
                requests = self._take()
                try:
                    await self._commit(requests)
                except DamaError as error:
                    await self._refused(requests, error)
                except BaseException as error:
                    _fail(requests, error)
                    raise
        finally:
            self._writing = None

    def _take(self) -> list[_Request]:
        taken: list[_Request] = []
        size = 0
        while self._requests and (not taken or size < LARGEST_BATCH):
            request = self._requests.pop(0)
            size += len(request.items)
            taken.append(request)
        return taken

    async def _commit(self, requests: Sequence[_Request]) -> None:
        appended = await self._store.append_many([item for r in requests for item in r.items])
        place = 0
        for request in requests:
            part = appended[place : place + len(request.items)]
            place += len(request.items)
            if not request.answer.done():
                request.answer.set_result(part)

    async def _refused(self, requests: Sequence[_Request], error: DamaError) -> None:
        """One of them is to blame: each is sent by itself."""
        if len(requests) == 1 or not isinstance(error, RefusedError):
            _fail(requests, error)
            return
        for request in requests:
            try:
                await self._commit([request])
            except DamaError as own:
                _fail([request], own)


def _fail(requests: Sequence[_Request], error: BaseException) -> None:
    for request in requests:
        if not request.answer.done():
            request.answer.set_exception(error)
