"""Waits: for a time, or for a signal. They outlive the process, and long ones need no memory.

A wait begins with an event, so that its time counts from there in every later run, by the clock of
the database; it ends with another that holds what came of it. A wait beyond a threshold parks the
run: it unwinds, and is queued again when the time has come or the signal is there.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dama import clock
from dama.domain.event import ABSENT
from dama.run.errors import ParkSignal, WaitTimeoutError
from dama.run.patience import until_answered
from dama.run.waiting import Wait

if TYPE_CHECKING:
    from datetime import datetime

    from dama.run.execution import Execution

SIGNAL_POLL_SECONDS = 0.5


async def sleep(execution: Execution, name: str, seconds: float) -> None:
    """Let a time pass, once however often the run is replayed."""
    key = execution.key(name)
    if key in execution.journal.results:
        return
    wait = Wait(is_known=False)
    with execution.waiting(wait):
        begun = await _begin(execution, key, {"seconds": seconds})
        wait.until = begun + timedelta(seconds=seconds)
        wait.is_known = True
        left = wait.until - await until_answered(execution.store.now, execution.name)
        await _pass(execution, left.total_seconds())
        wait.is_known = False  # until the function continues
        await execution.write(f"/{key}:DONE", key=f"DONE/{key}")


async def wait_for(execution: Execution, type_: str, timeout: float | None) -> Any:  # noqa: ANN401, ASYNC109 - any JSON; a durable time-out
    """Wait for an event from outside the run; see `Task.wait_for`."""
    key = execution.key(f"wait:{type_}")
    results = execution.journal.results
    if key not in results:
        wait = Wait(type=type_, is_known=False)
        with execution.waiting(wait):
            begun = await _begin(execution, key, {"type": type_, "timeout": timeout})
            wait.until = None if timeout is None else begun + timedelta(seconds=timeout)
            results[key] = await _signal(execution, wait, type_)
            wait.is_known = False  # until the function continues
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


async def _pass(execution: Execution, seconds: float) -> None:
    """Let a time pass; the run leaves memory as soon as nothing else keeps it there."""
    end = clock.monotonic() + seconds
    while (left := end - clock.monotonic()) > 0:
        if left > execution.park_after and execution.may_park():
            raise ParkSignal
        await clock.sleep(min(left, SIGNAL_POLL_SECONDS))


async def _signal(execution: Execution, wait: Wait, type_: str) -> dict[str, Any] | None:
    """The next signal that was not taken yet; None when the time was over first."""
    begun = clock.monotonic()
    number = execution.signals_taken[type_]
    while True:
        recorded = await execution.recorded()
        wait.seen, wait.is_known = recorded.version, True
        found = recorded.signals.get(type_, [])
        if len(found) > number:
            payload = found[number]
            return {} if payload is ABSENT else {"payload": payload}
        now = await until_answered(execution.store.now, execution.name)
        if wait.until is not None and now >= wait.until:
            return None
        if clock.monotonic() - begun >= execution.park_after and execution.may_park():
            raise ParkSignal
        await asyncio.sleep(SIGNAL_POLL_SECONDS)
