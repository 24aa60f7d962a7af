"""`dama workers`: who executes runs now."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from dama.cli.group import examples, json_option
from dama.cli.output import print_json, print_table
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from dama.cli.session import Session
    from dama.store.queue_rows import WorkerRow


@click.command(epilog=examples("dama workers", "dama workers --json"))
@json_option()
@click.pass_obj
def workers(session: Session, *, as_json: bool) -> None:
    """List the workers: where they run, what they claim, how busy they are."""
    from dama.operations import queues

    async def read() -> list[WorkerRow]:
        async with session.app() as app:
            return await queues.workers(app)

    rows = asyncio.run(read())
    if as_json:
        print_json(rows)
    elif not rows:
        echo("No worker is running. Start one with: dama worker")
    else:
        print_table(
            ["worker", "process", "version", "runs", "since", "alive", "queues", "labels"],
            [
                [
                    row.worker_id,
                    f"{row.host}:{row.pid}",
                    row.version,
                    f"{row.running} of {row.slots}",
                    row.started_at,
                    "yes" if row.alive else "no",
                    ", ".join(row.queues),
                    ", ".join(row.labels) or "-",
                ]
                for row in rows
            ],
        )
