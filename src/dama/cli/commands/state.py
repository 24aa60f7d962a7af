"""`dama state`: what the events of a context add up to, in any slice, at any event."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.json_input import METAVAR, read_json
from dama.cli.numbers import ID
from dama.cli.output import print_json
from dama.domain.event import ABSENT

if TYPE_CHECKING:
    from dama.cli.session import Session


@click.command(
    epilog=examples(
        "dama state 42",
        "dama state 42 --slice rows_loaded",
        "dama state 42 --slice rows_loaded --at 1234",
        "dama state 42 --slice rows_loaded --without 1234     what would differ without it",
        "dama state 42 --slice rows_loaded --without 1234 --payload '{\"rows\": 7}'",
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
@click.option(
    "--without",
    type=ID,
    metavar="EVENT",
    help="Only what would differ had this event not happened; nothing is stored.",
)
@click.option("--payload", metavar=METAVAR, help="With --without: had it had this payload.")
@json_option("Print one JSON document; it always does.")
@click.pass_obj
def state(session: Session, context_id: int, *, name: str, at: int | None, without: int | None,
          payload: str | None, as_json: bool) -> None:  # fmt: skip
    """Show the state of a context: the fold of its events."""
    from dama.operations import contexts, supposing

    if without is None and payload is not None:
        raise click.UsageError("--payload requires --without.")
    if without is not None and at is not None:
        raise click.UsageError("--without cannot be combined with --at.")
    other = ABSENT if payload is None else read_json(payload, "--payload")

    async def read() -> object:
        # Slices are defined by the modules of the project, as services are.
        async with session.app(with_services=name != "lifecycle") as app:
            if without is not None:
                return await supposing.suppose(app, context_id, name, without, payload=other)
            return await contexts.state(app, context_id, name, at)

    print_json(asyncio.run(read()))
