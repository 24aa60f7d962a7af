"""The worker: claims queued runs for its free slots and executes them.

It renews one lease for all that it holds. What it held when it died is queued again: at once by
the next worker of the same host, within seconds by any other. A run that waits for subtasks holds
no slot.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Unpack

from dama import clock
from dama.config.config import home_of
from dama.contained import contain_tasks
from dama.duty import Duty, on_duty
from dama.launchers.placing import Placing
from dama.programs.place import MARK
from dama.programs.process import in_memory
from dama.programs.programs import Programs
from dama.run.broker_source import BrokerSource, no_broker
from dama.run.subtasks import PARK_AFTER, Endings
from dama.store.renewal import Renewer
from dama.upkeep.cleaning import Keep, clean_always
from dama.worker.claiming import Claiming
from dama.worker.claims import Claims
from dama.worker.executions import Executions
from dama.worker.holding import Holding
from dama.worker.lease import LeaseKeeper
from dama.worker.membership import Membership
from dama.worker.offer import Asked, offer_of
from dama.worker.performance import Crew, Performance
from dama.worker.placed import ClaimOfPlaced
from dama.worker.scheduler import Scheduler

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Sequence
    from pathlib import Path

    from dama.definitions.registry import Registry
    from dama.store import Claim, Store
    from dama.store.queue_rows import Renewal
    from dama.worker.offer import Offer

LONGEST_SLEEP = 60.0

_log = logging.getLogger("dama.worker")


class Worker:
    """One process's share of the work.

    Args:
        store: Where the queue is.
        registry: The tasks that it knows.
        park_after: Seconds after which a run that waits for subtasks leaves memory.
        home: The folder of dama's files; that of the environment by default.
        keep: How long things stay on its host.
        broker: Returns what calls actions.
        gateway_url: Where programs reach the gateway; None when they are not told.
        **asked: See `Asked`.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        *,
        park_after: float = PARK_AFTER,
        home: Path | None = None,
        keep: Keep = Keep(),
        broker: BrokerSource = no_broker,
        gateway_url: str | None = None,
        **asked: Unpack[Asked],
    ) -> None:
        home = home or home_of(os.environ)
        self._offer = offer = offer_of(registry, home, asked)
        self._store = store
        self._members = members = Membership(store.queue, offer, home)
        self._holding = Holding(offer.slots, self._wake)
        self._claiming = Claiming(
            store.queue, _claims(store, offer), members, self._holding, self._begin, self._drop
        )
        self._programs = Programs(
            store, registry, home, members.mark, members.place, lambda: members.id, gateway_url
        )
        self._endings = Endings(store, self._wake, park_after=park_after)
        self._executions = Executions(
            store, registry, self._endings, self._programs, broker, self._holding.count_waiting
        )
        self._scheduler = Scheduler(store, registry, self._wake)
        self._placings = _placings(store, registry, offer, members)
        self._lease = self._lease_keeper()
        self._duties = self._all_duties(keep)
        self._notes: set[asyncio.Task[None]] = set()
        self._crew = self._all_hands(registry)

    @property
    def id(self) -> int:
        """Its id, as the database gave it; another one when it was presumed dead."""
        return self._members.id

    @property
    def running(self) -> list[int]:
        """The contexts whose runs it executes."""
        return self._holding.contexts()

    @asynccontextmanager
    async def working(self) -> AsyncGenerator[Worker]:
        """Work until the end of the block; what is not done then is queued again."""
        contain_tasks(asyncio.get_running_loop())
        with in_memory(MARK, self._members.mark):  # also when nothing runs, and the home is gone
            await self._members.join(self._programs)
            self._lease.start()
            try:
                async with on_duty(*self._duties):
                    yield self
            finally:
                await asyncio.to_thread(self._lease.stop)
                await self._stop()

    async def drain(self, grace: float) -> bool:
        """Claim no more, and let what runs come to its end; whether it did within the grace.

        Programs are not waited for: they continue without the worker.
        """
        self._claiming.drain()
        return await self._holding.drain(grace, besides=self._programs.followed)

    def look(self) -> None:
        """Look now for what is due, not with the next renewal of the lease."""
        self._lease.look()

    async def idle(self, seconds: float = 0.0) -> None:
        """Wait until nothing has been queued for this worker, and nothing has run, for so long."""
        await self._claiming.idle(seconds)

    async def out_of_time(self) -> None:
        """Wait until it has to end; forever where nothing says when."""
        while (left := self._offer.time_left.seconds) is None or left > 0:
            await clock.sleep(LONGEST_SLEEP if left is None else min(left, LONGEST_SLEEP))

    def _lease_keeper(self) -> LeaseKeeper:
        renewer = Renewer(
            self._store.database,
            lambda: self._members.lease_params(self._holding.contexts(), self._claiming.places()),
        )
        loop = asyncio.get_running_loop()
        return LeaseKeeper(renewer, self._learn, lambda: self._holding.begun, loop, self._note)

    def _all_hands(self, registry: Registry) -> Crew:
        members, holding = self._members, self._holding
        return Crew(
            self._store.queue,
            registry,
            self._programs,
            self._executions.make,
            lambda: members.id,
            members.name,
            members.start_meta,
            holding.count_settling,
            self._lease.look,
        )

    def _all_duties(self, keep: Keep) -> list[Duty]:
        store, programs = self._store, self._programs
        work = {
            "claiming runs": self._claiming.always,
            "hearing of changes": lambda: store.hints.listen(self._hear),
            "firing schedules": self._scheduler.fire_always,
            "ending programs that nobody wants": programs.end_always,
        }
        for settings, placing in zip(self._offer.launches, self._placings, strict=True):
            work[f"looking after the launcher {settings.name}"] = placing.always
        duties = [Duty(name, does, self._note) for name, does in work.items()]
        self._claiming.well = duties[0].well
        cleaning = Duty(
            "cleaning",
            lambda: clean_always(store, lambda: programs.directories, keep, cleaning.well),
            self._note,
            steady=None,
        )
        return [*duties, *self._exporting(), cleaning, self._lease.duty]

    def _exporting(self) -> Iterator[Duty]:
        """What sends events of OpenLineage, where they are wanted; an outage of it ends nothing."""
        exporting = self._offer.exporting
        if exporting is not None:
            duty = Duty(
                "sending events of OpenLineage",
                lambda: exporting.always(self._store, lambda _: duty.well()),
                self._note,
                steady=None,
            )
            yield duty

    def _note(self, _changed: Duty) -> None:
        self._notes.add(task := asyncio.create_task(self._members.note()))
        task.add_done_callback(self._notes.discard)

    async def _stop(self) -> None:
        await self._holding.stop()
        if self._offer.placed is not None:  # no other worker comes to the home of its job
            await self._programs.end_unwanted()
        await asyncio.gather(*self._notes, return_exceptions=True)
        self._executions.close()
        await asyncio.to_thread(self._programs.fork_server.close)
        await self._members.leave()

    def _learn(self, renewal: Renewal, begun: int) -> None:
        """What the lease keeper was told, when so many runs had begun."""
        if renewal.gone is None:
            self._start_over()
        else:
            self._drop(renewal.gone, begun)
        if renewal.work:
            self._wake()
        if renewal.next_firing is not None and renewal.next_firing <= 0:
            self._scheduler.look()

    def _hear(self) -> None:
        """Something changed in the queue: a run to claim, a subtask that ended, a cancellation."""
        self._wake()
        for placing in self._placings:
            placing.wake()
        self._endings.ended()

    def _wake(self) -> None:
        self._claiming.wake()

    def _drop(self, contexts: Sequence[int], begun: int | None = None) -> None:
        """These were cancelled or taken over since they were held."""
        self._holding.drop(contexts, begun=begun)
        if contexts:
            self._programs.look()

    def _start_over(self) -> None:
        """Others presumed this worker dead: its runs are theirs now."""
        was = self._members.id
        if self._members.register_again(self._programs):
            _log.warning("worker %s was presumed dead; its runs are left to others", was)
            self._drop(self._holding.contexts())
            self._claiming.forget()

    def _begin(self, claim: Claim) -> None:
        performance = Performance(self._crew, claim)
        self._holding.begin(claim, performance, self._perform(performance, claim))

    async def _perform(self, performance: Performance, claim: Claim) -> None:
        try:
            await performance.run()
        finally:
            self._holding.let_go(claim.context_id, performance)
            self._endings.ended(claim.context_id)
        if claim.parent_id is not None:
            with suppress(Exception):  # a hint; who needs it looks by itself, too
                self._store.hints.send()


def _placings(store: Store, registry: Registry, offer: Offer, members: Membership) -> list[Placing]:
    """What places runs elsewhere, one for each launcher."""
    return [
        Placing(store, registry, each, lambda: members.id, offer.queues, offer.labels)
        for each in offer.launches
    ]


def _claims(store: Store, offer: Offer) -> Claims | ClaimOfPlaced:
    """Where a worker looks for runs."""
    if offer.placed is not None:
        return ClaimOfPlaced(store.placements, offer.placed.context_id, offer.placed.epoch)
    return Claims(
        store.queue,
        offer.queues,
        offer.tasks,
        offer.root,
        offer.labels,
        offer.time_left.fitting,
    )
