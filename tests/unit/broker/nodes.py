"""Nodes of one process, for the tests of a broker."""

from __future__ import annotations

from dama import Service
from dama.broker.broker import Broker
from dama.broker.errors import (
    RetryableCallError,
)
from dama.broker.options import BrokerOptions


def counting(**settings):
    """A service with one action, which notes its calls and fails as often as it is told."""
    service, calls = Service("s"), []

    @service.action(**settings)
    async def do(call, fails: int = 0, n: int = 0):
        calls.append(n)
        if len(calls) <= fails:
            raise RetryableCallError("not yet")
        return len(calls)

    return service, calls


def node(*services, **options):
    middleware = options.pop("middleware", ())
    return Broker(services, node_id="n1", options=BrokerOptions(**options), middleware=middleware)
