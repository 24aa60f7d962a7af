"""`dama log`: the log of all events, and how far those who subscribe to it are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_fields, print_json, print_table, shortened
from dama.cli.terminal import echo, echo_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.cli.session import Session
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
    import msgspec

    async def read() -> tuple[int, list[Any], list[ParkedRow]]:
        async with session.app() as app:
            found = app.store.log
            return await found.position(), await found.subscriptions(), await found.parked()

    last, rows, parked = asyncio.run(read())
    subscriptions = [
        msgspec.to_builtins(row) | {"behind": max(last - row.position, 0)} for row in rows
    ]
    if as_json:
        print_json({"position": last, "subscriptions": subscriptions, "parked": parked})
        return
    print_fields([("position", last), ("subscriptions", len(rows))])
    if rows:
        echo()
        names = ["name", "position", "behind", "lanes", "parked"]
        print_table(
            ["subscription", *names[1:]], [[row[name] for name in names] for row in subscriptions]
        )
    if parked:
        _print_parked(parked)


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

    async def go_on() -> int:
        async with session.app() as app:
            return await app.store.log.resume(subscription, context_id, skip=skip)

    position = asyncio.run(go_on())
    if as_json:
        print_json({"subscription": subscription, "context_id": context_id, "position": position})
        return
    how = "after" if skip else "at"
    echo_line(f"{subscription} continues with context {context_id} {how} position {position}.")


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
