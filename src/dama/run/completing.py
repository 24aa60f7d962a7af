"""Completing: what an ask has come to is written, also for a function that is cancelled meanwhile.

Who is cancelled while the outcome is on its way to the database cannot take it back. The outcome is
waited for, the cancellation is delivered after it, and a record of its own says that the function
never got it: a replay cancels there as well. What is read once an outcome is recorded is read to
its end, and the cancellation comes at the next thing that the function awaits.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from dama.run.asking import asker
from dama.run.records import CANCELLED

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from dama.run.execution import Execution
    from dama.run.records import Asked

V = TypeVar("V")


async def completing(
    execution: Execution, key: str, asked: Asked, writing: Coroutine[Any, Any, V]
) -> V:
    """Write the outcome of an ask; a cancellation comes after it, and is recorded.

    Raises:
        CancelledError: The function was cancelled meanwhile.
    """
    task = asyncio.create_task(writing)
    if late := await _ended(execution, task):
        is_written = task.done() and not task.cancelled() and task.exception() is None
        if is_written and not execution.is_ending:  # who leaves memory gets it later
            await _ended(execution, asyncio.create_task(_note(execution, key, asked)))
        raise late
    return task.result()


async def kept(execution: Execution, reading: Coroutine[Any, Any, V]) -> V:
    """Read or do what belongs to an outcome that is recorded: a cancellation comes after it.

    The record was met, so that whoever asked for it gets it; nobody else will.

    Raises:
        CancelledError: The run ends, or a thread that asked for it does.
    """
    task, branch = asyncio.create_task(reading), asker.get()
    if late := await _ended(execution, task):
        if branch is None or execution.is_ending or not task.done() or task.cancelled():
            raise late
        branch.late = late
    return task.result()


async def note_if_recorded(execution: Execution, key: str, asked: Asked) -> None:
    """Something was cancelled that commits by itself: record that, if its commit was first."""

    async def look() -> None:
        if key in (await execution.recorded()).results:
            await _note(execution, key, asked)

    if not execution.is_ending:
        await _ended(execution, asyncio.create_task(look()))


async def _note(execution: Execution, key: str, asked: Asked) -> None:
    name = f"{CANCELLED}{key}"
    await execution.writer.write(f"/{name}:DONE", key=f"DONE/{name}", **asked.facts)


async def _ended(execution: Execution, task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """Wait until something has ended, and say how this was cancelled meanwhile.

    When the run ends it is not waited for, and is cancelled.
    """
    late: asyncio.CancelledError | None = None
    with execution.pending.acting(), execution.branches.at_work():
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                late = error
                if execution.is_ending:
                    task.add_done_callback(_look_at)
                    task.cancel()
                    break
    return late


def _look_at(task: asyncio.Task[Any]) -> None:
    """Nobody waits for it any more, and asyncio need not say that it has failed."""
    if not task.cancelled():
        task.exception()
