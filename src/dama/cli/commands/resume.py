"""`dama resume`: a context that failed or was interrupted continues from its last step."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.log_level import LOG_LEVEL, LOG_LEVEL_HELP
from dama.cli.numbers import ID

if TYPE_CHECKING:
    from dama.cli.session import Session


@click.command(epilog=examples("dama resume 42", "dama resume 42 --json | jq .status"))
@click.argument("context_id", metavar="CONTEXT", type=ID)
@click.option("--reason", metavar="TEXT", help="The reason; it is kept in the event.")
@click.option("--enqueue", is_flag=True, help="Return at once; a worker executes it.")
@click.option(
    "--here",
    is_flag=True,
    help="Execute everything here, even what asks for a launcher or a label.",
)
@click.option("--quiet", is_flag=True, help="Print only the result and errors.")
@click.option("--log-level", type=LOG_LEVEL, help=LOG_LEVEL_HELP)
@json_option("Print the outcome as one JSON document.")
@click.pass_obj
def resume(
    session: Session,
    context_id: int,
    *,
    reason: str | None,
    enqueue: bool,
    here: bool,
    quiet: bool,
    log_level: str | None,
    as_json: bool,
) -> int:
    """Continue a context that failed, was cancelled or was interrupted.

    Steps that are done are not done again: their results are read from the events. It runs here,
    and is followed to its end.
    """
    from dama.cli.follow import resume_elsewhere, resume_here

    if enqueue:
        again = resume_elsewhere(session, context_id, reason=reason, as_json=as_json)
        return asyncio.run(again)
    return resume_here(
        session,
        context_id,
        reason=reason,
        as_json=as_json,
        here=here,
        quiet=quiet,
        log_level=log_level,
    )
