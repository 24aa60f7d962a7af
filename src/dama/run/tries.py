"""Tries of a step: one that failed may be followed by others, within the same attempt of its task.

Each failure is an event, so that their number and the pause between two of them outlive the
process. What the parts of a step have recorded is theirs again in its next try.
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from dama.domain.retries import delay_after
from dama.errors import UnavailableError
from dama.run.patience import until_answered
from dama.run.waiting import Wait
from dama.run.waits import let_pass

if TYPE_CHECKING:
    from dama.definitions.step import StepOptions
    from dama.run.execution import Execution


async def is_tried_again(
    execution: Execution, key: str, options: StepOptions, error: Exception
) -> bool:
    """Record that a try has failed, if another one follows."""
    if not options.retries or isinstance(error, UnavailableError):
        return False
    journal = execution.journal
    number = journal.tries[key].count + 1 if key in journal.tries else 1
    delay = delay_after(options, number, error, random.random())
    if delay is None:
        return False
    epoch = execution.claim.epoch
    await execution.writer.write_failure(
        f"/{key}:FAILED",
        error,
        {"delay": round(delay, 3)},
        f"FAILED/{key}#{epoch}.{number}",
        attempt=number,
        failed_with=execution.writer.steps_of(error),
    )
    journal = await execution.recorded()
    execution.replay.again(key, [entry for entry in journal.entries if key in entry.within])
    return True


async def pause(execution: Execution, key: str) -> None:
    """Wait for what is left of the time between two tries; a long one needs no memory."""
    tries = execution.journal.tries.get(key)
    if tries is None or execution.writer.rehearsal:  # in a test it passes by itself
        return
    until = tries.failed_at + timedelta(seconds=tries.delay)
    wait = Wait(until=until)
    with execution.branches.at_rest(), execution.pending.waiting(wait):
        left = until - await until_answered(execution.store.now, execution.name)
        await let_pass(execution, left.total_seconds())
        wait.is_known = False  # until the function continues
