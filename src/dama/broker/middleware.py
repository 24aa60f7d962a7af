"""Middleware: code around all actions, calls and events of a broker.

A middleware derives from `Middleware` and overrides what it wants. Wrappers are made once, when a
service is registered or the broker begins, not for each call. The first middleware of a broker is
the outermost one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dama.broker.call import ActionHere, Home, Perform, ServiceHere
    from dama.definitions.action import EventHandler


class Middleware:
    """Code around actions, calls and events; each method here changes nothing."""

    def local_action(self, perform: Perform, action: ActionHere) -> Perform:  # noqa: ARG002
        """Wrap an action of this node, around its function."""
        return perform

    def local_event(self, perform: Perform, handler: EventHandler) -> Perform:  # noqa: ARG002
        """Wrap a handler of events of this node."""
        return perform

    def remote_action(self, perform: Perform) -> Perform:
        """Wrap what sends calls to other nodes."""
        return perform

    def call(self, perform: Perform) -> Perform:
        """Wrap all calls that are made on this node, wherever they are executed."""
        return perform

    def emit(self, perform: Perform) -> Perform:
        """Wrap what emits and broadcasts events on this node."""
        return perform

    async def service_started(self, service: ServiceHere) -> None:
        """Called when a service was started."""

    async def service_stopped(self, service: ServiceHere) -> None:
        """Called when a service was stopped."""

    async def started(self, broker: Home) -> None:
        """Called when the broker was started."""

    async def stopped(self, broker: Home) -> None:
        """Called when the broker was stopped."""
