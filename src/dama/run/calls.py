"""Calls of actions within a run: steps, so an action that has answered is not called again.

An action that was called and had not answered when its worker died is called again by the next run;
the `idempotency_key` in the meta of both calls is the same, for actions that can use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from dama.broker.call import CallOptions
from dama.contained import settled
from dama.definitions.written import Written
from dama.run.steps import ACTION, digest_of, do_bound

if TYPE_CHECKING:
    from dama.run.execution import Execution


async def call_action(
    execution: Execution,
    action: str,
    params: Any,
    name: str | None,
    **options: Unpack[CallOptions],
) -> Any:
    """Call an action once; later runs get its result from its event.

    Raises:
        CallError: What the action failed with.
        InvalidDefinitionError: An option is unknown, or the timeout is not one.
        TaskUsageError: The run has a process of its own.
    """
    Written("task.call", options, CallOptions.__annotations__).optional_duration("timeout")
    claim = execution.claim
    key, asked = execution.bind(
        "step", name or action, function=ACTION, args=digest_of(execution, (action, params))
    )
    correlation: dict[str, Any] = {
        "context_id": claim.context_id,
        "root_context_id": claim.root_context_id,
        "task": claim.task,
        "idempotency_key": f"{claim.context_id}/{key}",
    }
    given = options.get("meta")
    options.setdefault("request_id", f"context-{claim.root_context_id}")

    async def called() -> Any:
        stub = execution.writer.rehearsal and execution.writer.rehearsal.stand_in(action)
        if stub:
            return await settled(stub(params))
        meta = {"traceparent": await execution.traceparent(), **correlation}
        options["meta"] = {**meta, **(given or {})}
        broker = await execution.broker()
        return await broker.call(action, params, **options)

    return await do_bound(execution, key, asked, called, transactional=False)
