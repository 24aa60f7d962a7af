"""What a node tells others of itself."""

from __future__ import annotations

import platform
import socket
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from dama.broker.wire.packets import Info

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dama.broker.catalog import Node
    from dama.broker.local import LocalService
    from dama.broker.options import BrokerOptions


def info_of(node: Node, services: Iterable[LocalService], options: BrokerOptions) -> Info:
    """The INFO packet: a node with the services that it offers on the bus."""
    return Info(
        services=[s.bus_description() for s in services if s.is_started and s.bus_name],
        ip_list=_addresses(),
        hostname=platform.node(),
        client=_client(),
        config={},
        instance_id=node.instance_id,
        metadata=dict(options.metadata),
        seq=node.seq,
    )


def told_of(node: Node, services: Iterable[LocalService], options: BrokerOptions) -> dict[str, Any]:
    """The same, with the names of the wire."""
    packet = info_of(node, services, options)
    return {"services": packet.services, **packet.told()}


@cache
def _client() -> dict[str, str]:
    """What a node says of its program."""
    own = version("dama-controller")
    return {"type": "python", "version": own, "langVersion": platform.python_version()}


@cache
def _addresses() -> list[str]:
    """The addresses of this machine that others might know it by."""
    try:
        found = socket.getaddrinfo(platform.node(), None, socket.AF_INET)
    except OSError:
        return []
    return list(dict.fromkeys(str(address[4][0]) for address in found))
