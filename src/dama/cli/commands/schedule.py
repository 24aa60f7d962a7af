"""`dama schedule`: tasks that start by themselves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import click

from dama.cli.group import examples, json_option, reason_option
from dama.cli.json_input import METAVAR, read_object
from dama.cli.output import print_fields, print_json, print_next, print_table
from dama.cli.terminal import echo, echo_line
from dama.counts import number_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dama.cli.session import Session
    from dama.domain.schedule import CatchUp, Overlap
    from dama.operations.schedules import Backfill, ScheduleReport
    from dama.store.schedules import ScheduleRow

DATES = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.group(
    epilog=examples(
        'dama schedule add nightly flights.load --cron "30 6 * * *" --zone Europe/Berlin',
        "dama schedule ls",
    )
)
def schedule() -> None:
    """Start tasks by a cron expression in a time zone.

    Every `dama worker` looks after the schedules of its tasks; each firing is started once,
    however many of them there are.
    """


@schedule.command(
    epilog=examples(
        'dama schedule add nightly flights.load --cron "30 6 * * *" --zone Europe/Berlin',
        'dama schedule add yearly flights.load --cron "0 4 1 1 *" \\\n'
        "        --param year={time:%Y} --catch-up all --overlap queue",
    )
)
@click.argument("name")
@click.argument("task")
@click.option(
    "--cron", required=True, help="Minute, hour, day of month, month, day of week: 30 6 * * 1-5."
)
@click.option(
    "--zone", default="UTC", show_default=True, help="The time zone, such as Europe/Berlin."
)
@click.option(
    "--param",
    "params",
    multiple=True,
    metavar="NAME=VALUE",
    help="A param of the task; {time:%Y-%m-%d} in it is the time of the firing.",
)
@click.option(
    "--params",
    "document",
    metavar=METAVAR,
    help="The params as JSON: a file, - for standard input, itself; --param wins over it.",
)
@click.option(
    "--catch-up",
    type=click.Choice(["none", "one", "all"]),
    default="one",
    show_default=True,
    help="Firings that were missed: make up for none, for the latest one, or for all.",
)
@click.option(
    "--overlap",
    type=click.Choice(["allow", "skip", "queue"]),
    default="skip",
    show_default=True,
    help="While an earlier run is open: allow another, skip the firing, or queue it.",
)
@click.option(
    "--jitter", type=float, default=0.0, help="Spread the firings over this many seconds."
)
@reason_option()
@json_option()
@click.pass_obj
def add(
    session: Session,
    name: str,
    task: str,
    *,
    cron: str,
    zone: str,
    params: tuple[str, ...],
    document: str | None,
    catch_up: str,
    overlap: str,
    jitter: float,
    reason: str | None,
    as_json: bool,
) -> None:
    """Start a task by a schedule from now on."""
    from dama.definitions.errors import InvalidParamsError
    from dama.domain.schedule import Schedule
    from dama.operations import schedules
    from dama.operations.who import person

    given = {} if document is None else read_object(document, "--params")
    new = Schedule(
        name,
        task,
        cron,
        zone,
        {**given, **_pairs(params)},
        cast("CatchUp", catch_up),
        cast("Overlap", overlap),
        jitter,
    )

    async def keep() -> datetime:
        async with session.app(with_services=True) as app:
            return await schedules.add(app, new, person(reason))

    try:
        first = asyncio.run(keep())
    except InvalidParamsError as error:
        hint = f"Write --param NAME=VALUE; `dama run {task} --help` shows what it takes."
        raise InvalidParamsError(error.task, error.problems, hint) from error
    if as_json:
        print_json({"next_at": first})
        return
    echo_line(f"The schedule {name} fires first at {_zoned(first, zone)}.")
    print_next((f"dama schedule show {name}", "when it fires"), ("dama worker", "starts its runs"))


@schedule.command("ls", epilog=examples("dama schedule ls", "dama schedule ls --json"))
@json_option()
@click.pass_obj
def list_schedules(session: Session, *, as_json: bool) -> None:
    """List the schedules: when each fires next, what it started."""
    from dama.operations import schedules

    async def read() -> list[ScheduleRow]:
        async with session.app() as app:
            return await schedules.all_of(app)

    rows = asyncio.run(read())
    if as_json:
        print_json(rows)
    elif not rows:
        echo("There are no schedules. `dama schedule add --help` shows how to make one.")
    else:
        print_table(
            ["schedule", "task", "cron", "next", "started", "skipped", "state"],
            [
                [
                    row.schedule.name,
                    row.schedule.task,
                    row.schedule.cron,
                    _zoned(row.next_at, row.schedule.zone),
                    row.started,
                    row.skipped,
                    _state(row),
                ]
                for row in rows
            ],
        )


@schedule.command(epilog=examples("dama schedule show nightly"))
@click.argument("name")
@json_option()
@click.pass_obj
def show(session: Session, name: str, *, as_json: bool) -> None:
    """Show a schedule and when it fires next."""
    from dama.operations import schedules

    async def read() -> ScheduleReport:
        async with session.app() as app:
            return await schedules.read(app, name)

    report = asyncio.run(read())
    if as_json:
        print_json(report)
        return
    plan = report.schedule
    print_fields(
        [
            ("task", plan.task),
            ("params", ", ".join(f"{key}={value}" for key, value in plan.params.items())),
            ("cron", f"{plan.cron}  ({plan.zone})"),
            ("catch up", plan.catch_up),
            ("overlap", plan.overlap),
            ("jitter", f"{plan.jitter:g} s" if plan.jitter else None),
            ("state", _state(report)),
            ("latest", report.last_at and _zoned(report.last_at, plan.zone)),
            ("started", report.started),
            ("skipped", report.skipped),
            ("missed", _missed(report.missed, plan.zone)),
            ("next", "\n          ".join(_zoned(firing, plan.zone) for firing in report.firings)),
        ]
    )


@schedule.command(epilog=examples("dama schedule pause nightly"))
@click.argument("name")
@reason_option()
@json_option()
@click.pass_obj
def pause(session: Session, name: str, *, reason: str | None, as_json: bool) -> None:
    """Stop a schedule from firing; what runs continues."""
    from dama.operations import schedules
    from dama.operations.who import person

    async def change() -> None:
        async with session.app() as app:
            await schedules.pause(app, name, person(reason))

    asyncio.run(change())
    if as_json:
        print_json(None)
        return
    echo_line(f"The schedule {name} is paused. Resume it with: dama schedule resume {name}")


@schedule.command(epilog=examples("dama schedule resume nightly"))
@click.argument("name")
@reason_option()
@json_option()
@click.pass_obj
def resume(session: Session, name: str, *, reason: str | None, as_json: bool) -> None:
    """Let a paused schedule continue. What passed meanwhile is left to `backfill`."""
    from dama.operations import schedules
    from dama.operations.who import person

    async def change() -> tuple[datetime, str]:
        async with session.app() as app:
            following = await schedules.resume(app, name, person(reason))
            return following, (await app.store.schedules.get(name)).schedule.zone

    following, zone = asyncio.run(change())
    if as_json:
        print_json({"next_at": following})
        return
    echo_line(f"The schedule {name} fires next at {_zoned(following, zone)}.")


@schedule.command("rm", epilog=examples("dama schedule rm nightly"))
@click.argument("name")
@reason_option()
@json_option()
@click.pass_obj
def remove(session: Session, name: str, *, reason: str | None, as_json: bool) -> None:
    """Remove a schedule; what it started is kept."""
    from dama.operations import schedules
    from dama.operations.who import person

    async def change() -> None:
        async with session.app() as app:
            await schedules.remove(app, name, person(reason))

    asyncio.run(change())
    if as_json:
        print_json(None)
        return
    echo_line(f"The schedule {name} is removed.")


@schedule.command(
    epilog=examples("dama schedule backfill nightly --from 2026-01-01 --to 2026-02-01")
)
@click.argument("name")
@click.option(
    "--from", "begin", type=DATES, required=True, help="The first moment, in its time zone."
)
@click.option("--to", "end", type=DATES, required=True, help="The first moment beyond the range.")
@click.option("--dry-run", is_flag=True, help="Only list the firings; start none.")
@reason_option()
@json_option()
@click.pass_obj
def backfill(
    session: Session,
    name: str,
    *,
    begin: datetime,
    end: datetime,
    dry_run: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Start the firings of a range that have no run yet. It can be repeated.

    One that overlaps is queued where the schedule would skip it.
    """
    from dama.operations import schedules
    from dama.operations.who import person

    async def change() -> Backfill:
        async with session.app(with_services=True) as app:
            return await schedules.backfill(
                app, name, begin, end, dry_run=dry_run, by=person(reason)
            )

    done = asyncio.run(change())
    if as_json:
        print_json(done)
        return
    if not done.firings:
        echo(f"The schedule {name} has no firing from {begin} to {end}.")
    elif dry_run:
        for firing in done.firings:
            echo(firing.isoformat())
    else:
        firings = number_of(len(done.contexts), "firing has", "firings have")
        echo(f"{firings} a context: {_span(done.contexts)}")


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--param {text!r} is not NAME=VALUE, such as year=2013.")
        if name in pairs:
            raise click.UsageError(f"--param {name} is given twice.")
        pairs[name] = value
    return pairs


def _zoned(moment: datetime, zone: str) -> str:
    from dama.domain.schedule import zone_of

    return moment.astimezone(zone_of(zone)).strftime("%Y-%m-%d %H:%M %Z")


def _missed(missed: Sequence[datetime], zone: str) -> str:
    latest = ", ".join(_zoned(firing, zone) for firing in missed[:3])
    return latest if len(missed) <= 3 else f"{latest} and {len(missed) - 3} before"  # noqa: PLR2004


def _state(row: ScheduleRow) -> str:
    if row.failure is not None:
        return f"paused: {row.failure}"
    return "paused" if row.paused else "active"


def _span(contexts: Sequence[int]) -> str:
    if not contexts:
        return "none"
    return f"{min(contexts)} to {max(contexts)}" if len(contexts) > 1 else str(contexts[0])
