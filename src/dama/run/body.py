"""The body of a run: the function of its task, from its call until all that it began has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from dama.contained import contained, settled
from dama.run.sync_task import SyncTask
from dama.run.task import Task
from dama.run.threads import BlockingCall

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from dama.definitions.service import TaskDefinition
    from dama.run.execution import Execution


async def call_body(task: TaskDefinition[Any], execution: Execution) -> object:
    """Call the function of a task in this loop, or in a thread beside it; give its result as JSON.

    Raises:
        UnawaitedError: It has not awaited something that it asked for.
        BaseException: What it raised.
    """
    arguments = task.arguments(execution.claim.params)
    if task.is_async:
        with contained():
            value = await cast("Awaitable[Any]", task.function(Task(execution), **arguments))
    else:
        sync = SyncTask(execution)
        value = await execution.threads.call(BlockingCall(lambda: task.function(sync, **arguments)))
    value = await settled(value)
    await end_body(execution)
    return task.encode_result(value)


async def end_body(execution: Execution) -> None:
    """The function has returned: what is under way is completed, and nothing was forgotten.

    Raises:
        UnawaitedError: It has not awaited something that it asked for.
    """
    await execution.asks.refuse_forgotten()
    await execution.completed()
