"""`dama tree`: a context with all that it started, and what started it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from dama.cli.commands.ls import run_word
from dama.cli.group import examples, json_option
from dama.cli.numbers import AFTER, ID
from dama.cli.output import duration, print_json, print_more, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.cli.session import Session
    from dama.store import ContextRow


@click.command(
    epilog=examples("dama tree 42", "dama tree 42 --at 1234", "dama tree 42 --json | jq 'length'")
)
@click.argument("context_id", metavar="CONTEXT", type=ID)
@click.option(
    "--after",
    type=AFTER,
    default=0,
    metavar="CONTEXT",
    help="Only those after this one: the next page.",
)
@click.option(
    "--limit", type=click.IntRange(1), default=1000, show_default=True, help="At most this many."
)
@click.option("--at", type=ID, metavar="EVENT", help="As it was after this event.")
@json_option()
@click.pass_obj
def tree(
    session: Session, context_id: int, *, after: int, limit: int, at: int | None, as_json: bool
) -> None:
    """Show a context with its subtasks, from the root of its tree.

    If more are left, it says on standard error how to continue.
    """
    from dama.operations import contexts, moments

    async def read() -> tuple[list[ContextRow], list[ContextRow]]:
        async with session.app() as app:
            rows = await contexts.tree(app, context_id, after=after, limit=limit)
            return rows, rows if at is None else await moments.as_of(app, rows, at)

    rows, found = asyncio.run(read())
    if as_json:
        print_json(found)
    elif found:
        _print(found, context_id, datetime.now(UTC) if at is None else None)
    if len(rows) == limit:
        print_more(f"--after {max(context.context_id for context in rows)}")


def _print(contexts: Sequence[ContextRow], context_id: int, now: datetime | None) -> None:
    depths = depths_of(contexts)
    print_table(
        ["context", "status", "run", "events", "time", "task"],
        [
            [
                f"{c.context_id} <"
                if c.context_id == context_id != c.root_context_id
                else c.context_id,
                c.status,
                run_word(c),
                c.version,
                duration(c.took(now or c.modified_at)),
                "  " * depths[c.context_id] + (c.task or "-"),
            ]
            for c in contexts
        ],
    )


def depths_of(contexts: Sequence[ContextRow]) -> dict[int, int]:
    """How deep each context is below the first; parents come before their children."""
    depths: dict[int, int] = {}
    for context in contexts:
        above = depths.get(context.parent_id, -1) if context.parent_id else -1
        depths[context.context_id] = above + 1
    return depths
