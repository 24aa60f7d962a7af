"""Steps: recorded parts of a run, done once and replayed afterwards.

A transactional step gets a connection: its SQL and its event are one commit, so a load happens
exactly once, whatever dies when. An ordinary step is done at least once and recorded once.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from dama.contained import contained, is_async, settled
from dama.definitions.result import ResultType
from dama.errors import UnavailableError
from dama.run.errors import LostSignal, ReplayError
from dama.run.threads import BlockingCall
from dama.store.errors import (
    DatabaseUnreachableError,
    IdempotencyConflictError,
    LifeCycleError,
    StaleEpochError,
)
from dama.store.transaction import commit, commit_blocking

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.run.execution import Execution
    from dama.store import Append

MAINS = frozenset({"__main__", "__dama_main__"})
OUTAGES = 5  # of one step, before its run fails


async def do_step(
    execution: Execution,
    name: str,
    function: Callable[..., Any],
    *args: Any,
    transactional: bool,
    **kwargs: Any,
) -> Any:  # noqa: ANN401 - what the function returns
    """Do a step, or give what it returned in an earlier run.

    Raises:
        LostSignal: The run was taken over.
        Exception: What the function raised.
    """
    key = execution.key(name)
    result = ResultType[Any](f"{execution.claim.task}/{key}", function)
    if key in execution.journal.results:
        _refuse_another(execution, key, name_of(function))
        return result.decode(execution.journal.results[key])
    with execution.acting():
        try:
            call = partial(function, *args, **kwargs)
            if transactional:
                call = partial(function, **kwargs)
                return await _transactional(execution, key, call, args, result)
            value = await _called(execution, call)
            encoded = result.encode(value)
            await execution.append(_done(execution, key, encoded, name_of(function)))
            return result.decode(encoded)
        except Exception as error:
            if execution.is_closed:
                raise LostSignal from error
            await _note_failure(execution, key, error)
            raise


def name_of(function: Callable[..., Any]) -> str:
    """What tells a function from others: `module:qualname`."""
    while isinstance(function, partial):
        function = function.func
    named: Any = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def _refuse_another(execution: Execution, key: str, name: str) -> None:
    """Refuse the result of another function than the one that the step has now.

    Raises:
        ReplayError: It is another one.
    """
    known = execution.journal.functions.get(key)
    if known is None or ":" not in known:  # of an older version
        return
    (module, own), (other, theirs) = name.split(":", 1), known.split(":", 1)
    # A module that was started as a program has two names.
    is_same_module = module == other or not MAINS.isdisjoint((module, other))
    if own != theirs or not is_same_module:
        raise ReplayError(f"the step {key} was done by {known}, and now it is {name}")


def _done(execution: Execution, key: str, encoded: object, function: str) -> Append:
    return execution.event(f"/{key}:DONE", encoded, key=f"DONE/{key}", function=function)


async def _note_failure(execution: Execution, key: str, error: Exception) -> None:
    if isinstance(error, UnavailableError):
        return  # nobody to tell
    number = execution.claim.epoch
    await execution.write_failure(f"/{key}:FAILED", error, {}, f"FAILED/{key}#{number}")


async def _called(execution: Execution, call: Callable[[], Any]) -> Any:  # noqa: ANN401
    if is_async(call):
        with contained():
            return await call()
    return await settled(await execution.threads.call(BlockingCall(call)))


async def _transactional(
    execution: Execution,
    key: str,
    call: Callable[..., Any],
    args: tuple[Any, ...],
    result: ResultType[Any],
) -> Any:  # noqa: ANN401
    """Do it in one commit with its event; again when the server went away before the commit."""
    await execution.is_started()
    outages = 0
    while True:
        try:
            encoded = await _one_commit(execution, key, call, args, result)
        except (StaleEpochError, LifeCycleError) as error:
            raise LostSignal from error
        except IdempotencyConflictError:
            # An earlier try, whose connection was lost, has committed while this one waited.
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
        return result.decode(encoded)


async def _one_commit(
    execution: Execution,
    key: str,
    call: Callable[..., Any],
    args: tuple[Any, ...],
    result: ResultType[Any],
) -> object:
    database, name = execution.store.database, execution.application_name
    encoded: list[object] = []

    def recorded(value: object) -> list[Append]:
        encoded.append(result.encode(value))
        return [_done(execution, key, encoded[0], name_of(call))]

    if is_async(call):

        async def in_loop(connection: object) -> list[Append]:
            with contained():
                value = await call(connection, *args)
            return recorded(value)

        await commit(database, name, in_loop)
    else:

        def in_thread(connection: object) -> list[Append]:
            return recorded(call(connection, *args))

        blocking = BlockingCall(lambda: commit_blocking(database, name, in_thread, opened))

        def opened(end: Callable[[], None]) -> None:
            blocking.interrupt = end

        await execution.threads.call(blocking)
    return encoded[0]
