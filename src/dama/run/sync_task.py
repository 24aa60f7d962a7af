"""The task of a blocking function, which runs in a thread: what `Task` has, without await."""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError, Future
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    Literal,
    ParamSpec,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from dama.contained import running_loop
from dama.domain.event import ABSENT, Event
from dama.run.asking import from_thread
from dama.run.errors import LostSignal, TaskUsageError
from dama.run.facts import RunFacts
from dama.run.task import Task

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from datetime import datetime
    from uuid import UUID

    from dama.broker.call import CallOptions
    from dama.config.duration import Duration
    from dama.data.checks import Checked, Severity
    from dama.data.copying import Copied
    from dama.definitions.task import TaskDefinition
    from dama.domain.slice import Slice
    from dama.run.awaiting import Answer
    from dama.run.execution import Execution
    from dama.run.subtasks import Ended, Subtask

R = TypeVar("R")
S = TypeVar("S")
V = TypeVar("V")
P = ParamSpec("P")


class SyncSubtask(Generic[R]):
    """A subtask that a blocking function started."""

    def __init__(self, subtask: Subtask[R], execution: Execution) -> None:
        self._subtask = subtask
        self._execution = execution

    def result(self) -> R:
        """Wait for its end and give its result; see `Subtask.result`."""
        return answer(self._execution, self._subtask.result())

    def cancel(self, why: str = "its parent cancelled it") -> None:
        """Cancel it and all below it; see `Subtask.cancel`."""
        answer(self._execution, self._subtask.cancel(why))


class SyncTask(RunFacts):
    """A run, as a function in a thread sees it. The methods are those of `Task`, without await."""

    def __init__(self, execution: Execution) -> None:
        super().__init__(execution)
        self._task = Task(execution)

    @overload
    def step(
        self,
        name: str,
        function: Callable[P, Coroutine[Any, Any, V]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> V: ...

    @overload
    def step(
        self, name: str, function: Callable[P, V], /, *args: P.args, **kwargs: P.kwargs
    ) -> V: ...

    @overload
    def step(
        self,
        name: str,
        function: Callable[..., Coroutine[Any, Any, V]],
        /,
        *args: Any,
        transactional: bool,
        **kwargs: Any,
    ) -> V: ...

    @overload
    def step(
        self,
        name: str,
        function: Callable[..., V],
        /,
        *args: Any,
        transactional: bool,
        **kwargs: Any,
    ) -> V: ...

    def step(
        self,
        name: str,
        function: Callable[..., Any],
        /,
        *args: Any,
        transactional: bool = False,
        **kwargs: Any,
    ) -> Any:
        """See `Task.step`."""
        return self._wait(
            self._task.step(name, function, *args, transactional=transactional, **kwargs)
        )

    @overload
    def transaction(
        self,
        name: str,
        function: Callable[Concatenate[Any, P], Coroutine[Any, Any, V]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> V: ...

    @overload
    def transaction(
        self,
        name: str,
        function: Callable[Concatenate[Any, P], V],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> V: ...

    def transaction(
        self, name: str, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Any:
        """See `Task.transaction`."""
        return self._wait(self._task.transaction(name, function, *args, **kwargs))

    def call(
        self,
        action: str,
        params: Any = None,
        *,
        name: str | None = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """See `Task.call`."""
        return self._wait(self._task.call(action, params, name=name, **options))

    @overload
    def run(
        self,
        task: TaskDefinition[R],
        params: Mapping[str, Any] | None = None,
        *,
        timeout: Duration | None = None,
    ) -> R: ...

    @overload
    def run(
        self, task: str, params: Mapping[str, Any] | None = None, *, timeout: Duration | None = None
    ) -> Any: ...

    def run(
        self,
        task: TaskDefinition[Any] | str,
        params: Mapping[str, Any] | None = None,
        *,
        timeout: Duration | None = None,
    ) -> Any:
        """See `Task.run`."""
        # A type checker takes no union for an overloaded method.
        run: Coroutine[Any, Any, Any] = self._task.run(cast("Any", task), params, timeout=timeout)
        return self._wait(run)

    @overload
    def start(
        self, task: TaskDefinition[R], params: Mapping[str, Any] | None = None
    ) -> SyncSubtask[R]: ...

    @overload
    def start(self, task: str, params: Mapping[str, Any] | None = None) -> SyncSubtask[Any]: ...

    def start(
        self, task: TaskDefinition[Any] | str, params: Mapping[str, Any] | None = None
    ) -> SyncSubtask[Any]:
        """See `Task.start`."""
        start: Coroutine[Any, Any, Subtask[Any]] = self._task.start(cast("Any", task), params)
        return SyncSubtask(self._wait(start), self._execution)

    @overload
    def map(
        self,
        task: TaskDefinition[R],
        params: Sequence[Mapping[str, Any]],
        *,
        on_failure: Literal["fail_fast"] = "fail_fast",
        limit: int | None = None,
    ) -> list[R]: ...

    @overload
    def map(
        self,
        task: TaskDefinition[R],
        params: Sequence[Mapping[str, Any]],
        *,
        on_failure: Literal["collect"],
        limit: int | None = None,
    ) -> list[Ended[R]]: ...

    def map(
        self,
        task: TaskDefinition[R],
        params: Sequence[Mapping[str, Any]],
        *,
        on_failure: Literal["fail_fast", "collect"] = "fail_fast",
        limit: int | None = None,
    ) -> list[R] | list[Ended[R]]:
        """See `Task.map`."""
        # A type checker takes no union for an overloaded method.
        ends: Coroutine[Any, Any, list[Any]] = self._task.map(
            task, params, on_failure=cast("Any", on_failure), limit=limit
        )
        return self._wait(ends)

    def copy(
        self,
        table: str,
        source: Any,
        *,
        columns: Sequence[str] | None = None,
        bad_rows: str | None = None,
    ) -> Copied:
        """See `Task.copy`."""
        return self._wait(self._task.copy(table, source, columns=columns, bad_rows=bad_rows))

    def check(
        self,
        name: str,
        expectation: str | Callable[[], Any],
        params: Mapping[str, Any] | None = None,
        *,
        severity: Severity = "fail",
    ) -> Checked:
        """See `Task.check`."""
        return self._wait(self._task.check(name, expectation, params, severity=severity))

    def dispatch(self, event: Event | str, payload: Any = ABSENT) -> None:
        """See `Task.dispatch`."""
        self._wait(self._task.dispatch(event, payload))

    def changed(self, name: str) -> None:
        """See `Task.changed`."""
        self._wait(self._task.changed(name))

    def state(self, slice_: Slice[S]) -> S:
        """See `Task.state`."""
        return self._wait(self._task.state(slice_))

    def now(self) -> datetime:
        """See `Task.now`."""
        return self._wait(self._task.now())

    def random(self) -> float:
        """See `Task.random`."""
        return self._wait(self._task.random())

    def uuid4(self) -> UUID:
        """See `Task.uuid4`."""
        return self._wait(self._task.uuid4())

    def previous(self, slice_: Slice[S], *, key: str | None = None) -> S:
        """See `Task.previous`."""
        return self._wait(self._task.previous(slice_, key=key))

    def sleep(self, seconds: Duration, name: str = "sleep") -> None:
        """See `Task.sleep`."""
        self._wait(self._task.sleep(seconds, name))

    @overload
    def wait_for(
        self,
        type_: str,
        timeout: Duration | None = None,
        *,
        where: Callable[[Any], object] | None = None,
    ) -> Any: ...

    @overload
    def wait_for(
        self,
        type_: str,
        timeout: Duration | None = None,
        *,
        model: type[V],
        where: Callable[[V], object] | None = None,
    ) -> V: ...

    def wait_for(
        self,
        type_: str,
        timeout: Duration | None = None,
        *,
        model: Any = None,
        where: Callable[[Any], object] | None = None,
    ) -> Any:
        """See `Task.wait_for`."""
        return self._wait(self._task.wait_for(type_, timeout, model=model, where=where))

    @overload
    def wait_any(self, *types: str, timeout: Duration | None = None) -> Answer: ...

    @overload
    def wait_any(
        self, *types: str, timeout: Duration | None = None, model: type[V] | Mapping[str, type[V]]
    ) -> Answer[V]: ...

    def wait_any(self, *types: str, timeout: Duration | None = None, model: Any = None) -> Answer:
        """See `Task.wait_any`."""
        return self._wait(self._task.wait_any(*types, timeout=timeout, model=model))

    def ask(
        self,
        form: type[V],
        question: str = "",
        *,
        name: str | None = None,
        deadline: Duration | None = None,
        reminder: Duration | None = None,
        on_reminder: Callable[[], Any] | None = None,
    ) -> Answer[V]:
        """See `Task.ask`."""
        asking = self._task.ask(
            form, question, name=name, deadline=deadline, reminder=reminder, on_reminder=on_reminder
        )
        return self._wait(asking)

    def progress(
        self,
        done: float,
        total: float | None = None,
        *,
        unit: str | None = None,
        message: str | None = None,
    ) -> None:
        """See `Task.progress`."""
        self._wait(self._task.progress(done, total, unit=unit, message=message))

    def log(self, message: str, **fields: Any) -> None:
        """See `Task.log`."""
        self._wait(self._task.log(message, **fields))

    def _wait(self, coroutine: Coroutine[Any, Any, V]) -> V:
        return answer(self._execution, coroutine)


def answer(execution: Execution, coroutine: Coroutine[Any, Any, V]) -> V:
    """Let the loop of a run do something, and wait in a thread of it.

    Raises:
        LostSignal: The attempt is over, as after a timeout.
        TaskUsageError: It is asked within the loop, which would wait for itself.
    """
    if running_loop() is execution.loop:
        coroutine.close()
        raise TaskUsageError(
            "The task of a `def` was used by a coroutine, and its methods block the event loop "
            "that they wait for.",
            "Write the task as an `async def` with `task: Task`, and await its methods; or use "
            "them in the `def` itself, not in a coroutine that it returns.",
        )
    if execution.is_closed:
        coroutine.close()
        raise LostSignal
    with from_thread():
        future = asyncio.run_coroutine_threadsafe(coroutine, execution.loop)
        return _result_of(future, execution)


def _result_of(future: Future[V], execution: Execution) -> V:
    execution.asked.add(future)
    try:
        return future.result()
    except CancelledError:
        if execution.is_closed:
            raise LostSignal from None
        raise
    finally:
        execution.asked.discard(future)
