"""`dama state`: what the events of a context add up to, in any slice, at any event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.numbers import ID
from dama.cli.output import print_json

if TYPE_CHECKING:
    from dama.cli.session import Session


@click.command(
    epilog=examples(
        "dama state 42",
        "dama state 42 --slice rows_loaded",
        "dama state 42 --slice rows_loaded --at 1234",
    )
)
@click.argument("context_id", metavar="CONTEXT", type=ID)
@click.option(
    "--slice",
    "name",
    metavar="NAME",
    default="lifecycle",
    show_default=True,
    help="The slice; those of your modules have the names you gave them.",
)
@click.option("--at", type=ID, metavar="EVENT", help="As it was after this event.")
@json_option("Print one JSON document; it always does.")
@click.pass_obj
def state(session: Session, context_id: int, *, name: str, at: int | None, as_json: bool) -> None:
    """Show the state of a context: the fold of its events."""
    from dama.operations import contexts

    async def read() -> object:
        # Slices are defined by the modules of the project, as services are.
        async with session.app(with_services=name != "lifecycle") as app:
            return await contexts.state(app, context_id, name, at)

    print_json(asyncio.run(read()))
