"""How code ended that a caller waits for: with an error of its own, or because it was told to."""

from __future__ import annotations

import asyncio

from dama.broker.errors import CallError


def is_told_to_end() -> bool:
    """Whether a CancelledError that arrives here was asked for, by a timeout or a stop.

    One that nobody asked for is an outcome of the code that raised it, like any other error.
    """
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def of_code(error: BaseException, what: str) -> Exception:
    """What code ended with as an error that its caller gets, and that ends nothing else.

    Args:
        error: What it raised; one that would end a task or the process becomes a CallError.
        what: Which code, for the message.
    """
    if isinstance(error, Exception):
        return error
    return CallError(
        f"{what} ended with {type(error).__name__}{f': {error}' if str(error) else ''}.",
        "Raise an error instead: a call has a result or an error, and ends neither its node nor "
        "its caller.",
        code="ENDED_FROM_WITHIN",
        data={"name": type(error).__name__},
    )
