"""The node: the broker of a process, with the services of the project and those of the product.

Most processes never ask for it. What it is made of is imported when one does: a third of the start
of a worker.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dama.duty import Duty, DutyError, on_duty
from dama.operations.ends import Ends
from dama.shipped.bus import BusRights
from dama.shipped.node_settings import node_table, read_bus_names, read_options
from dama.spans import is_collecting

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from dama.app import App
    from dama.broker.broker import Broker
    from dama.broker.wire.transporter import Transporter
    from dama.config.table import Table
    from dama.definitions.service import Service

_log = logging.getLogger("dama.broker")


class NodeSource:
    """Starts the broker of a process when somebody first asks for it.

    Args:
        app: What the services of the product work on.
        settings: `[broker]` of the settings file.
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
        table = node_table(settings, source)
        self._node_id = table.text("node_id")
        self._options = read_options(table)
        self._transporter = _transporter(table)
        self._rights = BusRights(table.texts("startable"), table.texts("bus_actions"))
        self._bus_names = read_bus_names(table) if self._transporter else {}
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
            DisconnectedError: The other nodes cannot be reached.
        """
        from dama.broker.broker import Broker
        from dama.broker.tracing import Tracing

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
                broker.catalog.why_absent = self._app.registry.why_absent
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


def _transporter(table: Table) -> Transporter | None:
    """The way to other nodes, if the settings name one."""
    url = table.text("url")
    if not url:
        return None
    from dama.broker.wire.nats import NatsTransporter
    from dama.broker.wire.nats_access import read_access

    return NatsTransporter(url, read_access(table))


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
    rights: BusRights = BusRights(),
) -> list[Service]:
    """The services that are there without being written; one of the project's with a name wins."""
    from dama.shipped.bus import guarded
    from dama.shipped.contexts import contexts_service, events_service
    from dama.shipped.histories import slices_service
    from dama.shipped.log import log_service
    from dama.shipped.operations import queues_service, schedules_service, workers_service
    from dama.shipped.tables import tables_service
    from dama.shipped.tasks import tasks_service
    from dama.shipped.upkeep import archive_service, upkeep_service

    made = [
        tasks_service(app, ends),
        contexts_service(app),
        events_service(app),
        schedules_service(app),
        queues_service(app),
        workers_service(app),
        archive_service(app),
        upkeep_service(app),
        log_service(app),
        slices_service(app),
        tables_service(app),
    ]
    shipped = [service for service in made if service.name not in app.registry.services]
    return [guarded(service, app, rights) for service in shipped]


def shared_names(broker: Broker) -> dict[str, list[str]]:
    """The services of this node that nodes of another kind have as well, with these nodes."""
    started = [service for service in broker.services.values() if service.is_started]
    own = {service.bus_name for service in started if service.bus_name} - {"$node"}
    found: dict[str, list[str]] = {}
    for node in broker.catalog.nodes.values():
        if node.is_local or node.info.get("client", {}).get("type") == "python":
            continue
        for name in {str(each.get("fullName") or each.get("name")) for each in node.services}:
            if name in own:
                found.setdefault(name, []).append(node.id)
    return found
