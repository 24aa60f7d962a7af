"""What `dama run` leaves to others, and nobody is there for: said once for each."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from dama.cli.board import ENDED
from dama.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from dama.app import App
    from dama.cli.board import Board

LOOK_SECONDS = 2.0
PATIENCE_LOOKS = 2


@asynccontextmanager
async def unserved_told(app: App, board: Board) -> AsyncGenerator[None]:
    """Say within the block which runs of a tree no live worker would claim."""
    telling = asyncio.create_task(_tell_always(app, board))
    try:
        yield
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


async def _tell_always(app: App, board: Board) -> None:
    from dama.operations import queues

    seen: dict[str, int] = {}
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        with suppress(Exception):  # who executes the run says what is wrong with the database
            queued = [row.context_id for row in board.rows.values() if row.status not in ENDED]
            found = await queues.without_worker(app, queued)
            for task in set(found.values()):
                seen[task] = seen.get(task, 0) + 1
                if seen[task] == PATIENCE_LOOKS:
                    echo(_text(task, [key for key in found if found[key] == task]), err=True)


def _text(task: str, contexts: list[int]) -> str:
    return (
        f"{task} waits for a worker with its labels, and no live one has them: "
        f"`dama queue why {contexts[0]}` says which. `dama run --here` executes it here."
    )
