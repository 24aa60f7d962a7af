"""`dama worker`: execute what is queued, until it is told to stop. `dama up` does it too."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import click

from dama.cli.group import examples
from dama.cli.log_level import LOG_LEVEL, LOG_LEVEL_HELP, level_number
from dama.cli.terminal import echo
from dama.counts import number_of
from dama.errors import UsageError
from dama.signals import on_signals
from dama.telemetry import configure_log

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from dama.app import App
    from dama.cli.environments import Pages
    from dama.cli.session import Session
    from dama.gateway.settings import GatewaySettings
    from dama.launchers.launcher import LauncherSettings
    from dama.worker.offer import Asked
    from dama.worker.worker import Worker

STOPPED_AT_ONCE = 130


def _seconds(_ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    from dama.config.duration import parse_duration

    name = str(param.name).replace("_", "-")
    return None if value is None else parse_duration(value, of=f"--{name}")


OPTIONS = (
    click.option(
        "--queue",
        "queues",
        multiple=True,
        metavar="NAME",
        help="Claim from this queue only; by default from those of its tasks.",
    ),
    click.option(
        "--slots", type=click.IntRange(1, 1000), default=16, show_default=True, help="Runs at once."
    ),
    click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="NAME",
        help="A label to offer to runs that need it, such as gpu.",
    ),
    click.option(
        "--launch",
        "launch",
        multiple=True,
        metavar="NAME",
        help="Give the runs that ask for this launcher to its engine, and look after them.",
    ),
    click.option(
        "--release",
        metavar="NAME",
        help="The release of its code, such as 2026-11-24: a run that it begins continues with a "
        "worker of this release, while one lives.",
    ),
    click.option(
        "--grace",
        type=click.FloatRange(0),
        default=30.0,
        show_default=True,
        help="Seconds for runs to end when it is told to stop; then they are queued again.",
    ),
    click.option("--until-idle", is_flag=True, help="End when nothing is left to do."),
    click.option(
        "--idle-for",
        metavar="DURATION",
        callback=_seconds,
        help="End after having nothing to do for this long, such as 10m.",
    ),
    click.option(
        "--time-limit",
        metavar="DURATION",
        callback=_seconds,
        help="End so long after the start, and claim nothing that may take longer than is left. "
        "Within a Slurm job, the default is the time that the job has left.",
    ),
    click.option("--quiet", is_flag=True, help="Print only what goes wrong."),
    click.option("--log-level", type=LOG_LEVEL, help=LOG_LEVEL_HELP),
)


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker is asked for.

    Attributes:
        queues: What it claims from; none for those of its tasks.
        slots: How many runs it executes at once.
        labels: What it offers to runs that need it.
        grace: Seconds that runs have to end when it is told to stop.
        until_idle: It ends when nothing is left to do.
        idle_for: It ends when nothing was left to do for so many seconds; None for never.
        time_limit: How many seconds it may work; None for no limit.
        quiet: It says only what is wrong.
        log_level: What it and its tasks log, from this one on.
        launch: The launchers that it looks after.
        release: The release of its code; None for none.
    """

    queues: tuple[str, ...]
    slots: int
    labels: tuple[str, ...]
    grace: float
    until_idle: bool
    quiet: bool
    idle_for: float | None = None
    time_limit: float | None = None
    log_level: str | None = None
    launch: tuple[str, ...] = ()
    release: str | None = None


def worker_options(command: Callable[..., int]) -> Callable[..., int]:
    """Give a command the options of a worker."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command(
    epilog=examples(
        "dama worker",
        "dama worker --queue etl --queue reports --slots 4",
        "dama worker --until-idle",
        "dama worker --label slurm --idle-for 10m",
        "dama worker --release 2026-11-24",
    )
)
@worker_options
@click.pass_obj
def worker(session: Session, /, **chosen: Any) -> int:
    """Execute queued runs of the tasks of this project, any number of workers side by side.

    It prints a line when a run starts and one when it ends, as JSON with DAMA_LOG=json.

    SIGTERM, SIGHUP and Ctrl-C let it claim no more and end when its runs have; a second one ends
    it at once. What is not done then is queued again and continues with another worker.

    With [environments] in the settings file it works in all of them, with that many slots in
    each, unless --pg-env chooses one.
    """
    options = WorkerOptions(**chosen)
    session.tell_unfit()
    if sessions := session.environments():
        return asyncio.run(work_in_each(sessions, options))
    launches = launched(session, options)

    def say(app: App) -> None:
        name = session.config().environment
        on = f" for the environment {name}" if name else ""
        echo(f"A {worker_text(app, options)} runs{on}.", err=True)

    async def work() -> int:
        async with session.app(with_services=True) as app:
            if session.is_in_cluster:
                await app.broker()  # others may call its actions
            return await work_until_told(app, options, say, launches=launches)

    return asyncio.run(work())


async def work_in_each(
    sessions: Sequence[Session],
    options: WorkerOptions,
    settings: GatewaySettings | None = None,
    pages: Callable[[Session], Pages] | None = None,
    *,
    migrate: bool = False,
) -> int:
    """Work in several environments, and serve them over HTTP; returns the exit code.

    Args:
        sessions: One for each.
        options: What each worker is asked for.
        settings: How HTTP is served; None for not at all.
        pages: Makes the pages of an environment.
        migrate: Migrate the databases first.
    """
    from dama.cli.environments import Serving

    configure_log(quiet=options.quiet)
    stop = signals()

    async def work(session: Session, app: App) -> int:
        name = session.config().environment

        def say(app: App) -> None:
            echo(f"A {worker_text(app, options)} runs for the environment {name}.", err=True)

        launches = launched(session, options)
        return await work_until_told(app, options, say, stop, launches=launches)

    ends = options.until_idle or options.idle_for is not None
    serving = Serving(stop[0], work, settings, pages, migrate=migrate, ends=ends)
    return await serving.serve(sessions)


def launched(session: Session, options: WorkerOptions) -> list[LauncherSettings]:
    """The launchers that a worker looks after.

    Raises:
        UnknownLauncherError: There is none of a name.
        UsageError: The nodes of an engine could not reach the database.
    """
    from dama.launchers.settings import find_launcher

    if options.launch and session.embedded():
        raise UsageError(
            "The embedded database cannot be reached from another machine.",
            "Configure one that can: DAMA_DATABASE_URL=postgresql://host/database.",
        )
    return [find_launcher(session.config(), name) for name in options.launch]


def worker_text(app: App, options: WorkerOptions) -> str:
    """The worker in words, without an article."""
    count = len(app.registry.tasks)
    return f"worker for {number_of(count, 'task')} with {number_of(options.slots, 'slot')}"


async def work_until_told(
    app: App,
    options: WorkerOptions,
    say: Callable[[App], object],
    stop: tuple[asyncio.Event, asyncio.Event] | None = None,
    **more: Unpack[Asked],
) -> int:
    """Work until a signal comes, or nothing is left to do; returns the exit code.

    Args:
        app: Where.
        options: What the worker is asked for.
        say: Called when the worker runs.
        stop: What is set when it is told to stop, and once more; by default signals do.
        **more: What it is asked for besides.
    """
    from dama.launchers.in_job import time_left
    from dama.programs.launch import raise_soft_limit
    from dama.programs.run_log import log_to_runs

    configure_log(quiet=options.quiet)
    log_to_runs(level_number(options.log_level))
    raise_soft_limit()
    told, again = stop or signals()
    seconds = options.time_limit
    if seconds is None:
        seconds = await asyncio.to_thread(time_left, os.environ)
    asked: Asked = {"queues": options.queues or None, "slots": options.slots}
    asked |= {"labels": options.labels, "release": options.release, "seconds": seconds, **more}
    async with app.working(**asked) as running:
        if not options.quiet:
            say(app)
        late = asyncio.create_task(running.out_of_time())
        idle_for = 0.0 if options.until_idle else options.idle_for
        idle = [] if idle_for is None else [running.idle(idle_for)]
        await _first(told.wait(), asyncio.wait([late]), *idle)
        is_late = late.done()
        late.cancel()
        if not told.is_set() and not is_late:
            return 0
        return await _stopped(running, options, again)


async def _stopped(running: Worker, options: WorkerOptions, again: asyncio.Event) -> int:
    if not options.quiet:
        grace = f"runs have {options.grace:g} s to end"
        echo(f"Told to stop: {grace}; once more ends at once.", err=True)
    await _first(running.drain(options.grace), again.wait())
    return STOPPED_AT_ONCE if again.is_set() else 0


def signals() -> tuple[asyncio.Event, asyncio.Event]:
    """Set by the first signal that tells to stop, and by the second."""
    told, again = asyncio.Event(), asyncio.Event()

    def tell() -> None:
        (again if told.is_set() else told).set()

    on_signals((signal.SIGTERM, signal.SIGINT, signal.SIGHUP), tell)
    return told, again


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    _, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in late:
        task.cancel()
