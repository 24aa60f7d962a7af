"""The client for code without a loop: what `Client` and `Handle` have, without await."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any, Generic, Self, Unpack, cast, overload

from typing_extensions import ParamSpec, TypeVar, override

from dama.domain.event import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Iterator
    from types import TracebackType

    from pandas import DataFrame  # pyright: ignore[reportMissingTypeStubs]

    from dama.client.client import Client, Params, StartOptions
    from dama.client.handle import Handle
    from dama.client.loop import LoopThread
    from dama.config.duration import Duration
    from dama.definitions.task import TaskDefinition
    from dama.domain.event import StoredEvent
    from dama.domain.slice import Slice
    from dama.operations.contexts import ContextReport
    from dama.shapes import Json
    from dama.store import ContextRow

R = TypeVar("R")
P = ParamSpec("P")
S = TypeVar("S")


class SyncHandle(Generic[R]):
    """A run that was started; the methods are those of `Handle`, without await."""

    def __init__(self, handle: Handle[R], thread: LoopThread) -> None:
        self._handle = handle
        self._thread = thread

    @override
    def __repr__(self) -> str:
        return repr(self._handle)

    @property
    def context_id(self) -> int:
        """Its context."""
        return self._handle.context_id

    @property
    def task(self) -> TaskDefinition[R] | None:
        """Its definition; None when only its id is known."""
        return self._handle.task

    def result(self, timeout: Duration | None = None) -> R:
        """See `Handle.result`."""
        return self._thread.answer(self._handle.result(timeout))

    def report(self) -> ContextReport:
        """See `Handle.report`."""
        return self._thread.answer(self._handle.report())

    def events(self, *, follow: bool = False, tree: bool = False) -> Iterator[StoredEvent]:
        """See `Handle.events`."""
        return self._thread.each(self._handle.events(follow=follow, tree=tree))

    def state(self, slice_: Slice[S], at: int | None = None) -> S:
        """See `Handle.state`."""
        return self._thread.answer(self._handle.state(slice_, at))

    def signal(self, type_: str, payload: Json = ABSENT) -> int:
        """See `Handle.signal`."""
        return self._thread.answer(self._handle.signal(type_, payload))

    def cancel(self, reason: str | None = None) -> list[int]:
        """See `Handle.cancel`."""
        return self._thread.answer(self._handle.cancel(reason))

    def resume(self, reason: str | None = None) -> None:
        """See `Handle.resume`."""
        self._thread.answer(self._handle.resume(reason))

    def tree(self) -> list[ContextRow]:
        """See `Handle.tree`."""
        return self._thread.answer(self._handle.tree())

    def logs(self, level: str | None = None) -> list[str]:
        """See `Handle.logs`."""
        return self._thread.answer(self._handle.logs(level))

    def frame(self, *, tree: bool = False) -> DataFrame:
        """See `Handle.frame`."""
        return self._thread.answer(self._handle.frame(tree=tree))


class SyncClient:
    """A database, for code without a loop; the methods are those of `Client`, without await."""

    def __init__(
        self,
        client: Client,
        thread: LoopThread,
        end: Callable[[], Coroutine[Any, Any, None]] | None,
    ) -> None:
        self._client = client
        self._thread = thread
        self._end = end
        if end is not None:
            atexit.register(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def options(self, **options: Unpack[StartOptions]) -> SyncClient:
        """See `Client.options`."""
        return SyncClient(self._client.options(**options), self._thread, None)

    @overload
    def start(
        self, task: TaskDefinition[R, P, Any], /, *args: P.args, **kwargs: P.kwargs
    ) -> SyncHandle[R]: ...

    @overload
    def start(self, task: TaskDefinition[R, ..., Any], params: Params, /) -> SyncHandle[R]: ...

    @overload
    def start(self, task: str, params: Params = ..., /, **kwargs: Any) -> SyncHandle[Any]: ...

    def start(self, task: Any, /, *args: Any, **kwargs: Any) -> SyncHandle[Any]:
        """See `Client.start`."""
        start: Coroutine[Any, Any, Handle[Any]]
        start = self._client.start(task, *args, **kwargs)
        return SyncHandle(self._thread.answer(start), self._thread)

    @overload
    def run(self, task: TaskDefinition[R, P, Any], /, *args: P.args, **kwargs: P.kwargs) -> R: ...

    @overload
    def run(self, task: TaskDefinition[R, ..., Any], params: Params, /) -> R: ...

    @overload
    def run(self, task: str, params: Params = ..., /, **kwargs: Any) -> Any: ...

    def run(self, task: Any, /, *args: Any, **kwargs: Any) -> Any:
        """See `Client.run`."""
        return self._thread.answer(self._client.run(task, *args, **kwargs))

    @overload
    def start_many(
        self,
        task: TaskDefinition[R, ..., Any],
        params: Iterable[Params],
        *,
        key: Callable[[Params], str] | None = None,
    ) -> list[SyncHandle[R]]: ...

    @overload
    def start_many(
        self, task: str, params: Iterable[Params], *, key: Callable[[Params], str] | None = None
    ) -> list[SyncHandle[Any]]: ...

    def start_many(
        self,
        task: Any,
        params: Iterable[Params],
        *,
        key: Callable[[Params], str] | None = None,
    ) -> list[SyncHandle[Any]]:
        """See `Client.start_many`."""
        handles = self._thread.answer(self._client.start_many(task, params, key=key))
        return [SyncHandle(handle, self._thread) for handle in handles]

    @overload
    def handle(self, context_id: int) -> SyncHandle[Any]: ...

    @overload
    def handle(self, context_id: int, task: TaskDefinition[R, ..., Any]) -> SyncHandle[R]: ...

    def handle(
        self, context_id: int, task: TaskDefinition[Any, ..., Any] | None = None
    ) -> SyncHandle[Any]:
        """See `Client.handle`."""
        return SyncHandle(self._client.handle(context_id, cast("Any", task)), self._thread)

    def close(self) -> None:
        """Close its connections; a program that ends does so, too."""
        if self._end is None:
            return
        end, self._end = self._end, None
        atexit.unregister(self.close)
        if self._thread.is_own:
            self._thread.answer(end())
            self._thread.close()
