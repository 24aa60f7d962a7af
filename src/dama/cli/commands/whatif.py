"""`dama whatif`: which states would be others with the reducers of another module."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples, json_option
from dama.cli.numbers import ID
from dama.cli.output import json_text, print_json, shortened
from dama.cli.terminal import echo, secho
from dama.counts import number_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.cli.session import Session
    from dama.operations.whatif import WhatIf

WIDTH = 200


@click.command(
    epilog=examples(
        "dama whatif rows_loaded --module next/flights.py",
        "dama whatif rows_loaded --module flights_next --sample 100000",
        "dama whatif rows_loaded --module next/flights.py --context 42 --context 43 --json",
    )
)
@click.argument("slice_", metavar="SLICE")
@click.option(
    "--module",
    metavar="NAME|FILE",
    required=True,
    help="The module or file with the other reducers.",
)
@click.option(
    "--context", "contexts", type=ID, multiple=True, metavar="CONTEXT",
    help="Only these contexts.",
)  # fmt: skip
@click.option("--sample", type=click.IntRange(1), default=1000, show_default=True,
              help="How many of the latest contexts.")  # fmt: skip
@json_option()
@click.pass_obj
def whatif(session: Session, slice_: str, *, module: str, contexts: tuple[int, ...], sample: int,
           as_json: bool) -> int:  # fmt: skip
    """Fold recorded history with the reducers of another module, and show which states differ.

    Each version of the slice folds in a process of its own, and nothing is stored. The exit code
    is 1 when a state would differ or a reducer raises.
    """

    async def compare() -> WhatIf:
        from dama.operations.whatif import Code, what_if

        config = session.config()
        async with session.app() as app:
            today = Code(config.services, config.project)
            return await what_if(
                app, slice_, today, Code.of(module), contexts=contexts or None, sample=sample
            )

    found = asyncio.run(compare())
    if as_json:
        print_json(found)
    else:
        _print(found)
    return 1 if found.different else 0


def _print(found: WhatIf) -> None:
    for each in found.differences:
        secho(
            f"context {each.context_id}, from event {each.event_id} ({each.type}, version "
            f"{each.version}) on",
            bold=True,
        )
        if each.error:
            secho(f"  a reducer raises {each.error}", fg="red")
        for change in each.changes:
            _print_change(change)
    if found.different > len(found.differences):
        echo(f"... and {number_of(found.different - len(found.differences), 'more context')}.")
    echo(
        f"{found.different} of {number_of(found.contexts, 'context')} would have another state of "
        f"{found.slice}; {number_of(found.events, 'event was', 'events were')} folded."
    )


def _print_change(change: Mapping[str, Any]) -> None:
    echo(f"  {change['path'] or 'the whole state'}")
    for name, mark, colour in (("before", "-", "red"), ("after", "+", "green")):
        if name in change:
            text = shortened(json_text(change[name], indent=0), WIDTH)
            secho(f"    {mark} {text}", fg=colour)
