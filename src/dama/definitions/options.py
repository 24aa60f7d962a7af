"""Options: how a task is queued, timed and tried again. Fixed when it is defined."""

from __future__ import annotations

from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict, get_args

from dama.config.duration import parse_duration
from dama.definitions.resources import (
    NOTHING_ASKED,
    Resources,
    ResourceSettings,
    read_resources,
)
from dama.domain.labels import LAUNCHER, label_of, reserved_among
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic import BaseModel

Exceptions = tuple[type[BaseException], ...]
Singleton = Literal["refuse", "return", "queue"]
Isolation = Literal["process"]
Fork = Literal["refuse"]


class CleanUp(Protocol):
    """A task that cleans up after another."""

    @property
    def name(self) -> str:
        """The full name."""
        ...

    @property
    def options(self) -> TaskOptions:
        """How it is queued."""
        ...

    @property
    def params(self) -> type[BaseModel]:
        """What it takes: the params of the other."""
        ...


@dataclass(frozen=True)
class TaskOptions:
    """How a task is queued, timed and tried again.

    Attributes:
        queue: The queue that its runs wait in.
        priority: Runs with a higher one are claimed first.
        retries: How many further attempts follow a first one that failed.
        timeout: Seconds that one attempt may take; None for no limit.
        deadline: Seconds that the task may take over all attempts and waits; None for no limit.
        labels: Only a worker that offers all of them runs it, such as "gpu".
        backoff: Seconds before the second attempt; doubled for each one after it.
        max_backoff: The longest wait between two attempts, in seconds.
        crashes: How many workers it may take down in a row (os._exit, a crash in C code, too
            little memory) before it is set aside.
        retry_on: Only these errors are worth a further attempt.
        fail_on: These never are, whatever `retry_on` says.
        concurrency: How many runs may be begun and not ended at once, on all workers; None for no
            limit.
        concurrency_key: Counts them apart for each value of some params, such as "{airport}".
        singleton: Only one run may be open. How another start is handled: "refuse" raises,
            "return" returns the open one, "queue" lets it wait for its end.
        isolation: "process" gives each run a process of its own, which outlives its worker; None
            lets an `async def` run in the loop of the worker, and a `def` in a thread of it.
        on_failure: The task that cleans up when this one has failed for good; it gets the same
            params, in a context of its own, and is started with the event of the failure.
        on_cancel: The same, when this one was cancelled.
        aliases: Names that the task had before, within its service or full: runs and schedules
            that have one of them are its own.
        fork: "refuse" lets nobody fork a run: what it does outside of the database must not be
            done twice. None lets everybody who may start it.
        launcher: The engine that places its runs on another machine: a name of `[launchers]`.
        resources: What a run needs there: cpus, memory, gpus, time.
    """

    queue: str = "default"
    priority: int = 0
    retries: int = 0
    timeout: float | None = None
    deadline: float | None = None
    labels: frozenset[str] = frozenset()
    backoff: float = 1.0
    max_backoff: float = 300.0
    crashes: int = 3
    retry_on: Exceptions = (Exception,)
    fail_on: Exceptions = ()
    concurrency: int | None = None
    concurrency_key: str | None = None
    singleton: Singleton | None = None
    isolation: Isolation | None = None
    on_failure: CleanUp | None = None
    on_cancel: CleanUp | None = None
    aliases: tuple[str, ...] = ()
    fork: Fork | None = None
    launcher: str | None = None
    resources: Resources = NOTHING_ASKED


class TaskSettings(TypedDict, total=False):
    """What may be written in `@service.task(...)`: durations as seconds or as text."""

    queue: str
    priority: int
    retries: int
    timeout: float | str | None
    deadline: float | str | None
    labels: Collection[str]
    backoff: float | str
    max_backoff: float | str
    crashes: int
    retry_on: Exceptions | type[BaseException]
    fail_on: Exceptions | type[BaseException]
    concurrency: int | None
    concurrency_key: str | None
    singleton: Singleton | None
    isolation: Isolation | None
    on_failure: CleanUp
    on_cancel: CleanUp
    aliases: Collection[str]
    fork: Fork | None
    launcher: str
    resources: ResourceSettings


def read_options(task: str, settings: TaskSettings) -> TaskOptions:
    """Check the settings of a task.

    Raises:
        InvalidDefinitionError: One is unknown or makes no sense; the task is named.
    """
    _refuse_unknown(task, settings)
    defaults = TaskOptions()
    timeout, deadline = settings.get("timeout"), settings.get("deadline")
    options = TaskOptions(
        queue=settings.get("queue", defaults.queue),
        priority=settings.get("priority", defaults.priority),
        retries=settings.get("retries", defaults.retries),
        timeout=None if timeout is None else parse_duration(timeout, of=f"{task}: timeout"),
        deadline=None if deadline is None else parse_duration(deadline, of=f"{task}: deadline"),
        labels=_labels(task, settings.get("labels", ()), settings.get("launcher")),
        backoff=parse_duration(settings.get("backoff", defaults.backoff), of=f"{task}: backoff"),
        max_backoff=parse_duration(
            settings.get("max_backoff", defaults.max_backoff), of=f"{task}: max_backoff"
        ),
        crashes=settings.get("crashes", defaults.crashes),
        retry_on=exceptions(settings.get("retry_on", defaults.retry_on)),
        fail_on=exceptions(settings.get("fail_on", defaults.fail_on)),
        concurrency=settings.get("concurrency"),
        concurrency_key=settings.get("concurrency_key"),
        singleton=settings.get("singleton"),
        isolation=settings.get("isolation"),
        on_failure=settings.get("on_failure"),
        on_cancel=settings.get("on_cancel"),
        aliases=_aliases(task, settings.get("aliases", ())),
        fork=settings.get("fork"),
        launcher=settings.get("launcher"),
        resources=read_resources(task, settings.get("resources", {})),
    )
    _refuse_senseless(task, options)
    return options


def _refuse_unknown(task: str, settings: TaskSettings) -> None:
    known = [field.name for field in fields(TaskOptions)]
    for name in settings:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            raise InvalidDefinitionError(
                f"{task} has no option {name!r}.",
                f"Did you mean {near[0]!r}?" if near else f"It may have {', '.join(known)}.",
            )


def _refuse_senseless(task: str, options: TaskOptions) -> None:
    if not options.queue.strip():
        raise InvalidDefinitionError(f"{task}: the name of its queue is empty.")
    if options.retries < 0:
        raise InvalidDefinitionError(f"{task}: retries is {options.retries}; 0 is the least.")
    if options.crashes < 1:
        raise InvalidDefinitionError(f"{task}: crashes is {options.crashes}; 1 is the least.")
    if options.timeout == 0:
        raise InvalidDefinitionError(
            f"{task}: a timeout of 0 would stop it at once. Leave it out for no limit."
        )
    if options.resources.given() and not options.launcher:
        raise InvalidDefinitionError(
            f"{task}: resources are asked of an engine, and it has no launcher.",
            "Give launcher too, or leave resources out.",
        )
    if options.isolation not in {None, "process"}:
        raise InvalidDefinitionError(
            f"{task}: isolation is {options.isolation!r}.",
            "It may be 'process'. Leave it out for a run within the worker.",
        )
    if options.fork not in {None, "refuse"}:
        raise InvalidDefinitionError(
            f"{task}: fork is {options.fork!r}.", "It may be 'refuse'. Leave it out to allow forks."
        )
    _refuse_senseless_limit(task, options)


def _refuse_senseless_limit(task: str, options: TaskOptions) -> None:
    if options.concurrency is not None and options.concurrency < 1:
        raise InvalidDefinitionError(
            f"{task}: concurrency is {options.concurrency}; 1 is the least."
        )
    if options.singleton is not None and options.singleton not in get_args(Singleton):
        raise InvalidDefinitionError(
            f"{task}: singleton is {options.singleton!r}.",
            f"It may be {', '.join(map(repr, get_args(Singleton)))}.",
        )
    if options.singleton is not None and options.concurrency not in {None, 1}:
        raise InvalidDefinitionError(
            f"{task}: a singleton has one run at once, and concurrency is {options.concurrency}.",
            "Leave one of them out.",
        )
    if options.concurrency_key is not None and not (options.concurrency or options.singleton):
        raise InvalidDefinitionError(
            f"{task}: concurrency_key says what is counted; how many there may be is missing.",
            "Give concurrency or singleton too.",
        )


def _labels(task: str, labels: Collection[str], launcher: str | None) -> frozenset[str]:
    if isinstance(labels, str):
        raise InvalidDefinitionError(
            f"{task}: labels is the string {labels!r}.", f"Write a set: {{{labels!r}}}."
        )
    if reserved := reserved_among(labels):
        name = reserved.removeprefix(LAUNCHER)
        raise InvalidDefinitionError(
            f"{task}: the label {reserved!r} is one of the controller.",
            f"Write launcher={name!r} instead.",
        )
    own = frozenset(labels)
    return own | {label_of(launcher)} if launcher else own


def _aliases(task: str, aliases: Collection[str]) -> tuple[str, ...]:
    if isinstance(aliases, str):
        raise InvalidDefinitionError(
            f"{task}: aliases is the string {aliases!r}.", f"Write a tuple: ({aliases!r},)."
        )
    return tuple(aliases)


def exceptions(value: Exceptions | type[BaseException]) -> Exceptions:
    """One class or several, as several."""
    return value if isinstance(value, tuple) else (value,)
