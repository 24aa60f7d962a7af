"""`dama perform`: what an engine starts for a run that was placed. Nobody needs to type it."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples
from dama.cli.numbers import ID

if TYPE_CHECKING:
    from dama.app import App
    from dama.cli.session import Session

GRACE_SECONDS = 5.0  # less than engines give between their two signals


@click.command(epilog=examples("dama perform 42 --epoch 3 --launcher slurm"))
@click.argument("context_id", metavar="CONTEXT", type=ID)
@click.option("--epoch", type=ID, required=True, help="The epoch of the run that was placed.")
@click.option("--launcher", required=True, metavar="NAME", help="The launcher that placed it.")
@click.pass_obj
def perform(session: Session, context_id: int, *, epoch: int, launcher: str) -> int:
    """Execute the one run that a launcher has placed; its jobs call this.

    It takes the run if nobody else has, and ends with it. Otherwise it does nothing: exit code 0.
    """
    from dama.cli.commands.worker import WorkerOptions, work_until_told
    from dama.launchers.settings import find_launcher
    from dama.worker.placed import PlacedRun

    settings = find_launcher(session.config(), launcher)
    placed = PlacedRun(context_id, epoch, timedelta(seconds=settings.lease))
    options = WorkerOptions((), 1, (), GRACE_SECONDS, until_idle=True, quiet=False)

    def say(_: App) -> None:
        """The log has what happens."""

    async def work() -> int:
        async with session.app(with_services=True) as app:
            if session.is_in_cluster:
                await app.broker()
            return await work_until_told(app, options, say, placed=placed)

    return asyncio.run(work())
