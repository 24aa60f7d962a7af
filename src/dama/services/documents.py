"""Documents: what the store gives, as JSON builtins with the names that it has everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from dama.broker.call import Call


def document(value: object) -> Any:  # noqa: ANN401 - any JSON
    """Dataclasses, structs and times as JSON builtins."""
    return msgspec.to_builtins(value, str_keys=True, enc_hook=str)


def starter(call: Call) -> dict[str, Any]:
    """Who does it, for the meta of events: the user that the gateway knows, and the node."""
    told = {
        "user": call.meta.get("user"),
        "token": call.meta.get("token"),
        "node": call.node_id,
        "request_id": call.request_id,
        "caller": call.caller,
        "traceparent": call.meta.get("traceparent"),
    }
    return {name: value for name, value in told.items() if isinstance(value, str)}
