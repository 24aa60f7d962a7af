"""The task: what a task's function gets as its first argument. All that it does is recorded.

`Task` is for `async def`, which runs in the worker's loop; `dama.run.sync_task` is for `def`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    overload,
)

from dama import clock
from dama.config.duration import optional_duration
from dama.definitions.task import task_of
from dama.domain.event import ABSENT, Event, kind_of
from dama.domain.lifecycle import step_key
from dama.run.asking import is_outside
from dama.run.asks import asked
from dama.run.awaiting import Awaiting
from dama.run.completing import completing
from dama.run.deadlines import outcome_within
from dama.run.ends import cancel, ends_of, owning
from dama.run.errors import SubtaskError, TaskUsageError
from dama.run.given import check_slice, check_text, event_of
from dama.run.reads import read_previous, read_state
from dama.run.records import NO_ARGS
from dama.run.spawning import limited, recorded_digest, spawn
from dama.run.starts import several, start_of
from dama.run.steps import digest_of, do_step
from dama.run.subtasks import Ended, Subtask
from dama.store import Append, Outcome

if TYPE_CHECKING:
    from dama.config.duration import Duration
    from dama.definitions.task import TaskDefinition
    from dama.domain.slice import Slice
    from dama.run.execution import Execution
    from dama.run.records import Asked
    from dama.store import Start

R = TypeVar("R")
S = TypeVar("S")
V = TypeVar("V")
P = ParamSpec("P")

PROGRESS_SECONDS = 1.0
SPAWN_BATCH = 1000
LONGEST_KEYED_TYPE = 900  # bytes; keys have at most 1,000

_log = logging.getLogger("dama.task")


class Task(Awaiting):
    """A run, as an async function sees it."""

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution)
        self._progress_at = 0.0

    @overload
    async def run(
        self,
        task: TaskDefinition[R],
        params: Mapping[str, Any] | None = None,
        *,
        timeout: Duration | None = None,
    ) -> R: ...

    @overload
    async def run(
        self,
        task: str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: Duration | None = None,
    ) -> Any: ...

    @asked
    async def run(
        self,
        task: TaskDefinition[Any] | str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: Duration | None = None,
    ) -> Any:
        """Start a subtask, wait for its end and return its result.

        Args:
            task: What to run; a program or a task of another module also by its full name.
            params: What it takes.
            timeout: From its start, over all runs of this task; then it is cancelled: seconds, a
                string such as "2h", or a timedelta.

        Raises:
            SubtaskError: It failed for good or was cancelled.
            TimeoutError: It did not end in time.
            CircleError: It could only begin once this run has ended.
            UnknownTaskError: No module of this worker has a task of the name.
        """
        seconds = optional_duration(timeout, of="timeout")
        task = self._named(task)
        execution = self._execution
        key, asked, starts = self._bound(task, params, is_awaited=True)
        with owning(execution, key):
            (context_id,) = await spawn(execution, key, starts, asked)
            if seconds is None:
                (result,) = await self._results(key, [context_id], task)
                return result
            outcome = await outcome_within(execution, key, asked, context_id, seconds)
            return _result(task, outcome)

    @overload
    async def start(
        self, task: TaskDefinition[R], params: Mapping[str, Any] | None = None
    ) -> Subtask[R]: ...

    @overload
    async def start(self, task: str, params: Mapping[str, Any] | None = None) -> Subtask[Any]: ...

    @asked
    async def start(
        self, task: TaskDefinition[Any] | str, params: Mapping[str, Any] | None = None
    ) -> Subtask[Any]:
        """Start a subtask and continue; `await subtask.result()` waits for it."""
        task = self._named(task)
        key, asked, starts = self._bound(task, params, is_awaited=False)
        (context_id,) = await spawn(self._execution, key, starts, asked)
        return Subtask(context_id, task, partial(self._results, key), self._cancel, self.asks)

    def _named(self, task: TaskDefinition[Any] | str) -> TaskDefinition[Any]:
        return self._execution.registry.task(task) if isinstance(task, str) else task_of(task)

    def _bound(
        self, task: TaskDefinition[Any], params: Mapping[str, Any] | None, *, is_awaited: bool
    ) -> tuple[str, Asked, list[Start]]:
        starts = [replace(start_of(task, {} if params is None else params), is_awaited=is_awaited)]
        key, asked = self._execution.bind("subtask", task.name, args=self._digest(starts))
        return key, asked, starts

    def _digest(self, starts: list[Start]) -> str:
        return recorded_digest(self._execution, starts)

    async def _cancel(self, context_id: int, task: TaskDefinition[Any], why: str) -> None:
        execution = self._execution
        await do_step(
            execution,
            f"cancel:{task.name}",
            cancel,
            execution,
            [context_id],
            why,
            transactional=False,
        )

    @overload
    async def map(
        self,
        task: TaskDefinition[R],
        params: Sequence[Mapping[str, Any]],
        *,
        on_failure: Literal["fail_fast"] = "fail_fast",
        limit: int | None = None,
    ) -> list[R]: ...

    @overload
    async def map(
        self,
        task: TaskDefinition[R],
        params: Sequence[Mapping[str, Any]],
        *,
        on_failure: Literal["collect"],
        limit: int | None = None,
    ) -> list[Ended[R]]: ...

    @asked
    async def map(
        self,
        task: TaskDefinition[R],
        params: Sequence[Mapping[str, Any]],
        *,
        on_failure: Literal["fail_fast", "collect"] = "fail_fast",
        limit: int | None = None,
    ) -> list[R] | list[Ended[R]]:
        """Start a subtask for each of the params, and wait for all of them.

        Args:
            task: What to run.
            params: One mapping a subtask.
            on_failure: "fail_fast" raises with the first failure and cancels those that have not
                ended; "collect" waits for all and returns their ends, failed or not.
            limit: How many may be begun and not ended at once; None for no limit but that of the
                task.

        Returns:
            Their results, or with "collect" their ends, in the order of the params.

        Raises:
            SubtaskError: One failed for good or was cancelled, with "fail_fast".
            TaskUsageError: The task has a limit of its own, which `limit` cannot be added to.
        """
        if on_failure not in {"fail_fast", "collect"}:
            raise TaskUsageError(
                f"task.map: on_failure is {on_failure!r}: expected 'fail_fast' or 'collect'."
            )
        task = task_of(task)
        starts = [replace(start_of(task, p), is_awaited=True) for p in several(task, params)]
        key, asked = self._execution.bind("subtask", f"map:{task.name}", args=self._digest(starts))
        if limit is not None:
            starts = limited(task, starts, f"map/{self.context_id}/{key}", limit)
        ids: list[int] = []
        with owning(self._execution, key):
            for place in range(0, len(starts), SPAWN_BATCH):
                part, some = f"{key}+{place}", starts[place : place + SPAWN_BATCH]
                ids += await spawn(self._execution, part if place else key, some, asked)
            if on_failure == "collect":
                return await self._ends(key, ids, task)
            return await self._results(key, ids, task)

    @asked
    async def dispatch(self, event: Event | str, payload: Any = ABSENT) -> None:
        """Append an event to this context, once however often the run is replayed.

        Args:
            event: An event, as a creator of a slice makes it, or a type.
            payload: With a type: any JSON.

        Raises:
            InvalidEventError: It is no Flux Standard Action.
            TaskUsageError: Its type would end the context; return or raise instead.
        """
        event = event_of(event, payload)
        if kind_of(event.type) is not None or step_key(event.type) is not None:
            raise TaskUsageError(
                f"{event.type} belongs to the life cycle, which the controller writes.",
                "Return a result, raise an error, or choose another type.",
            )
        execution = self._execution
        args = digest_of(execution, (event.payload,)) if is_outside() else NO_ARGS
        key, asked = execution.bind("event", _dispatch_key(event.type), args=args)
        with execution.pending.acting():
            is_sent = execution.replay.has(key, "SENT")
            await execution.replay.turn(key, asked)
        if is_sent:
            return
        meta = dict(event.meta) if isinstance(event.meta, Mapping) else {}
        meta |= {**execution.writer.own_meta(), "idempotency_key": key, **asked.facts}
        sent = Event(event.type, event.payload, event.error, meta)
        with execution.pending.acting():
            writing = execution.writer.append(Append(self.context_id, sent))
            await completing(execution, key, asked, writing)

    @asked
    async def changed(self, name: str) -> None:
        """Accept that the code before and after this place is another than the run has recorded.

        A run that was stopped with a `DivergedError` continues past it: what is recorded up to
        here may be left out of the code, moved, or be done by another function, and keeps its
        result where it is asked for again. It is a step of its own, done once.

        Args:
            name: What has changed; a name of its own for each change.
        """
        check_text("task.changed", "name of the change", name)
        key, asked = self._execution.bind("step", f"changed:{name}")
        self._execution.replay.forgive(key)
        with self._execution.pending.acting():
            is_done = self._execution.replay.has(key, "DONE")
            await self._execution.replay.turn(key, asked)
            if not is_done:
                await self._execution.writer.write(f"/{key}:DONE", key=f"DONE/{key}", **asked.facts)

    @asked
    async def state(self, slice_: Slice[S]) -> S:
        """The state of this context in a slice: as of now, or as it was read at this place before.

        A run that continues reads what it read then, as long as it meets what is recorded.
        """
        check_slice("task.state", slice_)
        return await read_state(self._execution, slice_)

    @asked
    async def previous(self, slice_: Slice[S], *, key: str | None = None) -> S:
        """The state at the end of the last run of this task: a cursor across runs.

        Of the runs that have ended, however they did, the one that was started last counts among
        those with events of the slice: a run that found nothing to do keeps the cursor. Without one
        it is the initial state. A run that continues reads what it read before.

        Args:
            slice_: What folds its events.
            key: Counts runs apart for each value of some params, such as "{airport}".

        Raises:
            InvalidDefinitionError: The key names no param.
        """
        check_slice("task.previous", slice_)
        return await read_previous(self._execution, slice_, key)

    @asked
    async def progress(
        self,
        done: float,
        total: float | None = None,
        *,
        unit: str | None = None,
        message: str | None = None,
    ) -> None:
        """Say how far the task is; written at most once a second, and at the end of it."""
        now = clock.monotonic()
        if done != total and now - self._progress_at < PROGRESS_SECONDS:
            return
        self._progress_at = now
        amounts = {"done": done, "total": total, "unit": unit, "message": message}
        payload = {name: value for name, value in amounts.items() if value is not None}
        number = self._execution.key("PROGRESS")
        key = f"{number}@{self._execution.claim.epoch}"
        with self._execution.pending.acting():
            await self._execution.writer.write(":PROGRESS", payload, key=key)

    @asked
    async def log(self, message: str, **fields: Any) -> None:
        """Write a line into the history of the context, and to the process's log."""
        _log.info("context %s: %s", self.context_id, message)
        key = self._execution.key("LOG")
        if key not in self._execution.journal.sent:
            with self._execution.pending.acting():
                await self._execution.writer.write(":LOG", {"message": message, **fields}, key=key)

    async def _results(self, key: str, ids: Sequence[int], task: TaskDefinition[R]) -> list[R]:
        if not ids:
            return []
        outcomes = await ends_of(self._execution, key, ids, task.name, fail_fast=True)
        return [_result(task, outcomes[context_id]) for context_id in ids]

    async def _ends(self, key: str, ids: Sequence[int], task: TaskDefinition[R]) -> list[Ended[R]]:
        if not ids:
            return []
        outcomes = await ends_of(self._execution, key, ids, task.name, fail_fast=False)
        return [_end(context_id, task, outcomes[context_id]) for context_id in ids]


def _result(task: TaskDefinition[R], outcome: Outcome) -> R:
    return task.decode_result(None if outcome.result is ABSENT else outcome.result)


def _end(context_id: int, task: TaskDefinition[R], outcome: Outcome) -> Ended[R]:
    if outcome.status == "DONE":
        return Ended(context_id, result=_result(task, outcome))
    return Ended(
        context_id, error=SubtaskError(context_id, task.name, outcome.error, outcome.status)
    )


def _dispatch_key(type_: str) -> str:
    """The key of a dispatched event, which has no room for a long type: then it has a digest."""
    if len(type_.encode(errors="replace")) <= LONGEST_KEYED_TYPE:
        return f"dispatch/{type_}"
    digest = sha256(type_.encode(errors="replace")).hexdigest()
    return f"dispatch/{type_[:100]}~{digest}"
