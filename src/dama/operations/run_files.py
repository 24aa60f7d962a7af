"""Files of runs on this host, or on nodes whose folder is seen from here: logs, working folders."""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dama import clock
from dama.domain.secrets import NONE
from dama.operations import contexts
from dama.programs.environment import secrets_left
from dama.programs.log_levels import FromLevel, level_of
from dama.programs.place import JOB, place_of
from dama.programs.programs import directories_of
from dama.programs.run_directory import RunDirectories, State, state_of
from dama.programs.tail import first_byte, lines
from dama.run.errors import NoLogsError, UnknownRunError
from dama.shapes import is_object
from dama.upkeep.cleaning import clean as clean_host

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from pathlib import Path

    from dama.app import App
    from dama.programs.run_directory import RunDirectory
    from dama.upkeep.cleaning import Cleaned
    from dama.upkeep.why import Reason

OF_JOBS = "A job has a home in FILES/jobs of its launcher; it is found where that folder is seen."


async def clean(app: App, *, dry_run: bool = False) -> Cleaned:
    """Remove what old runs have left on this host."""
    directories = await directories_of(app.store, app.home)
    return await clean_host(app.store, directories, app.keep, dry_run=dry_run)


async def work_dir_of(app: App, context_id: int) -> Path:
    """The working folder of a context's tree on this host, which need not be there.

    Raises:
        UnknownContextError: There is no such context.
    """
    context = await app.store.context(context_id)
    directories = await directories_of(app.store, app.home)
    return directories.work(context.root_context_id)


async def lines_of(app: App, context_id: int, level: str | None = None) -> AsyncGenerator[str]:
    """What a context has logged, then what its latest program printed, if that ran on this host.

    Args:
        app: Where to look.
        context_id: Its context.
        level: Only lines from this one on, such as "warning"; what has no level is given.

    Raises:
        UnknownContextError: There is no such context.
        UsageError: There is no such level.
    """
    least = None if level is None else level_of(level)
    context = await app.store.context(context_id)
    async for page in app.store.pages(context_id):
        for event in page:
            if event.type == f"{context.task}:LOG" and is_object(event.payload):
                named = str(event.payload.get("level", "info"))
                if least is None or level_of(named, logging.INFO) >= least:
                    yield str(event.payload.get("message", ""))
    runs = await _runs_seen(app, context_id)
    secrets = secrets_left(runs[-1]) if runs else NONE
    for path in (runs[-1].stdout, runs[-1].stderr) if runs else ():
        levels = FromLevel(least)
        for line in lines(path, secrets):
            if levels.shows(line):
                yield line


async def runs_of(app: App, context_id: int) -> list[RunDirectory]:
    """The files of the programs that a context ran on this host, the oldest run first.

    Those of batch jobs are among them where their folder is seen from here.

    Raises:
        UnknownContextError: There is no such context.
        NoLogsError: It ran no program, or none here.
    """
    found = await _runs_seen(app, context_id)
    if found:
        return found
    await app.store.context(context_id)
    hosts = await _hosts_of(app, context_id)
    if {platform.node(), place_of(app.home)} & set(hosts):
        raise NoLogsError(
            f"The files of the program of context {context_id} were cleaned.",
            "[keep] of dama.toml says how long they stay; its events are kept.",
        )
    if hosts:
        raise _elsewhere(app, context_id, hosts)
    raise NoLogsError(
        f"Context {context_id} has run no program, and has logged nothing on this host.",
        f"`dama events {context_id}` shows what it did.",
    )


def _elsewhere(app: App, context_id: int, hosts: Iterable[str]) -> NoLogsError:
    return NoLogsError(
        f"The program of context {context_id} ran on {', '.join(sorted(hosts))}, and its "
        f"files are there; here nothing of it is in {app.home}.",
        OF_JOBS if any(host.startswith(JOB) for host in hosts) else None,
    )


async def _hosts_of(app: App, context_id: int, after_version: int = 0) -> list[str]:
    """Where the programs of a context ran, the latest last."""
    hosts: list[str] = []
    async for page in app.store.pages(context_id, after_version=after_version):
        metas = [e.meta for e in page if isinstance(e.meta, Mapping)]
        hosts += [str(meta["program_host"]) for meta in metas if "program_host" in meta]
    return hosts


async def begun_run_of(
    app: App, context_id: int, tell: Callable[[Sequence[Reason]], None]
) -> RunDirectory:
    """The files of the last run, which are waited for as long as it may still log something here.

    Args:
        app: Where to look.
        context_id: Whose.
        tell: Receives once why it is not running, when it is waited for.

    Raises:
        UnknownContextError: There is no such context.
        NoLogsError: It has ended without a log here, or its program runs elsewhere.
    """
    here, version, is_told = {platform.node(), place_of(app.home)}, 0, False
    while True:
        context = await app.store.context(context_id)  # first: what comes later is seen below
        runs = await _runs_seen(app, context_id)
        if context.run is None or (runs and _has_begun(runs[-1])):
            return await run_of(app, context_id)
        if context.version > version and context.run.state != "queued":
            hosts = await _hosts_of(app, context_id, version)
            version = context.version
            if not runs and hosts and hosts[-1] not in here:
                raise _elsewhere(app, context_id, hosts[-1:])
        if not is_told:
            tell(await contexts.why(app, context_id))
            is_told = True
        await clock.sleep(contexts.FOLLOW_SECONDS)


def _has_begun(run: RunDirectory) -> bool:
    """Whether the files of a run are there and somebody holds it, or did."""
    return run.stdout.exists() and state_of(run) is not State.UNSTARTED


def is_going_on_here(run: RunDirectory) -> bool:
    """Whether a run on this machine may still print."""
    return state_of(run).value in ("held", "unsupervised")


async def is_going_on(app: App, run: RunDirectory) -> bool:
    """Whether a run on another machine may still print: its files and the database say it."""
    if is_going_on_here(run):
        return True
    if run.exit() is not None or run.outcome() is not None:
        return False
    return await app.store.tokens.is_running(run.context_id, run.epoch)


async def _runs_seen(app: App, context_id: int) -> list[RunDirectory]:
    """The files of a context's runs in this home, and in the homes of batch jobs."""
    own = await directories_of(app.store, app.home)
    found = await asyncio.to_thread(_runs_in, app.jobs, own, context_id)
    return sorted([*own.of_context(context_id), *found], key=lambda run: run.epoch)


def _runs_in(jobs: Iterable[Path], own: RunDirectories, context_id: int) -> list[RunDirectory]:
    return [
        run
        for folder in jobs
        for runs in folder.glob(f"*/runs/{own.path.name}/{context_id}")
        for run in RunDirectories(runs.parent).of_context(context_id)
    ]


@dataclass(frozen=True)
class LogFile:
    """A log of a program.

    Attributes:
        path: On its host.
        bytes: How many it has had; the first of them may be gone. 0 where it cannot be read.
        first_byte: The place of the first that is there.
    """

    path: str
    bytes: int
    first_byte: int


@dataclass(frozen=True)
class RunLogs:
    """What a run of a program has printed.

    Attributes:
        run: Its epoch.
        state: What its program does; "unknown" where that cannot be seen now.
        exit: How it ended; None as long as it has not.
        stdout: Its standard output.
        stderr: Its standard error.
    """

    run: int
    state: str
    exit: object
    stdout: LogFile
    stderr: LogFile


async def logs_of(app: App, context_id: int) -> list[RunLogs]:
    """The logs of the programs that a context ran on this host, the oldest run first.

    Raises:
        UnknownContextError: There is no such context.
        NoLogsError: It ran no program, or none here.
    """
    runs = await runs_of(app, context_id)
    return [
        RunLogs(run.epoch, *_state_and_exit(run), _file(run.stdout), _file(run.stderr))
        for run in runs
    ]


async def run_of(app: App, context_id: int, epoch: int | None = None) -> RunDirectory:
    """The files of one of the runs; by default of the last.

    Raises:
        UnknownContextError: There is no such context.
        NoLogsError: It ran no program, or none here.
        UnknownRunError: None of its runs here has this epoch.
    """
    runs = await runs_of(app, context_id)
    if epoch is None:
        return runs[-1]
    for run in runs:
        if run.epoch == epoch:
            return run
    known = ", ".join(str(run.epoch) for run in runs)
    raise UnknownRunError(f"Context {context_id} has no run {epoch}.", f"It has {known}.")


def _state_and_exit(run: RunDirectory) -> tuple[str, object]:
    try:
        return run.state().value, run.exit()
    except OSError:  # it cannot be seen now
        return "unknown", None


def _file(path: Path) -> LogFile:
    with suppress(OSError):
        return LogFile(str(path), path.stat().st_size, first_byte(path))
    return LogFile(str(path), 0, 0)
