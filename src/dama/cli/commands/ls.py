"""`dama ls`: contexts, newest first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples
from dama.cli.output import print_json, print_table
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.store import ContextRow

STATUSES = ("OPEN", "DONE", "ERROR", "CANCELLED")


@click.command(
    epilog=examples(
        "dama ls --status ERROR",
        "dama ls --task flights.load --limit 5",
        "dama ls --json | jq '.[].context_id'",
    )
)
@click.option(
    "--status",
    type=click.Choice(STATUSES, case_sensitive=False),
    help="Only those of this status.",
)
@click.option("--task", metavar="NAME", help="Only those of this task, such as flights.load.")
@click.option("--all", "subtasks", is_flag=True, help="Subtasks too, not only what was started.")
@click.option("--before", type=int, metavar="CONTEXT", help="Only older ones, to read on.")
@click.option(
    "--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many at most."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def ls(
    session: Session,
    *,
    status: str | None,
    task: str | None,
    subtasks: bool,
    before: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """List contexts, newest first."""

    async def read() -> list[ContextRow]:
        async with session.app() as app:
            return await app.store.contexts(
                status=status, task=task, roots_only=not subtasks, before=before, limit=limit
            )

    contexts = asyncio.run(read())
    if as_json:
        print_json(contexts)
    elif not contexts:
        echo("No context is like that." if status or task else "Nothing ran here yet.")
    else:
        print_table(
            ["context", "status", "run", "events", "created", "task"],
            [
                [c.context_id, c.status, run_word(c), c.version, c.created_at, c.task]
                for c in contexts
            ],
        )
        if len(contexts) == limit:
            echo(f"\nOlder ones: dama ls --before {contexts[-1].context_id}")


def run_word(context: ContextRow) -> str | None:
    """What its run does: queued, running, waiting or retrying; None when there is none."""
    return str(context.run.state) if context.run else None
