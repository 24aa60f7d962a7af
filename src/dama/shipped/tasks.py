"""The service `tasks`: start tasks, wait for them, cancel them, let them continue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.broker.errors import CallError
from dama.definitions.service import Service
from dama.domain.event import ABSENT
from dama.domain.exact import document
from dama.errors import InvalidDefinitionError
from dama.operations import contexts, forks, tasks
from dama.operations.who import because
from dama.shipped.documents import COMMANDS, Id, permit_context, permit_task, starter
from dama.shipped.histories import add_replays

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.app import App
    from dama.broker.call import Call
    from dama.definitions.task import TaskDefinition
    from dama.operations.ends import Ends
    from dama.store import Outcome


class TaskFailedError(CallError):
    """A task that somebody waits for has failed or was cancelled; `data` has its context."""

    name = "TaskFailedError"
    code = "TASK_FAILED"


def tasks_service(app: App, ends: Ends) -> Service:
    """Make the service."""
    service = Service("tasks", description="Start tasks, wait for them, cancel them.")

    @service.action(scope="viewer", rest="GET /")
    async def list(call: Call) -> Any:
        """List the tasks that can be started, with the schemas of their params."""
        return [describe_task(task) for task in app.registry.tasks.values()]

    @service.action(scope="operator", rest="POST /:name", status=202)
    async def start(
        call: Call,
        name: str,
        params: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        queue: str | None = None,
        priority: int | None = None,
        delay: float | None = None,
        expires: float | None = None,
        deadline: float | None = None,
        labels: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """Start a task; returns its context at once, and says when no live worker has the task.

        Args:
            name: The full name, such as flights.load.
            params: What it takes.
            key: A second start with the same key returns the first context.
            queue: Instead of the task's own.
            priority: Instead of the task's own; higher ones are claimed first.
            delay: Seconds before it is queued.
            expires: Seconds in which it must start, or it fails.
            deadline: Seconds in which it must end.
            labels: What its worker must offer besides the task's own.
        """
        permit_task(call, name)
        start_options: dict[str, Any] = {"queue": queue, "priority": priority, "delay": delay}
        if deadline is not None:
            start_options["deadline"] = deadline
        context_id = await tasks.start(
            app,
            name,
            params or {},
            key=_key(call, key),
            by=starter(call),
            undeclared=COMMANDS in call.locals,
            expires=expires,
            labels=labels,
            **start_options,
        )
        call.meta["$location"] = f"/api/contexts/{context_id}"
        return document(await tasks.queued(app, context_id))

    @service.action(scope="viewer", timeout=0, rest="GET /:context_id/result")
    async def wait(call: Call, context_id: Id) -> Any:
        """Wait for the end of a context and give its result, or fail with its error."""
        await permit_context(app, call, context_id)
        return result_of(context_id, await ends.wait(context_id))

    @service.action(scope="operator", timeout=0)
    async def run(
        call: Call, name: str, params: dict[str, Any] | None = None, key: str | None = None
    ) -> Any:
        """Start a task, wait for its end and return its result, or fail with its error.

        Args:
            name: The full name, such as flights.load.
            params: What it takes.
            key: A second start with the same key waits for the first context.
        """
        permit_task(call, name)
        context_id = await tasks.start(
            app,
            name,
            params or {},
            key=_key(call, key),
            by=starter(call),
            undeclared=COMMANDS in call.locals,
        )
        call.meta["context_id"] = context_id
        return result_of(context_id, await ends.wait(context_id))

    @service.action(scope="operator", rest="POST /:context_id/cancel")
    async def cancel(call: Call, context_id: Id, reason: str | None = None) -> dict[str, Any]:
        """Cancel a context and all below it that have not ended; returns their ids.

        Args:
            context_id: Which.
            reason: Why; it is kept in the events.
        """
        await permit_context(app, call, context_id)
        by = because(starter(call), reason)
        return {"cancelled": await contexts.cancel(app, context_id, by)}

    @service.action(scope="operator", rest="POST /:context_id/resume")
    async def resume(call: Call, context_id: Id, reason: str | None = None) -> dict[str, Any]:
        """Let a context continue that failed or was cancelled, from its last step.

        Args:
            context_id: Which.
            reason: Why; it is kept in the events.
        """
        await permit_context(app, call, context_id)
        await contexts.resume(app, context_id, because(starter(call), reason))
        return document(await tasks.queued(app, context_id))

    _add_fork(service, app)
    add_replays(service, app)
    return service


def _add_fork(service: Service, app: App) -> None:
    @service.action(scope="operator", rest="POST /:context_id/fork", status=202)
    async def fork(
        call: Call,
        context_id: Id,
        *,
        at: Id | None = None,
        step: str | None = None,
        payload: Any = None,
        params: dict[str, Any] | None = None,
        reason: str | None = None,
    ) -> Any:
        """Make a context with the history of another one up to an event, and queue it.

        Args:
            context_id: Whose history.
            at: The id of the last event that is shared.
            step: Instead: the key of a step; what was before it is shared.
            payload: Instead of that event's own.
            params: Other values of params.
            reason: The reason; it is kept in the event.
        """
        await permit_context(app, call, context_id)
        # What it continues is its own task, which may be of another service than its tree.
        permit_task(call, (await app.store.forks.point(context_id, None)).task)
        told = payload if "payload" in call.params else ABSENT
        edits, by = forks.Edits(told, params or {}), because(starter(call), reason)
        made = await forks.fork(app, context_id, at, step=step, edits=edits, by=by)
        call.meta["$location"] = f"/api/contexts/{made.context_id}"
        return document(made)


def describe_task(task: TaskDefinition[Any]) -> dict[str, Any]:
    """A task with the schema of its params; with an `error` where it cannot be started."""
    try:
        params: dict[str, Any] = {"params": task.params_schema()}
    except InvalidDefinitionError as error:  # one task, and a list of all
        params = {"params": {}, "error": error.message}
    return {
        "name": task.name,
        "summary": task.summary,
        "description": task.description,
        "queue": task.options.queue,
        "priority": task.options.priority,
        "retries": task.options.retries,
        "timeout": task.options.timeout,
        **params,
    }


def _key(call: Call, key: str | None) -> str | None:
    """The idempotency key of a start: that of its params, else that of the request."""
    return call.meta.get("$idempotencyKey") if key is None else key


def result_of(context_id: int, outcome: Outcome) -> Any:
    """The result of a context that has ended.

    Raises:
        TaskFailedError: It failed; code, type and data are those of its error where it has them.
    """
    if outcome.status == "DONE":
        return None if outcome.result is ABSENT else document(outcome.result)
    error: Mapping[str, Any] = outcome.error or {}
    message = error.get("message") or "no reason was given"
    told: dict[str, Any] = {"context_id": context_id, "status": outcome.status}
    told |= {key: error[key] for key in ("name", "data") if key in error}
    code = error.get("type") or error.get("code")
    raise TaskFailedError(
        f"Context {context_id} is {outcome.status}: {message}",
        f"`dama show {context_id}` shows where.",
        data=told,
        code=code if isinstance(code, str) else TaskFailedError.code,
    )
