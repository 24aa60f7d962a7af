"""`dama log`: the log of all events, and how far those who subscribe to it are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_fields, print_json, print_table, shortened
from dama.cli.terminal import echo, echo_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.cli.session import Session
    from dama.operations.log import LogStatus, Resumed
    from dama.store.rows import ParkedRow


@click.group(epilog=examples("dama log status", "dama log resume mailer 42"))
def log() -> None:
    """Show who reads all events, and what they could not handle.

    The log holds the events of all contexts in one order without gaps; `dama events --all` reads
    it.
    """


@log.command(epilog=examples("dama log status", "dama log status --json | jq .subscriptions"))
@json_option()
@click.pass_obj
def status(session: Session, *, as_json: bool) -> None:
    """Show the last position, how far each subscription is behind, and what is parked."""
    from dama.operations import log as operations

    async def read() -> LogStatus:
        async with session.app() as app:
            return await operations.status(app)

    found = asyncio.run(read())
    if as_json:
        print_json(found)
        return
    rows = found.subscriptions
    print_fields([("position", found.position), ("subscriptions", len(rows))])
    if rows:
        echo()
        names = ["name", "position", "behind", "lanes", "parked"]
        print_table(["subscription", *names[1:]], [[row[name] for name in names] for row in rows])
    if found.parked:
        _print_parked(found.parked)


@log.command(
    epilog=examples("dama log resume mailer 42", "dama log resume mailer 42 --skip"),
)
@click.argument("subscription")
@click.argument("context_id", metavar="CONTEXT", type=int)
@click.option("--skip", is_flag=True, help="Leave out the event that could not be handled.")
@json_option()
@click.pass_obj
def resume(
    session: Session, subscription: str, context_id: int, *, skip: bool, as_json: bool
) -> None:
    """Let a parked context continue: its events are handled in order, from the one that failed."""
    from dama.operations import log as operations

    async def resume_it() -> Resumed:
        async with session.app() as app:
            return await operations.resume(app, subscription, context_id, skip=skip)

    done = asyncio.run(resume_it())
    if as_json:
        print_json(done)
        return
    how = "after" if skip else "at"
    echo_line(f"{subscription} continues with context {context_id} {how} position {done.position}.")


def _print_parked(parked: Sequence[ParkedRow]) -> None:
    echo()
    rows = [
        [row.subscription, row.context_id, row.position, row.parked_at, _error_of(row)]
        for row in parked
    ]
    print_table(["parked by", "context", "position", "since", "error"], rows)
    echo("\nLet one continue with: dama log resume SUBSCRIPTION CONTEXT")


def _error_of(row: ParkedRow) -> str:
    if row.resumed_at is not None:
        return "resumed; whoever runs the subscription continues with it"
    return shortened(f"{row.error.get('name')}: {row.error.get('message')}", 200)
