"""Placing: one worker for each launcher gives queued runs to its engine, and looks after them.

Any worker that was started for a launcher may; the lease of the one that does decides, and the next
one continues with what the database and the engine say. Nothing is held while an engine is asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from dama import clock
from dama.definitions.resources import NOTHING_ASKED
from dama.launchers.launcher import AwayError, Element, Job, Key, RefusedError, Sighting
from dama.launchers.plan import QUIET_SECONDS, Limits, Memory, plan
from dama.launchers.settings import launcher_of
from dama.launchers.verdicts import Verdict, overdue, refusal, verdict
from dama.run.secrets import secrets_of_worker
from dama.store.placements import Demand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from dama.definitions.registry import Registry
    from dama.definitions.resources import Resources
    from dama.definitions.task import TaskDefinition
    from dama.launchers.launcher import Launcher, LauncherSettings
    from dama.store import Store
    from dama.store.placements import Placed, Placement

TURN_SECONDS = 1.0
SWEEP_SECONDS = 60.0  # between two looks for jobs of which nothing is placed any more
MOST_LOSSES = 3
LOOKS_OF_PAUSE = 3  # before a run whose job was lost is placed again

_log = logging.getLogger("dama.launcher")


class Placing:
    """What a worker does for one launcher.

    Args:
        store: Where the queue is.
        registry: The tasks.
        settings: Of the launcher.
        worker_id: Returns the worker's id, as it is now.
        queues: From which it claims.
        labels: What the worker offers besides.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        settings: LauncherSettings,
        worker_id: Callable[[], int],
        queues: Sequence[str],
        labels: Sequence[str],
    ) -> None:
        self._store = store
        self._settings = settings
        self._worker_id = worker_id
        self._queues = queues
        own = [t for t in registry.tasks.values() if t.options.launcher == settings.name]
        self._resources = _resources(own)
        self._patience = {
            name: each.pending_timeout
            for name, each in self._resources.items()
            if each.pending_timeout is not None
        }
        self._offered = sorted({*labels, *(label for task in own for label in task.options.labels)})
        self._lease = timedelta(seconds=settings.lease)
        self._grace = 2 * settings.timeout  # what was asked for may be on its way so long
        self._engine: Launcher | None = None
        self._prefix = ""
        self._memory = Memory()
        self._look_at = self._looked_at = self._place_at = 0.0
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """There may be something to place."""
        self._wake.set()

    async def always(self) -> None:
        """Look after the launcher whenever no other worker does."""
        while True:
            self._wake.clear()
            if await self._store.placements.lead(self._settings.name, self._worker_id()):
                await self._turn(await self._ready())
            else:
                self._engine = None
            with suppress(TimeoutError):
                async with asyncio.timeout(TURN_SECONDS):
                    await self._wake.wait()

    async def _ready(self) -> Launcher:
        """The engine; what its jobs need is written when this worker begins to look after it."""
        if self._engine is None:
            self._prefix = await prefix_of(self._store)
            engine = launcher_of(self._settings, self._prefix)
            await engine.prepare(self._store.database.conninfo)
            self._engine = engine
            self._memory, self._look_at, self._place_at = Memory(), 0.0, 0.0
        return self._engine

    async def _turn(self, engine: Launcher) -> None:
        placements = await self._placements()
        now = clock.monotonic()
        came_back = any(each.run in ("queued", "retrying") for each in placements)
        if now >= self._look_at or (came_back and now >= self._looked_at + TURN_SECONDS):
            is_fine = await self._look(engine)
            pause = self._settings.look if placements else SWEEP_SECONDS
            self._looked_at = clock.monotonic()
            self._look_at = self._looked_at + pause
            if not is_fine:
                return
            placements = await self._placements()
        held = sum(each.run in ("placed", "running") for each in placements)
        room = min(self._settings.at_once - held, engine.group)
        if room > 0 and self._resources and now >= self._place_at:
            await self._place(engine, room)

    async def _place(self, engine: Launcher, room: int) -> None:
        placed = await self._store.placements.place(
            self._settings.name,
            self._worker_id(),
            Demand(
                self._queues,
                {name: each.given() for name, each in self._resources.items()},
                self._offered,
                room,
                self._prefix,
                grouped=engine.group > 1,
            ),
        )
        if placed:
            self._look_at = min(self._look_at, clock.monotonic() + self._settings.look)
            self._wake.set()  # there may be more
        await self._submit(engine, placed)

    async def _look(self, engine: Launcher) -> bool:
        """Compare with what the engine knows; whether it answered."""
        store, settings = self._store.placements, self._settings
        try:
            seen = await engine.look()
        except AwayError as away:
            _log.warning("%s does not answer: %s", settings.name, away)
            await store.note_trouble(settings.name, str(away))
            return False
        await store.note_trouble(settings.name, None)
        placements = await self._placements()
        times = {"now": clock.monotonic(), "grace": self._grace}
        limits = Limits(self._patience, engine.keeps, settings.look)
        todo = plan(placements, seen, self._memory, **times, limits=limits)
        await store.note(todo.note)
        for each, job in todo.judge:
            await self._judge(engine, each, job)
        for each, job in todo.overdue:
            seconds = self._patience[each.task]
            await self._unplace(each, overdue(each, job, settings.name, seconds))
        if todo.cancel:
            _log.info(
                "%s: %s jobs are cancelled that nobody wants", settings.name, len(todo.cancel)
            )
            with suppress(AwayError):  # the next look finds them again
                await engine.cancel(todo.cancel)
        await store.forget(todo.forget)
        for each in todo.submit:
            self._memory.missing.pop(Key(each.name, each.element), None)
        await self._submit(engine, todo.submit)
        return True

    async def _judge(self, engine: Launcher, each: Placement, job: Sighting) -> None:
        log = ""
        with suppress(AwayError):
            log = await engine.log(Key(each.name, each.element), job.native_id)
        secrets = secrets_of_worker(self._store.database.conninfo)
        needs = self._resources.get(each.task, NOTHING_ASKED)
        losses = await self._memory_losses([each], needs)
        more = losses.get(each.context_id, 0) < (needs.retry_memory or 0)
        said = secrets.strike(log)
        judged = verdict(each, job, self._settings.name, said, more_memory=more)
        await self._unplace(each, judged, losses=MOST_LOSSES + (needs.retry_memory or 0))

    async def _unplace(
        self, each: Placement, judged: Verdict, *, losses: int = MOST_LOSSES
    ) -> None:
        if each.run in ("queued", "retrying") and not judged.failed:
            await self._store.placements.forget([each])
            return
        is_small = (
            judged.facts["code"] == "OUT_OF_MEMORY"
        )  # a place with more need not be waited for
        is_over = await self._store.placements.unplace(
            each,
            judged.facts,
            failed=judged.failed,
            losses=losses,
            quiet=timedelta(seconds=QUIET_SECONDS),
            lease=self._lease,
            pause=timedelta(seconds=0 if is_small else LOOKS_OF_PAUSE * self._settings.look),
        )
        if is_over:
            _log.warning("context %s: %s", each.context_id, judged.facts["message"])
            self._store.hints.send()

    async def _submit(self, engine: Launcher, placed: Sequence[Placed | Placement]) -> None:
        """Ask for the jobs of some runs, each of its name, until the engine does not answer.

        The rest is asked for when the next looks do not show it, as what was not answered is. No
        more is placed until then.
        """
        names: dict[str, list[Placed | Placement]] = {}
        for each in placed:
            names.setdefault(each.name, []).append(each)
        for name, members in names.items():
            elements = [Element(m.element, m.context_id, m.epoch) for m in members]
            needs = self._resources.get(members[0].task, NOTHING_ASKED)
            losses = await self._memory_losses(members[:1], needs)
            needs = needs.after_memory_losses(losses.get(members[0].context_id, 0))
            job = Job(name, elements, needs)
            submitted: dict[tuple[int, int], str | None] = {
                (each.context_id, each.epoch): None for each in elements
            }
            try:
                ids = await engine.submit(job)
            except AwayError as away:
                _log.warning("%s has not answered to a submission: %s", self._settings.name, away)
                await self._store.placements.note_trouble(self._settings.name, str(away))
                self._place_at = clock.monotonic() + self._grace
            except RefusedError as refused:
                await self._refuse(members, str(refused))
                continue
            else:
                submitted = {(e.context_id, e.epoch): ids.get(e.element) for e in elements}
            await self._store.placements.note_submissions(submitted)
            if self._place_at > clock.monotonic():
                return

    async def _refuse(self, members: Iterable[Placed | Placement], why: str) -> None:
        epochs = {(each.context_id, each.epoch) for each in members}
        judged = refusal(self._settings.name, why)
        for each in await self._placements():
            if (each.context_id, each.epoch) in epochs:
                await self._unplace(each, judged)

    async def _memory_losses(
        self, members: Sequence[Placed | Placement], needs: Resources
    ) -> Mapping[int, int]:
        """How often the jobs of runs had too little memory: of one job as often as of another."""
        if not needs.retry_memory:
            return {}
        return await self._store.placements.memory_losses(each.context_id for each in members)

    async def _placements(self) -> list[Placement]:
        return await self._store.placements.list(self._settings.name, self._lease)


async def prefix_of(store: Store) -> str:
    """What the names of all jobs of a database begin with."""
    identity = await store.database.identity()
    return f"dama-{hashlib.sha256(identity.encode()).hexdigest()[:8]}"


def _resources(tasks: Iterable[TaskDefinition[object]]) -> Mapping[str, Resources]:
    return {name: task.options.resources for task in tasks for name in task.names}
