"""One NATS server for all tests of the wire, and a cluster of one node of each kind."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from dama.broker.broker import Broker
from dama.broker.options import BrokerOptions
from dama.broker.wire.nats import NatsTransporter
from tests.interop.cluster import Bus, JsNode, js_node, until, why_not
from tests.interop.py_service import py_service


def pytest_collection_finish(session):
    """Install it before the first test, whose time it would take otherwise."""
    if any(Path(__file__).parent in item.path.parents for item in session.items):
        why_not()


class Cluster(NamedTuple):
    """A node in Python and one in JavaScript that see each other."""

    py: Broker
    js: JsNode
    heard: list[dict[str, Any]]
    protocol: int


@pytest.fixture
async def bus(tmp_path):
    """A NATS server of the test's own, to be killed."""
    made = Bus()
    await made.start(tmp_path)
    yield made
    await made.kill()


def node_options(protocol: int = 4, **more: Any) -> BrokerOptions:
    quick = {"heartbeat_interval": 1, "heartbeat_timeout": 4, "wait_for_neighbours": 0.1}
    return BrokerOptions(protocol=protocol, **quick | more)


@asynccontextmanager
async def py_node(
    url: str, node_id: str = "py-1", protocol: int = 4, name: str = "py", **more: Any
):
    heard: list[dict[str, Any]] = []
    broker = Broker(
        [py_service(heard, name)],
        node_id=node_id,
        options=node_options(protocol, **more),
        transporter=NatsTransporter(url),
    )
    async with broker:
        broker.heard = heard
        yield broker


@pytest_asyncio.fixture(
    scope="module", loop_scope="module", params=[4, 5], ids=["moleculer-0.14", "moleculer-0.15"]
)
async def shared_cluster(request, tmp_path_factory):
    """Both kinds of nodes, in each version of the protocol."""
    protocol, bus = request.param, Bus()
    await bus.start(tmp_path_factory.mktemp("bus"))
    async with js_node(bus.url, protocol=protocol) as js, py_node(bus.url, protocol=protocol) as py:
        await py.wait_for_services("js", timeout=60)
        await until(lambda: sees(py))
        yield Cluster(py, js, py.heard, protocol)
    await bus.kill()


@pytest_asyncio.fixture(loop_scope="module")
async def cluster(shared_cluster):
    """The cluster, with nothing heard yet."""
    shared_cluster.heard.clear()
    await shared_cluster.py.call("js.heard")
    return shared_cluster


async def sees(py: Broker, node_id: str = "py-1") -> bool:
    """Whether the node in JavaScript knows the one in Python."""
    return node_id in await py.call("js.nodes")
