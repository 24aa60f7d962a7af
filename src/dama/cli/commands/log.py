"""`dama log`: the log of all events, and how far those who subscribe to it are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option, reason_option
from dama.cli.numbers import ID
from dama.cli.output import counted, print_fields, print_json, print_table, shortened
from dama.cli.terminal import echo, echo_line
from dama.counts import number_of
from dama.shapes import as_object

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.cli.session import Session
    from dama.domain.event import StoredEvent
    from dama.operations.log import DroppedSubscription, LogStatus, Resumed
    from dama.store.rows import ParkedRow


@click.group(
    epilog=examples("dama log status", "dama log resume mailer 42", "dama log drop mailer")
)
def log() -> None:
    """Show who reads the log and what they could not handle.

    The log holds the events of all contexts in one order without gaps; `dama events --all` reads
    it.
    """


@log.command(epilog=examples("dama log status", "dama log status --json | jq .subscriptions"))
@json_option()
@click.pass_obj
def status(session: Session, *, as_json: bool) -> None:
    """Show how far each subscription is behind.

    Also the last position, and what is parked.
    """
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
        names = ["name", "position", "behind", "lanes"]
        print_table(
            ["subscription", *names[1:], "parked"],
            [[*(row[name] for name in names), counted(row["parked"])] for row in rows],
        )
    if found.parked:
        _print_parked(found.parked)


@log.command("acts", epilog=examples("dama log acts", "dama log acts --json"))
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@json_option()
@click.pass_obj
def list_acts(session: Session, *, limit: int, as_json: bool) -> None:
    """List what people did to queues and the like, and why.

    To queues, schedules, tokens and subscriptions, in this year.
    """
    from dama.operations import acts

    async def read() -> Sequence[StoredEvent]:
        async with session.app() as app:
            return await acts.latest(app, limit)

    found = asyncio.run(read())
    if as_json:
        print_json(found)
    elif not found:
        echo("Nobody has done anything this year.")
    else:
        print_table(["time", "act", "to", "by", "reason"], [_act_cells(each) for each in found])
        echo(f"\nAll of them: dama events {found[0].context_id}")


def _act_cells(act: StoredEvent) -> list[object]:
    payload, meta = as_object(act.payload), as_object(act.meta)
    facts = ", ".join(f"{name} {value}" for name, value in payload.items())
    return [act.created_at, act.type, facts, meta.get("user"), meta.get("reason")]


@log.command(
    epilog=examples("dama log resume mailer 42", "dama log resume mailer 42 --skip"),
)
@click.argument("subscription")
@click.argument("context_id", metavar="CONTEXT", type=ID)
@click.option("--skip", is_flag=True, help="Leave out the event that could not be handled.")
@reason_option()
@json_option()
@click.pass_obj
def resume(
    session: Session,
    subscription: str,
    context_id: int,
    *,
    skip: bool,
    reason: str | None,
    as_json: bool,
) -> None:
    """Let a parked context continue.

    Its events are handled in order, from the one that failed.
    """
    from dama.operations import log as operations
    from dama.operations.who import person

    async def resume_it() -> Resumed:
        async with session.app() as app:
            return await operations.resume(
                app, subscription, context_id, skip=skip, by=person(reason)
            )

    done = asyncio.run(resume_it())
    if as_json:
        print_json(done)
        return
    how = "after" if skip else "at"
    echo_line(f"{subscription} continues with context {context_id} {how} position {done.position}.")


@log.command(epilog=examples("dama log drop mailer"))
@click.argument("subscription")
@reason_option()
@json_option()
@click.pass_obj
def drop(session: Session, subscription: str, *, reason: str | None, as_json: bool) -> None:
    """Forget a subscription that nobody reads any more.

    How far it is, and what it has parked. Events stay, and are no longer kept out of the archive
    for it. A program that subscribes under its name again begins where it says, as a new one.
    """
    from dama.operations import log as operations
    from dama.operations.who import person

    async def drop_it() -> DroppedSubscription:
        async with session.app() as app:
            return await operations.drop(app, subscription, by=person(reason))

    done = asyncio.run(drop_it())
    if as_json:
        print_json(done)
        return
    parked = number_of(done.parked, "context")
    echo_line(f"{subscription} is forgotten, at position {done.position}, with {parked} parked.")


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
