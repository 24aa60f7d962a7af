"""The emitter: brings events to their handlers, on this node and on others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dama.broker.call import Call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dama.broker.call import Perform
    from dama.broker.catalog import Catalog, Listener
    from dama.broker.middleware import Middleware
    from dama.broker.wire.transit import Transit


class Emitter:
    """Sends and delivers the events of a broker.

    Args:
        catalog: Who listens.
        middleware: Around all events, the outermost first.
        transit: The way to other nodes, if there is one.
        balancer: This node chooses who gets an event; otherwise the bus does.

    Attributes:
        send: Sends an event, with the middleware around it.
    """

    def __init__(
        self,
        catalog: Catalog,
        middleware: Sequence[Middleware],
        transit: Transit | None,
        *,
        balancer: bool,
    ) -> None:
        self._catalog = catalog
        self._transit = transit
        self._balancer = balancer
        self.send: Perform = self._emit
        for each in reversed(middleware):
            self.send = each.emit(self.send)

    async def deliver(self, call: Call, *, groups: Sequence[str] | None = None) -> None:
        """Deliver an event to the handlers of this node that it is for, and wait for them."""
        wanted = groups or call.groups
        found = [
            listener
            for (_, group), listeners in self._catalog.matching(call.name).items()
            if not wanted or group in wanted
            for listener in listeners
            if listener.handler
        ]
        if call.event_type == "emit":
            # One for each pattern and group, even when several services of this node listen.
            first: dict[tuple[str, str], Listener] = {}
            for listener in found:
                first.setdefault((listener.pattern, listener.group), listener)
            found = list(first.values())
        await self.handle(call, found)

    async def _emit(self, call: Call) -> None:
        if call.event_type == "broadcast":
            found = [e for each in self._catalog.matching(call.name).values() for e in each]
            found = [e for e in found if not call.groups or e.group in call.groups]
        else:
            found = self._catalog.balanced(call.name, call.groups)
            if self._transit and not self._balancer:
                groups = sorted({listener.group for listener in found})
                await self._transit.exchange.send_balanced_event(call, groups)
                return
        remote: dict[str, list[str]] = {}
        for listener in found:
            if listener.handler is None:
                remote.setdefault(listener.node.id, []).append(listener.group)
        if remote and self._transit:
            await self._transit.send_event(call, remote)
        await self.handle(call, found)

    async def handle(self, call: Call, listeners: Sequence[Listener]) -> None:
        """Let the handlers of this node among some listeners handle an event."""
        handlers = [each.handler for each in listeners if each.handler]
        if len(handlers) == 1:
            await handlers[0].deliver(call)
        elif handlers:
            await asyncio.gather(*(handler.deliver(_copy(call)) for handler in handlers))


def _copy(call: Call) -> Call:
    """A delivery of its own for each handler, since each belongs to another service."""
    made = Call(call.broker, call.name, call.params)
    for name in ("id", "request_id", "parent_id", "level", "caller", "node_id", "event_type"):
        setattr(made, name, getattr(call, name))
    made.groups, made.meta, made.headers = call.groups, dict(call.meta), dict(call.headers)
    return made
