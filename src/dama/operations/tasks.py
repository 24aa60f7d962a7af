"""Tasks: start them."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from dama.app import App
from dama.beside import beside
from dama.config.config import load_config
from dama.definitions.registry import Registry
from dama.definitions.task import task_of
from dama.errors import UsageError
from dama.operations.who import person
from dama.run.commands import Commands
from dama.run.starts import QueueOptions, several, start_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from dama.definitions.task import TaskDefinition
    from dama.shapes import Json

START_BATCH = 1000


class Queued(msgspec.Struct, frozen=True, omit_defaults=True):
    """A context whose run is queued; what says nothing is left out of its document.

    Attributes:
        context_id: Its id.
        no_worker: No live worker would claim it as things are.
        warning: The same in words.
    """

    context_id: int
    no_worker: bool = False
    warning: str | None = None


async def queued(app: App, context_id: int) -> Queued:
    """What is said of a context once its run is queued."""
    task = (await app.store.queue.without_worker([context_id])).get(context_id)
    if task is None:
        return Queued(context_id)
    warning = f"It is queued, and {no_worker_text(task)}."
    return Queued(context_id, no_worker=True, warning=warning)


def no_worker_text(task: str) -> str:
    """What is to be said of a run that nobody will claim as things are."""
    return f"no live worker has the task {task}, with its queue and its labels"


async def start(
    app: App,
    task: TaskDefinition[Any] | str,
    params: Mapping[str, Any],
    *,
    key: str | None = None,
    by: Mapping[str, Json] | None = None,
    undeclared: bool = False,
    **start_options: Unpack[QueueOptions],
) -> int:
    """Queue a task; returns its context.

    Args:
        app: Where it is queued.
        task: Its definition, or its full name, such as `flights.load`.
        params: What it takes.
        key: A second start with the same key returns the first context.
        by: Who starts it; by default the user of this process.
        undeclared: It may be a command that nobody declared: by right of this process's user.
        **start_options: Another queue, a delay: see `QueueOptions`.

    Raises:
        UnknownTaskError: The nearest names are in the hint.
        InvalidParamsError: With all problems.
        IdempotencyConflictError: The key was used with other params.
        SingletonError: Only one run of it may be open, and one is.
        UndeclaredCommandError: It is an undeclared command, and `undeclared` is not set.
    """
    commands = Commands(app.home) if undeclared else None
    task = app.registry.task(task) if isinstance(task, str) else task_of(task)
    begin = partial(
        start_of, task, params, by or person(), key=key, commands=commands, **start_options
    )
    start = await beside(params, begin)
    (context_id,) = await app.store.start([start])
    return context_id


async def start_many(
    task: TaskDefinition[Any],
    params: Iterable[Mapping[str, Any]],
    *,
    key: Callable[[Mapping[str, Any]], str] | None = None,
    **start_options: Unpack[QueueOptions],
) -> list[int]:
    """Queue a task once for each of any number of params; returns their contexts in that order.

    The database is the one that `dama` uses in the current folder.

    Each thousand is queued in a transaction of its own: what came before an error stays queued.
    Give a key, and the whole call can be repeated.

    Args:
        task: What to run.
        params: What it takes, each time.
        key: Makes an idempotency key of the params.
        **start_options: For each of them: see `QueueOptions`.

    Raises:
        InvalidParamsError: Of those in the thousand at hand, which is not queued.
        IdempotencyConflictError: A key was used with other params.
        SingletonError: Only one run of it may be open, and one is.
    """
    async with App.open(load_config(), Registry()) as app:
        return await queue_many(app, task, params, key=key, **start_options)


async def queue_many(
    app: App,
    task: TaskDefinition[Any],
    params: Iterable[Mapping[str, Any]],
    *,
    key: Callable[[Mapping[str, Any]], str] | None = None,
    **start_options: Unpack[QueueOptions],
) -> list[int]:
    """Queue a task once for each of any number of params; see `start_many`."""
    task = task_of(task)
    if key is not None and not callable(key):
        raise UsageError(
            f"key is {key!r}: expected a function that makes a key of the params.",
            "Write key=lambda params: f\"{params['year']}\".",
        )
    contexts: list[int] = []
    rest = iter(several(task, params))
    while batch := list(islice(rest, START_BATCH)):
        starts = [
            start_of(task, each, person(), key=key(each) if key else None, **start_options)
            for each in batch
        ]
        contexts += await app.store.start(starts)
    return contexts
