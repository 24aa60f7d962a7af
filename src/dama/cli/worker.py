"""`dama worker`: perform what is queued, until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
from typing import TYPE_CHECKING, Any

import click

from dama.cli.group import examples

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from dama.cli.session import Session
    from dama.runtime.worker import Worker

STOPPED_AT_ONCE = 130


@click.command(
    epilog=examples(
        "dama worker",
        "dama worker --queue etl --queue reports --slots 4",
        "dama worker --until-idle",
    )
)
@click.option("--queue", "queues", multiple=True, help="Only these; else all of its tasks.")
@click.option(
    "--slots", type=click.IntRange(1, 1000), default=16, show_default=True, help="Runs at once."
)
@click.option(
    "--grace",
    type=click.FloatRange(0),
    default=30.0,
    show_default=True,
    help="Seconds that runs have to end when it is told to stop; then they are queued again.",
)
@click.option("--label", "labels", multiple=True, help="Offer it to runs that need it, as gpu.")
@click.option("--until-idle", is_flag=True, help="End when nothing is left to do.")
@click.pass_obj
def worker(
    session: Session,
    queues: Sequence[str],
    labels: Sequence[str],
    *,
    slots: int,
    grace: float,
    until_idle: bool,
) -> int:
    """Perform queued runs of the tasks of this project, any number of workers side by side.

    SIGTERM and Ctrl-C let it claim no more and end when its runs have; a second one ends it at
    once. What is not done then is queued again and goes on with another worker.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")

    async def work() -> int:
        async with session.app(with_services=True) as app:
            count = len(app.registry.tasks)
            async with app.working(queues=queues or None, slots=slots, labels=labels) as running:
                tasks = "1 task" if count == 1 else f"{count} tasks"
                click.echo(f"A worker for {tasks} with {slots} slots runs.", err=True)
                return await _until_told(running, grace=grace, until_idle=until_idle)

    return asyncio.run(work())


async def _until_told(running: Worker, *, grace: float, until_idle: bool) -> int:
    loop = asyncio.get_running_loop()
    told, again = asyncio.Event(), asyncio.Event()

    def tell() -> None:
        (again if told.is_set() else told).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, tell)
    await _first(told.wait(), *([running.idle()] if until_idle else []))
    if not told.is_set():
        return 0
    click.echo(f"Told to stop: runs have {grace:g} s to end; once more ends at once.", err=True)
    await _first(running.drain(grace), again.wait())
    return STOPPED_AT_ONCE if again.is_set() else 0


async def _first(*waits: Coroutine[Any, Any, object]) -> None:
    tasks = [asyncio.create_task(wait) for wait in waits]
    _, late = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in late:
        task.cancel()
