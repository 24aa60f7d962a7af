"""Reads: what a task reads of its own context is what it read at that place of its history.

A state depends on what the run has recorded, which a replay meets again in its order, and on events
from outside, which may come at any time. A read that has seen one of those is recorded.
"""

from __future__ import annotations

import random
import uuid
from datetime import datetime  # noqa: TC003 - the result of a step is read by it
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from dama.run.completing import completing, kept
from dama.run.patience import until_answered
from dama.run.steps import do_step
from dama.store import earlier

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.domain.slice import Slice
    from dama.run.execution import Execution

S = TypeVar("S")


async def read_state(execution: Execution, slice_: Slice[S]) -> S:
    """The state of a slice at the place that the function has come to."""
    key, asked = execution.bind("step", execution.count_read(slice_.name))
    replay = execution.replay
    at = replay.event_id(key)
    with execution.pending.acting():
        if at is not None:
            await replay.turn(key, asked)
        elif not replay.is_over:
            at = replay.position or execution.journal.began
    if at is not None:
        return await kept(execution, _state(execution, slice_, at))
    state = await _state(execution, slice_, None)
    if not (await execution.recorded()).has_news:
        return state
    with execution.pending.acting():
        writing = execution.writer.write(f"/{key}:DONE", key=f"DONE/{key}", **asked.facts)
        appended = await completing(execution, key, asked, writing)
    return await kept(execution, _state(execution, slice_, appended.event_id))


async def read_previous(execution: Execution, slice_: Slice[S], key: str | None) -> S:
    """The state at the end of the last run with events of the slice, the initial one without."""
    task = execution.registry.task(execution.claim.task)
    wanted, defaults = task.key_params(key, execution.claim.params)
    found: list[int] | None = await do_step(
        execution,
        f"previous:{slice_.name}",
        partial(_find, types=slice_.types),
        execution,
        wanted,
        defaults,
        transactional=False,
    )
    if found is None:
        return slice_.initial
    context_id, event_id = found
    fold = earlier.state_of
    reading = until_answered(
        lambda: fold(execution.store, context_id, slice_, event_id), execution.name
    )
    return await kept(execution, reading)


async def _find(
    execution: Execution,
    wanted: Mapping[str, Any],
    defaults: Mapping[str, Any],
    *,
    types: frozenset[str] | None,
) -> list[int] | None:
    names = execution.registry.task(execution.claim.task).names
    context_id, database = execution.claim.context_id, execution.store.database
    return await until_answered(
        lambda: earlier.find(database, names, context_id, wanted, defaults, types), execution.name
    )


async def _state(execution: Execution, slice_: Slice[S], at: int | None) -> S:
    read = execution.store.state
    context_id = execution.claim.context_id
    return await until_answered(lambda: read(context_id, slice_, at), execution.name)


async def time_of(execution: Execution) -> datetime:
    """The time, by the clock of the database."""
    return await until_answered(execution.store.now, execution.name)


async def random_number() -> float:
    """At least 0 and below 1."""
    return random.random()


async def random_uuid() -> uuid.UUID:
    """A new one."""
    return uuid.uuid4()
