"""The execution of one run: what it may write, what was done before, and what it waits for.

Every event carries the run's epoch, so a run that was taken over can not write, and an idempotency
key, so that an event whose answer was lost is not written twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from dama import clock
from dama.config.private_file import make_private
from dama.domain.event import ABSENT, Event
from dama.domain.journal import Journal
from dama.domain.secrets import NONE
from dama.domain.trace import traceparent
from dama.duty import in_words
from dama.run.asks import Asks
from dama.run.branch import Branches, asker
from dama.run.broker_source import BrokerSource, no_broker
from dama.run.errors import LostSignal, ParkSignal, SubtaskError, ToldError
from dama.run.failures import failed_with, payload_of
from dama.run.patience import until_answered
from dama.run.rehearsal import Rehearsal, rehearsal
from dama.run.replay import NO_ARGS, Asked, Replay
from dama.run.secrets import secrets_of_worker
from dama.run.threads import Threads
from dama.run.waiting import Wait, parking
from dama.store import Append, Appended, Claim, Outcome
from dama.store.errors import LifeCycleError, StaleEpochError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from concurrent.futures import Future, ThreadPoolExecutor
    from pathlib import Path

    from dama.definitions.registry import Registry
    from dama.domain.outcome import Waiting
    from dama.domain.secrets import Secrets
    from dama.run.group_commit import GroupCommit
    from dama.run.subtasks import Endings
    from dama.store import Store


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
PARK_AFTER_WHEN_LIMITED = 1.0
ADVANCE_SECONDS = 0.2  # in which a function goes from one wait or step to the next
MOST_WORDS = 2000
OWN_META = ("epoch", "idempotency_key")

_log = logging.getLogger("dama.worker")


class Execution:
    """One run.

    Args:
        claim: What is run.
        store: Where its events are.
        commits: How they are written.
        endings: Tells when subtasks end.
        registry: Finds the tasks of subtasks.
        pool: Where blocking functions run.
        on_waiting: Called with 1 and -1 when the run begins and ceases to wait.
        work_dir: The working folder of the tree, which need not be there.
        broker: Gives what calls actions.

    Attributes:
        claim: What is run.
        journal: What earlier runs did.
        branches: The branches of its function.
        replay: How far its function has come in what earlier runs did.
        failed: The steps that have failed in it.
        endings: Tells when subtasks end.
        waits: What it waits for.
        park_after: Seconds after which it leaves memory while it waits.
        busy: How many steps and starts of subtasks it is doing.
        advanced_at: When a wait or a step ended; then the function does something else.
        is_parking: Whether it leaves memory, whatever its function makes of that.
        facts: What the meta of its last event tells besides who and why.
        name: What the log calls it.
        threads: Where its blocking functions run.
        asked: What its threads wait for in the loop.
        asks: What its function has asked of it.
        secrets: What is struck out of each of its events.
    """

    def __init__(  # noqa: PLR0913 - each is a part of its own
        self,
        claim: Claim,
        *,
        store: Store,
        commits: GroupCommit,
        endings: Endings,
        registry: Registry,
        pool: ThreadPoolExecutor,
        on_waiting: Callable[[int], None],
        work_dir: Path,
        broker: BrokerSource = no_broker,
    ) -> None:
        self.claim = claim
        self.store = store
        self.registry = registry
        self.name = f"context {claim.context_id}"
        self.threads = Threads(pool, self.name)
        self.asked: set[Future[Any]] = set()
        self.asks = Asks()
        self.loop = asyncio.get_running_loop()
        self.journal = Journal()
        self.branches = Branches()
        self.replay = Replay([], self.branches)
        self.failed: list[tuple[str, Exception]] = []
        self.waits: list[Wait] = []
        self.park_after = endings.park_after
        if claim.is_limited:  # its place is needed: others wait for it, its own subtasks perhaps
            self.park_after = min(self.park_after, PARK_AFTER_WHEN_LIMITED)
        self.busy = 0
        self.advanced_at = -ADVANCE_SECONDS
        self.facts: dict[str, Any] = {}
        self.secrets = NONE
        self._commits = commits
        self.endings = endings
        self._on_waiting = on_waiting
        self._work_dir = work_dir
        self.broker = broker
        self._trace: str | None = None
        self._started: asyncio.Future[list[Appended]] | None = None
        self._seen: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._reading = asyncio.Lock()
        self._closed = False
        self._is_leaving = False
        self.is_parking = False
        self._is_over = False
        self._left: dict[Wait, None] = {}  # what it waited for when it left memory

    @cached_property
    def rehearsal(self) -> Rehearsal | None:
        """What a test has arranged; None outside of tests."""
        return rehearsal.get()

    @property
    def application_name(self) -> str:
        """What its connections are called in `pg_stat_activity`."""
        return f"dama:{self.claim.context_id}:{self.claim.epoch}"

    async def begin(
        self, worker: str, meta: Mapping[str, Any], beginning: Beginning = STARTED
    ) -> None:
        """Write STARTED, which fences earlier runs.

        A first run has no earlier ones: it goes on at once, and its first events share a commit
        with its STARTED, since events of one context are written in their order.

        Raises:
            LostSignal: A later run has started already.
        """
        key = f"{beginning.kind}#{self.claim.epoch}"
        meta = {**meta, **(beginning.meta or {})}
        event = self.event(f":{beginning.kind}", beginning.payload, key=key, worker=worker, **meta)
        started = replace(event, is_checked=True)
        self._started = self._commits.submit([started])
        self._started.add_done_callback(_look_at)
        if self.claim.epoch > 1 or self.rehearsal:
            await self.is_started()
        await self.rehearsed(event.event.type)

    async def remember(self) -> None:
        """Read what earlier runs did."""
        await self._read()
        self.replay = Replay(self.journal.entries, self.branches, frozenset(self.journal.tried))

    async def _read(self) -> Journal:
        await until_answered(self._read_on, self.name)
        return self.journal

    async def _read_on(self) -> None:
        """Read what has come since; each event is taken once."""
        async with self._reading:
            journal = self.journal
            pages = self.store.pages(self.claim.context_id, after_version=journal.version)
            async for page in pages:
                for event in page:
                    journal.take(event)

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

    @property
    def work_path(self) -> str:
        """Where the working folder is."""
        return str(self._work_dir)

    def work_dir(self) -> Path:
        """The working folder of the tree on this host; it is there."""
        make_private(self._work_dir)
        return self._work_dir

    def key(self, name: str) -> str:
        """A name that comes again gets #2, #3: for what may be left out of a replay.

        Raises:
            LostSignal: The run is over; a part of it goes on that nobody waits for.
        """
        self._refuse_late()
        self._seen[name] += 1
        count = self._seen[name]
        return name if count == 1 else f"{name}#{count}"

    def count_read(self, slice_: str) -> str:
        """The name of one reading of a slice; each branch counts its own."""
        branch = asker.get()
        name = f"read:{slice_}@{branch.place if branch and branch.place else 'main'}"
        self._seen[name] += 1
        return f"{name}.{self._seen[name]}"

    def bind(
        self, what: str, name: str, *, function: str | None = None, args: str = NO_ARGS
    ) -> tuple[str, Asked]:
        """The key of what the function asks for, and how it asks; see `Replay.bind`.

        Raises:
            LostSignal: The run is over; a part of it goes on that nobody waits for.
            DivergedError: It is recorded as something else.
        """
        self._refuse_late()
        branch = asker.get()
        place, within = (branch.place, branch.within) if branch else ("", None)
        if within is not None:
            name = f"{within}/{name}"
        asked = Asked(name, what, function, args, place, within)
        return self.replay.bind(asked), asked

    async def traceparent(self) -> str:
        """The W3C trace context of this run: of the trace that its tree was started in, if any."""
        if self._trace is None:
            claim = self.claim
            events = await until_answered(
                lambda: self.store.events(claim.root_context_id, limit=1), self.name
            )
            meta = events[0].meta if events else None
            given = meta.get("traceparent") if isinstance(meta, Mapping) else None
            name = await until_answered(self.store.database.identity, self.name)
            self._trace = traceparent(
                name, claim.root_context_id, claim.context_id, claim.epoch, given
            )
        return self._trace

    def event(
        self, suffix: str, payload: object = ABSENT, *, key: str, error: bool = False, **meta: Any
    ) -> Append:
        """An event of this run; a suffix such as `/extract:DONE` follows the task's name."""
        meta = {**self.own_meta(), "idempotency_key": key, **meta}
        type_ = f"{self.claim.task}{suffix}"
        event = Event(type_, payload, error=True if error else ABSENT, meta=meta)
        return Append(self.claim.context_id, event)

    def own_meta(self) -> dict[str, Any]:
        """What the meta of each event of this run says: which run, and which branch of it."""
        branch = asker.get()
        meta: dict[str, Any] = {"epoch": self.claim.epoch}
        if branch is not None and branch.place:
            meta["place"] = branch.place
        if branch is not None and branch.within:
            meta["within"] = branch.within
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
        if self._closed:
            raise LostSignal
        return await self._submit(items)

    async def _submit(self, items: Sequence[Append]) -> list[Appended]:
        if self.rehearsal:
            await self.rehearsal.alive()
        if self.secrets:
            items = [without(self.secrets, item) for item in items]
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

    async def recorded(self) -> Journal:
        """What the store has now: whether a commit went through whose answer was lost."""
        await self.is_started()
        return await self._read()

    def count_waiting(self, change: int) -> None:
        """The run begins (1) or ceases (-1) to wait, and holds no slot meanwhile."""
        self._on_waiting(change)

    def _refuse_late(self) -> None:
        if self._closed or self._is_leaving:
            raise LostSignal

    def leave(self) -> None:
        """The function is unwound, and not by itself: nothing that it asks for is done any more."""
        self._is_leaving = True

    def park(self) -> NoReturn:
        """Leave memory: all branches are unwound, and what they wait for wakes the run again.

        Raises:
            ParkSignal: Always.
        """
        self._left |= dict.fromkeys(self.waits)
        self.is_parking = True
        self.leave()
        self.branches.cancel()
        raise ParkSignal

    def close(self) -> None:
        """Nothing is written any more: the attempt is over, whatever still goes on in it."""
        self._closed = True
        self.asks.close()
        self.branches.cancel()
        self.close_threads()

    def close_threads(self) -> None:
        """The function timed out: its threads do nothing more for it, and its end is still told."""
        self._is_over = True
        for future in list(self.asked):
            future.cancel()
        self.threads.tell()

    @property
    def is_closed(self) -> bool:
        """Whether the function is no longer waited for."""
        return self._closed or self._is_over

    @contextmanager
    def acting(self) -> Generator[None]:
        """Something is done that the run does not leave memory in."""
        self.busy += 1
        try:
            yield
        finally:
            self.busy -= 1
            self.advanced_at = clock.monotonic()
            self._idle.set()

    async def completed(self) -> None:
        """Wait for the steps and starts that are under way."""
        while self.busy:
            self._idle.clear()
            await self._idle.wait()

    async def wait(self, ids: Sequence[int], task: str, *, fail_fast: bool) -> dict[int, Outcome]:
        """Wait for subtasks; no slot of the worker is held meanwhile.

        Raises:
            SubtaskError: One has failed for good; those that had not ended are cancelled.
            ParkSignal: It takes so long that the run should not stay in memory.
        """
        with (
            self.branches.at_rest(),
            self.waiting(Wait(awaited=tuple(ids), fail_fast=fail_fast)),
        ):
            outcomes = await self.endings.wait(
                ids, fail_fast=fail_fast, may_park=self.may_park, park_after=self.park_after
            )
            if outcomes is None:
                self.park()
        # What was cancelled for the sake of a failure is not the failure itself.
        failed = [
            context_id
            for status in ("ERROR", "CANCELLED")
            for context_id, outcome in sorted(outcomes.items())
            if outcome.status == status
        ]
        if fail_fast and failed:
            await self._cancel([context_id for context_id in ids if context_id not in outcomes])
            raise SubtaskError(failed[0], task, outcomes[failed[0]].error)
        return outcomes

    async def _cancel(self, ids: Sequence[int]) -> None:
        if ids:
            why = "a task beside it failed, and all were started to succeed together"
            meta = {"epoch_of_parent": self.claim.epoch}
            # A singleton that was open belongs to whoever started it.
            cancel = self.store.cancel
            await until_answered(
                lambda: cancel(ids, why, meta, parent=self.claim.context_id), self.name
            )

    @contextmanager
    def waiting(self, wait: Wait) -> Generator[None]:
        """Hold no slot meanwhile; what is waited for is remembered when the run is parked."""
        self.waits.append(wait)
        if len(self.waits) == 1:
            self._on_waiting(1)
        try:
            yield
            self.advanced_at = clock.monotonic()
        finally:
            self.waits.remove(wait)
            if not self.waits:
                self._on_waiting(-1)

    def parked(self) -> Waiting:
        """What the run was waiting for when it left memory."""
        return parking([*self._left])

    def may_park(self) -> bool:
        """Whether nothing but waits goes on in the run, and each of them could wake it.

        What has just come to an end continues in the function, which then waits for something else.
        """
        pause = min(ADVANCE_SECONDS, self.park_after)
        if self.busy or clock.monotonic() - self.advanced_at < pause:
            return False
        return all(wait.is_known for wait in self.waits)

    async def finish(self, result: object) -> None:
        """Write the FINAL."""
        final = self.event(":FINAL", result, key=f"FINAL#{self.claim.epoch}", **self.facts)
        await self.append(replace(final, is_checked=result is None))

    async def fail(self, error: BaseException) -> None:
        """Write the ERROR: the task failed for good."""
        key = f"ERROR#{self.claim.epoch}"
        await self.write_failure(":ERROR", error, {}, key, **self._failed_with(error))

    async def fail_parked(self, error: BaseException) -> None:
        """Write the ERROR of a run that has left memory: nothing could ever wake it."""
        payload, key = self._payload_of(error), f"ERROR#{self.claim.epoch}"
        await self._submit([self.event(":ERROR", payload, key=key, error=True, **self.facts)])

    async def will_retry(self, error: BaseException, delay: float) -> None:
        """Write that this attempt failed and another one follows."""
        key = f"RETRYING#{self.claim.epoch}"
        more = {"delay": round(delay, 3)}
        await self.write_failure(":RETRYING", error, more, key, **self._failed_with(error))

    def _failed_with(self, error: BaseException) -> dict[str, Any]:
        keys = error.failed_with if isinstance(error, ToldError) else self.steps_of(error)
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
            _log.warning("%s: its error is shortened: %s", self.name, refused)
            struck = self._own_secrets().strike(in_words(error))
            message = struck.encode("ascii", "backslashreplace").decode()[:MOST_WORDS]
            payload = {"name": type(error).__name__, "message": message.replace("\0", ""), **more}
            meta.pop("raised", None)
            await self.write(suffix, payload, key=key, error=True, **meta)

    def _own_secrets(self) -> Secrets:
        return secrets_of_worker(self.store.database.conninfo)

    def _payload_of(self, error: BaseException) -> dict[str, Any]:
        return self._own_secrets().strike_all(payload_of(error))


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
