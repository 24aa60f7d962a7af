"""The catalog: which nodes there are, and which of them have which actions and event handlers."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Any

from dama.broker.breaker import Breaker
from dama.broker.local import LocalHandler
from dama.broker.pattern import matches
from dama.shapes import is_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from dama.broker.local import LocalAction, LocalService
    from dama.broker.options import BrokerOptions
    from dama.definitions.policies import BreakerPolicy

HIDDEN = ("protected", "private")
MOST_NAMES = 10_000  # of events: they may be made of data


@dataclass
class Node:
    """A node, this one or another.

    Attributes:
        id: Its name in the cluster.
        instance_id: Of its process.
        seq: Rises with every change of its services.
        is_available: It is heard of.
        is_local: It is this one.
        info: What it told of itself.
        services: What it told of its services; of this one without the params of actions.
        cpu: Its load in percent, if it told.
        heard_at: When it was last heard of, by the monotonic clock.
        offline_at: When it went, by the same clock; None while it is there.
    """

    id: str
    instance_id: str = ""
    seq: int = 0
    is_available: bool = True
    is_local: bool = False
    info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    services: Sequence[Mapping[str, Any]] = ()
    cpu: float | None = None
    heard_at: float = field(default_factory=monotonic)
    offline_at: float | None = None


class Endpoint:
    """An action on a node.

    Attributes:
        node: Where.
        action: What executes it here; None on another node.
        description: What its node tells of it; of this node without its params.
        breaker: Counts its failures, if it has one.
    """

    __slots__ = ("action", "breaker", "description", "node", "timeout")

    def __init__(
        self,
        node: Node,
        description: Mapping[str, Any],
        action: LocalAction | None = None,
        breaker: BreakerPolicy | None = None,
    ) -> None:
        self.node = node
        self.action = action
        self.description = description
        self.breaker = Breaker(breaker) if breaker else None
        timeout = description.get("timeout")
        is_number = isinstance(timeout, int | float)
        self.timeout: float | None = timeout / 1000 if is_number else None

    @property
    def told(self) -> Mapping[str, Any]:
        """What its node tells of it, with its params."""
        return self.action.description() if self.action else self.description

    @property
    def is_available(self) -> bool:
        """Whether it takes a call now."""
        return self.node.is_available and (self.breaker is None or self.breaker.lets_pass)


class Endpoints:
    """All endpoints of an action, and whose turn it is."""

    __slots__ = ("_turn", "all", "local")

    def __init__(self) -> None:
        self.all: list[Endpoint] = []
        self.local: Endpoint | None = None
        self._turn = 0

    def add(self, endpoint: Endpoint) -> None:
        """Add one; one of the same node goes."""
        self.remove(endpoint.node)
        self.all.append(endpoint)
        if endpoint.action:
            self.local = endpoint

    def remove(self, node: Node) -> None:
        """Remove the one of a node."""
        self.all = [e for e in self.all if e.node is not node]
        if self.local and self.local.node is node:
            self.local = None

    def choose(self, options: BrokerOptions) -> Endpoint | None:
        """Choose one that takes a call now; None when none does."""
        if options.prefer_local and self.local and self.local.is_available:
            return self.local
        found = [e for e in self.all if e.is_available]
        if not found:
            return None
        if options.strategy == "random":
            return random.choice(found)
        self._turn += 1
        return found[self._turn % len(found)]


@dataclass(frozen=True)
class Listener:
    """A handler of events on a node.

    Attributes:
        node: Where.
        pattern: The names of its events.
        group: Of all listeners of a group one gets an event that is emitted.
        handler: What handles it here; None on another node.
    """

    node: Node
    pattern: str
    group: str
    handler: LocalHandler | None = None


class Catalog:
    """Nodes, actions and event handlers.

    Attributes:
        nodes: By id.
        local: This node.
        actions: Their endpoints by full name.
        offered: What this node executes for others, by the names that they know.
        listeners: All handlers of events.
        changes: How often something has changed.
        why_absent: Why no action of a name is here, where more is known of it; None otherwise.

    Args:
        local: This node.
        changed: Called after a change, with whether it was of this node.
        options: How one of several endpoints is chosen, and the breaker of those whose action has
            none of its own.
    """

    def __init__(
        self, local: Node, changed: Callable[[bool], object], options: BrokerOptions
    ) -> None:
        self.nodes = {local.id: local}
        self.local = local
        self.actions: dict[str, Endpoints] = {}
        self.offered: dict[str, Endpoint] = {}
        self.listeners: list[Listener] = []
        self.changes = 0
        self.why_absent: Callable[[str], str | None] = lambda _name: None
        self._changed = changed
        self._options = options
        self._matching: dict[str, dict[tuple[str, str], list[Listener]]] = {}
        self._turns: dict[tuple[str, str], int] = {}

    def add_local(self, service: LocalService) -> None:
        """Add the actions and handlers of a service of this node; private ones stay out."""
        for action in service.actions.values():
            options = action.definition.options
            if options.visibility != "private":
                endpoint = Endpoint(
                    self.local,
                    action.outline,
                    action,
                    options.breaker or self._options.breaker,
                )
                self._endpoints(action.name).add(endpoint)
                if action.bus_name:
                    self.offered[action.bus_name] = endpoint
        for handler in service.handlers:
            self.listeners.append(Listener(self.local, handler.pattern, handler.group, handler))
        self._told(local=True)

    def remove_local(self, service: LocalService) -> None:
        """Remove the actions and handlers of a service of this node."""
        for action in service.actions.values():
            found = self.actions.get(action.name)
            if found and found.local and found.local.action is action:
                found.remove(self.local)
                self._drop_empty(action.name)
                self.offered.pop(action.bus_name or "", None)
        self.listeners = [
            each
            for each in self.listeners
            if each.handler is None or each.handler.service is not service
        ]
        self._told(local=True)

    def set_services(self, node: Node, services: Sequence[Mapping[str, Any]]) -> None:
        """Take what another node tells of its services in place of what it told before."""
        self._forget(node)
        node.services = services
        for service in services:
            for name, action in _mapping(service.get("actions")).items():
                described = _mapping(action)
                if described.get("visibility") not in HIDDEN:
                    self._endpoints(name).add(
                        Endpoint(node, described, None, self._options.breaker)
                    )
            for pattern, event in _mapping(service.get("events")).items():
                described = _mapping(event)
                group = str(described.get("group") or service.get("name") or "")
                self.listeners.append(Listener(node, str(described.get("name") or pattern), group))
        self._told(local=False)

    def take_offline(self, node: Node) -> None:
        """Note that a node is gone: nothing of it is chosen any more."""
        node.is_available = False
        node.offline_at = monotonic()
        node.seq += 1
        self._forget(node)
        node.services = ()
        self._told(local=False)

    def has_service(self, name: str) -> bool:
        """Whether a node that is there has a service, by its name or full name."""
        return any(
            name in (service.get("name"), service.get("fullName"))
            for node in self.nodes.values()
            if node.is_available
            for service in node.services
        )

    def choose(self, action: str, node_id: str | None = None) -> Endpoint | None:
        """Choose who executes a call; None when nobody does now."""
        found = self.actions.get(action)
        if found is None:
            return None
        if node_id is not None:
            return next((e for e in found.all if e.node.id == node_id and e.is_available), None)
        return found.choose(self._options)

    def balanced(self, event: str, groups: Sequence[str] | None) -> list[Listener]:
        """Who gets an event that is emitted: one listener for each pattern and group."""
        return [
            self._next(key, found)
            for key, found in self.matching(event).items()
            if not groups or key[1] in groups
        ]

    def matching(self, event: str) -> Mapping[tuple[str, str], list[Listener]]:
        """The listeners of an event, by pattern and group."""
        found = self._matching.get(event)
        if found is None:
            found = dict[tuple[str, str], list[Listener]]()
            for listener in self.listeners:
                if matches(event, listener.pattern):
                    found.setdefault((listener.pattern, listener.group), []).append(listener)
            if len(self._matching) > MOST_NAMES:
                self._matching.clear()
            self._matching[event] = found
        return found

    def _next(self, key: tuple[str, str], found: Sequence[Listener]) -> Listener:
        if self._options.prefer_local:
            for listener in found:
                if listener.handler:
                    return listener
        turn = self._turns[key] = self._turns.get(key, -1) + 1
        return found[turn % len(found)]

    def _endpoints(self, action: str) -> Endpoints:
        return self.actions.setdefault(action, Endpoints())

    def _forget(self, node: Node) -> None:
        for name, endpoints in list(self.actions.items()):
            endpoints.remove(node)
            self._drop_empty(name)
        self.listeners = [each for each in self.listeners if each.node is not node]

    def _drop_empty(self, action: str) -> None:
        if not self.actions[action].all:
            del self.actions[action]

    def _told(self, *, local: bool) -> None:
        self._matching.clear()
        self.changes += 1
        self._changed(local)


def _mapping(value: Any) -> dict[str, Any]:
    return value if is_dict(value) else {}
