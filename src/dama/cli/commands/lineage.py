"""`dama lineage`: who wrote a table, from what, when, and whether it is fresh."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_json, print_table
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dama.cli.session import Session
    from dama.operations.lineage import Source, TableLineage
    from dama.store.lineage import Write


@click.command(epilog=examples("dama lineage mart.orders", "dama lineage mart.orders --last 10"))
@click.argument("table")
@click.option(
    "--last", type=click.IntRange(1, 1000), default=1, help="How many of its writes; 1 by default."
)
@json_option()
@click.pass_obj
def lineage(session: Session, table: str, *, last: int, as_json: bool) -> None:
    """Show who wrote a table, from what, and whether it is fresh.

    Steps say what they wrote: task.copy, taps, dbt, and any whose result has a `table`. Tasks
    declare it with `outputs`.
    """
    from dama.operations import lineage as verbs

    async def read() -> TableLineage:
        async with session.app(with_services=True) as app:
            return await verbs.read(app, table, most=last)

    found = asyncio.run(read())
    if as_json:
        print_json(found)
        return
    if not found.writes:
        echo(f"No step says that it wrote {table}, and no task declares it.")
        return
    headings = ["table", "written", "by", "context", "step", "rows"]
    rows = [_row(found.table, each) for each in found.writes]
    print_table(headings, [*rows, *_below(found.sources, 1)])
    stale = "Stale: what it was made from has been written since."
    echo("Fresh." if found.is_fresh else stale)


def _below(sources: Sequence[Source], depth: int) -> Iterator[list[object]]:
    for each in sources:
        name = f"{'  ' * depth}{each.table}{' (newer)' if each.is_newer else ''}"
        yield [name, *["-"] * 5] if each.written is None else _row(name, each.written)
        yield from _below(each.sources, depth + 1)


def _row(name: str, write: Write) -> list[object]:
    rows = "-" if write.rows is None else write.rows
    return [name, write.at, write.task or "-", write.context_id, write.step or "-", rows]
