"""Options of a broker: how it makes calls, and what kind of node it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dama.config.duration import Seconds
from dama.definitions.policies import BreakerPolicy, BulkheadPolicy, RetryPolicy
from dama.shapes import Json

Strategy = Literal["round_robin", "random"]


@dataclass(frozen=True)
class BrokerOptions:
    """How a broker works; the defaults are those of Moleculer.

    Attributes:
        request_timeout: Seconds that a call may take when neither it nor its action say; 0 for no
            limit.
        max_call_level: How deep calls may call on; 0 for no limit.
        retries: How calls that failed in a way that may pass are tried again; None for not.
        breaker: When an endpoint that fails gets no calls for a while; None for never.
        bulkhead: How many calls of each action run at once; None for no limit.
        strategy: How one of several nodes is chosen.
        prefer_local: What this node has is not asked of others.
        balancer: This node chooses who gets a call or event; otherwise the bus does.
        stop_timeout: Seconds that running calls have to end when the broker stops.
        dependency_timeout: Seconds that a service waits for those that it needs; 0 for no limit.
        node_service: The service `$node` tells of this node.
        metadata: Json JSON, which other nodes see.
        cache_entries: Results that are kept.
        namespace: Nodes of other namespaces are not seen.
        protocol: The version that this node speaks: 4 for Moleculer 0.14, 5 for 0.15.
        accept_other_protocol: Packets of the other version are taken, too.
        heartbeat_interval: Seconds between two signs of life.
        heartbeat_timeout: Seconds of silence after which a node is presumed dead.
        wait_for_neighbours: Seconds in which others may tell of themselves before services start.
    """

    request_timeout: Seconds = Seconds(0.0)
    max_call_level: int = 0
    retries: RetryPolicy | None = None
    breaker: BreakerPolicy | None = None
    bulkhead: BulkheadPolicy | None = None
    strategy: Strategy = "round_robin"
    prefer_local: bool = True
    balancer: bool = True
    stop_timeout: Seconds = Seconds(5.0)
    dependency_timeout: Seconds = Seconds(0.0)
    node_service: bool = True
    metadata: Mapping[str, Json] = field(default_factory=dict[str, Any])
    cache_entries: int = 10_000
    namespace: str = ""
    protocol: Literal[4, 5] = 4
    accept_other_protocol: bool = False
    heartbeat_interval: Seconds = Seconds(10.0)
    heartbeat_timeout: Seconds = Seconds(30.0)
    wait_for_neighbours: Seconds = Seconds(0.5)
