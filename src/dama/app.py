"""The composition root: the only place where configuration, store, registry and worker meet."""

from __future__ import annotations

import asyncio
import getpass
import os
import platform
import stat
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from shutil import disk_usage
from typing import TYPE_CHECKING, Any, Unpack

from dama import clock
from dama.config.config import Config, EmbeddedDatabase, home_of, load_config
from dama.definitions.registry import Registry
from dama.domain.lifecycle import lifecycle
from dama.domain.schedule import firings_between
from dama.domain.slice import find_slice
from dama.duty import Duty, on_duty
from dama.embedded import EmbeddedPostgres
from dama.programs.adoption import stop_bound_elsewhere
from dama.programs.process import place_of, process_start
from dama.programs.programs import directories_of
from dama.run.broker_source import BrokerSource, no_broker
from dama.run.commands import Commands
from dama.run.errors import NoLogsError
from dama.run.starts import Wishes, start_of
from dama.store import Outcome, Store, schema
from dama.store.conninfo import check_conninfo
from dama.store.errors import LifeCycleError, UnknownContextError
from dama.store.health import read_health
from dama.upkeep.cleaning import Cleaned, Keep, clean, read_keep
from dama.upkeep.doctor import Facts, Finding, examine
from dama.upkeep.host import adrift, kill_mode, units_of
from dama.upkeep.why import Reason, reasons
from dama.worker.scheduler import start_at
from dama.worker.worker import SLOTS, Worker

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
    from pathlib import Path

    from dama.definitions.service import TaskDefinition
    from dama.domain.event import StoredEvent
    from dama.domain.schedule import Schedule
    from dama.programs.run_directory import RunDirectory

FOLLOW_SECONDS = 0.1
START_BATCH = 1000
LOOK_SECONDS = 2.0


class App:
    """dama, opened on one database.

    Attributes:
        store: Its contexts and events.
        registry: The services of this process.
        home: The folder of dama's files.
        keep: How long things stay on this host.
        broker: Gives what calls actions, once `dama.shipped` has put it there.
        gateway_url: Where programs reach the gateway; None when they are not told.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        home: Path | None = None,
        keep: Keep = Keep(),  # noqa: B008 - it is frozen
    ) -> None:
        self.keep = keep
        self.broker: BrokerSource = no_broker
        self.gateway_url: str | None = None
        self.store = store
        self.registry = registry
        self.home = home or home_of(os.environ)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: Config, registry: Registry) -> AsyncGenerator[App]:
        """Open the database that the configuration names; the embedded one is started and migrated.

        Raises:
            UnavailableError: It can not be used; the message says why.
        """
        keep = read_keep(config.keep, config.source)
        conninfo = await _conninfo(config)
        async with on_duty(*_duties(config)), Store.opened(conninfo) as store:
            app = cls(store, registry, config.home, keep)
            url = config.gateway.get("url")
            app.gateway_url = url if isinstance(url, str) else None
            yield app

    async def start(
        self,
        name: str,
        params: Mapping[str, Any],
        *,
        key: str | None = None,
        by: Mapping[str, Any] | None = None,
        undeclared: bool = False,
        **wishes: Unpack[Wishes],
    ) -> int:
        """Queue a task; gives its context.

        Args:
            name: The full name, such as `flights.load`.
            params: What it takes.
            key: A second start with the same key gives the first context.
            by: Who starts it; by default the user of this process.
            undeclared: It may be a command that nobody declared: by right of this process's user.
            **wishes: Another queue, a delay: see `Wishes`.

        Raises:
            UnknownTaskError: The nearest names are in the hint.
            InvalidParamsError: With all problems.
            IdempotencyConflictError: The key was used with other params.
            SingletonError: Only one run of it may be open, and one is.
            UndeclaredCommandError: It is an undeclared command, and `undeclared` is not set.
        """
        commands = Commands(self.home) if undeclared else None
        task = self.registry.task(name)
        start = start_of(task, params, by or _starter(), key=key, commands=commands, **wishes)
        (context_id,) = await self.store.start([start])
        return context_id

    def working(
        self,
        *,
        root: int | None = None,
        queues: Sequence[str] | None = None,
        slots: int = SLOTS,
        labels: Sequence[str] = (),
    ) -> AbstractAsyncContextManager[Worker]:
        """A worker in this process, for one tree or for all that it knows."""
        worker = Worker(
            self.store,
            self.registry,
            root=root,
            queues=queues,
            slots=slots,
            labels=labels,
            home=self.home,
            keep=self.keep,
            broker=self.broker,
            gateway_url=self.gateway_url,
        )
        return worker.working()

    async def add_schedule(self, schedule: Schedule) -> datetime:
        """Start a task by a schedule from now on; gives the first firing.

        Raises:
            InvalidScheduleError: Its expression, its zone or a text of its params is wrong.
            UnknownTaskError: No module of this project has its task.
            InvalidParamsError: The task does not take its params.
            ScheduleExistsError: There is one of its name.
        """
        first = next(schedule.firings(await self.store.now()))
        start_at(schedule, first, self.registry)  # raises here what would pause it later
        await self.store.schedules.add(schedule, first)
        return first

    async def resume_schedule(self, name: str) -> datetime:
        """Let a paused schedule go on from now; what passed meanwhile is not made up for.

        Raises:
            UnknownScheduleError: There is none of this name.
        """
        row = await self.store.schedules.get(name)
        following = next(row.schedule.firings(await self.store.now()))
        await self.store.schedules.set(name, paused=False, next_at=following)
        return following

    async def backfill(self, name: str, begin: datetime, end: datetime) -> list[int]:
        """Start the firings of a range that have no context yet; gives the contexts of all of them.

        Raises:
            UnknownScheduleError: There is none of this name.
            InvalidScheduleError: The range has more than 10,000 firings.
        """
        schedule = (await self.store.schedules.get(name)).schedule
        each = replace(schedule, overlap="queue") if schedule.overlap == "skip" else schedule
        starts = [
            replace(start_at(each, firing, self.registry), delay=None)
            for firing in firings_between(schedule, begin, end)
        ]
        contexts: list[int] = []
        for place in range(0, len(starts), START_BATCH):
            contexts += await self.store.start(starts[place : place + START_BATCH])
        return contexts

    async def cancel(self, context_id: int, by: Mapping[str, Any] | None = None) -> list[int]:
        """Cancel a context and all below it that have not ended; gives their ids.

        Raises:
            UnknownContextError: There is none.
            LifeCycleError: It has ended already.
        """
        context = await self.store.context(context_id)
        why = "cancelled by an operator"
        cancelled = await self.store.cancel([context_id], why, by or _starter())
        if not cancelled:
            raise LifeCycleError(
                f"Context {context_id} is {context.status}; there is nothing to cancel.",
                f"`dama tree {context_id}` shows it with its subtasks.",
            )
        runs = await directories_of(self.store, self.home)
        # A worker does so, too; there may be none on this host.
        await stop_bound_elsewhere(self.store, runs, platform.node())
        return cancelled

    async def clean(self, *, dry_run: bool = False) -> Cleaned:
        """Remove what old runs have left on this host."""
        directories = await directories_of(self.store, self.home)
        return await clean(self.store, directories, self.keep, dry_run=dry_run)

    async def work_dir_of(self, context_id: int) -> Path:
        """The working folder of a context's tree on this host, which need not be there.

        Raises:
            UnknownContextError: There is no such context.
        """
        context = await self.store.context(context_id)
        directories = await directories_of(self.store, self.home)
        return directories.work(context.root_context_id)

    async def runs_of(self, context_id: int) -> list[RunDirectory]:
        """The files of the programs that a context ran on this host, the oldest run first.

        Raises:
            UnknownContextError: There is no such context.
            NoLogsError: It ran no program, or none here.
        """
        found = (await directories_of(self.store, self.home)).of_context(context_id)
        if found:
            return found
        await self.store.context(context_id)
        hosts: set[str] = set()
        async for page in self.store.pages(context_id):
            metas = [e.meta for e in page if isinstance(e.meta, Mapping)]
            hosts |= {str(meta["program_host"]) for meta in metas if "program_host" in meta}
        if {platform.node(), place_of(self.home)} & hosts:
            raise NoLogsError(
                f"The files of the program of context {context_id} were cleaned.",
                "[keep] of dama.toml says how long they stay; its events are kept.",
            )
        if hosts:
            raise NoLogsError(
                f"The program of context {context_id} ran on {', '.join(sorted(hosts))}, and its "
                f"files are there; here nothing of it is in {self.home}."
            )
        raise NoLogsError(
            f"Context {context_id} has run no program.",
            f"`dama events {context_id}` shows what it did.",
        )

    async def resume(self, context_id: int, by: Mapping[str, Any] | None = None) -> None:
        """Let a context go on: one that failed is reopened; one that was interrupted waits already.

        Raises:
            UnknownContextError: There is none.
            LifeCycleError: It is done.
            UnknownTaskError: No module of this project has its task.
        """
        context = await self.store.context(context_id)
        if context.status == "DONE":
            raise LifeCycleError(
                f"Context {context_id} is done; there is nothing to resume.",
                f"`dama show {context_id}` shows its result.",
            )
        if context.task is None:
            raise UnknownContextError(
                f"Context {context_id} has no task to resume.", "It was not started by dama."
            )
        self.registry.task(context.task)  # raises, where nobody here could run it
        if context.run is None:
            await self.store.resume(context_id, by or _starter())

    async def why(self, context_id: int) -> list[Reason]:
        """Why a run is not running: all reasons, never none.

        Raises:
            UnknownContextError: There is no such context.
        """
        context = await self.store.context(context_id)
        obstacles = await self.store.queue.obstacles(context_id)
        return reasons(context, obstacles, await self.store.queue.circle(context_id))

    async def examine(self, config: Config) -> list[Finding]:
        """Look whether the database, the queue, the workers and the log are well."""
        health = await read_health(self.store.database)  # first: the next one places events
        last = await self.store.log.position()
        subscriptions = await self.store.log.subscriptions()
        found = config.home.stat() if config.home.exists() else None
        return examine(
            Facts(
                health=health,
                log_position=last,
                now=datetime.now(UTC),
                free_disk=_free_disk(config.home),
                hints=self.store.hints.arrive,
                behind=[(row.name, max(last - row.position, 0)) for row in subscriptions],
                parked=len(await self.store.log.parked()),
                circles=await self.store.queue.circles(),
                adrift=adrift(await directories_of(self.store, self.home)),
                kill_modes=await self._kill_modes(),
                home=str(config.home),
                home_mode=stat.S_IMODE(found.st_mode) if found else 0o700,
                is_own_home=found is None or found.st_uid == os.geteuid(),
            )
        )

    async def _kill_modes(self) -> list[tuple[str, str]]:
        """The units of the workers of this host, and what systemd ends with them."""
        workers = await self.store.queue.workers_of_host(platform.node())
        units = units_of(pid for _, _, pid, started in workers if process_start(pid) == started)
        modes = [(unit.name, await asyncio.to_thread(kill_mode, unit)) for unit in units]
        return sorted((name, mode) for name, mode in modes if mode is not None)

    async def follow(self, context_id: int, *, tree: bool = False) -> AsyncGenerator[StoredEvent]:
        """All events of a context or of a tree, from the first, until the context has ended."""
        seen: dict[int, int] = {}
        while True:
            # Asked before the events: what is read afterwards holds the end.
            ended = await self._has_ended(context_id)
            for event in await self._news(context_id, seen, tree=tree):
                seen[event.context_id] = event.version
                yield event
            if ended:
                return
            await clock.sleep(FOLLOW_SECONDS)

    async def outcome(self, context_id: int) -> Outcome:
        """How a context has ended; its status is OPEN when it has not."""
        while (found := (await self.store.outcomes([context_id])).get(context_id)) is None:
            status = (await self.store.context(context_id)).status
            if status in (None, "OPEN"):  # else it has ended between the two
                return Outcome(status)
        return found

    async def state(self, context_id: int, slice_name: str, at: int | None = None) -> object:
        """The state of a context in a slice, after an event or after the latest.

        Raises:
            UnknownContextError: There is no such context.
            UnknownSliceError: No module defines the slice.
        """
        await self.store.context(context_id)
        slice_ = lifecycle if slice_name == lifecycle.name else find_slice(slice_name)
        return await self.store.state(context_id, slice_, at)

    async def _has_ended(self, context_id: int) -> bool:
        context = await self.store.context(context_id)
        return context.status is not None and context.status != "OPEN"

    async def _news(
        self, context_id: int, seen: Mapping[int, int], *, tree: bool
    ) -> list[StoredEvent]:
        if tree:
            return await self.store.tree_events(context_id, seen)
        return await self.store.events(context_id, after_version=seen.get(context_id, 0))


async def start_many(
    task: TaskDefinition[Any],
    params: Iterable[Mapping[str, Any]],
    *,
    key: Callable[[Mapping[str, Any]], str] | None = None,
    **wishes: Unpack[Wishes],
) -> list[int]:
    """Queue a task once for each of any number of params; gives their contexts in that order.

    The database is the one that `dama` uses in the current folder.

    Each thousand is queued in a transaction of its own: what came before an error stays queued.
    Give a key, and the whole call can be repeated.

    Args:
        task: What to run.
        params: What it takes, each time.
        key: Makes an idempotency key of the params.
        **wishes: For each of them: see `Wishes`.

    Raises:
        InvalidParamsError: Of those in the thousand at hand, which is not queued.
        IdempotencyConflictError: A key was used with other params.
        SingletonError: Only one run of it may be open, and one is.
    """
    contexts: list[int] = []
    rest = iter(params)
    async with App.open(load_config(), Registry()) as app:
        while batch := list(islice(rest, START_BATCH)):
            starts = [
                start_of(task, each, _starter(), key=key(each) if key else None, **wishes)
                for each in batch
            ]
            contexts += await app.store.start(starts)
    return contexts


def _free_disk(folder: Path) -> int:
    while not folder.exists():  # it is made when something is put there
        folder = folder.parent
    return disk_usage(folder).free


def _starter() -> dict[str, Any]:
    return {"user": getpass.getuser()}


def _duties(config: Config) -> list[Duty]:
    """What an embedded database needs for as long as somebody may connect to it again."""
    if not isinstance(config.database, EmbeddedDatabase):
        return []
    server = EmbeddedPostgres(config.home)

    async def keep_reachable() -> None:
        while True:
            await clock.sleep(LOOK_SECONDS)
            await asyncio.to_thread(server.keep_reachable)

    return [Duty("keeping the database reachable", keep_reachable)]


async def _conninfo(config: Config) -> str:
    if not isinstance(config.database, EmbeddedDatabase):
        check_conninfo(config.database.conninfo, config.database.source)
        return config.database.conninfo
    conninfo = await asyncio.to_thread(EmbeddedPostgres(config.home).start)
    # It belongs to nobody else, so it may follow the program.
    await schema.migrate(conninfo)
    return conninfo
