"""The client: starts tasks, and finds the runs of all that were started.

It does nothing by itself: each of its verbs is one of `dama.operations`, as it is of the command
line and of HTTP. Its connections are shared by all calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack, cast, overload

from typing_extensions import ParamSpec, TypeVar

from dama.client.handle import Handle
from dama.definitions.task import task_of
from dama.errors import UsageError
from dama.operations import tasks
from dama.run.starts import read_start_options
from dama.shapes import is_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable
    from types import TracebackType

    from dama.client.link import Link
    from dama.config.duration import Duration
    from dama.definitions.task import TaskDefinition
    from dama.run.starts import QueueOptions

R = TypeVar("R")
P = ParamSpec("P")

Params = Mapping[str, Any]


class StartOptions(TypedDict, total=False):
    """What may be said of a start besides its params.

    Attributes:
        key: An idempotency key: the same task with the same key is started once.
        queue: Instead of the task's own.
        priority: Instead of the task's own; higher ones are claimed first.
        delay: Before it is queued: seconds, a string such as "5m", or a timedelta.
        expires: In which it must start, or it fails.
        deadline: In which it must end, instead of the task's own.
        labels: What its worker must offer besides the task's own.
    """

    key: str | None
    queue: str
    priority: int
    delay: Duration
    expires: Duration
    deadline: Duration
    labels: Collection[str]


class Client:
    """A database, with what starts tasks in it and follows them; see `dama.connect`.

    Attributes:
        link: To the database; its handles and those of `options` have the same.
    """

    def __init__(self, link: Link, options: StartOptions | None = None) -> None:
        self.link = link
        self._options: StartOptions = options or {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.link.end(kind, error, trace)

    def options(self, **options: Unpack[StartOptions]) -> Client:
        """The same client for starts with options: `client.options(key="2013").start(load)`.

        Raises:
            InvalidDefinitionError: An option is unknown or makes no sense.
        """
        _queue_options(options)
        return Client(self.link, {**self._options, **options})

    @overload
    async def start(
        self, task: TaskDefinition[R, P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> Handle[R]: ...

    @overload
    async def start(self, task: TaskDefinition[R, ..., Any], params: Params, /) -> Handle[R]: ...

    @overload
    async def start(self, task: str, params: Params = ..., /, **kwargs: Any) -> Handle[Any]: ...

    async def start(self, task: Any, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Queue a task; returns when it is durable.

        Args:
            task: Its definition, or its full name: then dama.toml says in which module it is.
            *args: Its params as one mapping, or as the function takes them.
            **kwargs: Its params by name.

        Raises:
            UnknownTaskError: The nearest names are in the hint.
            InvalidParamsError: With every problem there is.
            IdempotencyConflictError: The key was used with other params.
            SingletonError: Only one run of it may be open, and one is.
        """
        definition = self._definition(task)
        start_options, key = _queue_options(self._options)
        params = _params(definition, args, kwargs)
        context_id = await tasks.start(self.link.app, definition, params, key=key, **start_options)
        return Handle(context_id, definition, self.link)

    @overload
    async def run(
        self, task: TaskDefinition[R, P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...

    @overload
    async def run(self, task: TaskDefinition[R, ..., Any], params: Params, /) -> R: ...

    @overload
    async def run(self, task: str, params: Params = ..., /, **kwargs: Any) -> Any: ...

    async def run(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Queue a task, wait for its end and return its result; see `start` and `Handle.result`."""
        run: Handle[Any] = await self.start(task, *args, **kwargs)
        return await run.result()

    @overload
    async def start_many(
        self,
        task: TaskDefinition[R, ..., Any],
        params: Iterable[Params],
        *,
        key: Callable[[Params], str] | None = None,
    ) -> list[Handle[R]]: ...

    @overload
    async def start_many(
        self, task: str, params: Iterable[Params], *, key: Callable[[Params], str] | None = None
    ) -> list[Handle[Any]]: ...

    async def start_many(
        self,
        task: Any,
        params: Iterable[Params],
        *,
        key: Callable[[Params], str] | None = None,
    ) -> list[Handle[Any]]:
        """Queue a task once for each of any number of params, a thousand in a transaction.

        Args:
            task: Its definition or its full name, as for `start`.
            params: What it takes, each time.
            key: Makes an idempotency key of the params, so that the call can be repeated.
        """
        definition = self._definition(task)
        start_options, _ = _queue_options(self._options)
        ids = await tasks.queue_many(self.link.app, definition, params, key=key, **start_options)
        return [Handle(context_id, definition, self.link) for context_id in ids]

    @overload
    def handle(self, context_id: int) -> Handle[Any]: ...

    @overload
    def handle(self, context_id: int, task: TaskDefinition[R, ..., Any]) -> Handle[R]: ...

    def handle(
        self, context_id: int, task: TaskDefinition[Any, ..., Any] | None = None
    ) -> Handle[Any]:
        """The handle of a context that was started anywhere; its task says what it returns.

        Raises:
            UsageError: The id is not a whole number, or the task is none.
        """
        if not is_whole(context_id):
            raise UsageError(f"{context_id!r} is not the id of a context: expected a whole number.")
        known = None if task is None else task_of(task)
        return Handle(context_id, known, self.link)

    async def close(self) -> None:
        """Close its connections; the end of `async with` does so, too."""
        await self.link.end()

    def _definition(self, task: TaskDefinition[Any, ..., Any] | str) -> TaskDefinition[Any]:
        if not isinstance(task, str):
            return task_of(task)
        registry = self.link.app.registry
        if not registry.services:
            registry.load(self.link.config)
        return registry.task(task)


def _params(
    task: TaskDefinition[Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Mapping[str, Any]:
    if len(args) == 1 and isinstance(args[0], Mapping):
        return {**cast("Params", args[0]), **kwargs}
    return task.named(args, kwargs)


def _queue_options(options: StartOptions) -> tuple[QueueOptions, str | None]:
    read_start_options(options)
    given: dict[str, Any] = dict(options)
    key = given.pop("key", None)
    return cast("QueueOptions", given), key
