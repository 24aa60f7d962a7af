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
from dama.run.errors import WaitTimeoutError
from dama.run.patience import until_answered
from dama.run.waiting import Wait

if TYPE_CHECKING:
    from datetime import datetime

    from dama.domain.journal import Signal
    from dama.run.execution import Execution
    from dama.run.replay import Asked

SIGNAL_POLL_SECONDS = 0.5


async def sleep(execution: Execution, name: str, seconds: float) -> None:
    """Let a time pass, once however often the run is replayed."""
    key, asked = execution.bind("wait", name)
    begun = await _begin(execution, key, asked, {"seconds": seconds})
    if execution.replay.has(key, "DONE"):
        with execution.pending.acting():
            await execution.replay.turn(key, asked)
        return
    wait = Wait(is_known=False)
    with execution.branches.at_rest(), execution.pending.waiting(wait):
        wait.until = begun + timedelta(seconds=seconds)
        wait.is_known = True
        left = wait.until - await until_answered(execution.store.now, execution.name)
        await let_pass(execution, left.total_seconds())
        wait.is_known = False  # until the function continues
        await execution.replay.turn(key, asked)
        await execution.writer.write(f"/{key}:DONE", key=f"DONE/{key}", args=asked.args)


async def wait_for(execution: Execution, type_: str, timeout: float | None) -> Any:
    """Wait for an event from outside the run; see `Task.wait_for`."""
    key, asked = execution.bind("wait", f"wait:{type_}")
    begun = await _begin(execution, key, asked, {"type": type_, "timeout": timeout})
    if execution.replay.has(key, "DONE"):
        with execution.pending.acting():
            await execution.replay.turn(key, asked)
        result: dict[str, Any] | None = execution.journal.results[key]
    else:
        until = None if timeout is None else begun + timedelta(seconds=timeout)
        wait = Wait(type=type_, until=until, is_known=False)
        result = await _awaited(execution, wait, key, asked)
    if result is None:
        raise WaitTimeoutError(execution.claim.context_id, type_, timeout or 0)
    return result.get("payload", ABSENT)


async def _awaited(
    execution: Execution, wait: Wait, key: str, asked: Asked
) -> dict[str, Any] | None:
    """What a signal holds, once the end of the wait is recorded."""
    with execution.branches.at_rest(), execution.pending.waiting(wait):
        found = await _signal(execution, wait, wait.type or "")
        wait.is_known = False  # until the function continues
        await execution.replay.turn(key, asked)
        result: dict[str, Any] | None = None
        meta: dict[str, Any] = {"args": asked.args}
        if found is not None:
            result = {} if found.payload is ABSENT else {"payload": found.payload}
            meta["signal"] = found.version
        await execution.writer.write(f"/{key}:DONE", result, key=f"DONE/{key}", **meta)
    return result


async def _begin(execution: Execution, key: str, asked: Asked, payload: dict[str, Any]) -> datetime:
    """When the wait began, in this run or in an earlier one."""
    with execution.pending.acting():
        await execution.replay.turn(key, asked)
        waits = execution.journal.waits
        if key not in waits:
            await execution.writer.write(
                f"/{key}:WAITING", payload, key=f"WAITING/{key}", args=asked.args
            )
            await execution.recorded()
        return waits[key]


async def let_pass(execution: Execution, seconds: float) -> None:
    """Let a time pass; the run leaves memory as soon as nothing else keeps it there."""
    end = clock.monotonic() + seconds
    while (left := end - clock.monotonic()) > 0:
        if left > execution.pending.park_after and execution.pending.may_park():
            execution.park()
        await clock.sleep(min(left, SIGNAL_POLL_SECONDS))


async def _signal(execution: Execution, wait: Wait, type_: str) -> Signal | None:
    """The next signal that no wait has taken; None when the time was over first."""
    begun = clock.monotonic()
    while True:
        recorded = await execution.recorded()
        wait.seen, wait.is_known = recorded.version, True
        found = recorded.take_signal(type_)
        if found is not None:
            return found
        now = await until_answered(execution.store.now, execution.name)
        if wait.until is not None and now >= wait.until:
            return None
        if (
            clock.monotonic() - begun >= execution.pending.park_after
            and execution.pending.may_park()
        ):
            execution.park()
        await asyncio.sleep(SIGNAL_POLL_SECONDS)
