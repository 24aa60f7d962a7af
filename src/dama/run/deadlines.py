"""Deadlines of subtasks: a durable time in which one must end, and its cancellation.

The time counts from the event that started the subtask, in every run. One that has not ended by
then is cancelled; the failure is recorded, so that a later run takes the same way.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from dama import clock
from dama.run.completing import kept
from dama.run.ends import bind_end, cancel, looked_at, met
from dama.run.errors import SubtaskError
from dama.run.patience import until_answered
from dama.run.steps import failed_again, note_failure
from dama.run.waiting import Wait

if TYPE_CHECKING:
    from dama.run.execution import Execution
    from dama.run.pending import Pending
    from dama.run.records import Asked
    from dama.store import Outcome


async def outcome_within(
    execution: Execution, key: str, asked: Asked, context_id: int, seconds: float
) -> Outcome:
    """How a subtask has ended, in so many seconds from its start.

    Raises:
        TimeoutError: It has not, and was cancelled.
        SubtaskError: It failed for good or was cancelled.
    """
    if execution.replay.has(key, "FAILED"):
        with execution.pending.acting():
            await execution.replay.turn(key, asked)
            error = failed_again(execution, key)
            await kept(execution, _cancel_late(execution, context_id, seconds))
            raise error
    found: dict[int, Outcome] = {}
    bound, end_asked = bind_end(execution, key)
    if execution.replay.has(bound, "DONE"):
        with execution.pending.acting():
            await execution.replay.turn(bound, end_asked)
        found = await kept(execution, looked_at(execution, [context_id]))
    outcome = found.get(context_id) or await _awaited(execution, key, context_id, seconds)
    if outcome is None or _was_late(outcome, seconds):
        await execution.replay.last(asked)
        with execution.pending.acting():
            error = TimeoutError(
                f"{asked.name} (context {context_id}) did not end within {seconds:g} s "
                "and was cancelled."
            )
            await note_failure(execution, key, error, asked)
            await kept(execution, _cancel_late(execution, context_id, seconds))
            raise error
    await met(execution, bound, end_asked, {context_id: outcome})
    if outcome.status != "DONE":
        raise SubtaskError(context_id, asked.name, outcome.error, outcome.status)
    return outcome


async def _cancel_late(execution: Execution, context_id: int, seconds: float) -> None:
    """Cancel it once its failure is recorded: a run that dies in between does it again."""
    await cancel(execution, [context_id], _lateness(seconds))


def _was_late(outcome: Outcome, seconds: float) -> bool:
    """Whether an earlier attempt has cancelled it for that: it failed for the same reason."""
    why = (outcome.error or {}).get("message")
    return outcome.status == "CANCELLED" and why == _lateness(seconds)


def _lateness(seconds: float) -> str:
    return f"it did not end within {seconds:g} s"


async def _awaited(
    execution: Execution, key: str, context_id: int, seconds: float
) -> Outcome | None:
    begun = (await execution.recorded()).spawned_at[key]
    until = begun + timedelta(seconds=seconds)
    left = (until - await until_answered(execution.store.now, execution.name)).total_seconds()
    deadline = clock.monotonic() + left
    wait = Wait(awaited=(context_id,), fail_fast=True, until=until)
    with execution.branches.at_rest(), execution.pending.waiting(wait):
        parking = _Until(execution.pending, deadline, left)
        found = await execution.endings.wait([context_id], parking, fail_fast=True)
        if found is None and clock.monotonic() < deadline:
            execution.park()
    return found[context_id] if found else None


class _Until:
    """Leave the wait when its time is over, or when the run may leave memory."""

    def __init__(self, pending: Pending, deadline: float, left: float) -> None:
        self.park_after = min(pending.park_after, max(left, 0.0))
        self._pending = pending
        self._deadline = deadline

    async def may_park(self) -> bool:
        return clock.monotonic() >= self._deadline or await self._pending.may_park()
