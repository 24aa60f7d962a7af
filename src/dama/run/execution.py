"""The execution of one run: what it writes, what was done before, and what it waits for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from dama.config.private_file import make_private
from dama.domain.journal import Journal
from dama.domain.trace import traceparent
from dama.run.asking import asker
from dama.run.asks import Asks
from dama.run.branch import Branches
from dama.run.broker_source import BrokerSource, no_broker
from dama.run.errors import LostSignal, ParkSignal
from dama.run.kin import Recorded
from dama.run.own_threads import OwnThreads
from dama.run.patience import until_answered
from dama.run.pending import Pending
from dama.run.records import NO_ARGS, Asked, base_of
from dama.run.replay import Replay
from dama.run.threads import Threads
from dama.run.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future, ThreadPoolExecutor
    from pathlib import Path

    from dama.definitions.registry import Registry
    from dama.run.group_commit import GroupCommit
    from dama.run.subtasks import Endings
    from dama.store import Claim, Outcome, Store


PARK_AFTER_WHEN_LIMITED = 1.0


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
        broker: Returns what calls actions.

    Attributes:
        claim: What is run.
        writer: Writes its events.
        pending: What it waits for, and what it is doing.
        journal: What earlier runs did.
        branches: The branches of its function.
        replay: How far its function has come in what earlier runs did.
        endings: Tells when subtasks end.
        is_parking: Whether it leaves memory, whatever its function makes of that.
        ended: The ends of subtasks that its function knows.
        met: The subtasks to whose ends it has come; `ended` may have them a little later.
        abandoned: What ends subtasks that its function has ceased to wait for.
        deadline: When its function times out, by the clock of the loop; None for never.
        name: What the log calls it.
        threads: Where its blocking functions run.
        asked: What its threads wait for in the loop.
        asks: What its function has asked of it.
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
        self._own_threads = OwnThreads()
        self.loop = asyncio.get_running_loop()
        self.journal = Journal()
        self.branches = Branches()
        self.asks = Asks(self.branches)
        self.replay = Replay([], self.branches)
        self.writer = Writer(claim, commits, store.database.conninfo)
        park_after = endings.park_after
        if claim.is_limited:  # its place is needed: others wait for it, its own subtasks perhaps
            park_after = min(park_after, PARK_AFTER_WHEN_LIMITED)
        self.pending = Pending(park_after, on_waiting, self._can_continue)
        self.endings = endings
        self._work_dir = work_dir
        self.broker = broker
        self._trace: str | None = None
        self._seen: Counter[str] = Counter()
        self._reading = asyncio.Lock()
        self._is_leaving = False
        self.is_parking = False
        self.ended: dict[int, Outcome] = {}
        self.met: set[int] = set()
        self.abandoned: set[asyncio.Task[None]] = set()
        self.deadline: float | None = None
        self._is_over = False

    @property
    def application_name(self) -> str:
        """What its connections are called in `pg_stat_activity`."""
        return f"dama:{self.claim.context_id}:{self.claim.epoch}"

    async def remember(self) -> None:
        """Read what earlier runs did."""
        await self._read()
        tried = frozenset(self.journal.tried)
        self.branches.recorded = Recorded(self.journal.entries)
        self.replay = Replay(
            self.journal.entries, self.branches, tried, is_ending=lambda: self.is_ending
        )

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

    @property
    def attempt(self) -> int:
        """1 for the first, one more after each that failed; a dead worker is no failure."""
        return self.journal.attempts_failed + (0 if self.is_retrying else 1)

    @property
    def is_retrying(self) -> bool:
        """Whether the failure of this attempt is recorded: a worker died before it queued the next.

        Only a program outlives its worker, with its end; every other run begins the next attempt.
        """
        program_epoch = self.claim.program_epoch
        return program_epoch is not None and self.journal.failed_in >= program_epoch

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
            LostSignal: The run is over; a part of it continues that nobody waits for.
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
            LostSignal: The run is over; a part of it continues that nobody waits for.
            DivergedError: It is recorded as something else.
        """
        self._refuse_late()
        branch = asker.get()
        place, within = (branch.place, branch.within) if branch else ("", ())
        if within:
            name = f"{within[-1]}/{name}"
        nth = branch.nth(f"{what} {base_of(name)}") if branch else None
        if branch and branch.is_outside:
            self._own_threads.refuse_alike(what, name, args)
        asked = Asked(name, what, function, args, place, within, nth)
        key = self.replay.bind(asked)
        if branch and self.replay.event_id(key) is None:
            branch.refuse_late()
        return key, asked

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

    async def begin_new(self, asked: Asked) -> None:
        """Something begins that no earlier run has recorded."""

    async def recorded(self) -> Journal:
        """What the store has now: whether a commit went through whose answer was lost."""
        await self.writer.is_started()
        return await self._read()

    def _refuse_late(self) -> None:
        if self.writer.is_closed or self._is_leaving:
            raise LostSignal

    def leave(self) -> None:
        """The function is unwound, and not by itself: nothing that it asks for is done any more."""
        self._is_leaving = True

    @property
    def is_ending(self) -> bool:
        """Whether the function is unwound for a reason that is not its own."""
        is_late = self.deadline is not None and self.loop.time() >= self.deadline
        is_cut_off = self.asks.are_cut_off or self.replay.diverged is not None
        return self._is_leaving or self.is_closed or is_late or is_cut_off

    def abandon(self, ending: Coroutine[Any, Any, None]) -> None:
        """End what the function has ceased to wait for, while it continues."""
        task = asyncio.create_task(ending)
        self.abandoned.add(task)
        task.add_done_callback(self.abandoned.discard)

    def _can_continue(self) -> bool:
        return bool(self.abandoned) or self.branches.are_timed or self.branches.can_move()

    def park(self) -> NoReturn:
        """Leave memory: all branches are unwound, and what they wait for wakes the run again.

        Raises:
            ParkSignal: Always.
        """
        self.pending.leave()
        self.is_parking = True
        self.leave()
        self.branches.cancel()
        raise ParkSignal

    def close(self) -> None:
        """Nothing is written any more: the attempt is over, whatever still continues in it."""
        self.writer.is_closed = True
        self.asks.close()
        self.branches.cancel()
        self.close_threads()

    def close_threads(self) -> None:
        """The function timed out: its threads do nothing more for it, and its end is still told."""
        self._is_over = True
        self.asks.release()
        for future in list(self.asked):
            future.cancel()
        self.threads.tell()

    @property
    def is_closed(self) -> bool:
        """Whether the function is no longer waited for."""
        return self.writer.is_closed or self._is_over
