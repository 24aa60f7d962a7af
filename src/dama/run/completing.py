"""Completing: what an ask has come to is written, also for a function that is cancelled meanwhile.

Who is cancelled while the outcome is on its way to the database cannot take it back. The outcome is
waited for, the cancellation is delivered after it, and a record of its own says that the function
never got it: a replay cancels there as well.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from dama.run.records import CANCELLED

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from dama.run.execution import Execution
    from dama.run.records import Asked

V = TypeVar("V")

PAUSE = 0.5


async def completing(
    execution: Execution, key: str, asked: Asked, writing: Coroutine[Any, Any, V]
) -> V:
    """Write the outcome of an ask; a cancellation comes after it, and is recorded.

    Raises:
        CancelledError: The function was cancelled meanwhile.
    """
    task = asyncio.create_task(writing)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        if await _is_done(execution, task):
            await _is_done(execution, asyncio.create_task(_note(execution, key, asked)))
        raise


async def note_if_recorded(execution: Execution, key: str, asked: Asked) -> None:
    """Something was cancelled that commits by itself: record that, if its commit was first."""

    async def look() -> None:
        if key in (await execution.recorded()).results:
            await _note(execution, key, asked)

    if not execution.is_ending:
        await _is_done(execution, asyncio.create_task(look()))


async def _note(execution: Execution, key: str, asked: Asked) -> None:
    name = f"{CANCELLED}{key}"
    await execution.writer.write(f"/{name}:DONE", key=f"DONE/{name}", **asked.facts)


async def _is_done(execution: Execution, task: asyncio.Task[Any]) -> bool:
    """Wait for it, however often this is cancelled, and say whether it has succeeded."""
    with execution.pending.acting():
        while not task.done() and not execution.is_ending:
            with suppress(asyncio.CancelledError):
                await asyncio.wait([task], timeout=PAUSE)
    if not task.done():
        task.cancel()
        return False
    return not task.cancelled() and task.exception() is None
