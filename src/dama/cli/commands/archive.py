"""`dama archive`: closed trees, out of the way."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import AsyncIterable

    from dama.cli.session import Session
    from dama.store.archive import Moved


def _age(ctx: click.Context, param: click.Parameter, value: str) -> timedelta:  # noqa: ARG001 - click calls it so
    from dama.config.duration import parse_duration

    return timedelta(seconds=parse_duration(value, of="--older-than"))


older_than = click.option(
    "--older-than", "age", required=True, metavar="AGE", callback=_age, help="Such as 90d or 12h."
)


@click.group(
    epilog=examples("dama archive add --older-than 90d --dry-run", "dama archive restore 42")
)
def archive() -> None:
    """Move closed trees out of the tables that are worked with, and bring them back.

    They go into archived_context and archived_event of the same schema.
    """


@archive.command(
    epilog=examples(
        "dama archive add --older-than 90d --dry-run", "dama archive add --older-than 90d"
    )
)
@older_than
@click.option("--failed", is_flag=True, help="Also trees that failed and could be resumed.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@click.pass_obj
def add(session: Session, *, age: timedelta, failed: bool, dry_run: bool) -> None:
    """Archive trees in which nothing has happened for longer than an age.

    A tree stays while something in it is open, and until every durable subscription has handled
    it. The idempotency keys of its contexts are free again.
    """
    from dama.store.archive import MOST_COUNTED

    async def move() -> None:
        async with session.app() as app:
            if dry_run:
                count = await app.store.archive.closed(age, failed=failed)
                more = " or more" if count >= MOST_COUNTED else ""
                echo(f"{count}{more} trees would be archived.")
                return
            echo(await _sum(app.store.archive.add(age, failed=failed), "archived"))

    asyncio.run(move())


@archive.command(epilog=examples("dama archive restore 42"))
@click.argument("context", type=int)
@click.pass_obj
def restore(session: Session, context: int) -> None:
    """Bring back the tree of a context."""

    async def move() -> int:
        async with session.app() as app:
            return await app.store.archive.restore(context)

    echo(f"{asyncio.run(move())} contexts are back.")


@archive.command(epilog=examples("dama archive forget --older-than 730d --yes"))
@older_than
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def forget(session: Session, *, age: timedelta, yes: bool) -> None:
    """Remove for good what has been archived for longer than an age."""
    if not yes:
        click.confirm("What is forgotten can not be brought back. Go on?", abort=True)

    async def remove() -> str:
        async with session.app() as app:
            return await _sum(app.store.archive.forget(age), "removed")

    echo(asyncio.run(remove()))


async def _sum(parts: AsyncIterable[Moved], what: str) -> str:
    contexts = events = 0
    async for part in parts:
        contexts += part.contexts
        events += part.events
    return f"{contexts} contexts with {events} events are {what}."
