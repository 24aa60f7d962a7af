"""The services of a node: taken, started side by side, stopped, removed."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol

from dama.broker.errors import ServiceNotFoundError
from dama.broker.local import Host, LocalService
from dama.definitions.errors import DuplicateNameError
from dama.errors import DamaError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.broker.catalog import Catalog
    from dama.definitions.service import Service

_log = logging.getLogger("dama.broker")


class Node(Host, Protocol):
    """The node that has the services.

    Attributes:
        catalog: What there is, here and elsewhere.
    """

    catalog: Catalog

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Run something beside all else."""
        ...


class Hosting:
    """The services of a node, from their start to their end.

    Args:
        node: Whose they are.
        bus_names: What other nodes know services by, by their full names at home; None for those
            that they are not offered. Services that are not in it keep their names.

    Attributes:
        services: By their full names.
    """

    def __init__(self, node: Node, bus_names: Mapping[str, str | None]) -> None:
        self._node = node
        self._bus_names = bus_names
        self.services: dict[str, LocalService] = {}

    def take(self, definition: Service) -> LocalService:
        """Take a service, which is not started.

        Raises:
            DuplicateNameError: There is one of its name and version.
        """
        name = definition.full_name
        if name in self.services:
            raise DuplicateNameError(
                f"This node has a service {name!r} already.",
                "Give one of them another name or version.",
            )
        service = LocalService(self._node, definition, self._bus_names.get(name, name))
        self.services[service.full_name] = service
        return service

    def get(self, full_name: str) -> LocalService:
        """Find a service of this node.

        Raises:
            ServiceNotFoundError: There is none of this name.
        """
        if full_name not in self.services:
            raise ServiceNotFoundError(
                f"This node has no service {full_name!r}.", data={"service": full_name}
            )
        return self.services[full_name]

    async def start_all(self) -> None:
        """Start the services side by side, since they may wait for each other.

        Raises:
            ServiceNotFoundError: What a service needs did not come in time.
            ServiceStartError: A service failed at its start.
        """
        for service in list(self.services.values()):
            await service.created()
        try:
            async with asyncio.TaskGroup() as group:
                for service in list(self.services.values()):
                    group.create_task(self.start(service))
        except BaseExceptionGroup as failed:
            # The first is the cause; the others were waiting for it, or failed beside it.
            raise failed.exceptions[0] from None

    async def start_as_they_can(self) -> None:
        """Start the services; those that miss others, in the background when these are there."""
        waiting = list(self.services.values())
        for service in waiting:
            await service.created()
        has = self._node.catalog.has_service
        while ready := [s for s in waiting if all(map(has, s.definition.dependencies))]:
            for service in ready:
                await self.start(service)
            waiting = [s for s in waiting if s not in ready]
        for service in waiting:
            self._node.spawn(self._start_or_tell(service))

    async def start(self, service: LocalService) -> None:
        """Start one service, and offer it."""
        await service.start()
        # Only now: a service that is not started gets no calls.
        local = self._node.catalog.local
        local.services = [*local.services, service.outline()]
        self._node.catalog.add_local(service)
        for middleware in self._node.middleware:
            await middleware.service_started(service)

    async def stop_all(self) -> None:
        """Stop the services, the last one first."""
        for service in reversed(list(self.services.values())):
            await self.stop(service)

    async def stop(self, service: LocalService) -> None:
        """Offer a service no longer, and stop it when its calls have ended."""
        was_started, service.is_started = service.is_started, False
        self._node.catalog.local.services = self._descriptions()
        self._node.catalog.remove_local(service)
        await service.stop(self._node.options.stop_timeout)
        if was_started:
            for middleware in self._node.middleware:
                await middleware.service_stopped(service)

    async def remove(self, full_name: str) -> None:
        """Stop a service and forget it.

        Raises:
            ServiceNotFoundError: There is none of this name.
        """
        await self.stop(self.get(full_name))
        del self.services[full_name]
        self._node.catalog.local.services = self._descriptions()

    def waiting(self) -> dict[str, list[str]]:
        """The services that are not started, with those that they wait for."""
        has = self._node.catalog.has_service
        return {
            service.full_name: [name for name in service.definition.dependencies if not has(name)]
            for service in self.services.values()
            if not service.is_started
        }

    async def _start_or_tell(self, service: LocalService) -> None:
        try:
            await self.start(service)
        except DamaError as error:
            _log.error("%s", error)

    def _descriptions(self) -> list[dict[str, Any]]:
        return [s.outline() for s in self.services.values() if s.is_started]
