"""`dama clean`: remove what old runs have left on this host."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_json
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.upkeep.cleaning import Cleaned


@click.command(epilog=examples("dama clean --dry-run", "dama clean"))
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@json_option()
@click.pass_obj
def clean(session: Session, *, dry_run: bool, as_json: bool) -> None:
    """Remove logs and working folders that are older than [keep] of dama.toml allows.

    By default files of runs stay for 30 days after the end of their context, and the working
    folder of a tree for one day when it is done. Workers clean their host once an hour.
    """
    from dama.operations import run_files

    async def remove() -> Cleaned:
        async with session.app() as app:
            return await run_files.clean(app, dry_run=dry_run)

    done = asyncio.run(remove())
    if as_json:
        print_json(done)
        return
    verb = "Would remove" if dry_run else "Removed"
    size = f"{done.bytes / 2**20:,.1f} MiB"
    echo(f"{verb}: files of runs {done.runs}, working folders {done.folders}, {size}.")
