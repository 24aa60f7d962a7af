"""The worker: claims queued runs for its free slots and performs them.

It renews one lease for all that it holds. What it held when it died is queued again: at once by
the next worker of the same host, within seconds by any other. A run that waits for subtasks holds
no slot.
"""

from __future__ import annotations

import asyncio
import getpass
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from dama import clock
from dama.config.config import home_of
from dama.contained import contain_tasks
from dama.definitions.adhoc import adhoc
from dama.duty import Duty, on_duty
from dama.errors import DamaError
from dama.programs.process import identity_of_this_process, process_start
from dama.programs.programs import Programs
from dama.run.broker_source import BrokerSource, no_broker
from dama.run.commands import Commands
from dama.run.execution import Execution
from dama.run.group_commit import GroupCommit
from dama.run.subtasks import PARK_AFTER, Endings
from dama.store.renewal import Renewer
from dama.upkeep.cleaning import Keep, clean_always
from dama.worker.claims import Claims
from dama.worker.lease import LeaseKeeper
from dama.worker.performance import Crew, Performance
from dama.worker.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from dama.definitions.registry import Registry
    from dama.store import Claim, Store
    from dama.store.queue_rows import Renewal

LEASE = timedelta(seconds=3.5)
RECONCILE_SECONDS = 5.0
MOST_TROUBLE = 1000
SLOTS = 16
THREADS = 1000

_log = logging.getLogger("dama.worker")


class Held(NamedTuple):
    """A run that the worker executes."""

    performance: Performance
    task: asyncio.Task[None]

    def stopped(self) -> asyncio.Task[None]:
        """Tell it to stop; gives what can be waited for."""
        self.performance.stop()
        self.task.cancel()
        return self.task


class Worker:
    """One process's share of the work.

    Args:
        store: Where the queue is.
        registry: The tasks that it knows.
        queues: What it claims from; those of its tasks by default.
        root: Only runs of this tree; None for all.
        slots: How many runs it performs at once.
        labels: What it offers to runs that need it.
        park_after: Seconds after which a run that waits for subtasks leaves memory.
        home: The folder of dama's files; that of the environment by default.
        keep: How long things stay on its host.
        broker: Gives what calls actions.
        gateway_url: Where programs reach the gateway; None when they are not told.
    """

    def __init__(  # noqa: PLR0913 - each is a setting of its own
        self,
        store: Store,
        registry: Registry,
        *,
        queues: Sequence[str] | None = None,
        root: int | None = None,
        slots: int = SLOTS,
        labels: Sequence[str] = (),
        park_after: float = PARK_AFTER,
        home: Path | None = None,
        keep: Keep = Keep(),  # noqa: B008 - it is frozen
        broker: BrokerSource = no_broker,
        gateway_url: str | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        home = home or home_of(os.environ)
        right = _right_to_commands(home)
        tasks = [*registry.tasks.values(), *([adhoc] if right else [])]
        self._tasks = [task.name for task in tasks]
        own = sorted({task.options.queue for task in tasks})
        self._queues = own if queues is None else queues
        self._root = root
        self._slots = slots
        self._labels = sorted({*labels, *right})
        self._identity = identity_of_this_process(home)
        self._user = getpass.getuser()
        self._id = 0
        self._wake = asyncio.Event()
        self._claims = Claims(store.queue, self._queues, self._tasks, root, self._labels)
        self._programs = Programs(
            store,
            registry,
            home,
            self._identity.place,
            lambda: self._id,
            gateway_url,
        )
        self._keep = keep
        self._broker = broker
        self._commits = GroupCommit(store)
        self._endings = Endings(store, self._wake.set, park_after=park_after)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dama")
        self._running: dict[int, Held] = {}
        self._is_unsure = True
        self._draining = self._found_nothing = False
        self._looked = asyncio.Event()
        self._registering: asyncio.Task[None] | None = None
        renewer = Renewer(store.database, self._lease_params)
        self._lease = LeaseKeeper(renewer, self._learn, asyncio.get_running_loop())
        self._scheduler = Scheduler(store, registry, self._wake.set)
        self._claiming = Duty("claiming runs", self._claim_always, self._note)
        self._duties = self._all_duties()
        self._going_on: set[asyncio.Task[None]] = set()  # runs, also those that end, and notes
        self._waiting = self._settling = 0
        self._crew = Crew(
            store.queue,
            registry,
            self._programs,
            self._execution,
            lambda: self._id,
            self._identity_text(),
            self._start_meta,
            self._count_settling,
            self._lease.look,
        )

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[Worker]:
        """Work until the end of the block; what is not done then is queued again."""
        contain_tasks(asyncio.get_running_loop())
        await self._register()
        self._lease.start()
        try:
            async with on_duty(*self._duties):
                yield self
        finally:
            await asyncio.to_thread(self._lease.stop)
            await self._stop()

    def _all_duties(self) -> list[Duty]:
        store, programs = self._store, self._programs
        return [
            self._claiming,
            Duty("hearing of changes", lambda: store.hints.listen(self._hear), self._note),
            Duty("firing schedules", self._scheduler.fire_always, self._note),
            Duty("ending programs that nobody wants", programs.end_always, self._note),
            Duty(
                "cleaning",
                lambda: clean_always(store, lambda: programs.directories, self._keep),
                self._note,
            ),
        ]

    def _note(self, _changed: Duty) -> None:
        """Tell those who look from outside what fails here at the moment."""
        troubles = [duty.trouble for duty in self._duties if duty.trouble]
        noting = self._store.queue.set_trouble(self._id, "; ".join(troubles)[:MOST_TROUBLE] or None)

        async def note() -> None:
            with suppress(Exception):  # the database may be the trouble; the log has it
                await noting

        self._going_on.add(task := asyncio.create_task(note()))
        task.add_done_callback(self._going_on.discard)

    async def drain(self, grace: float) -> bool:
        """Claim no more, and let what runs come to its end; whether it did within the grace."""
        self._draining = True
        running = [
            held.task
            for context_id, held in self._running.items()
            if context_id not in self._programs.followed  # they go on without the worker
        ]
        if running:
            await asyncio.wait(running, timeout=grace)
        return not any(not task.done() for task in running)

    async def idle(self) -> None:
        """Wait until nothing is queued for this worker and nothing runs."""
        while self._running or not self._found_nothing:
            self._looked.clear()
            await self._looked.wait()

    async def _register(self) -> None:
        await self._programs.find_directories()
        if there := [(run.context_id, run.epoch) for run in self._programs.directories.open()]:
            await self._store.queue.take_place(there, self._identity)
        await self._bury_the_dead()
        self._id = await self._store.queue.register(
            self._identity,
            queues=self._queues,
            root=self._root,
            slots=self._slots,
            labels=self._labels,
            tasks=self._tasks,
            lease=LEASE,
        )

    async def _register_again(self) -> None:
        try:
            await self._register()
        except Exception as error:  # noqa: BLE001 - the next renewal asks for it again
            _log.warning("the worker is not registered again yet: %s", error)

    async def _bury_the_dead(self) -> None:
        """Earlier workers of this place whose process is gone: what they held is queued at once.

        Those that cannot be seen from here, in another PID namespace or before another boot, are
        not known to be dead: their lease decides.
        """
        known = await self._store.queue.neighbours(self._identity)
        dead = [worker_id for worker_id, pid, started in known if process_start(pid) != started]
        if dead:
            await self._store.queue.release(dead)

    async def _stop(self) -> None:
        for held in self._running.values():
            held.stopped()
        # A context that was cancelled and resumed is held anew while its earlier run still ends.
        await asyncio.gather(*self._going_on, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._programs.fork_server.close)
        try:
            await self._store.queue.release([self._id], died=False)
        except Exception as error:  # noqa: BLE001 - the database may be what stopped us
            _log.warning("what is not done is queued again when the lease runs out: %s", error)

    async def _claim_always(self) -> None:
        """Claim whenever there may be something, and see now and then whether all held is executed.

        A claim whose answer was lost, and whatever nobody thought of, leave runs that the worker
        holds and does not execute. They are handed back here, between two claims: then the queue
        and this process must agree.
        """
        reconciled_at = clock.monotonic()
        while True:
            self._wake.clear()
            if self._is_unsure or clock.monotonic() - reconciled_at > RECONCILE_SECONDS:
                await self._reconcile()
                reconciled_at = clock.monotonic()
            claimed = await self._claim_once()
            self._claiming.well()
            self._found_nothing = not claimed
            self._looked.set()
            if not claimed:
                with suppress(TimeoutError):
                    async with asyncio.timeout(RECONCILE_SECONDS):
                        await self._wake.wait()

    async def _reconcile(self) -> None:
        # Later each time: what is handed back for the second time may come back a third.
        dropped = await self._store.queue.hand_back(
            self._id, kept=list(self._running), delay=None if self._is_unsure else RECONCILE_SECONDS
        )
        self._is_unsure = False
        if dropped:
            _log.warning("contexts %s were held and not executed; handed back", dropped)

    async def _claim_once(self) -> bool:
        # A run whose function is done needs no slot while its FINAL is written, so the next
        # functions run during the commit; as many again may settle, no more.
        settling = min(self._settling, self._slots)
        free = self._slots - (len(self._running) - self._waiting - settling)
        if free <= 0 or self._draining:
            return False
        self._is_unsure = True  # until the answer is here
        claims = await self._claims.take(self._id, free)
        # One that was cancelled and resumed is here before a renewal tells that it was cancelled.
        self._drop([each.context_id for each in claims if each.context_id in self._running])
        for claim in claims:
            performance = Performance(self._crew, claim)
            task = asyncio.create_task(self._perform(performance, claim))
            self._going_on.add(task)
            task.add_done_callback(self._going_on.discard)
            self._running[claim.context_id] = Held(performance, task)
        self._is_unsure = False
        return bool(claims)

    def _lease_params(self) -> dict[str, Any]:
        return {
            "worker_id": self._id,
            "held": list(self._running),
            "queues": list(self._queues),
            "tasks": self._tasks,
            "offered": self._labels,
            "scheduled": self._tasks if self._root is None else [],
            "lease": LEASE,
        }

    def _learn(self, renewal: Renewal) -> None:
        """What the lease keeper was told."""
        if renewal.gone is None:
            self._start_over()
        else:
            self._drop(renewal.gone)
        if renewal.work:
            self._wake.set()
        if renewal.next_firing is not None and renewal.next_firing <= 0:
            self._scheduler.look()

    def _hear(self) -> None:
        """Something changed in the queue: a run to claim, a subtask that ended, a cancellation."""
        self._wake.set()
        self._endings.ended()

    def _drop(self, contexts: Sequence[int]) -> None:
        """These were cancelled or taken over since they were held."""
        for context_id in contexts:
            held = self._running.get(context_id)
            if held is not None and not held.performance.has_parked:
                held.stopped()
        if contexts:
            self._programs.look()

    def _start_over(self) -> None:
        """Others took this worker for dead: its runs are theirs now."""
        if self._registering is None or self._registering.done():
            _log.warning("worker %s was taken for dead; its runs are left to others", self._id)
            self._drop(list(self._running))
            self._is_unsure = False  # what it held is no longer its own
            self._registering = asyncio.create_task(self._register_again())

    async def _perform(self, performance: Performance, claim: Claim) -> None:
        try:
            await performance.run()
        finally:
            held = self._running.get(claim.context_id)
            if held is not None and held.performance is performance:  # it may be back already
                del self._running[claim.context_id]
            self._endings.ended(claim.context_id)
            self._wake.set()
        if claim.parent_id is not None:
            with suppress(Exception):  # a hint; who needs it looks by itself, too
                await self._store.hints.send()

    def _execution(self, claim: Claim) -> Execution:
        return Execution(
            claim,
            store=self._store,
            commits=self._commits,
            endings=self._endings,
            registry=self._registry,
            pool=self._threads,
            on_waiting=self._count_waiting,
            work_dir=self._programs.directories.work(claim.root_context_id),
            broker=self._broker,
        )

    def _count_waiting(self, change: int) -> None:
        self._waiting += change
        self._wake.set()

    def _count_settling(self, change: int) -> None:
        self._settling += change
        self._wake.set()

    def _identity_text(self) -> str:
        return f"{self._identity.host}:{self._identity.pid}"

    def _start_meta(self, claim: Claim) -> dict[str, Any]:
        return {
            "attempt": claim.attempt,
            "user": self._user,
            "version": self._identity.version,
        }


def _right_to_commands(home: Path) -> list[str]:
    """The label of the key to undeclared commands; nothing where the key cannot be used."""
    try:
        return [Commands(home).label()]
    except (DamaError, OSError) as error:
        _log.warning("undeclared commands are left to others: %s", error)
        return []
