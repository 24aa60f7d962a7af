"""The writer of a run: the events of its context, from STARTED to FINAL.

Every event carries the run's epoch, so a run that was taken over cannot write, and an idempotency
key, so that an event whose answer was lost is not written twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from dama.beside import off_loop
from dama.domain.event import ABSENT, Event
from dama.domain.secrets import NONE
from dama.duty import in_words
from dama.run.asking import asker
from dama.run.errors import LostSignal, ReportedError
from dama.run.failures import failed_with, payload_of
from dama.run.rehearsal import Rehearsal, rehearsal
from dama.run.secrets import secrets_of_worker
from dama.store import Append, Appended, Claim
from dama.store.errors import LifeCycleError, StaleEpochError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.domain.secrets import Secrets
    from dama.run.group_commit import GroupCommit

MOST_WORDS = 2000
OWN_META = ("epoch", "idempotency_key")

_log = logging.getLogger("dama.worker")


@dataclass(frozen=True)
class Beginning:
    """The event that begins a run.

    Attributes:
        kind: STARTED; ADOPTED and LOST are those of a program that an earlier run has started.
        payload: Of the event.
        meta: Besides that of the worker.
    """

    kind: str = "STARTED"
    payload: object = ABSENT
    meta: Mapping[str, Any] | None = None


STARTED = Beginning()


class Writer:
    """Writes the events of one run.

    Args:
        claim: The run.
        commits: How they are written.
        conninfo: Of the database, whose password no event may have.

    Attributes:
        failed: The steps that have failed in the run, with their errors.
        facts: What the meta of its last event tells besides who and why.
        secrets: What is struck out of each of its events.
        is_closed: Nothing is written any more.
    """

    def __init__(self, claim: Claim, commits: GroupCommit, conninfo: str) -> None:
        self.failed: list[tuple[str, Exception]] = []
        self.facts: dict[str, Any] = {}
        self.secrets = NONE
        self.is_closed = False
        self._claim = claim
        self._commits = commits
        self._conninfo = conninfo
        self._name = f"context {claim.context_id}"
        self._started: asyncio.Future[list[Appended]] | None = None

    @cached_property
    def rehearsal(self) -> Rehearsal | None:
        """What a test has arranged; None outside of tests."""
        return rehearsal.get()

    async def begin(
        self, worker: str, meta: Mapping[str, Any], beginning: Beginning = STARTED
    ) -> None:
        """Write STARTED, which fences earlier runs.

        A first run has no earlier ones: it continues at once, and its first events share a commit
        with its STARTED, since events of one context are written in their order.

        Raises:
            LostSignal: A later run has started already.
        """
        key = f"{beginning.kind}#{self._claim.epoch}"
        meta = {**meta, **(beginning.meta or {})}
        event = self.event(f":{beginning.kind}", beginning.payload, key=key, worker=worker, **meta)
        started = replace(event, is_checked=True)
        self._started = self._commits.submit([started])
        self._started.add_done_callback(_look_at)
        if self._claim.epoch > 1 or self.rehearsal:
            await self.is_started()
        await self.rehearsed(event.event.type)

    async def is_started(self) -> None:
        """Wait until STARTED is durable: before anything is written on another connection.

        Raises:
            LostSignal: A later run has started already.
        """
        if self._started is None:
            return
        try:
            await asyncio.shield(self._started)
        except (StaleEpochError, LifeCycleError) as error:
            raise LostSignal from error

    def event(
        self, suffix: str, payload: object = ABSENT, *, key: str, error: bool = False, **meta: Any
    ) -> Append:
        """An event of this run; a suffix such as `/extract:DONE` follows the task's name."""
        meta = {**self.own_meta(), "idempotency_key": key, **meta}
        type_ = f"{self._claim.task}{suffix}"
        event = Event(type_, payload, error=True if error else ABSENT, meta=meta)
        return Append(self._claim.context_id, event)

    def own_meta(self) -> dict[str, Any]:
        """What the meta of each event of this run says: which run, and which branch of it."""
        branch = asker.get()
        meta: dict[str, Any] = {"epoch": self._claim.epoch}
        if branch is not None and branch.place:
            meta["place"] = branch.place
            if kin := branch.kin:
                meta["kin"] = kin
        if branch is not None and branch.within:
            meta["within"] = list(branch.within)
        return meta

    async def write(
        self, suffix: str, payload: object = ABSENT, *, key: str, error: bool = False, **meta: Any
    ) -> Appended:
        """Append an event of this run; returns when it is durable.

        Raises:
            LostSignal: The run was taken over, or its context has ended.
        """
        return await self.append(self.event(suffix, payload, key=key, error=error, **meta))

    async def append(self, item: Append) -> Appended:
        """Append an event that was made before; see `write`."""
        (appended,) = await self.append_all([item])
        return appended

    async def append_all(self, items: Sequence[Append]) -> list[Appended]:
        """Append events in their order, all or none; see `write`."""
        if self.is_closed:
            raise LostSignal
        return await self._submit(items)

    async def _submit(self, items: Sequence[Append]) -> list[Appended]:
        if self.rehearsal:
            await self.rehearsal.alive()
        if self.secrets:
            items = await off_loop(_all_without, self.secrets, items)
        try:
            appended = await self._commits.submit(items)
        except (StaleEpochError, LifeCycleError) as error:
            raise LostSignal from error
        await self.rehearsed(*(item.event.type for item in items))
        return appended

    async def rehearsed(self, *types: str) -> None:
        """Events are durable: in a test everything may stop here."""
        if self.rehearsal:
            await self.rehearsal.written(types)

    async def finish(self, result: object) -> None:
        """Write the FINAL."""
        final = self.event(":FINAL", result, key=f"FINAL#{self._claim.epoch}", **self.facts)
        await self.append(replace(final, is_checked=result is None))

    async def fail(self, error: BaseException) -> None:
        """Write the ERROR: the task failed for good."""
        key = f"ERROR#{self._claim.epoch}"
        await self.write_failure(":ERROR", error, {}, key, **self._failed_with(error))

    async def fail_parked(self, error: BaseException) -> None:
        """Write the ERROR of a run that has left memory: nothing could ever wake it."""
        payload, key = self._payload_of(error), f"ERROR#{self._claim.epoch}"
        await self._submit([self.event(":ERROR", payload, key=key, error=True, **self.facts)])

    async def will_retry(self, error: BaseException, delay: float) -> None:
        """Write that this attempt failed and another one follows."""
        key = f"RETRYING#{self._claim.epoch}"
        more = {"delay": round(delay, 3)}
        await self.write_failure(":RETRYING", error, more, key, **self._failed_with(error))

    def _failed_with(self, error: BaseException) -> dict[str, Any]:
        keys = error.failed_with if isinstance(error, ReportedError) else self.steps_of(error)
        return {"failed_with": keys} if keys else {}

    def steps_of(self, error: BaseException) -> list[str]:
        """The keys of the steps that an error came from."""
        return failed_with(error, self.failed)

    async def write_failure(
        self, suffix: str, error: BaseException, more: Mapping[str, Any], key: str, **meta: Any
    ) -> None:
        """Write a failure as it is, or if the database refuses that, its bare words."""
        try:
            payload = {**self._payload_of(error), **more}
            await self.write(suffix, payload, key=key, error=True, **meta, **self.facts)
        except Exception as refused:  # noqa: BLE001 - an error that is too odd must not hide itself
            _log.warning("%s: its error is shortened: %s", self._name, refused)
            struck = self._own_secrets().strike(in_words(error))
            message = struck.encode("ascii", "backslashreplace").decode()[:MOST_WORDS]
            payload = {"name": type(error).__name__, "message": message.replace("\0", ""), **more}
            meta.pop("raised", None)
            await self.write(suffix, payload, key=key, error=True, **meta)

    def _own_secrets(self) -> Secrets:
        return secrets_of_worker(self._conninfo)

    def _payload_of(self, error: BaseException) -> dict[str, Any]:
        return self._own_secrets().strike_all(payload_of(error))


def _all_without(secrets: Secrets, items: Sequence[Append]) -> list[Append]:
    return [without(secrets, item) for item in items]


def without(secrets: Secrets, item: Append) -> Append:
    """An event without secrets, wherever in it they were."""
    event = item.event
    meta = event.meta
    if isinstance(meta, Mapping):  # what fences and what makes it one of a kind stay as they are
        own = {name: meta[name] for name in OWN_META if name in meta}
        meta = {**secrets.strike_all(meta), **own}
    payload = secrets.strike_all(event.payload)
    struck = Event(secrets.strike(event.type), payload, event.error, meta)
    return replace(item, event=struck)


def _look_at(started: asyncio.Future[list[Appended]]) -> None:
    """Whoever writes next meets the error; asyncio need not complain that nobody asked for it."""
    if not started.cancelled():
        started.exception()
