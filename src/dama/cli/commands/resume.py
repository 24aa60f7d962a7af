"""`dama resume`: a context that failed or was interrupted goes on from its last step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dama.cli.group import examples

if TYPE_CHECKING:
    from dama.cli.session import Session


@click.command(epilog=examples("dama resume 42", "dama resume 42 --json | jq .status"))
@click.argument("context_id", metavar="CONTEXT", type=int)
@click.option("--reason", metavar="TEXT", help="Why; it is kept in the event.")
@click.option("--quiet", is_flag=True, help="Print the result and errors, not what happens.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as one JSON document.")
@click.pass_obj
def resume(
    session: Session, context_id: int, *, reason: str | None, quiet: bool, as_json: bool
) -> int:
    """Let a context go on that failed, was cancelled or was interrupted.

    Steps that are done are not done again: their results are read from the events. It runs here,
    and is followed to its end.
    """
    from dama.cli.follow import resume_here

    return resume_here(session, context_id, reason=reason, as_json=as_json, quiet=quiet)
