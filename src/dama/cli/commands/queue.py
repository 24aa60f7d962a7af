"""`dama queue`: what waits where, and how much of it may run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option, reason_option
from dama.cli.numbers import ID
from dama.cli.output import counted, print_json, print_table
from dama.cli.terminal import echo, echo_line

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from dama.app import App
    from dama.cli.session import Session
    from dama.operations.activity import QueueHistory
    from dama.store.queue_rows import QueueRow
    from dama.upkeep.why import Reason


@click.group(
    epilog=examples("dama queue ls", "dama queue pause etl", "dama queue limit etl --concurrency 2")
)
def queue() -> None:
    """Pause, resume and limit queues, for all workers at once."""


@queue.command("ls", epilog=examples("dama queue ls", "dama queue ls --json"))
@json_option()
@click.pass_obj
def list_queues(session: Session, *, as_json: bool) -> None:
    """List the queues that have runs or settings.

    10,000 runs or more are not counted further.
    """
    from dama.operations import queues

    async def read() -> tuple[list[QueueRow], list[str]]:
        async with session.app() as app:
            return await queues.all_of(app), await queues.placed(app)

    rows, placed = asyncio.run(read())
    if as_json:
        print_json(rows)
    elif not rows:
        echo("Nothing is queued.")
    else:
        print_table(
            ["queue", "queued", "delayed", "blocked", "placed", "running", "waiting", "limits"],
            [
                [
                    r.queue,
                    *map(counted, (r.queued, r.delayed, r.blocked, r.placed, r.running, r.waiting)),
                    _limits(r),
                ]
                for r in rows
            ],
        )
        for line in placed:
            echo_line(line)


@queue.command(epilog=examples("dama queue history", "dama queue history --hours 168 --json"))
@click.option(
    "--hours", type=int, default=24, help="How many hours back, at most 168; 24 by default."
)
@json_option()
@click.pass_obj
def history(session: Session, *, hours: int, as_json: bool) -> None:
    """Show the greatest depth and age of each queue in the last hours.

    The depth is how many runs are queued, the age how long the oldest of them has waited. A
    gateway notes both every ten seconds.
    """
    from dama.operations import activity

    async def read() -> list[QueueHistory]:
        async with session.app() as app:
            return await activity.queues(app, hours)

    found = asyncio.run(read())
    if as_json:
        print_json(found)
    elif not found:
        echo("Nothing was recorded. A gateway records it: dama up")
    else:
        print_table(
            ["queue", "since", "queued", "running", "oldest"],
            [
                [each.queue, piece.at, piece.queued, piece.running, f"{piece.age:g} s"]
                for each in found
                for piece in each.pieces
            ],
        )


@queue.command(epilog=examples("dama queue pause etl", "dama queue pause etl --reason maintenance"))
@click.argument("name")
@reason_option()
@json_option()
@click.pass_obj
def pause(session: Session, name: str, *, reason: str | None, as_json: bool) -> None:
    """Start nothing more from a queue; what runs continues."""
    from dama.operations import queues
    from dama.operations.who import person

    said = f"The queue {name} is paused. Resume it with: dama queue resume {name}"
    _do(session, lambda app: queues.pause(app, name, person(reason)), said, as_json=as_json)


@queue.command(epilog=examples("dama queue resume etl"))
@click.argument("name")
@reason_option()
@json_option()
@click.pass_obj
def resume(session: Session, name: str, *, reason: str | None, as_json: bool) -> None:
    """Let a paused queue continue."""
    from dama.operations import queues
    from dama.operations.who import person

    said = f"The queue {name} continues."
    _do(session, lambda app: queues.resume(app, name, person(reason)), said, as_json=as_json)


@queue.command(epilog=examples("dama queue why 42", "dama queue why 42 --json"))
@click.argument("context_id", metavar="RUN", type=ID)
@json_option()
@click.pass_obj
def why(session: Session, context_id: int, *, as_json: bool) -> None:
    """Say why a run is not running: every reason, with what to do.

    RUN is the number of its context, as `dama ls` shows it.
    """
    from dama.operations import contexts

    async def read() -> list[Reason]:
        async with session.app() as app:
            return await contexts.why(app, context_id)

    found = asyncio.run(read())
    if as_json:
        print_json(found)
        return
    print_reasons(found)


def print_reasons(found: Sequence[Reason]) -> None:
    """One line a reason, and below it what to do."""
    for reason in found:
        echo_line(f"{reason.reason:11}  {reason.text}")
        if reason.advice:
            echo_line(f"{'':13}{reason.advice}")


@queue.command(epilog=examples("dama queue limit etl --concurrency 2 --rate 0.5"))
@click.argument("name")
@click.option("--concurrency", type=int, help="Runs at once; 0 for no limit.")
@click.option("--rate", type=float, help="Starts a second; 0 for no limit.")
@reason_option()
@json_option()
@click.pass_obj
def limit(
    session: Session,
    name: str,
    *,
    concurrency: int | None,
    rate: float | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """Limit how much of a queue runs, on all workers together."""
    from dama.operations import queues
    from dama.operations.who import person

    said = f"The queue {name} is limited."
    _do(
        session,
        lambda app: queues.limit(app, name, concurrency=concurrency, rate=rate, by=person(reason)),
        said,
        as_json=as_json,
    )


def _do(
    session: Session, act: Callable[[App], Awaitable[None]], said: str, *, as_json: bool
) -> None:
    async def change() -> None:
        async with session.app() as app:
            await act(app)

    asyncio.run(change())
    if as_json:
        print_json(None)
    else:
        echo_line(said)


def _limits(row: QueueRow) -> str:
    parts = ["paused"] if row.paused else []
    if row.concurrency is not None:
        parts.append(f"{row.concurrency} at once")
    if row.rate is not None:
        parts.append(f"{row.rate:g} a second")
    return ", ".join(parts) or "none"
