"""Running a task in a test: on a real database, by a real worker, in lives that may end anywhere.

A life is a worker in this process. It ends when the run has ended, when the test lets the process
die after an event, or when nothing is left but to wait: then the next signal is sent, or time moves
to what is due next, and another life begins. A death is that of a kill: what the function asked for
after the event is never done, and the next life replays.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic

from typing_extensions import TypeVar, override

from dama import clock
from dama.app import App
from dama.config.config import load_config
from dama.config.duration import Duration, parse_duration
from dama.definitions.broken import BrokenModule
from dama.definitions.errors import BrokenTaskError
from dama.definitions.registry import Registry
from dama.definitions.service import Service
from dama.definitions.task import task_of
from dama.domain.lifecycle import step_key
from dama.errors import DamaError
from dama.operations import contexts, tasks
from dama.run.rehearsal import Rehearsal, rehearsal
from dama.shapes import as_object
from dama.store import trial
from dama.testing import databases
from dama.testing.arguments import Deaths, Signals, deaths_of, signals_of, stubs_of
from dama.testing.ran import Ran
from dama.testing.unmet import refuse_unmet
from dama.worker.offer import ALL_LABELS
from dama.worker.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from dama.definitions.task import TaskDefinition
    from dama.store import ContextRow

R = TypeVar("R")

LOOK_SECONDS = 0.005
LOOKS = 3  # in which nothing may have changed before a run is idle
IDLE = ("waiting", "retrying", "delayed", "blocked")


class StuckError(DamaError):
    """A run in a test neither ends nor waits."""

    code = "STUCK"


def run(  # noqa: PLR0913 - what a test may want of a run
    task: TaskDefinition[R, ..., Any],
    params: Mapping[str, Any] | None = None,
    *,
    stub: Mapping[str, Callable[..., Any]] | None = None,
    crash_after: Deaths = (),
    signals: Signals = (),
    advance: Duration = 0,
    database: str | None = None,
    timeout: Duration = 30.0,
) -> Ran[R]:
    """Run a task until it ends, or waits for what the test has not given.

    It may be called with a loop running or without; the run has a loop of its own.

    Args:
        task: What to run; its subtasks may be of any service of this process.
        params: What it takes.
        stub: What is called instead, by the name of a step, of a task (its params are given by
            name) or of an action (its params are given). `*` stands for anything.
        crash_after: Events after which the process dies and another continues: `"store 2"` or
            `"store 2:DONE"` of a step, `"STARTED"`, the type of an event, or a number for the
            n-th event that is written, if there is one. Several are met one after the other.
        signals: Events for what it waits for, sent one after the other when it waits.
        advance: How much time may pass while it waits, at most: seconds, a string such as "3d",
            or a timedelta. Delays of retries pass by themselves.
        database: Its URL; by default one that all tests of the process share.
        timeout: Real time, after which it is stuck.

    Raises:
        AssertionError: It never met what the test has given: no event of a name in `crash_after`
            was written, a stub stood in for nothing, or nothing waited for a signal.
        UsageError: The task is none, or an argument cannot be what it should be.
        StuckError: It neither ended nor waited in that time.
    """
    play = Play(
        task_of(task),
        {} if params is None else params,
        Rehearsal(stubs_of({} if stub is None else stub), deaths_of(crash_after)),
        signals_of(signals),
        timedelta(seconds=parse_duration(advance, of="advance")),
    )
    url = database or databases.shared()
    return databases.thread().answer(play.perform(url, parse_duration(timeout, of="timeout")))


def run_through_crashes(
    task: TaskDefinition[R, ..., Any],
    params: Mapping[str, Any] | None = None,
    **options: Any,
) -> Ran[R]:
    """Run a task once undisturbed, then once for each of its events, dying after that event.

    Args:
        task: What to run.
        params: What it takes.
        **options: As for `run`.

    Returns:
        The undisturbed run.

    Raises:
        AssertionError: A run that died had another end; the event is named.
    """
    undisturbed = run(task, params, **options)
    written = sum(row.version - 1 for row in undisturbed.tree)  # without the INITIAL
    for number in range(1, written):
        died = run(task, params, crash_after=number, **options)
        ends = [(each.status, each.events[-1].payload) for each in (undisturbed, died)]
        if ends[0] != ends[1]:
            raise AssertionError(
                f"{task.name} ends as {ends[0]}; killed after its {number}. event as {ends[1]}.\n"
                f"Undisturbed: {', '.join(undisturbed.names)}\nKilled: {', '.join(died.names)}"
            )
    return undisturbed


class Play(Generic[R]):
    """One run of a test."""

    def __init__(
        self,
        task: TaskDefinition[R, ..., Any],
        params: Mapping[str, Any],
        rehearsal: Rehearsal,
        signals: list[tuple[str, Any]],
        advance: timedelta,
    ) -> None:
        self._task = task
        self._params = params
        self._rehearsal = rehearsal
        self._signals = signals
        self._advance = advance
        self._deaths = 0

    async def perform(self, url: str, timeout: float) -> Ran[R]:
        """Live until it has ended or waits; see `run`."""
        deadline = clock.monotonic() + timeout
        rehearsal.set(self._rehearsal)  # of this task of the loop, and of what it begins
        async with databases.opened(url) as store:
            app = App(store, registry_of(self._task), databases.home())
            context_id = await tasks.start(app, self._task, self._params)
            await self._to_its_end(app, context_id, deadline)
            tree = await contexts.tree(app, context_id)
            clean_ups: list[ContextRow] = []
            for clean_up in await clean_ups_of(app, tree):
                await self._to_its_end(app, clean_up, deadline)
                clean_ups += await contexts.tree(app, clean_up)
            events = [e async for e in contexts.follow(app, context_id, wait=False)]
        status = next(row.status for row in tree if row.context_id == context_id) or "OPEN"
        calls = self._rehearsal.calls
        ran = Ran(context_id, self._task, status, events, tree, clean_ups, calls, self._deaths)
        refuse_unmet(ran, self._rehearsal, self._signals, app.registry)
        return ran

    async def _to_its_end(self, app: App, context_id: int, deadline: float) -> None:
        while await self._live(app, context_id, deadline):
            await self._between(app, context_id)

    async def _live(self, app: App, context_id: int, deadline: float) -> bool:
        """One life of the process; whether there is another one."""
        self._rehearsal.dying.clear()
        worker = Worker(
            app.store,
            app.registry,
            park_after=0.0,
            home=app.home,
            root=context_id,
            labels=[ALL_LABELS],
        )
        async with worker.working():
            worker.look()
            while not await self._is_over(app, context_id, deadline):
                waiting = await self._waits(app, context_id)
                is_due = await self._due(app, context_id) is not None
                if not self._signals or (is_due and waiting is None):
                    return is_due
                type_, payload = self._signals.pop(0)
                event = {"type": type_, "payload": payload}
                await contexts.dispatch(app, waiting or context_id, event)
        return self._rehearsal.dying.is_set()

    async def _waits(self, app: App, context_id: int) -> int | None:
        """The context of the tree that waits for the next signal; None when none does yet."""
        if not self._signals:
            return None
        waits: dict[str, int] = {}
        sent = self._signals[0][0]
        async for event in contexts.follow(app, context_id, tree=True, wait=False):
            step, kind = step_key(event.type) or ("", "")
            types = step.partition("#")[0].rpartition("wait:")[2].split("|")
            if kind == "WAITING" and sent in types:
                waits[f"{event.context_id}/{step}"] = event.context_id
            elif kind == "DONE":
                waits.pop(f"{event.context_id}/{step}", None)
        return next(iter(waits.values()), None)

    async def _due(self, app: App, context_id: int) -> tuple[timedelta, bool] | None:
        """How much time is to pass until something is due, and whether that is a retry.

        None when there is nothing, or more is to pass than may.
        """
        due = await trial.next_due(app.store.database.conninfo, context_id)
        if due is None:
            return None
        left, is_retry = max(due[0], timedelta(0)), due[1] == "retrying"
        return (left, is_retry) if is_retry or left <= self._advance else None

    async def _is_over(self, app: App, context_id: int, deadline: float) -> bool:
        """Look until the run has ended or the process dies (true), or until it waits (false)."""
        same, before = 0, None
        while same < LOOKS:
            if self._rehearsal.dying.is_set():
                return True
            rows = await contexts.tree(app, context_id)
            left = [row for row in rows if row.status in {None, "OPEN"}]
            if not left:
                return True
            if clock.monotonic() > deadline:
                await self._stuck(app, context_id)
            now = [(row.context_id, row.version, row.run and row.run.state) for row in rows]
            time = await app.store.now()
            is_idle = now == before and all(_is_idle(row, time) for row in left)
            same = same + 1 if is_idle else 0
            before = now
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _between(self, app: App, context_id: int) -> None:
        """What happens between two lives: a death, or time passes."""
        if self._rehearsal.dying.is_set():
            self._deaths += 1
        elif due := await self._due(app, context_id):
            left, is_retry = due
            await trial.move_time(app.store.database.conninfo, left)
            self._advance -= timedelta(0) if is_retry else left

    async def _stuck(self, app: App, context_id: int) -> None:
        why = "; ".join(str(reason) for reason in await contexts.why(app, context_id))
        raise StuckError(f"{self._task.name} neither ends nor waits: {why}.")


def _is_idle(row: ContextRow, now: datetime) -> bool:
    """Whether only time or a signal can let a run continue, and the time is not over."""
    if row.run is None:
        return True
    return row.run.state in IDLE and (row.run.due_at is None or row.run.due_at > now)


async def clean_ups_of(app: App, tree: Sequence[ContextRow]) -> list[int]:
    """The contexts that clean up after those of a tree, in the order of their starts."""
    ended = {row.context_id for row in tree}
    options = [app.registry.task(row.task).options for row in tree if row.task]
    named = [task for each in options for task in (each.on_failure, each.on_cancel) if task]
    found: set[int] = set()
    for name in {task.name for task in named}:
        for row in await app.store.contexts(task=name):
            first = await app.store.events(row.context_id, limit=1)
            if as_object(first[0].meta).get("cleans_up") in ended:
                found.add(row.context_id)
    return sorted(found)


def registry_of(task: TaskDefinition[Any]) -> Registry:
    """The services of this process, and the programs that the settings of its folder declare.

    Of several services with one name it is that of the task, else the latest.

    Raises:
        InvalidDefinitionError: The declaration of a program cannot be used.
    """
    services = {service.name: service for service in Service.made()}
    for service in Service.made():
        if task in service.tasks.values():
            services[service.name] = service
    registry = Registry(services.values())
    try:
        config = load_config()
    except DamaError as error:  # a test that needs none of them runs without
        registry.broken["the settings"] = _UnreadSettings("the settings", error)
        return registry
    known = registry.tasks
    new = {name: values for name, values in config.programs.items() if name not in known}
    registry.add_programs(new, config.source, config.project)
    registry.let_inherit(config.inherit, config.source)
    return registry


class _UnreadSettings(BrokenModule):
    """Settings that cannot be read: any task that is not known may be a program of theirs."""

    @override
    def refuse(self, task: str) -> None:
        raise BrokenTaskError(
            f"There is no task {task!r}, and the settings that may declare it cannot be read: "
            f"{self.error.message}"
        )
