"""The body of a run: the function of its task, from its call until all that it began has ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from dama.beside import beside
from dama.contained import contained, settled
from dama.run.decorated import calling
from dama.run.errors import ParkSignal
from dama.run.sync_task import SyncTask
from dama.run.task import Task
from dama.run.threads import BlockingCall

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dama.definitions.task import TaskDefinition
    from dama.run.execution import Execution


async def call_body(task: TaskDefinition[Any], execution: Execution) -> object:
    """Call the function of a task in this loop, or in a thread; return its result as JSON.

    Raises:
        UnawaitedError: It has not awaited something that it asked for.
        BaseException: What it raised.
    """
    try:
        value = await _called(task, execution)
    except BaseException as error:
        if end := end_beyond(execution, error):
            raise end from error
        await _abandoned(execution)
        raise
    await end_body(execution)
    return await beside(value, task.encode_result, value)


def end_beyond(execution: Execution, error: BaseException | None) -> BaseException | None:
    """What ends the run whatever its function makes of it: it may catch it for one of its own."""
    end = ParkSignal() if execution.is_parking else execution.replay.diverged
    return None if end is error or isinstance(error, type(end)) else end


async def _called(task: TaskDefinition[Any], execution: Execution) -> object:
    params = execution.claim.params
    arguments = await beside(params, task.arguments, params)
    stub = execution.writer.rehearsal and execution.writer.rehearsal.stand_in(task.name)
    if stub:
        return await settled(stub(**arguments))
    with execution.branches.body(is_threaded=not task.is_async), calling(execution):
        if task.is_async:
            with contained():
                value = await cast("Awaitable[Any]", task.function(Task(execution), **arguments))
        else:
            sync = SyncTask(execution)
            call = BlockingCall(lambda: task.function(sync, **arguments))
            value = await execution.threads.call(call)
        return await settled(value)


async def end_body(execution: Execution) -> None:
    """The function has returned: what is under way is completed, and nothing was forgotten.

    Raises:
        UnawaitedError: It has not awaited something that it asked for.
        DivergedError: It has left out something that is recorded.
        ParkSignal: It leaves memory, and its function has caught that.
    """
    if end := end_beyond(execution, None):
        raise end
    await execution.asks.refuse_forgotten()
    await execution.pending.completed()
    await _abandoned(execution)
    execution.replay.refuse_left()


async def _abandoned(execution: Execution) -> None:
    """What the function has ceased to wait for ends before its run does."""
    if execution.abandoned and not execution.is_ending:
        await asyncio.wait([*execution.abandoned])
