"""Group commit: the events of concurrent runs share commits.

Whoever appends waits until its own events are durable, never less. While one commit is under way
the next batch gathers, so the batches grow with the load and an idle writer adds no delay. An
event that is refused fails only the caller who sent it. While the database is away, the events wait
in their order, however long: a STARTED that was left out would turn all that follow it away. The
events of a context that somebody's open transaction has locked wait aside, in their order; those of
all others continue.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dama import clock
from dama.errors import UnavailableError
from dama.store import Append, Appended, Store
from dama.store.errors import LockedError, StatementEndedError

LARGEST_BATCH = 500
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 5.0
LONGEST_ASIDE = 1.0  # between two looks whether a context is free again
MOST_ENDED = 8  # of one commit, by a cancellation or a time limit of the database

_log = logging.getLogger("dama.worker")


@dataclass(frozen=True, eq=False)
class _Request:
    items: Sequence[Append]
    answer: asyncio.Future[list[Appended]]

    @property
    def contexts(self) -> set[int]:
        return {item.context_id for item in self.items}


class GroupCommit:
    """Appends for many runs of one process.

    Args:
        store: Where to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._requests: list[_Request] = []
        self._writing: asyncio.Task[None] | None = None
        self._aside: dict[_Request, None] = {}  # in their order
        self._trying: asyncio.Task[None] | None = None

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
        requests: Sequence[_Request] = []
        try:
            while self._requests:
                requests = self._passed(self._take())
                if requests:
                    await self._answer(requests)
        except BaseException as error:
            _fail([*requests, *self._requests], error)
            self._requests.clear()
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
        items = [item for request in requests for item in request.items]
        appended = await self._store.append_many(items, waits=False)
        place = 0
        for request in requests:
            part = appended[place : place + len(request.items)]
            place += len(request.items)
            if not request.answer.done():
                request.answer.set_result(part)

    async def _answer(self, requests: Sequence[_Request]) -> None:
        """Commit them. An outage is waited for; when one of them is to blame, each goes alone."""
        pause, ended = FIRST_PAUSE, 0
        while True:
            try:
                await self._commit(requests)
            except LockedError:
                await self._part(requests)
                return
            except UnavailableError as error:
                ended += isinstance(error, StatementEndedError)
                requests = [request for request in requests if not request.answer.done()]
                if not requests:
                    return
                if ended >= MOST_ENDED or not all(map(_may_be_repeated, requests)):
                    await self._blame(requests, error)
                    return
                _log.warning("%s events wait: %s", sum(len(r.items) for r in requests), error)
                await clock.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            except Exception as error:  # noqa: BLE001 - who sent it is told
                await self._blame(requests, error)
                return
            else:
                return

    async def _blame(self, requests: Sequence[_Request], error: Exception) -> None:
        if len(requests) == 1:
            _fail(requests, error)
            return
        for request in requests:
            if self._passed([request]):
                await self._answer([request])

    # ------------------------------------------------------------------ what waits aside

    async def _part(self, requests: Sequence[_Request]) -> None:
        """Some of it is locked: set that aside, and answer the others."""
        if len(requests) == 1:
            self._set_aside(requests[0])
            return
        locked = await self._locked(requests)
        for request in requests:
            if request.contexts & locked:
                self._set_aside(request)
        rest = self._passed(requests)
        if rest and len(rest) < len(requests):
            await self._answer(rest)
            return
        for request in rest:  # somebody has a run or a key, and which one is not said
            if self._passed([request]):
                await self._answer([request])

    async def _locked(self, requests: Iterable[_Request]) -> set[int]:
        contexts = {context for request in requests for context in request.contexts}
        try:
            return await self._store.find_locked(sorted(contexts))
        except UnavailableError:  # whoever appends next learns it
            return set()

    def _passed(self, requests: Sequence[_Request]) -> Sequence[_Request]:
        """Those that may be written now; one that comes behind one aside goes there, too."""
        if not self._aside:
            return requests
        held = {context for request in self._aside for context in request.contexts}
        passed: list[_Request] = []
        for request in requests:
            if request.contexts & held:
                held |= request.contexts
                self._set_aside(request)
            else:
                passed.append(request)
        return passed

    def _set_aside(self, request: _Request) -> None:
        if request not in self._aside:
            contexts = ", ".join(map(str, sorted(request.contexts)))
            _log.warning("events of context %s wait: another transaction has locked it", contexts)
            self._aside[request] = None
        if self._trying is None:
            self._trying = asyncio.create_task(self._try_again())

    async def _try_again(self) -> None:
        """Append what was set aside as soon as it is free, in the order of each context."""
        pause = FIRST_PAUSE
        try:
            while self._aside:
                await clock.sleep(pause)
                pause = min(pause * 2, LONGEST_ASIDE)
                locked = await self._locked(self._aside)
                for request in list(self._aside):
                    if not request.answer.done() and not request.contexts & locked:
                        await self._answer([request])
                    if request.answer.done():
                        del self._aside[request]
                    else:
                        locked |= request.contexts
        except BaseException as error:
            _fail(self._aside, error)
            self._aside.clear()
            raise
        finally:
            self._trying = None


def _may_be_repeated(request: _Request) -> bool:
    """Whether all its events have keys, so that none is written twice."""
    metas = [item.event.meta for item in request.items]
    return all(isinstance(meta, Mapping) and "idempotency_key" in meta for meta in metas)


def _fail(requests: Iterable[_Request], error: BaseException) -> None:
    for request in requests:
        if not request.answer.done():
            request.answer.set_exception(error)
