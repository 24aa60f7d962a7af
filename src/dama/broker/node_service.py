"""The service `$node`: what a node knows of itself and of the others, as in Moleculer."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from dama.broker.pattern import matches
from dama.definitions.service import Service

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.broker.cache import Cache
    from dama.broker.call import Call
    from dama.broker.catalog import Catalog, Node
    from dama.broker.local import LocalService
    from dama.broker.options import BrokerOptions
    from dama.broker.wire.transit import Transit

NAME = "$node"
_BEGAN = time.monotonic()


class Facts(Protocol):
    """What the service tells of the node.

    Attributes:
        node_id: Its name in the cluster.
        options: How it works.
        catalog: What there is, here and elsewhere.
        cache: Results of actions that have one.
        transit: The way to other nodes, if there is one.
    """

    node_id: str
    options: BrokerOptions
    catalog: Catalog
    cache: Cache
    transit: Transit | None

    @property
    def services(self) -> Mapping[str, LocalService]:
        """Those of this node, by their full names."""
        ...

    @property
    def calls(self) -> int:
        """How many calls were made or executed."""
        ...

    def info(self) -> dict[str, Any]:
        """What the node tells of itself."""
        ...


def node_service(facts: Facts) -> Service:
    """Make the service of a node."""
    service = Service(NAME, description="What this node knows of itself and of the others.")
    actions = _Actions(facts)
    service.action(name="list")(actions.list)
    service.action(name="services")(actions.services)
    service.action(name="actions")(actions.actions)
    service.action(name="events")(actions.events)
    service.action(name="health")(actions.health)
    service.action(name="options")(actions.options)
    service.action(name="metrics")(actions.metrics)
    return service


class _Actions:
    """What is asked of a node."""

    def __init__(self, facts: Facts) -> None:
        self._node = facts

    async def list(
        self,
        _: Call,
        *,
        withServices: bool = False,
        onlyAvailable: bool = False,
    ) -> list[dict[str, Any]]:
        """List the nodes."""
        nodes = [
            n for n in self._node.catalog.nodes.values() if n.is_available or not onlyAvailable
        ]
        return [_node_document(self._node, node, with_services=withServices) for node in nodes]

    async def services(
        self,
        _: Call,
        *,
        onlyLocal: bool = False,
        skipInternal: bool = False,
        withActions: bool = False,
        withEvents: bool = False,
        onlyAvailable: bool = False,  # noqa: ARG002 - what is gone has no services
        grouping: bool = True,
    ) -> list[dict[str, Any]]:
        """List the services."""
        found: dict[str, dict[str, Any]] = {}
        for node, service in _each_service(
            self._node, only_local=onlyLocal, skip_internal=skipInternal, with_actions=withActions
        ):
            full_name = str(service.get("fullName") or service.get("name"))
            entry = _entry(node, service, full_name)
            if withActions:
                entry["actions"] = service.get("actions", {})
            if withEvents:
                entry["events"] = service.get("events", {})
            key = full_name if grouping else f"{full_name}@{node.id}"
            known = found.setdefault(key, entry)
            known["nodes"].append(node.id)
            known["local"] = known["local"] or node.is_local
        return list(found.values())

    async def actions(
        self,
        _: Call,
        *,
        onlyLocal: bool = False,
        skipInternal: bool = False,
        withEndpoints: bool = False,
        onlyAvailable: bool = False,
    ) -> list[dict[str, Any]]:
        """List the actions."""
        listed: list[dict[str, Any]] = []
        for name, endpoints in sorted(self._node.catalog.actions.items()):
            if (skipInternal and name.startswith("$")) or (onlyLocal and not endpoints.local):
                continue
            available = any(e.is_available for e in endpoints.all)
            if onlyAvailable and not available:
                continue
            entry: dict[str, Any] = {
                "name": name,
                "count": len(endpoints.all),
                "action": endpoints.all[0].told,
                "hasLocal": endpoints.local is not None,
                "available": available,
            }
            if withEndpoints:
                entry["endpoints"] = [
                    {
                        "nodeID": e.node.id,
                        "state": e.breaker.state if e.breaker else "closed",
                        "available": e.is_available,
                    }
                    for e in endpoints.all
                ]
            listed.append(entry)
        return listed

    async def events(
        self,
        _: Call,
        *,
        onlyLocal: bool = False,
        skipInternal: bool = False,
        withEndpoints: bool = False,
        onlyAvailable: bool = False,
    ) -> list[dict[str, Any]]:
        """List the patterns of events that somebody listens to."""
        found: dict[tuple[str, str], dict[str, Any]] = {}
        for listener in self._node.catalog.listeners:
            internal = listener.pattern.startswith("$")
            if (onlyLocal and not listener.handler) or (skipInternal and internal):
                continue
            if onlyAvailable and not listener.node.is_available:
                continue
            entry: dict[str, Any] = {
                "name": listener.pattern,
                "group": listener.group,
                "count": 0,
                "event": {"name": listener.pattern, "group": listener.group},
                "hasLocal": False,
                "available": True,
            }
            known = found.setdefault((listener.pattern, listener.group), entry)
            known["count"] += 1
            known["hasLocal"] = known["hasLocal"] or listener.handler is not None
            if withEndpoints:
                endpoint = {"nodeID": listener.node.id, "available": listener.node.is_available}
                known.setdefault("endpoints", []).append(endpoint)
        return list(found.values())

    async def health(self, _: Call) -> dict[str, Any]:
        """Tell how the process and its machine are."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            "cpu": {"load1": os.getloadavg()[0], "cores": os.cpu_count(), "utilization": None},
            "mem": _memory(),
            "net": {"ip": self._node.info()["ipList"]},
            "os": {
                "type": platform.system(),
                "release": platform.release(),
                "hostname": platform.node(),
            },
            "process": {
                "pid": os.getpid(),
                "memory": {"rss": usage.ru_maxrss * 1024},
                "uptime": time.monotonic() - _BEGAN,
                "argv": sys.argv[:1],
            },
            "client": {"type": "python", "langVersion": platform.python_version()},
            "time": {
                "now": time.time() * 1000,
                "iso": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            },
        }

    async def options(self, _: Call) -> dict[str, Any]:
        """Tell the options of the broker that are plain values."""
        options = vars(self._node.options)
        plain = {k: v for k, v in options.items() if isinstance(v, str | int | float | bool | None)}
        return {"nodeID": self._node.node_id, **plain}

    async def metrics(
        self,
        _: Call,
        types: str | list[str] | None = None,
        includes: str | list[str] | None = None,
        excludes: str | list[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Tell what is counted, all or what is of some types and names."""
        broker = self._node
        running = sum(service.running for service in broker.services.values())
        pending = broker.transit.pending_count if broker.transit else 0
        counted = {
            "moleculer.request.total": ("counter", broker.calls),
            "moleculer.request.active": ("gauge", running),
            "moleculer.transit.requests.active": ("gauge", pending),
            "moleculer.cacher.entries": ("gauge", len(broker.cache)),
            "moleculer.registry.nodes.total": ("gauge", len(broker.catalog.nodes)),
            "moleculer.registry.services.total": ("gauge", len(broker.services)),
        }
        return [
            {"type": kind, "name": name, "values": [{"value": value, "labels": {}}]}
            for name, (kind, value) in counted.items()
            if (types is None or kind in _list(types))
            and (includes is None or _is_one_of(name, includes))
            and (excludes is None or not _is_one_of(name, excludes))
        ]


def _list(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given


def _is_one_of(name: str, patterns: str | list[str]) -> bool:
    return any(matches(name, pattern) for pattern in _list(patterns))


def _each_service(
    facts: Facts, *, only_local: bool, skip_internal: bool, with_actions: bool
) -> list[tuple[Node, Mapping[str, Any]]]:
    return [
        (node, service)
        for node in facts.catalog.nodes.values()
        if node.is_local or not only_local
        for service in (_services_of(facts, node) if with_actions else node.services)
        if not (skip_internal and str(service.get("name", "")).startswith("$"))
    ]


def _services_of(facts: Facts, node: Node) -> Sequence[Mapping[str, Any]]:
    """The services of a node, with the params of their actions."""
    if not node.is_local:
        return node.services
    return [each.description() for each in facts.services.values() if each.is_started]


def _memory() -> dict[str, float]:
    """Of the machine, in bytes; what is free in percent."""
    free, total = (
        os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
        for name in ("SC_AVPHYS_PAGES", "SC_PHYS_PAGES")
    )
    return {"free": free, "total": total, "percent": free * 100 / total}


def _node_document(facts: Facts, node: Node, *, with_services: bool) -> dict[str, Any]:
    info = facts.info() if node.is_local else node.info
    described: dict[str, Any] = {
        "id": node.id,
        "instanceID": node.instance_id,
        "available": node.is_available,
        "local": node.is_local,
        "hostname": info.get("hostname"),
        "ipList": info.get("ipList", []),
        "client": info.get("client", {}),
        "config": info.get("config", {}),
        "metadata": info.get("metadata", {}),
        "seq": node.seq,
        "cpu": node.cpu,
        "offlineSince": None if node.offline_at is None else time.monotonic() - node.offline_at,
        "lastHeartbeatTime": None if node.is_local else time.monotonic() - node.heard_at,
    }
    if with_services:
        described["services"] = _services_of(facts, node)
    return described


def _entry(node: Node, service: Mapping[str, Any], full_name: str) -> dict[str, Any]:
    return {
        "name": service.get("name"),
        "version": service.get("version"),
        "fullName": full_name,
        "settings": service.get("settings", {}),
        "metadata": service.get("metadata", {}),
        "local": node.is_local,
        "available": node.is_available,
        "nodes": [],
    }
