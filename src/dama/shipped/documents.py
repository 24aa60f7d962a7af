"""What the shipped actions share: types of their params, permissions, and who is calling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from dama.broker.errors import ClientCallError

if TYPE_CHECKING:
    from dama.app import App
    from dama.broker.call import Call

Id = Annotated[int, Field(ge=1, le=2**63 - 1)]
"""The id of a context or an event, as PostgreSQL has room for."""

PERMITTED = "$services"
"""Where the gateway says for which services a token is; none of the others may be touched."""


COMMANDS = "$commands"
"""Where the gateway leaves, in the locals of a call, that it may start undeclared commands. Locals
stay in the process: no caller and no packet can say so."""


class NotPermittedError(ClientCallError):
    """The token of the caller is for other services."""

    name = "ForbiddenError"
    status = 403
    code = "FORBIDDEN"


def permit_task(call: Call, task: str | None) -> None:
    """Refuse a task of a service that the token of the caller is not for.

    Raises:
        NotPermittedError: It is for others.
    """
    services = call.meta.get(PERMITTED)
    if services is not None and (task or "").partition(".")[0] not in services:
        raise NotPermittedError(
            f"The token is for {', '.join(services) or 'no service'}, not for {task or 'this'}.",
            data={"task": task, "services": services},
        )


async def permit_context(app: App, call: Call, context_id: int) -> None:
    """Refuse a context whose task is of a service that the token of the caller is not for.

    Raises:
        NotPermittedError: It is for others.
        UnknownContextError: There is no such context.
    """
    if call.meta.get(PERMITTED) is not None:
        root = (await app.store.context(context_id)).root_context_id
        permit_task(call, (await app.store.context(root)).task)


def starter(call: Call) -> dict[str, Any]:
    """Who does it, for the meta of events: the user that the gateway knows, and the node.

    Over the bus anybody can name anybody, so the user is only what the node says.
    """
    user = "user_as_said" if call.is_remote else "user"
    told = {
        user: call.meta.get("user"),
        "token": None if call.is_remote else call.meta.get("token"),
        "node": call.node_id,
        "request_id": call.request_id,
        "caller": call.caller,
        "traceparent": call.meta.get("traceparent"),
    }
    return {name: value for name, value in told.items() if isinstance(value, str)}
