"""Tracing: a span for each action that this node executes, and for each call of another node.

The `traceparent` in the meta of a call is that of the span, for what is called below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from dama.broker.middleware import Middleware
from dama.spans import span

if TYPE_CHECKING:
    from dama.broker.call import ActionHere, Call, Perform


class Tracing(Middleware):
    """Spans around actions."""

    @override
    def local_action(self, perform: Perform, action: ActionHere) -> Perform:
        """Collect a span for each call that is executed here."""
        return _traced(perform, action.name, "server")

    @override
    def remote_action(self, perform: Perform) -> Perform:
        """Collect a span for each call that another node executes."""
        return _traced(perform, None, "client")


def _traced(perform: Perform, name: str | None, kind: str) -> Perform:
    async def traced(call: Call) -> Any:
        given = call.meta.get("traceparent")
        facts = {"moleculer.node": call.node_id, "moleculer.request": call.request_id}
        with span(name or call.name, below=given, kind=kind, **facts) as made:
            call.meta["traceparent"] = made.traceparent
            try:
                return await perform(call)
            finally:
                # The caller gets its own back, not that of a span below it.
                call.meta["traceparent"] = given
                if given is None:
                    del call.meta["traceparent"]

    return traced
