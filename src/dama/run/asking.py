"""Asking: which branch of a run asks for what is done now, and what is done there for it."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING

from dama.contained import offspring
from dama.run.branch import Branch

if TYPE_CHECKING:
    from collections.abc import Generator

    from dama.run.branch import Branches

asker: ContextVar[Branch | None] = ContextVar("asker", default=None)
"""The branch that asked for what is done now; what does it is no part of the branch."""


@contextmanager
def asking(branches: Branches | None = None) -> Generator[None]:
    """Do something that a branch asked for: its tasks and timers are not those of user code.

    Args:
        branches: Of the run, where what is asked for outside of them has a place, too.
    """
    branch = offspring.get()
    if not isinstance(branch, Branch) and branches is not None and asker.get() is None:
        branch = branches.outside()
    if not isinstance(branch, Branch):  # asked from within what it asked for, or by its thread
        yield
        return
    asked, own = asker.set(branch), offspring.set(None)
    try:
        yield
    finally:
        with suppress(ValueError):  # the collector closes what nobody continues, wherever it is
            offspring.reset(own)
            asker.reset(asked)
        if branch.late is not None:
            branch.late = None
            _cancel_soon()


def _cancel_soon() -> None:
    """Cancel this task at its next await, unless what has cancelled it takes that back till then.

    A scope that ends meanwhile does so: what it is for has come in time.
    """
    task = asyncio.current_task()

    def cancel() -> None:
        if task is not None and not task.done() and task.cancelling():
            task.uncancel()
            task.cancel()

    asyncio.get_running_loop().call_soon(cancel)


def is_outside() -> bool:
    """Whether what is asked for now is asked for outside of the branches."""
    branch = asker.get()
    return branch is not None and branch.is_outside


@contextmanager
def inside(step: str) -> Generator[None]:
    """Call the function of a step: what it asks for is a part of the step."""
    branch = asker.get()
    if branch is None:
        yield
        return
    parts = Branch(branch.branches, branch, within=(*branch.within, step))
    own = offspring.set(parts)
    try:
        yield
    finally:
        offspring.reset(own)


@contextmanager
def from_thread() -> Generator[None]:
    """Let the loop do something for this thread, which waits meanwhile."""
    with asking():
        branch = asker.get()
        if branch is None:  # a thread that user code started
            yield
            return
        branch.branches.blocked_threads += 1
        try:
            yield
        finally:
            branch.branches.blocked_threads -= 1
