"""Starts: what a task, its params and the start_options of who starts it make of a run."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, cast

from dama.definitions.adhoc import adhoc
from dama.definitions.errors import UndeclaredCommandError
from dama.definitions.written import MOST, Written
from dama.domain.labels import reserved_among
from dama.errors import UsageError
from dama.shapes import Json, is_dict
from dama.store import Start

if TYPE_CHECKING:
    from collections.abc import Collection

    from dama.config.duration import Duration
    from dama.definitions.options import TaskOptions
    from dama.definitions.task import TaskDefinition
    from dama.run.commands import Commands
    from dama.store import Claim, Store

DEFAULTS = "defaults"

_log = logging.getLogger("dama.start")


class QueueOptions(TypedDict, total=False):
    """What who starts a task may ask for.

    Attributes:
        queue: Instead of the task's own.
        priority: Instead of the task's own; higher ones are claimed first.
        delay: Before it is queued: seconds, a string such as "5m", or a timedelta.
        expires: In which it must start, or it fails.
        deadline: In which it must end, instead of the task's own.
        labels: What its worker must offer besides the task's own.
    """

    queue: str | None
    priority: int | None
    delay: Duration | None
    expires: Duration | None
    deadline: Duration | None
    labels: Collection[str]


def start_of(
    task: TaskDefinition[Any],
    params: Mapping[str, Any],
    meta: Mapping[str, Json] | None = None,
    *,
    key: str | None = None,
    commands: Commands | None = None,
    **start_options: Unpack[QueueOptions],
) -> Start:
    """The start of a task.

    Args:
        task: What to run.
        params: What it takes.
        meta: Who starts it.
        key: An idempotency key: a second start with it returns the first context.
        commands: The right of who starts it to run undeclared commands; None for no right.
        **start_options: See `QueueOptions`.

    Raises:
        UndeclaredCommandError: It is an undeclared command, which the caller has no right to run.
        InvalidParamsError: With all problems.
        UsageError: A label is one of the controller.
    """
    if task is adhoc and commands is None:
        raise UndeclaredCommandError(
            f"{task.name} runs any command, so only the user of a worker may start it.",
            "Use `dama run -- COMMAND` as that user, or declare the command under [programs] of "
            "dama.toml.",
        )
    written = read_start_options({**start_options, "key": key})
    labels = written.strings("labels")
    _refuse_reserved(task, labels)
    _refuse_no_params(task, params)
    _warn_of_deprecated(task, params)
    options, encoded = task.options, task.encode_params(params)
    asked = {**(meta or {}), **_clean_ups(options), **_left_out(encoded, params)}
    queue, priority = written.get("queue"), written.get("priority")
    deadline = "deadline" in start_options
    start = Start(
        task.name,
        encoded,
        queue=options.queue if queue is None else queue,
        priority=options.priority if priority is None else priority,
        key=key,
        delay=written.optional_duration("delay"),
        expires=written.optional_duration("expires"),
        deadline=written.optional_duration("deadline") if deadline else options.deadline,
        labels=sorted(options.labels.union(labels)),
        limit_key=task.limit_key(encoded),
        key_limit=options.concurrency or 1,
        when_open=options.singleton or "queue",
        meta=asked or None,
    )
    return commands.signed(start) if task is adhoc and commands else start


def read_start_options(options: Mapping[str, Any]) -> Written:
    """Check what somebody asks for who starts a task.

    Raises:
        InvalidDefinitionError: An option is unknown or makes no sense.
    """
    written = Written("A start", options, ("key", *QueueOptions.__annotations__))
    written.text("key", None)
    if len(options) > 1 or "key" not in options:
        written.text("queue", None)
        written.number("priority", None, -MOST - 1)
        written.strings("labels")
        for name in ("delay", "expires", "deadline"):
            written.optional_duration(name)
    return written


def several(task: TaskDefinition[Any], params: object) -> Iterable[Mapping[str, Any]]:
    """The params of several runs.

    Raises:
        UsageError: They are those of one run, or no params at all.
    """
    if isinstance(params, Mapping | str) or not isinstance(params, Iterable):
        raise UsageError(
            f"{task.name} was given {params!r}: expected several mappings, one for each run.",
            'Write a list: [{"year": 2013}, {"year": 2014}].',
        )
    return cast("Iterable[Mapping[str, Any]]", params)


def _refuse_no_params(task: TaskDefinition[Any], params: object) -> None:
    if not isinstance(params, Mapping):
        names = sorted(task.param_names)
        raise UsageError(
            f"{task.name} was given {params!r}: expected its params by their names.",
            f'Write {{"{names[0]}": ...}}.' if names else "It takes none.",
        )


def _refuse_reserved(task: TaskDefinition[Any], labels: Collection[str]) -> None:
    if reserved := reserved_among(labels):
        raise UsageError(
            f"{task.name}: the label {reserved!r} is one of the controller.",
            "A task asks for a launcher where it is declared: launcher=NAME. A release has those "
            "runs that its workers began.",
        )


def _warn_of_deprecated(task: TaskDefinition[Any], params: Mapping[str, Any]) -> None:
    for name in sorted(task.deprecated.keys() & params.keys()):
        why = task.deprecated[name] or "it may be removed."
        _log.warning("%s: the param %s is deprecated: %s", task.name, name, why)


def _left_out(encoded: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The params whose value is the default: it is kept, since a run never sees another one."""
    names = [name for name in encoded if name not in given]
    return {DEFAULTS: names} if names else {}


def given_params(start: Start) -> dict[str, Any]:
    """The params without those that were left out: what tells a start from another."""
    defaults = frozenset((start.meta or {}).get(DEFAULTS, ()))
    return {name: value for name, value in start.params.items() if name not in defaults}


async def without_removed(task: TaskDefinition[Any], claim: Claim, store: Store) -> Claim:
    """A claim without the params that the task takes no longer, if its start left them out.

    One that was given stays, and is refused as that of a new start would be: nobody knows what the
    run would do without it.
    """
    removed = claim.params.keys() - task.param_names if is_dict(claim.params) else set[str]()
    if not removed:
        return claim
    meta, _ = await store.started_how(claim.context_id)
    defaults = meta.get(DEFAULTS, ())
    removed = {name for name in removed if name in defaults}
    params = {name: value for name, value in claim.params.items() if name not in removed}
    return replace(claim, params=params)


def _clean_ups(options: TaskOptions) -> dict[str, Any]:
    """What cleans up after the run, for whoever ends it: that may be the database itself."""
    named = {"on_failure": options.on_failure, "on_cancel": options.on_cancel}
    return {
        kind: {"task": task.name, "queue": task.options.queue}
        for kind, task in named.items()
        if task is not None
    }
