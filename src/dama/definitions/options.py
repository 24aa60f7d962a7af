"""Options: how a task is queued, timed and tried again. Fixed when it is defined."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal, Protocol, TypedDict, get_args

from dama.definitions.resources import (
    NOTHING_ASKED,
    Resources,
    ResourceSettings,
    read_resources,
)
from dama.definitions.written import MOST, Exceptions, Written
from dama.domain.labels import LAUNCHER, label_of, reserved_among
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Collection

    from pydantic import BaseModel

    from dama.config.duration import Duration

MOST_OF_NAMES = 16_384  # bytes; they are in the meta of an event

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
        resources: What a run needs there: cpus, memory, gpus, time; how often it is placed again
            with twice the memory (retry_memory), how long it waits there (pending_timeout), and the
            image of its container (image).
        inputs: The datasets that it reads: tables as SQL has them, such as "mart.orders", or URLs,
            such as "s3://lab/orders". `dama lineage` and OpenLineage show them.
        outputs: The datasets that it writes.
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
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()

    @property
    def datasets(self) -> dict[str, list[str]]:
        """What the event that begins a run says of its datasets."""
        given = {"inputs": self.inputs, "outputs": self.outputs}
        return {name: list(found) for name, found in given.items() if found}


class TaskSettings(TypedDict, total=False):
    """What may be written in `@service.task(...)`; see `TaskOptions`."""

    queue: str
    priority: int
    retries: int
    timeout: Duration | None
    deadline: Duration | None
    labels: Collection[str]
    backoff: Duration
    max_backoff: Duration
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
    inputs: Collection[str]
    outputs: Collection[str]


def read_options(task: str, settings: TaskSettings) -> TaskOptions:
    """Check the settings of a task.

    Raises:
        InvalidDefinitionError: One is unknown or makes no sense; the task is named.
    """
    written = Written(task, settings, [field.name for field in fields(TaskOptions)])
    defaults = TaskOptions()
    options = TaskOptions(
        queue=written.text("queue", defaults.queue),
        priority=written.number("priority", defaults.priority, -MOST - 1),
        retries=written.number("retries", defaults.retries),
        timeout=written.limit("timeout"),
        deadline=written.limit("deadline"),
        labels=_labels(written),
        backoff=written.duration("backoff", defaults.backoff),
        max_backoff=written.duration("max_backoff", defaults.max_backoff),
        crashes=written.number("crashes", defaults.crashes, 1),
        retry_on=written.errors("retry_on", defaults.retry_on),
        fail_on=written.errors("fail_on", defaults.fail_on),
        concurrency=written.number("concurrency", None, 1),
        concurrency_key=written.text("concurrency_key", None),
        singleton=written.choice("singleton", get_args(Singleton)),
        isolation=written.choice("isolation", get_args(Isolation)),
        on_failure=written.get("on_failure"),
        on_cancel=written.get("on_cancel"),
        aliases=written.strings("aliases"),
        fork=written.choice("fork", get_args(Fork)),
        launcher=written.text("launcher", None),
        resources=read_resources(task, written.get("resources", {})),
        inputs=_datasets(written, "inputs"),
        outputs=_datasets(written, "outputs"),
    )
    _refuse_senseless(task, options)
    return options


def _refuse_senseless(task: str, options: TaskOptions) -> None:
    if options.resources.given() and not options.launcher:
        raise InvalidDefinitionError(
            f"{task}: resources are asked of an engine, and it has no launcher.",
            "Give launcher too, or leave resources out.",
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


def _datasets(written: Written, name: str) -> tuple[str, ...]:
    found = written.strings(name)
    if any("{" in each for each in found):
        written.wrong(name, "names of datasets, without params")
    if len("".join(found).encode()) > MOST_OF_NAMES:
        raise InvalidDefinitionError(
            f"{written.where}: {name} has more than {MOST_OF_NAMES:,} bytes of names.",
            "Name the folder or the schema that the datasets are in.",
        )
    return tuple(dict.fromkeys(found))


def _labels(written: Written) -> frozenset[str]:
    labels, launcher = written.strings("labels"), written.get("launcher")
    if reserved := reserved_among(labels):
        name = reserved.removeprefix(LAUNCHER)
        raise InvalidDefinitionError(
            f"{written.where}: the label {reserved!r} is one of the controller.",
            f"Write launcher={name!r} instead." if name != reserved else "Take another one.",
        )
    own = frozenset(labels)
    return own | {label_of(launcher)} if launcher else own
