"""Decorated steps: what a call of one does within a run."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from dama.contained import offspring, running_loop
from dama.definitions.step import performing
from dama.run.branch import Branch
from dama.run.errors import TaskUsageError
from dama.run.steps import do_step
from dama.run.sync_task import answer

if TYPE_CHECKING:
    from collections.abc import Generator

    from dama.definitions.step import StepDefinition
    from dama.run.execution import Execution


@contextmanager
def calling(execution: Execution) -> Generator[None]:
    """Call the code of a run: the steps that it calls are steps of the run."""
    token = performing.set(partial(_perform, execution))
    try:
        yield
    finally:
        performing.reset(token)


def _perform(
    execution: Execution,
    step: StepDefinition[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Do the step: give what is awaited, or wait in a thread.

    Raises:
        TaskUsageError: A `def` is called in the loop, or a coroutine by the `def` of a task.
    """
    is_in_loop = running_loop() is execution.loop
    if is_in_loop is not step.is_async and (is_in_loop or _is_of_def()):
        own = getattr(step.function, "__name__", step.name)
        awaited = "await " if is_in_loop else ""
        raise TaskUsageError(
            f"The step {own} is {'a `def`, which would block the loop' if is_in_loop else 'async'}"
            f", and is called by {'an `async def`' if is_in_loop else 'a `def`'}: "
            f'write `{awaited}task.step("{own}", {own}, ...)`.',
        )
    name = step.named(args, kwargs)
    ask = partial(do_step, execution, name, step, *args, transactional=False, **kwargs)
    asked = execution.asks.take(f"{name}(...)", ask, (*args, kwargs))
    return asked if step.is_async else answer(execution, asked)


def _is_of_def() -> bool:
    """Whether the `def` of a task calls: it cannot await, and nothing awaits what it gets."""
    branch = offspring.get()
    return running_loop() is None and isinstance(branch, Branch) and branch.parent is None
