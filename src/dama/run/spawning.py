"""Spawning: subtasks are started once, recorded in the transaction that creates them."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from dama import clock
from dama.counts import number_of
from dama.errors import UnavailableError
from dama.run.completing import completing
from dama.run.errors import LostSignal, TaskUsageError
from dama.run.patience import until_answered
from dama.run.starts import given_params
from dama.shapes import Json, is_whole
from dama.store.errors import (
    IdempotencyConflictError,
    LifeCycleError,
    StaleEpochError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.definitions.service import TaskDefinition
    from dama.run.execution import Execution
    from dama.run.records import Asked
    from dama.store import Start

SPAWN_PAUSE = 0.2

_log = logging.getLogger("dama.worker")


async def spawn(execution: Execution, key: str, starts: Sequence[Start], asked: Asked) -> list[int]:
    """Start subtasks once; give their ids.

    Raises:
        LostSignal: The run was taken over.
        DivergedError: Others were started with the key.
    """
    digest = recorded_digest(execution, starts)
    is_forgiven = execution.replay.is_forgiven(key)
    await execution.replay.turn(key, asked)
    known = execution.journal.subtasks.get(key)
    if known is not None:
        if execution.journal.spawned.get(key, digest) != digest and not is_forgiven:
            execution.replay.diverge(*await _difference(execution, key, known, starts))
        return known
    await execution.begin_new(asked)
    with execution.pending.acting():
        spawning = _spawn(execution, key, starts, digest, asked)
        return await completing(execution, key, asked, spawning)


async def _spawn(
    execution: Execution, key: str, starts: Sequence[Start], digest: str, asked: Asked
) -> list[int]:
    await execution.writer.is_started()
    facts: dict[str, Json] = {**asked.facts, "spawned": digest}
    facts.pop("args")  # which are the digest
    spawned = execution.writer.event(f"/{key}:SPAWNED", key=f"SPAWNED/{key}", **facts).event
    parent = execution.claim.context_id
    while True:
        try:
            ids = await execution.store.start(starts, parent=parent, spawned=spawned)
        except (StaleEpochError, LifeCycleError) as error:
            raise LostSignal from error
        except IdempotencyConflictError:
            # An earlier try, whose connection was lost, has committed while this one waited.
            ids = (await execution.recorded()).subtasks.get(key)
            if ids is None:
                raise
        except UnavailableError as error:
            _log.warning("%s starts subtasks later: %s", execution.name, error)
            await clock.sleep(SPAWN_PAUSE)
            ids = (await execution.recorded()).subtasks.get(key)
            if ids is None:
                continue
        execution.endings.started()
        await execution.writer.rehearsed(spawned.type)
        return ids


async def _difference(
    execution: Execution, key: str, known: Sequence[int], starts: Sequence[Start]
) -> tuple[str, str]:
    """What was started with a key, and what would be now: the first that differs."""
    for context_id, start in zip(known, starts, strict=False):
        read = partial(execution.store.events, context_id, limit=1)
        first = next(iter(await until_answered(read, execution.name)), None)
        was = None if first is None else (first.type.rpartition(":")[0], first.payload)
        now = (start.task, start.params)
        if was is not None and was != now:
            return (
                f"{key} started context {context_id} as {was[0]} with {str(was[1])[:300]}",
                f"{key} starts {now[0]} with {str(now[1])[:300]}",
            )
    return (
        f"{key} started {number_of(len(known), 'subtask')}",
        f"{key} starts {number_of(len(starts), 'subtask')}",
    )


def digest_of(starts: Sequence[Start]) -> str:
    """What tells subtasks from others: their tasks and the params that they were given.

    Defaults are not in it: a task that gets another optional param, or loses one, is the same.
    """
    return _digest([(start.task, given_params(start)) for start in starts])


def recorded_digest(execution: Execution, starts: Sequence[Start]) -> str:
    """`digest_of`, or what an older version recorded for them, with the defaults."""
    spawned = execution.journal.spawned
    full = _digest([(start.task, start.params) for start in starts]) if spawned else ""
    if full in execution.journal.digests:
        return full
    digest = digest_of(starts)
    if execution.journal.origins and digest not in execution.journal.digests:
        return _digest_in_origin(execution, starts) or digest
    return digest


def _digest_in_origin(execution: Execution, starts: Sequence[Start]) -> str | None:
    """The digest that a fork's history has: its context had another id there."""
    text = _text([(start.task, given_params(start)) for start in starts])
    digests = (_sha(renamed(text, execution, origin)) for origin in execution.journal.origins)
    return next((each for each in digests if each in execution.journal.digests), None)


def renamed(text: str, execution: Execution, origin: int) -> str:
    """A text with the id of another context in the place of the run's own."""
    return re.sub(rf"(?<!\d){execution.claim.context_id}(?!\d)", str(origin), text)


def _digest(starts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    return _sha(_text(starts))


def _text(starts: Sequence[tuple[str, Mapping[str, Any]]]) -> str:
    return json.dumps(starts, sort_keys=True, default=str)


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def limited(
    task: TaskDefinition[Any], starts: Sequence[Start], key: str, limit: int
) -> list[Start]:
    """Starts of which only some may be begun and not ended at once.

    Raises:
        TaskUsageError: The limit makes no sense, or the task has one of its own.
    """
    if not is_whole(limit) or limit < 1:
        raise TaskUsageError(
            f"task.map was given a limit of {limit!r} at once; 1 is the least.",
            "Leave it out for no limit.",
        )
    if any(start.limit_key for start in starts):
        raise TaskUsageError(
            f"{task.name} has a concurrency of its own, and a run is counted by one key only.",
            "Leave out the limit of task.map, or the concurrency of the task.",
        )
    return [replace(start, limit_key=key, key_limit=limit) for start in starts]
