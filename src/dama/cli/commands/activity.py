"""`dama activity`: how much was done lately, how long it took, and what waited."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_json, print_table
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.operations.activity import ActivityReport, Piece


@click.command(epilog=examples("dama activity", "dama activity --hours 168 --json"))
@click.option(
    "--hours", type=int, default=24, help="How many hours back, at most 168; 24 by default."
)
@json_option()
@click.pass_obj
def activity(session: Session, *, hours: int, as_json: bool) -> None:
    """Show what was started and ended lately, and how long it took.

    A gateway notes it every ten seconds; what happened while none ran is noted later.
    """
    from dama.operations import activity as verbs

    async def read() -> ActivityReport:
        async with session.app() as app:
            return await verbs.read(app, hours)

    report = asyncio.run(read())
    if as_json:
        print_json(report)
    elif not any(map(_has_any, report.pieces)):
        echo("Nothing was recorded. A gateway records activity: dama up")
    else:
        headings = ["since", "started", "done", "failed", "cancelled", "p50", "p95"]
        print_table(headings, [_row(piece) for piece in report.pieces if _has_any(piece)])


def _has_any(piece: Piece) -> bool:
    return bool(piece.started or piece.done or piece.error or piece.cancelled)


def _row(piece: Piece) -> list[object]:
    counts = [piece.started, piece.done, piece.error, piece.cancelled]
    took = ["-" if seconds is None else f"{seconds:g} s" for seconds in (piece.p50, piece.p95)]
    return [piece.at, *counts, *took]
