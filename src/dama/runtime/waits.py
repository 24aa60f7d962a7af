"""Waits: for a time, or for a signal. They outlive the process, and long ones need no memory.

A wait begins with an event, so that its time counts from there in every later run, by the clock of
the database; it ends with another that holds what came of it. A wait beyond a threshold parks the
run: it unwinds, and is queued again when the time has come or the signal is there.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from dama import clock
from dama.domain.event import ABSENT
from dama.domain.outcome import Waiting
from dama.runtime.errors import ParkSignal, WaitTimeoutError
from dama.runtime.patience import until_answered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.runtime.execution import Execution

SIGNAL_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Wait:
    """What would end a wait.

    Attributes:
        awaited: The contexts of subtasks: all of them must have ended.
        fail_fast: One of them that has failed is enough.
        until: When it ends by itself; None for never.
        type: The type of the signal.
    """

    awaited: tuple[int, ...] = ()
    fail_fast: bool = False
    until: datetime | None = None
    type: str | None = None


def parking(waits: Sequence[Wait], seen: int) -> Waiting:
    """What wakes a run that waits for several things at once: the first of them."""
    untils = [wait.until for wait in waits if wait.until is not None]
    return Waiting(
        awaited=sorted({context_id for wait in waits for context_id in wait.awaited}),
        on_failure=any(wait.fail_fast for wait in waits),
        until=min(untils, default=None),
        types=[wait.type for wait in waits if wait.type],
        seen=seen,
    )


async def sleep(execution: Execution, name: str, seconds: float) -> None:
    """Let a time pass, once however often the run is replayed."""
    key = execution.key(name)
    if key in execution.journal.results:
        return
    begun = await _begin(execution, key, {"seconds": seconds})
    until = begun + timedelta(seconds=seconds)
    wait = Wait(until=until)
    with execution.waiting(wait):
        left = (until - await until_answered(execution.store.now, execution.name)).total_seconds()
        if left > execution.park_after and execution.may_park():
            raise ParkSignal
        await clock.sleep(max(left, 0))
    await execution.write(f"/{key}:DONE", key=f"DONE/{key}")


async def wait_for(execution: Execution, type_: str, timeout: float | None) -> Any:  # noqa: ANN401, ASYNC109 - any JSON; a durable time-out
    """Wait for an event from outside the run; see `Task.wait_for`."""
    key = execution.key(f"wait:{type_}")
    results = execution.journal.results
    if key not in results:
        begun = await _begin(execution, key, {"type": type_, "timeout": timeout})
        until = None if timeout is None else begun + timedelta(seconds=timeout)
        with execution.waiting(Wait(until=until, type=type_)):
            results[key] = await _signal(execution, type_, until)
        await execution.write(f"/{key}:DONE", results[key], key=f"DONE/{key}")
    result = results[key]
    if result is None:
        raise WaitTimeoutError(execution.claim.context_id, type_, timeout or 0)
    execution.signals_taken[type_] += 1
    return result.get("payload", ABSENT)


async def _begin(execution: Execution, key: str, payload: dict[str, Any]) -> datetime:
    """When the wait began, in this run or in an earlier one."""
    waits = execution.journal.waits
    if key not in waits:
        await execution.write(f"/{key}:WAITING", payload, key=f"WAITING/{key}")
        waits |= (await execution.recorded()).waits
    return waits[key]


async def _signal(
    execution: Execution, type_: str, until: datetime | None
) -> dict[str, Any] | None:
    """The next signal that was not taken yet; None when the time was over first."""
    begun = clock.monotonic()
    number = execution.signals_taken[type_]
    while True:
        found = (await execution.recorded()).signals.get(type_, [])
        if len(found) > number:
            payload = found[number]
            return {} if payload is ABSENT else {"payload": payload}
        now = await until_answered(execution.store.now, execution.name)
        if until is not None and now >= until:
            return None
        if clock.monotonic() - begun >= execution.park_after and execution.may_park():
            raise ParkSignal
        await asyncio.sleep(SIGNAL_POLL_SECONDS)
