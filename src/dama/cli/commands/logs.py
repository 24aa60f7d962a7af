"""`dama logs`: what a task logged and a program printed, from the files of its run on this host."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.log_level import LEAST_LEVEL_HELP, LOG_LEVEL, level_number
from dama.cli.numbers import ID
from dama.cli.output import print_json
from dama.cli.terminal import echo, echo_line, echo_log
from dama.programs.log_levels import FromLevel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dama.cli.session import Session
    from dama.operations.run_files import RunLogs
    from dama.programs.run_directory import RunDirectory
    from dama.upkeep.why import Reason

FOLLOW_SECONDS = 0.1
AFAR_SECONDS = 1.0  # between two looks at a run on another machine


def _byte_range(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[int, int | None] | None:
    """FROM:TO, each of which may be missing."""
    if value is None:
        return None
    begin, colon, end = value.partition(":")
    if not colon or not all(part.isdecimal() or not part for part in (begin, end)):
        raise click.BadParameter(f"{value!r} is not a range of bytes, such as 1000:2000.")
    return int(begin or 0), int(end) if end else None


@click.command(
    epilog=examples(
        "dama logs 42",
        "dama logs 42 -f --tail 20",
        "dama logs 42 --level warning",
        "dama logs 42 --stderr",
        "dama logs 42 --bytes 1000000:2000000 > part.log",
    )
)
@click.argument("context_id", metavar="CONTEXT", type=ID)
@click.option("--follow", "-f", is_flag=True, help="Wait for its log, and for more until its end.")
@click.option("--stderr", "of_stderr", is_flag=True, help="Its standard error.")
@click.option("--tail", "count", type=click.IntRange(0), metavar="N", help="The last N lines.")
@click.option("--level", type=LOG_LEVEL, help=LEAST_LEVEL_HELP)
@click.option(
    "--bytes", "part", metavar="FROM:TO", callback=_byte_range, help="A part of the file."
)
@click.option("--run", "epoch", type=ID, metavar="EPOCH", help="The log of an earlier run.")
@json_option("Print which files there are, and how large.")
@click.pass_obj
def logs(
    session: Session,
    context_id: int,
    *,
    follow: bool,
    of_stderr: bool,
    count: int | None,
    level: str | None,
    part: tuple[int, int | None] | None,
    epoch: int | None,
    as_json: bool,
) -> None:
    """Show what a task logged or a program printed; a progress bar as its last state.

    The files are on the host that ran it; of a job on a cluster in a folder that its nodes share.
    A log beyond its cap has lost its oldest part; the offsets in the rest stay the same.
    With --follow, the log of a run that has not begun is waited for.
    """
    from dama.run.errors import NoLogsError

    if part and (follow or count is not None):
        raise click.UsageError("--bytes cannot be combined with --follow or --tail.")
    if level and (part or as_json):
        raise click.UsageError("--level cannot be combined with --bytes or --json.")

    waits = follow and epoch is None and not as_json
    chosen, documents = asyncio.run(_find(session, context_id, epoch, waits=waits, all_of=as_json))
    path = chosen.stderr if of_stderr else chosen.stdout
    try:
        if as_json:
            print_json(documents)
        elif part:
            _print_bytes(chosen, path, *part)
        else:
            _print_lines(chosen, path, count, level, _watch(session, chosen, follow=follow))
    except FileNotFoundError:
        raise NoLogsError(
            f"{path} is not there any more: somebody removed it.",
            f"`dama events {context_id}` shows what the program reported.",
        ) from None


async def _find(
    session: Session, context_id: int, epoch: int | None, *, waits: bool, all_of: bool
) -> tuple[RunDirectory, list[RunLogs]]:
    """The run that is shown, and what all of them have printed where that is asked for."""
    from dama.operations import run_files

    def tell(reasons: Sequence[Reason]) -> None:
        why = " ".join(reason.text for reason in reasons)
        wait = f"Context {context_id} has no log on this host yet; waiting for it."
        echo_line(f"{wait} {why}", err=True)

    async with session.app() as app:
        if waits:
            return await run_files.begun_run_of(app, context_id, tell), []
        chosen = await run_files.run_of(app, context_id, epoch)
        return chosen, await run_files.logs_of(app, context_id) if all_of else []


def _print_bytes(run: RunDirectory, path: Path, begin: int, end: int | None) -> None:
    from dama.programs.environment import secrets_left
    from dama.programs.tail import read_range

    last = path.stat().st_size if end is None else end
    for data in read_range(path, begin, last, secrets_left(run)):
        if sys.stdout.isatty():
            echo_log(data.decode(errors="replace"), nl=False)
        else:
            sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _print_lines(
    run: RunDirectory,
    path: Path,
    count: int | None,
    level: str | None,
    goes_on: Callable[[], bool],
) -> None:
    from dama.programs.environment import secrets_left
    from dama.programs.tail import Growing, place_of_last_lines

    begin, last, levels = 0, count, FromLevel(level_number(level))
    if count is not None and levels.are_all:
        begin, last = place_of_last_lines(path, count), None
    log = Growing(path, begin, _say_gap, secrets_left(run))
    while True:
        has_ended = not goes_on()  # asked first: what comes later is read below
        try:
            news = (line for line in log.news() if levels.shows(line))
            for line in news if last is None else deque(news, last):
                echo_log(line)
            last = None
        except FileNotFoundError:  # somebody removed it; it comes back with the end of the program
            if has_ended:
                raise
        if has_ended:
            break
        time.sleep(FOLLOW_SECONDS)
    if (rest := log.rest()) and levels.shows(rest):
        echo_log(rest)


def _say_gap(place: int, size: int) -> None:
    which = f"{size:,} bytes from byte {place:,} on" if place else f"The first {size:,} bytes"
    echo(f"{which} are gone: the log is beyond its cap.", err=True)


def _watch(session: Session, run: RunDirectory, *, follow: bool) -> Callable[[], bool]:
    """What says whether to wait for more of a run."""
    from dama.operations import run_files

    async def ask() -> bool:
        async with session.app() as app:
            return await run_files.is_going_on(app, run)

    def goes_on() -> bool:
        if not follow:
            return False
        if not run.is_of_another_boot():
            return run_files.is_going_on_here(run)
        time.sleep(AFAR_SECONDS)
        return asyncio.run(ask())

    return goes_on
