"""`dama tree`: a context with all that it started, and what started it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.commands.ls import run_word
from dama.cli.group import examples
from dama.cli.output import duration, print_json, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.cli.session import Session
    from dama.store import ContextRow


@click.command(epilog=examples("dama tree 42", "dama tree 42 --json | jq 'length'"))
@click.argument("context_id", metavar="CONTEXT", type=int)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_obj
def tree(session: Session, context_id: int, *, as_json: bool) -> None:
    """Show a context with its subtasks, from the root of its tree."""

    async def read() -> list[ContextRow]:
        async with session.app() as app:
            return await app.store.tree(context_id)

    contexts = asyncio.run(read())
    if as_json:
        print_json(contexts)
        return
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
                duration(c.modified_at - c.created_at),
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
