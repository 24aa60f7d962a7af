"""Ends: how a run learns that its subtasks have ended, at the same place of its history each time.

A function that does nothing else meanwhile can meet the end at one place only. Beside other
branches or a timer the end is recorded as it is met, so that a replay meets it between the same
events. Who is cancelled while it awaits a subtask of its own cancels that, too.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from dama.run.completing import completing, kept
from dama.run.errors import LostSignal, SubtaskError
from dama.run.patience import until_answered
from dama.run.records import END
from dama.run.steps import digest_of
from dama.run.subtasks import LOOK
from dama.run.waiting import Wait

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from dama.run.execution import Execution
    from dama.run.records import Asked
    from dama.store import Outcome

BESIDE = "a task beside it failed, and all were started to succeed together"
ABANDONED = "what awaited it was cancelled"


async def ends_of(
    execution: Execution, key: str, ids: Sequence[int], task: str, *, fail_fast: bool
) -> dict[int, Outcome]:
    """Wait for subtasks; no slot of the worker is held meanwhile.

    Args:
        execution: The run.
        key: What started them.
        ids: Their contexts.
        task: The name of their task.
        fail_fast: Whether one that has failed is enough.

    Raises:
        SubtaskError: One has failed for good; those that had not ended are cancelled.
        ParkSignal: It takes so long that the run should not stay in memory.
    """
    outcomes = await _known(execution, key, ids, fail_fast=fail_fast)
    execution.ended |= outcomes
    execution.met.update(outcomes)
    failed = _failed(outcomes)
    if fail_fast and failed is not None:
        left = [context_id for context_id in ids if context_id not in outcomes]
        if left:
            await kept(execution, cancel(execution, left, BESIDE))
        end = outcomes[failed]
        raise SubtaskError(failed, task, end.error, end.status)
    return outcomes


async def _known(
    execution: Execution, key: str, ids: Sequence[int], *, fail_fast: bool
) -> dict[int, Outcome]:
    bound, asked = bind_end(execution, key)
    first = ids
    if execution.replay.has(bound, "DONE"):
        with execution.pending.acting():
            await execution.replay.turn(bound, asked)
        failed = _recorded_failure(execution, bound) if fail_fast else None
        first = ids if failed is None else [failed]
        execution.met.update(first)
    if execution.met.issuperset(first):
        outcomes = await _met_before(execution, first)
        if len(outcomes) == len(first) and (first is ids or _failed(outcomes) is not None):
            return outcomes
    wait = Wait(awaited=tuple(ids), fail_fast=fail_fast)
    with execution.pending.waiting(wait):
        outcomes = await _awaited(execution, wait, first)
        if first is not ids and _failed(outcomes) is None:  # somebody has resumed it
            outcomes = await _awaited(execution, wait, ids)
        wait.is_known = False  # until the function continues
        has_choice = fail_fast and len(ids) > 1 and _failed(outcomes) is not None
        await met(execution, bound, asked, outcomes, has_choice=has_choice)
    return outcomes


def bind_end(execution: Execution, key: str) -> tuple[str, Asked]:
    """The key of the end of what a key has started; it is found in whichever branch awaits it."""
    args = digest_of(execution, (key,))
    return execution.bind("step", f"{END}{key.replace('#', '.')}", args=args)


async def met(
    execution: Execution,
    bound: str,
    asked: Asked,
    outcomes: Mapping[int, Outcome],
    *,
    has_choice: bool = False,
) -> None:
    """Come to the place of an end in the history, and record it where there could be another one.

    Args:
        execution: The run.
        bound: The key of the end.
        asked: As it was bound.
        outcomes: Of the subtasks.
        has_choice: Whether the outcome could be another one later.
    """
    if bound in execution.journal.results:
        return
    if any(_is_abandoned(outcome) for outcome in outcomes.values()):
        with execution.branches.at_rest():  # who awaits it is about to be cancelled again
            await execution.replay.stuck()
    is_alone = execution.branches.are_alone and len(execution.asked) <= 1
    if is_alone and not has_choice:
        return
    await execution.replay.last(asked)
    failed = _failed(outcomes)
    payload = None if failed is None else {"failed": failed}
    name = f"DONE/{bound}"
    writing = execution.writer.write(f"/{bound}:DONE", payload, key=name, **asked.facts)
    await completing(execution, bound, asked, writing)


@contextmanager
def owning(execution: Execution, key: str) -> Generator[None]:
    """Await subtasks: when the function cancels that, they are cancelled in the background."""
    try:
        yield
    except asyncio.CancelledError:
        if not execution.is_ending:
            execution.abandon(_abandon(execution, key))
        raise


async def cancel(execution: Execution, ids: Sequence[int], why: str) -> None:
    """Cancel subtasks of this run, and all below them; nothing for those that have ended.

    A singleton that was open before belongs to whoever started it.
    """
    claim, end = execution.claim, execution.store.cancel
    meta = {"epoch_of_parent": claim.epoch}
    await until_answered(lambda: end(ids, why, meta, parent=claim.context_id), execution.name)


async def _abandon(execution: Execution, key: str) -> None:
    with suppress(LostSignal):  # whoever has the run now does it
        subtasks = (await execution.recorded()).subtasks
        parts = [ids for name, ids in subtasks.items() if name.split("+")[0] == key]
        if ids := [context_id for part in parts for context_id in part]:
            await cancel(execution, ids, ABANDONED)


async def _met_before(execution: Execution, ids: Sequence[int]) -> dict[int, Outcome]:
    """Those of some subtasks that have ended; the function has come to the end of all of them."""
    ended = execution.ended
    if all(context_id in ended for context_id in ids):
        return {context_id: ended[context_id] for context_id in ids}
    return await kept(execution, looked_at(execution, ids))


async def looked_at(execution: Execution, ids: Sequence[int]) -> dict[int, Outcome]:
    """Those that have ended, which those with a record have unless somebody has resumed them."""
    found: dict[int, Outcome] = {}
    for place in range(0, len(ids), LOOK):
        window = ids[place : place + LOOK]
        found |= await until_answered(partial(execution.store.outcomes, window), execution.name)
    return found


async def _awaited(execution: Execution, wait: Wait, ids: Sequence[int]) -> dict[int, Outcome]:
    with execution.branches.at_rest():
        outcomes = await execution.endings.wait(
            ids, execution.pending, fail_fast=wait.fail_fast, found=wait.ends
        )
        if outcomes is None:
            execution.park()
        return outcomes


def _failed(outcomes: Mapping[int, Outcome]) -> int | None:
    """The subtask that failed; what was cancelled for the sake of a failure is not it."""
    for status in ("ERROR", "CANCELLED"):
        for context_id, outcome in sorted(outcomes.items()):
            if outcome.status == status:
                return context_id
    return None


def _recorded_failure(execution: Execution, bound: str) -> int | None:
    recorded: dict[str, Any] | None = execution.journal.results[bound]
    return recorded["failed"] if recorded else None


def _is_abandoned(outcome: Outcome) -> bool:
    return outcome.status == "CANCELLED" and (outcome.error or {}).get("message") == ABANDONED
