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
from typing import TYPE_CHECKING, Any, cast

from dama.broker.adhoc import adhoc
from dama.config import home_of
from dama.domain.outcome import Done, Failed, Lost, Outcome, Retry, Waiting
from dama.errors import DamaError, UnavailableError
from dama.runtime.calls import BrokerSource, no_broker
from dama.runtime.claims import Claims
from dama.runtime.cleaning import Keep, clean_always
from dama.runtime.commands import Commands
from dama.runtime.errors import LostSignal, ParkSignal
from dama.runtime.execution import STARTED, Execution
from dama.runtime.group_commit import GroupCommit
from dama.runtime.lease import LeaseKeeper
from dama.runtime.process import identity_of_this_process, process_start
from dama.runtime.program import ProgramRun, Programs
from dama.runtime.retries import after_failure
from dama.runtime.scheduler import Scheduler
from dama.runtime.subtasks import PARK_AFTER, Endings
from dama.runtime.sync_task import SyncTask
from dama.runtime.task import Task
from dama.spans import is_collecting, span
from dama.store.renewal import Renewer
from dama.telemetry import about

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Sequence
    from pathlib import Path

    from dama.broker.registry import Registry
    from dama.broker.service import TaskDefinition
    from dama.store import Claim, Store
    from dama.store.queue import Renewal

LEASE = timedelta(seconds=3.5)
SLOTS = 16
THREADS = 1000

_log = logging.getLogger("dama.worker")


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
        self._identity = identity_of_this_process()
        self._user = getpass.getuser()
        self._id = 0
        self._wake = asyncio.Event()
        self._claims = Claims(store.queue, self._queues, self._tasks, root, self._labels)
        self._programs = Programs(
            store,
            registry,
            home,
            self._identity.host,
            lambda: self._id,
            gateway_url,
        )
        self._keep = keep
        self._broker = broker
        self._commits = GroupCommit(store)
        self._endings = Endings(store, self._wake.set, park_after=park_after)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="dama")
        self._running: dict[int, asyncio.Task[None]] = {}
        self._draining = False
        self._found_nothing = False
        self._looked = asyncio.Event()
        self._registering: asyncio.Task[None] | None = None
        renewer = Renewer(store.database, self._lease_params)
        self._lease = LeaseKeeper(renewer, self._learn, asyncio.get_running_loop())
        self._scheduler = Scheduler(store, registry, self._wake.set)
        self._waiting = 0
        self._settling = 0

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[Worker]:
        """Work until the end of the block; what is not done then is queued again."""
        await self._register()
        duties = [
            asyncio.create_task(duty)
            for duty in (
                self._claim_always(),
                self._store.hints.listen(self._hear),
                self._scheduler.fire_always(),
                self._programs.end_always(),
                clean_always(self._store, lambda: self._programs.directories, self._keep),
            )
        ]
        self._lease.start()
        try:
            yield self
        finally:
            await asyncio.to_thread(self._lease.stop)
            await self._stop(duties)

    async def drain(self, grace: float) -> bool:
        """Claim no more, and let what runs come to its end; whether it did within the grace."""
        self._draining = True
        running = [
            task
            for context_id, task in self._running.items()
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
        await self._bury_the_dead()
        self._id = await self._store.queue.register(
            self._identity,
            queues=self._queues,
            root=self._root,
            slots=self._slots,
            labels=self._labels,
            lease=LEASE,
        )

    async def _bury_the_dead(self) -> None:
        """Earlier workers of this host whose process is gone: what they held is queued at once."""
        known = await self._store.queue.workers_of_host(self._identity.host)
        dead = [
            worker_id
            for worker_id, boot_id, pid, started in known
            if boot_id != self._identity.boot_id or process_start(pid) != started
        ]
        if dead:
            await self._store.queue.release(dead)

    async def _stop(self, duties: Sequence[asyncio.Task[None]]) -> None:
        tasks = [*duties, *self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._threads.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._programs.fork_server.close)
        with suppress(DamaError):  # the database may be what stopped us; the lease runs out
            await self._store.queue.release([self._id])

    async def _claim_always(self) -> None:
        while True:
            self._wake.clear()
            claimed = await self._claim_once()
            self._found_nothing = not claimed
            self._looked.set()
            if not claimed:
                await self._wake.wait()

    async def _claim_once(self) -> bool:
        # A run whose function is done needs no slot while its FINAL is written, so the next
        # functions run during the commit; as many again may settle, no more.
        settling = min(self._settling, self._slots)
        free = self._slots - (len(self._running) - self._waiting - settling)
        if free <= 0 or self._draining:
            return False
        try:
            claims = await self._claims.take(self._id, free)
        except UnavailableError as error:
            _log.warning("no claims: %s", error)
            with suppress(UnavailableError):
                await self._store.queue.hand_back(self._id, kept=list(self._running))
            return False
        for claim in claims:
            self._running[claim.context_id] = asyncio.create_task(self._perform(claim))
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
            if (task := self._running.get(context_id)) is not None:
                task.cancel()
        if contexts:
            self._programs.look()

    def _start_over(self) -> None:
        """Others took this worker for dead: its runs are theirs now."""
        if self._registering is None or self._registering.done():
            _log.warning("worker %s was taken for dead; its runs are left to others", self._id)
            self._drop(list(self._running))
            self._registering = asyncio.create_task(self._register())

    async def _perform(self, claim: Claim) -> None:
        about(context_id=claim.context_id, epoch=claim.epoch, task=claim.task)
        execution = Execution(
            claim,
            store=self._store,
            commits=self._commits,
            endings=self._endings,
            registry=self._registry,
            threads=self._threads,
            on_waiting=self._count_waiting,
            work_dir=self._programs.directories.work(claim.root_context_id),
            broker=self._broker,
        )
        try:
            program = self._programs.find(execution, self._registry.task(claim.task))
            beginning = program.beginning if program else STARTED
            await execution.begin(self._identity_text(), self._start_meta(claim), beginning)
            own = await execution.traceparent() if is_collecting() else None
            facts = {"context_id": claim.context_id, "epoch": claim.epoch}
            with span(claim.task, own=own, **facts) as collected:
                outcome = await self._attempt(execution, program)
                if isinstance(outcome, Failed | Retry):
                    collected.fail(outcome.error)
            self._settling += 1
            self._wake.set()
            try:
                await self._settle(execution, outcome)
            finally:
                self._settling -= 1
        except LostSignal:
            _log.warning("context %s was taken over by another run", claim.context_id)
        except UnavailableError as error:
            _log.warning("context %s: %s", claim.context_id, error)
        finally:
            self._running.pop(claim.context_id, None)
            if claim.parent_id is not None:
                await self._store.hints.send()
            self._endings.ended()
            self._wake.set()

    async def _attempt(self, execution: Execution, program: ProgramRun | None) -> Outcome:
        claim = execution.claim
        task = self._registry.task(claim.task)
        try:
            return await program.perform() if program else Done(await _call(task, execution))
        except ParkSignal:
            return execution.parked()
        except LostSignal:
            return Lost()
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a task raises is its outcome
            return after_failure(task, claim.attempt, error)

    async def _settle(self, execution: Execution, outcome: Outcome) -> None:
        context_id = execution.claim.context_id
        match outcome:
            case Done(result):
                await execution.finish(result)
            case Failed(error):
                await execution.fail(error)
            case Retry(error, delay):
                await execution.will_retry(error, delay)
                await self._store.queue.retry(context_id, self._id, delay)
                self._lease.look()
            case Waiting() as waiting:
                execution.close()
                await self._store.queue.park(context_id, self._id, waiting)
                self._lease.look()
            case Lost():
                raise LostSignal

    def _count_waiting(self, change: int) -> None:
        self._waiting += change
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


async def _call(task: TaskDefinition[Any], execution: Execution) -> object:
    arguments = task.arguments(execution.claim.params)
    async with asyncio.timeout(task.options.timeout):
        if task.is_async:
            value = await cast("Awaitable[Any]", task.function(Task(execution), **arguments))
        else:
            value = await execution.loop.run_in_executor(
                execution.threads, lambda: task.function(SyncTask(execution), **arguments)
            )
    return task.encode_result(value)
