"""What a node tells others of itself."""

from __future__ import annotations

import platform
import socket
from functools import cache
from typing import TYPE_CHECKING, Any

from dama.broker.wire.discovery import client

if TYPE_CHECKING:
    from collections.abc import Iterable

    from dama.broker.catalog import Node
    from dama.broker.local import LocalService
    from dama.broker.options import BrokerOptions


def info_of(node: Node, services: Iterable[LocalService], options: BrokerOptions) -> dict[str, Any]:
    """The body of an INFO packet: a node with the services that it offers on the bus."""
    return {
        "services": [s.bus_description() for s in services if s.is_started and s.bus_name],
        "ipList": _addresses(),
        "hostname": platform.node(),
        "client": client(),
        "config": {},
        "instanceID": node.instance_id,
        "metadata": dict(options.metadata),
        "seq": node.seq,
    }


@cache
def _addresses() -> list[str]:
    """The addresses of this machine that others might know it by."""
    try:
        found = socket.getaddrinfo(platform.node(), None, socket.AF_INET)
    except OSError:
        return []
    return list(dict.fromkeys(str(address[4][0]) for address in found))
