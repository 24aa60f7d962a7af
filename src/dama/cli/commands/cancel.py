"""`dama cancel`: end a context and all below it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.numbers import ID
from dama.cli.output import print_json
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from dama.cli.session import Session


@click.command(epilog=examples("dama cancel 42", 'dama cancel 42 --reason "wrong year"'))
@click.argument("context_id", metavar="CONTEXT", type=ID)
@click.option("--reason", metavar="TEXT", help="The reason; it is kept in the event.")
@json_option()
@click.pass_obj
def cancel(session: Session, context_id: int, *, reason: str | None, as_json: bool) -> None:
    """Cancel a context with its subtasks: what runs, what waits and what is queued.

    What is done stays. `dama resume` reopens it, from its last step.
    """
    from dama.operations import contexts
    from dama.operations.who import person

    async def end() -> list[int]:
        async with session.app() as app:
            return await contexts.cancel(app, context_id, person(reason))

    cancelled = asyncio.run(end())
    if as_json:
        print_json({"cancelled": cancelled})
    else:
        below = len(cancelled) - 1
        echo(f"Context {context_id} is cancelled" + (f", and {below} below it." if below else "."))
