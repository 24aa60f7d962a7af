"""The node: the broker of a process, with the services of the project and those of the product."""

from __future__ import annotations

import asyncio
import logging
import re
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dama.broker.broker import Broker
from dama.broker.options import BrokerOptions
from dama.broker.tracing import Tracing
from dama.broker.wire.nats import NatsTransporter
from dama.broker.wire.nats_access import read_access
from dama.config.table import Table, nearest
from dama.duty import Duty, DutyError, on_duty
from dama.errors import InvalidDefinitionError
from dama.operations.ends import Ends
from dama.shipped.bus import BusRights, guarded
from dama.shipped.contexts import contexts_service, events_service
from dama.shipped.operations import queues_service, schedules_service, workers_service
from dama.shipped.policies import KEYS as POLICIES
from dama.shipped.policies import read_policies
from dama.shipped.tasks import tasks_service
from dama.shipped.upkeep import archive_service, upkeep_service
from dama.spans import is_collecting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from dama.app import App
    from dama.broker.wire.transporter import Transporter
    from dama.definitions.service import Service

SETTINGS = (
    "url",
    "user",
    "password",
    "password_file",
    "token",
    "token_file",
    "nkey_file",
    "creds_file",
    "ca_file",
    "cert_file",
    "key_file",
    "startable",
    "bus_actions",
    "namespace",
    "node_id",
    "protocol",
    "accept_other_protocol",
    "balancer",
    "request_timeout",
    "max_call_level",
    "heartbeat_interval",
    "heartbeat_timeout",
    "prefix",
    "offer",
    *POLICIES,
)
PREFIX = "dama"
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z][A-Za-z0-9_-]*)*")
SHIPPED = (
    "tasks", "contexts", "events", "schedules", "queues", "workers", "archive", "upkeep",
)  # fmt: skip

_log = logging.getLogger("dama.broker")


class NodeSource:
    """Starts the broker of a process when somebody first asks for it.

    Args:
        app: What the services of the product work on.
        settings: `[broker]` of the file of settings.
        source: The name of that file.
        patience: Seconds that the services wait for others that they need; None for no limit. With
            0 they start in the background, and nobody waits for them.
    """

    def __init__(
        self,
        app: App,
        settings: Mapping[str, object],
        source: str,
        *,
        patience: float | None = None,
    ) -> None:
        self._app = app
        self._ends = Ends(app)
        table = Table(f"{source or 'the environment'}: broker", settings, SETTINGS)
        self._node_id, self._options, self._transporter = _read(table)
        self._rights = BusRights(table.texts("startable"), table.texts("bus_actions"))
        self._bus_names = _bus_names(table) if self._transporter else {}
        self._waits = patience != 0
        if patience:
            self._options = replace(self._options, dependency_timeout=patience)
        self._broker: Broker | None = None
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._lock = asyncio.Lock()

    @property
    def is_in_cluster(self) -> bool:
        """Whether there are other nodes."""
        return self._transporter is not None

    async def broker(self) -> Broker:
        """The broker, started.

        Raises:
            DisconnectedError: The other nodes can not be reached.
        """
        async with self._lock:
            if self._broker is None:
                own = self._app.registry.services
                shipped = product_services(self._app, self._ends, self._rights)
                broker = Broker(
                    [*own.values(), *shipped],
                    bus_names={n: v for n, v in self._bus_names.items() if n not in own},
                    node_id=self._node_id,
                    options=self._options,
                    middleware=[Tracing()] if is_collecting() else [],
                    transporter=self._transporter,
                )
                broker.on_failed_duty = self._fail
                await broker.start(waits=self._waits)
                self._broker = broker
                for name, nodes in shared_names(broker).items():
                    _log.warning(
                        "%s is also a service of %s: calls of it go to any of them",
                        name,
                        ", ".join(nodes),
                    )
            return self._broker

    async def watched(self) -> None:
        """Wait until the node can no longer be one.

        Raises:
            DutyError: Why.
        """
        await asyncio.shield(self._failed)

    def _fail(self, error: DutyError) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    async def close(self) -> None:
        """Stop the broker, if it was started."""
        await self._ends.close()
        if self._broker:
            await self._broker.stop()


@asynccontextmanager
async def node_of(
    app: App, settings: Mapping[str, object], source: str, *, patience: float | None = None
) -> AsyncGenerator[NodeSource]:
    """Give an app its broker, until the end of the block."""
    node = NodeSource(app, settings, source, patience=patience)
    app.broker = node.broker
    try:
        async with on_duty(Duty("being a node", node.watched)):
            yield node
    finally:
        await node.close()


def product_services(
    app: App,
    ends: Ends,
    rights: BusRights = BusRights(),  # noqa: B008 - it is frozen
) -> list[Service]:
    """The services that are there without being written; one of the project's with a name wins."""
    made = [
        tasks_service(app, ends),
        contexts_service(app),
        events_service(app),
        schedules_service(app),
        queues_service(app),
        workers_service(app),
        archive_service(app),
        upkeep_service(app),
    ]
    shipped = [service for service in made if service.name not in app.registry.services]
    return [guarded(service, app, rights) for service in shipped]


def shared_names(broker: Broker) -> dict[str, list[str]]:
    """The services of this node that nodes of another kind have as well, with these nodes."""
    own = {str(service["fullName"]) for service in broker.info()["services"]} - {"$node"}
    found: dict[str, list[str]] = {}
    for node in broker.catalog.nodes.values():
        if node.is_local or node.info.get("client", {}).get("type") == "python":
            continue
        for name in {str(each.get("fullName") or each.get("name")) for each in node.services}:
            if name in own:
                found.setdefault(name, []).append(node.id)
    return found


def _bus_names(table: Table) -> dict[str, str | None]:
    """What other nodes know the shipped services by; None for those that they are not offered."""
    prefix: str = table.value("prefix", str, "a name, or an empty text for none", PREFIX)
    if prefix and not _PREFIX.fullmatch(prefix):
        table.wrong("prefix", "letters, digits, -, _ and dots, the first a letter")
    offered = table.texts("offer") if table.has("offer") else SHIPPED
    for name in offered:
        if name not in SHIPPED:
            table.wrong("offer", f"some of {', '.join(SHIPPED)}", nearest(name, SHIPPED))
    named = {name: f"{prefix}.{name}" if prefix else name for name in SHIPPED}
    return {name: named[name] if name in offered else None for name in SHIPPED}


def _read(table: Table) -> tuple[str | None, BrokerOptions, Transporter | None]:
    url, node_id = table.text("url"), table.text("node_id")
    if url is not None and not all(
        part.strip().startswith(("nats://", "tls://")) for part in url.split(",")
    ):
        raise InvalidDefinitionError(  # without its value: it may have a password
            f"{table.where}.url is not the address of a NATS server.",
            'Write it as "nats://127.0.0.1:4222" or "tls://bus.example.org:4222".',
        )
    protocol = table.number("protocol", 4, 5) or 4
    defaults = BrokerOptions()

    def seconds(key: str, default: float) -> float:
        return float(table.value(key, (int, float), "a number of seconds", default))

    options = BrokerOptions(
        namespace=table.text("namespace", ""),
        protocol=5 if protocol == 5 else 4,  # noqa: PLR2004 - the two that there are
        accept_other_protocol=table.flag("accept_other_protocol"),
        balancer=table.flag("balancer", default=True),
        max_call_level=table.number("max_call_level", 0) or 0,
        request_timeout=seconds("request_timeout", defaults.request_timeout),
        heartbeat_interval=seconds("heartbeat_interval", defaults.heartbeat_interval),
        heartbeat_timeout=seconds("heartbeat_timeout", defaults.heartbeat_timeout),
        **read_policies(table),
    )
    return node_id, options, NatsTransporter(url, read_access(table)) if url else None
