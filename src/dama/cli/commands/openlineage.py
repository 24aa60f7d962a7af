"""`dama openlineage`: send what runs read and wrote to where it is collected."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples
from dama.cli.terminal import echo
from dama.counts import number_of

if TYPE_CHECKING:
    from dama.cli.session import Session


@click.command(
    epilog=examples(
        "dama openlineage --once",
        "dama openlineage --all --once      also what was before",
    )
)
@click.option("--once", is_flag=True, help="End when all that is committed now is sent.")
@click.option(
    "--all",
    "from_beginning",
    is_flag=True,
    help="When nothing was ever sent, begin with the oldest event and not with the next one.",
)
@click.pass_obj
def openlineage(session: Session, *, once: bool, from_beginning: bool) -> None:
    """Send events of OpenLineage, until Ctrl-C.

    Workers and `dama up` send them by themselves where the settings have [openlineage]; this is for
    where none runs. Each event is sent once, whoever sends; after a crash the last ones are sent
    again, with the same ids.
    """
    from dama.operations import openlineage as verbs
    from dama.telemetry import configure_log

    configure_log()

    sent: list[int] = []

    async def send() -> None:
        async with session.app() as app:
            await verbs.send(app, once=once, from_beginning=from_beginning, sent=sent.append)

    asyncio.run(send())
    count = sum(sent)
    echo(f"Sent {number_of(count, 'event')}.", err=True)
