"""Steps: recorded parts of a run, done once and replayed afterwards.

A transactional step gets a connection: its SQL and its event are one commit, so a load happens
exactly once, whatever dies when. An ordinary step is done at least once and recorded once.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec

from dama import clock
from dama.beside import beside
from dama.contained import contained, is_async, settled
from dama.definitions.result import ResultType
from dama.definitions.step import opened
from dama.errors import UnavailableError
from dama.run.asking import inside
from dama.run.completing import completing, note_if_recorded
from dama.run.errors import LostSignal
from dama.run.failures import kind_of_error, rebuilt
from dama.run.given import refuse_awaitable
from dama.run.limit import NO_LIMIT, Limit
from dama.run.records import ANY_ARGS, NO_ARGS, Asked
from dama.run.spawning import renamed
from dama.run.threads import BlockingCall
from dama.run.tries import is_tried_again, pause
from dama.store.errors import (
    DatabaseUnreachableError,
    IdempotencyConflictError,
    LifeCycleError,
    StaleEpochError,
)
from dama.store.transaction import commit, commit_blocking
from dama.store.translation import has_given_way

if TYPE_CHECKING:
    from dama.run.execution import Execution
    from dama.store import Append

OUTAGES = 5  # of one step, before its run fails
MEETINGS = 10  # with other transactions, likewise
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0  # seconds, at most, after such a meeting
DIGITS = 8
ACTION = "dama.run.calls:call_action.<locals>.called"  # as journals have it


async def do_step(
    execution: Execution,
    name: str,
    function: Callable[..., Any],
    /,
    *args: Any,
    transactional: bool,
    **kwargs: Any,
) -> Any:
    """Do a step, or give what it returned in an earlier run.

    Raises:
        LostSignal: The run was taken over.
        DivergedError: The code is another than the one that recorded it.
        Exception: What the function raised.
    """
    digest = digest_of(execution, args, kwargs)
    key, asked = execution.bind("step", name, function=name_of(opened(function)[0]), args=digest)
    return await do_bound(
        execution, key, asked, function, *args, transactional=transactional, **kwargs
    )


async def do_bound(
    execution: Execution,
    key: str,
    asked: Asked,
    function: Callable[..., Any],
    /,
    *args: Any,
    transactional: bool,
    **kwargs: Any,
) -> Any:
    """Do a step whose key is known; see `do_step`."""
    function, options = opened(function)
    result = ResultType[Any](f"{execution.claim.task}/{key}", function)
    with execution.pending.acting():
        has_failed = execution.replay.has(key, "FAILED")
        is_done = execution.replay.has(key, "DONE")
        await execution.replay.turn(key, asked)
        if has_failed:
            raise failed_again(execution, key)
        if is_done:
            return result.decode(execution.journal.results[key])
    await execution.begin_new(asked)
    step = _Step(key, asked, function, args, kwargs, result, is_transactional=transactional)
    step.limit = Limit(f"{execution.claim.task}/{key}", options.timeout)
    while True:
        await pause(execution, key)
        with execution.pending.acting():
            try:
                return await _try(execution, step)
            except Exception as error:
                if execution.is_closed:
                    raise LostSignal from error
                if not await is_tried_again(execution, key, options, error):
                    await note_failure(execution, key, error, asked)
                    raise


@dataclass
class _Step:
    """A step that is not done yet."""

    key: str
    asked: Asked
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    result: ResultType[Any]
    is_transactional: bool
    limit: Limit = NO_LIMIT


async def _try(execution: Execution, step: _Step) -> Any:
    """Do it, and record it with its result."""
    does = _stood_in(execution, step.key, step.asked, step.function)
    if step.is_transactional:
        try:
            return await _transactional(execution, step, partial(does, **step.kwargs))
        except asyncio.CancelledError:
            await note_if_recorded(execution, step.key, step.asked)
            raise
    with inside(step.key):
        value = await _called(execution, partial(does, *step.args, **step.kwargs), step.limit)
    encoded = await beside(value, step.result.encode, value)
    await execution.replay.all(step.asked)
    return await completing(execution, step.key, step.asked, _recorded(execution, step, encoded))


async def _recorded(execution: Execution, step: _Step, encoded: object) -> Any:
    """Record the result, and give it as a later run gets it."""
    await execution.writer.append(_done(execution, step.key, encoded, step.asked))
    return await beside(encoded, step.result.decode, encoded)


def digest_of(
    execution: Execution, args: tuple[Any, ...], kwargs: dict[str, Any] | None = None
) -> str:
    """What tells arguments from others: short, since it must tell nothing about secrets."""
    if not args and not kwargs:
        return NO_ARGS
    try:
        encoded = msgspec.json.encode([args, kwargs], order="deterministic")
    except Exception:  # noqa: BLE001 - anything may be an argument
        return ANY_ARGS
    # The folder of the run is another on another host.
    encoded = encoded.replace(execution.work_path.encode(), b"")
    digest = _digest(encoded)
    if execution.journal.origins and digest not in execution.journal.recorded_args:
        return _digest_in_origin(execution, encoded) or digest
    return digest


def _digest_in_origin(execution: Execution, encoded: bytes) -> str | None:
    """The digest that a fork's history has: its context had another id there."""
    text = encoded.decode()
    origins = execution.journal.origins
    there = (_digest(renamed(text, execution, origin).encode()) for origin in origins)
    return next((each for each in there if each in execution.journal.recorded_args), None)


def _digest(encoded: bytes) -> str:
    return sha256(encoded).hexdigest()[:DIGITS]


def name_of(function: Callable[..., Any]) -> str:
    """What tells a function from others: `module:qualname`."""
    while isinstance(function, partial):
        function = function.func
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def _done(execution: Execution, key: str, encoded: object, asked: Asked, **facts: object) -> Append:
    meta: dict[str, Any] = {**_known_by(asked), **facts}
    return execution.writer.event(f"/{key}:DONE", encoded, key=f"DONE/{key}", **meta)


def _known_by(asked: Asked) -> dict[str, Any]:
    """What a later run knows the record by."""
    return {"function": asked.function, **asked.facts}


def _stood_in(
    execution: Execution, key: str, asked: Asked, function: Callable[..., Any]
) -> Callable[..., Any]:
    """The function of a step, or what a test has for it."""
    if execution.writer.rehearsal is None:
        return function
    execution.writer.rehearsal.calls[key] += 1
    if asked.function == ACTION:  # what stands in for an action gets its params
        return function
    return execution.writer.rehearsal.stand_in(key, asked.name) or function


def failed_again(execution: Execution, key: str) -> Exception:
    """The error that a step or a subtask met in an earlier run."""
    error = rebuilt(*execution.journal.failures[key])
    execution.writer.failed.append((key, error))
    return error


async def note_failure(execution: Execution, key: str, error: Exception, asked: Asked) -> None:
    """Record that a step or a subtask has failed."""
    if isinstance(error, UnavailableError):
        return  # nobody to tell
    execution.writer.failed.append((key, error))
    number = execution.claim.epoch
    meta = {"raised": kind_of_error(error), **_known_by(asked)}
    writing = execution.writer.write_failure(
        f"/{key}:FAILED", error, {}, f"FAILED/{key}#{number}", **meta
    )
    await completing(execution, key, asked, writing)


async def _called(execution: Execution, call: Callable[[], Any], limit: Limit) -> Any:
    if is_async(call):
        async with limit.held():
            with contained():
                return await call()
    return await settled(await execution.threads.call(BlockingCall(call), limit))


async def _transactional(execution: Execution, step: _Step, call: Callable[..., Any]) -> Any:
    """Do it in one commit with its event; again when the server went away before the commit."""
    await execution.writer.is_started()
    outages, key = 0, step.key
    while True:
        try:
            encoded = await _committed(execution, step, call)
        except (StaleEpochError, LifeCycleError) as error:
            raise LostSignal from error
        except (IdempotencyConflictError, TimeoutError):
            # An earlier try, whose connection was lost, has committed while this one waited; or
            # this one has, when its time was over.
            journal = await execution.recorded()
            if key not in journal.results:
                raise
            encoded = journal.results[key]
        except DatabaseUnreachableError:
            outages += 1
            if outages > OUTAGES:
                raise
            # Waits for the server. The commit may have gone through and its answer been lost.
            journal = await execution.recorded()
            if key not in journal.results:
                continue
            encoded = journal.results[key]
        await execution.writer.rehearsed(f"{execution.claim.task}/{key}:DONE")
        return step.result.decode(encoded)


async def _committed(execution: Execution, step: _Step, call: Callable[..., Any]) -> object:
    """Do it in one commit; again when it gave way to another transaction: nothing is left of it."""
    for meeting in range(MEETINGS):
        try:
            return await _one_commit(execution, step, call)
        except Exception as error:
            if not has_given_way(error):
                raise
        await clock.sleep(random.uniform(0, min(FIRST_PAUSE * 2**meeting, LONGEST_PAUSE)))
    return await _one_commit(execution, step, call)


async def _one_commit(execution: Execution, step: _Step, call: Callable[..., Any]) -> object:
    database, name = execution.store.database, execution.application_name
    encoded: list[object] = []

    def recorded(value: object) -> list[Append]:
        encoded.append(step.result.encode(value))
        return [_done(execution, step.key, encoded[0], step.asked, transactional=True)]

    if is_async(call):

        async def in_loop(connection: object) -> list[Append]:
            with contained(), inside(step.key):
                value = await call(connection, *step.args)
            return await beside(value, recorded, value)

        async with step.limit.held():
            await commit(database, name, in_loop)
    else:

        def in_thread(connection: object) -> list[Append]:
            with inside(step.key):
                value = call(connection, *step.args)
            refuse_awaitable(step.key, value)
            return recorded(value)

        blocking = BlockingCall(lambda: commit_blocking(database, name, in_thread, on_open))

        def on_open(end: Callable[[], None]) -> None:
            blocking.interrupt = end

        await execution.threads.call(blocking, step.limit)
    return encoded[0]
