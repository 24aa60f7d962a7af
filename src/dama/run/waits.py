"""Waits: for a time, or for a signal. They outlive the process, and long ones need no memory.

A wait begins with an event, so that its time counts from there in every later run, by the clock of
the database; it ends with another that holds what came of it. A wait beyond a threshold parks the
run: it unwinds, and is queued again when the time has come or the signal is there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from dama import clock
from dama.contained import contained
from dama.definitions.errors import InvalidAnswerError
from dama.definitions.form import Form
from dama.domain.event import ABSENT
from dama.run.completing import completing
from dama.run.errors import TaskUsageError
from dama.run.patience import until_answered
from dama.run.waiting import Wait

if TYPE_CHECKING:
    from datetime import datetime

    from dama.domain.journal import Signal
    from dama.run.execution import Execution
    from dama.run.records import Asked

SIGNAL_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Sought:
    """The signal that a wait is for.

    Attributes:
        types: Its type is one of them.
        form: What its payload must be; None for anything.
        forms: The same for some of the types only; empty where one is for all.
        where: Whether a payload is the one, in the type of the form; None for the first.
        tells: Whether the end of the wait says which signal it was, and who wrote it.
    """

    types: tuple[str, ...]
    form: Form | None = None
    where: Callable[[Any], object] | None = None
    tells: bool = False
    forms: Mapping[str, Form] = field(default_factory=dict[str, Form])

    def read(self, type_: str, payload: object) -> Any:
        """A payload in the type of the form."""
        form = self.forms.get(type_, self.form)
        return payload if form is None else form.read(f"The event {type_}", payload)

    def is_met(self, type_: str, payload: object) -> bool:
        """Whether a payload is the one.

        Raises:
            InvalidAnswerError: It does not fit the form.
            TaskUsageError: `where` is a coroutine function.
        """
        value = self.read(type_, payload)
        if self.where is None:
            return True
        with contained():
            found = self.where(value)
        if asyncio.iscoroutine(found):
            found.close()
            raise TaskUsageError("The `where` of a wait is an `async def`: write a plain function.")
        return bool(found)


async def sleep(execution: Execution, name: str, seconds: float) -> None:
    """Let a time pass, once however often the run is replayed."""
    key, asked = execution.bind("wait", name)
    begun = await begin(execution, key, asked, {"seconds": seconds})
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
        writing = execution.writer.write(f"/{key}:DONE", key=f"DONE/{key}", **asked.facts)
        await completing(execution, key, asked, writing)


async def received(
    execution: Execution, sought: Sought, timeout: float | None
) -> dict[str, Any] | None:
    """Wait for a signal; what the end of the wait has recorded, None when none came in time."""
    key, asked = execution.bind("wait", f"wait:{'|'.join(sought.types)}")
    begun = await begin(execution, key, asked, opening(sought, timeout))
    until = None if timeout is None else begun + timedelta(seconds=timeout)
    return await ended(execution, key, asked, sought, until)


def opening(sought: Sought, timeout: float | None) -> dict[str, Any]:
    """The payload of the event that begins a wait."""
    one, *others = sought.types
    payload: dict[str, Any] = {"types": [one, *others]} if others else {"type": one}
    payload["timeout"] = timeout
    if sought.form is not None:
        payload["form"] = sought.form.schema
    if sought.forms:
        payload["forms"] = {type_: form.schema for type_, form in sought.forms.items()}
    return payload


async def begin(execution: Execution, key: str, asked: Asked, payload: dict[str, Any]) -> datetime:
    """When the wait began, in this run or in an earlier one."""
    with execution.pending.acting():
        await execution.replay.turn(key, asked)
        waits = execution.journal.waits
        if key not in waits:
            await execution.writer.write(
                f"/{key}:WAITING", payload, key=f"WAITING/{key}", **asked.facts
            )
            await execution.recorded()
        return waits[key]


async def ended(
    execution: Execution,
    key: str,
    asked: Asked,
    sought: Sought,
    until: datetime | None,
    lapse: dict[str, Any] | None = None,
) -> dict[str, Any] | None:
    """What came of a wait that has begun, in this run or in an earlier one.

    Args:
        execution: Of the run.
        key: Of the wait.
        asked: How the function asked for it.
        sought: What it is for.
        until: When it ends by itself.
        lapse: What is recorded then.
    """
    if execution.replay.has(key, "DONE"):
        with execution.pending.acting():
            await execution.replay.turn(key, asked)
        result: dict[str, Any] | None = execution.journal.results[key]
        return result
    wait = Wait(types=sought.types, until=until, is_known=False)
    with execution.branches.at_rest(), execution.pending.waiting(wait):
        found = await _signal(execution, wait, sought)
        wait.is_known = False  # until the function continues
        try:
            await execution.replay.turn(key, asked)
        except asyncio.CancelledError:
            if found is not None:
                _give_back(execution, found)
            raise
        result = lapse
        meta = asked.facts
        if found is not None:
            result = _told(found, sought)
            meta["signal"] = found.version
        writing = execution.writer.write(f"/{key}:DONE", result, key=f"DONE/{key}", **meta)
        await completing(execution, key, asked, writing)
    return result


def _give_back(execution: Execution, signal: Signal) -> None:
    """A wait that had taken a signal was cancelled: another one gets it."""
    execution.journal.give_back(signal)
    for wait in execution.pending.waits:
        wait.seen = min(wait.seen, signal.version - 1)


def _told(signal: Signal, sought: Sought) -> dict[str, Any]:
    told: dict[str, Any] = {} if signal.payload is ABSENT else {"payload": signal.payload}
    if sought.tells:
        told |= {"type": signal.type, "by": signal.by, "event_id": signal.event_id}
    return told


async def let_pass(execution: Execution, seconds: float) -> None:
    """Let a time pass; the run leaves memory as soon as nothing else keeps it there."""
    end = clock.monotonic() + seconds
    while (left := end - clock.monotonic()) > 0:
        if left > execution.pending.park_after and await execution.pending.may_park():
            execution.park()
        await clock.sleep(min(left, SIGNAL_POLL_SECONDS))


async def _signal(execution: Execution, wait: Wait, sought: Sought) -> Signal | None:
    """The next signal that no wait has taken; None when the time was over first."""
    begun = clock.monotonic()
    while True:
        recorded = await execution.recorded()
        unfit: dict[int, InvalidAnswerError] = {}
        fits = partial(_fits, sought=sought, looked=wait.seen, unfit=unfit)
        found = recorded.take_signal(sought.types, fits)
        wait.seen, wait.is_known = recorded.version, True
        await _tell_unfit(execution, unfit)
        if found is not None:
            return found
        now = await until_answered(execution.store.now, execution.name)
        if wait.until is not None and now >= wait.until:
            return None
        if (
            clock.monotonic() - begun >= execution.pending.park_after
            and await execution.pending.may_park()
        ):
            execution.park()
        await asyncio.sleep(SIGNAL_POLL_SECONDS)


def _fits(signal: Signal, sought: Sought, looked: int, unfit: dict[int, Any]) -> bool:
    """Whether a signal that came after the last look is the one."""
    if signal.version <= looked:
        return False
    try:
        return sought.is_met(signal.type, signal.payload)
    except InvalidAnswerError as error:
        unfit[signal.event_id] = error
        return False


async def _tell_unfit(execution: Execution, unfit: Mapping[int, InvalidAnswerError]) -> None:
    """Say once of each event that it is no answer: it came past the door that refuses such."""
    for event_id, error in unfit.items():
        key = f"LOG/unfit/{event_id}"
        if key not in execution.journal.sent:
            line = {"message": f"Event {event_id} is no answer. {error}", "level": "warning"}
            await execution.writer.write(":LOG", line, key=key)
