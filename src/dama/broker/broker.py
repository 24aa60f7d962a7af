"""The broker: holds services, routes calls and events, here or to other nodes.

Without a transporter it works in memory. With one it is a node of a cluster: what it does not have
itself it asks of others, and what they ask for it executes (`dama.broker.wire.transit`).
"""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, Unpack
from uuid import uuid4

from dama.broker.arrivals import Arrivals
from dama.broker.background import Background, log_failed_duty
from dama.broker.cache import Cache
from dama.broker.call import Call, CallOptions, EmitOptions
from dama.broker.caller import Caller
from dama.broker.catalog import Catalog, Endpoint, Node
from dama.broker.emitter import Emitter
from dama.broker.errors import ServiceNotFoundError
from dama.broker.hosting import Hosting
from dama.broker.making import check_call, ids_of_calls, make_call, make_delivery
from dama.broker.mcall import Calls, call_all
from dama.broker.node_service import node_service
from dama.broker.options import BrokerOptions
from dama.broker.wire.info import told_of
from dama.broker.wire.nats import NatsTransporter
from dama.broker.wire.transit import Transit
from dama.config.duration import optional_duration, parse_duration
from dama.shapes import Json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from types import TracebackType

    from dama.broker.local import LocalService
    from dama.broker.middleware import Middleware
    from dama.broker.wire.transporter import Transporter
    from dama.config.duration import Duration
    from dama.definitions.service import Service
    from dama.duty import DutyError


@dataclass(frozen=True)
class Answer:
    """What an action answered.

    Attributes:
        result: What it gave.
        meta: That of the call, with what the action put in.
        node_id: The node that executed it.
    """

    result: Any
    meta: Mapping[str, Json]
    node_id: str


class Broker:
    """A node: services, and the way to those of others.

    Args:
        services: Those to begin with.
        node_id: Its name in the cluster; by default of the host and the process.
        options: How it works.
        middleware: Code around all actions, calls and events, the outermost first.
        transporter: The way to other nodes, or the URL of a NATS server; None for this one alone.
        bus_names: What other nodes know services by, by their full names at home; None for those
            that they are not offered. Services that are not in it keep their names.

    Attributes:
        catalog: What there is, here and elsewhere.
        cache: Results of actions that have one.
        on_failed_duty: Called when its heartbeat, or what misses silent nodes, fails for good.
    """

    def __init__(
        self,
        services: Iterable[Service] = (),
        *,
        node_id: str | None = None,
        options: BrokerOptions | None = None,
        middleware: Sequence[Middleware] = (),
        transporter: Transporter | str | None = None,
        bus_names: Mapping[str, str | None] | None = None,
    ) -> None:
        self.options = options or BrokerOptions()
        self.node_id = node_id or f"{platform.node()}-{os.getpid()}"
        self.instance_id = str(uuid4())
        self.middleware = tuple(middleware)
        self.cache = Cache(self.options.cache_entries)
        self.is_started = False
        self.on_failed_duty: Callable[[DutyError], None] = log_failed_duty
        self.next_id = ids_of_calls()
        local = Node(self.node_id, self.instance_id, seq=1, is_local=True)
        self.catalog = Catalog(local, self._changed, self.options)
        bus = NatsTransporter(transporter) if isinstance(transporter, str) else transporter
        self.transit = Transit(self, bus) if bus else None
        self._arrivals = Arrivals(self.catalog)
        self._background = Background(self.node_id)
        each = self.catalog, self.middleware, self.transit
        self._caller = Caller(*each, self.options, self.next_id)
        self._emitter = Emitter(*each, balancer=self.options.balancer)
        self._hosting = Hosting(self, bus_names or {})
        for service in (*([node_service(self)] if self.options.node_service else []), *services):
            self._hosting.take(service)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    @property
    def services(self) -> Mapping[str, LocalService]:
        """Those of this node, by their full names."""
        return self._hosting.services

    @property
    def calls(self) -> int:
        """How many calls were made on this node or executed for others."""
        return self._caller.calls

    async def start(self, *, waits: bool = True) -> None:
        """Connect with the other nodes, if there is a way to them, and start the services.

        Args:
            waits: Return when all services are started; otherwise those that miss others start in
                the background, when these are there.

        Raises:
            DisconnectedError: The way to other nodes cannot be opened, or another one has the id.
            DamaError: A service failed at its start, or what it needs did not come in time.
        """
        try:
            if self.transit:
                await self.transit.connect()
            await (self._hosting.start_all() if waits else self._hosting.start_as_they_can())
            self.is_started = True
            if self.transit:
                await self.transit.ready()
            for middleware in self.middleware:
                await middleware.started(self)
        except BaseException:
            await self._give_up()
            raise
        await self.raise_local("$broker.started")

    async def stop(self) -> None:
        """Take no more calls, stop the services, and leave the other nodes."""
        self.is_started = False
        if self.transit:
            await self.transit.leave()
        await self._hosting.stop_all()
        for middleware in reversed(self.middleware):
            await middleware.stopped(self)
        await self.raise_local("$broker.stopped")
        self._background.cancel()
        if self.transit:
            await self.transit.disconnect()

    async def add(self, service: Service) -> LocalService:
        """Add a service, and start it when the broker runs.

        Raises:
            DuplicateNameError: There is one of its name and version.
        """
        taken = self._hosting.take(service)
        if self.is_started:
            await taken.created()
            await self._hosting.start(taken)
        return taken

    async def remove(self, full_name: str) -> None:
        """Stop a service of this node and forget it.

        Raises:
            ServiceNotFoundError: There is none of this name.
        """
        await self._hosting.remove(full_name)

    async def call(
        self,
        action: str,
        params: Any = None,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Call an action, here or on another node.

        Args:
            action: The full name, such as `flights.count`.
            params: What it takes: a mapping, for most.
            **options: See `CallOptions`.

        Raises:
            ServiceNotFoundError: No node has it.
            ServiceNotAvailableError: No node that has it takes calls now.
            ValidationError: The params do not fit.
            RequestTimeoutError: It took too long.
            CallError: What the action failed with on another node; here its own exception.
        """
        return await self.call_from(None, action, params, options)

    async def ask(
        self,
        action: str,
        params: Any = None,
        **options: Unpack[CallOptions],
    ) -> Answer:
        """Call an action as `call` does; returns its result with its meta and who gave it.

        Raises:
            CallError: See `call`.
        """
        call = self.new_call(None, action, params, options)
        result = await self._caller.perform(call, options)
        return Answer(result, call.meta, call.node_id)

    async def call_from(
        self, parent: Call | None, action: str, params: Any, options: CallOptions
    ) -> Any:
        """Call an action as a part of another call, whose meta gets what the action puts in."""
        call = self.new_call(parent, action, params, options)
        try:
            return await self._caller.perform(call, options)
        finally:
            if parent is not None:
                parent.meta.update(call.meta)

    async def call_private(
        self,
        parent: Call,
        action: str,
        params: Any,
        options: CallOptions,
    ) -> Any:
        """Call an action of the service that executes another call, by its short name."""
        service = self.services.get(parent.service.full_name) if parent.service else None
        found = service.actions.get(action) if service else None
        if found is None:
            raise ServiceNotFoundError(
                f"{parent.name} has no action {action!r} beside it.", data={"action": action}
            )
        call = self.new_call(parent, found.name, params, options)
        call.timeout = optional_duration(options.get("timeout"), of="timeout")
        try:
            return await self._caller.timed(call, found.perform)
        finally:
            parent.meta.update(call.meta)

    def new_call(self, parent: Call | None, name: str, params: Any, options: CallOptions) -> Call:
        """Make a call without executing it; see `make_call`."""
        return make_call(self, parent, name, params, options)

    async def perform(self, call: Call, **options: Unpack[CallOptions]) -> Any:
        """Perform a call that `new_call` has made; its meta then has what the action put in."""
        check_call(call.name, options)
        return await self._caller.perform(call, options)

    async def perform_here(self, call: Call, endpoint: Endpoint) -> Any:
        """Perform a call of another node, which tries again itself if it wants to."""
        return await self._caller.perform_for_others(call, endpoint)

    def info(self) -> dict[str, Any]:
        """What this node tells of itself and its services."""
        return told_of(self.catalog.local, self.services.values(), self.options)

    async def mcall(
        self,
        calls: Calls,
        *,
        settled: bool = False,
        **options: Unpack[CallOptions],
    ) -> Any:
        """Make several calls at once.

        Args:
            calls: Actions and params, in order or by name.
            settled: Give an error in the place of a result; otherwise the first error is raised and
                the other calls are cancelled.
            **options: For each of them: see `CallOptions`.

        Returns:
            The results, in the same order or by the same names.

        Raises:
            CallError: The first that a call failed with.
        """
        return await call_all(self.call, calls, options, settled=settled)

    async def emit(self, event: str, payload: Json = None, **options: Unpack[EmitOptions]) -> None:
        """Emit an event: of each group one handler gets it, on this node or another.

        Handlers of this node have ended when this returns. No handler at all is not an error.
        """
        await self.emit_from(None, event, payload, options)

    async def broadcast(
        self,
        event: str,
        payload: Json = None,
        **options: Unpack[EmitOptions],
    ) -> None:
        """Broadcast an event: all handlers of all nodes get it."""
        await self.emit_from(None, event, payload, options, event_type="broadcast")

    async def broadcast_local(
        self,
        event: str,
        payload: Json = None,
        **options: Unpack[EmitOptions],
    ) -> None:
        """Broadcast an event to all handlers of this node."""
        call = make_delivery(self, None, event, payload, options)
        call.event_type = "broadcast"
        await self.deliver(call)

    async def raise_local(self, event: str, payload: Json = None) -> None:
        """Tell the handlers of this node what the broker has to tell, such as `$node.connected`."""
        call = Call(self, event, payload)
        call.event_type = "broadcast"
        await self.deliver(call)

    async def emit_from(
        self,
        parent: Call | None,
        event: str,
        payload: Json,
        options: EmitOptions,
        *,
        event_type: str = "emit",
    ) -> None:
        """Emit or broadcast an event, as a part of a call if there is one."""
        call = make_delivery(self, parent, event, payload, options)
        call.event_type = event_type
        await self._emitter.send(call)

    async def deliver(self, call: Call) -> None:
        """Deliver an event to the handlers of this node that it is for, and wait for them."""
        await self._emitter.deliver(call)

    async def wait_for_services(self, *names: str, timeout: Duration | None = None) -> None:
        """Wait until services are there, on this node or another, by name or full name.

        Raises:
            ServiceNotFoundError: They did not come in time.
        """
        given = self.options.dependency_timeout if timeout is None else timeout
        await self._arrivals.wait(names, parse_duration(given, of="timeout"))

    def waiting_services(self) -> dict[str, list[str]]:
        """The services of this node that are not started, with those that they wait for."""
        return self._hosting.waiting()

    async def ping(self, node_id: str, timeout: float = 2.0) -> dict[str, Any] | None:
        """Ask a node for a sign of life; None when none came in time.

        Returns:
            `nodeID`, and in milliseconds `elapsedTime` and the `timeDiff` of its clock.
        """
        if node_id == self.node_id:
            return {"nodeID": node_id, "elapsedTime": 0, "timeDiff": 0}
        return await self.transit.ping(node_id, timeout) if self.transit else None

    async def ping_all(self, timeout: float = 2.0) -> dict[str, dict[str, Any] | None]:
        """Ask all other nodes for a sign of life; None for those that gave none in time."""
        others = [n.id for n in self.catalog.nodes.values() if n.is_available and not n.is_local]
        answers = await asyncio.gather(*(self.ping(node_id, timeout) for node_id in others))
        return dict(zip(others, answers, strict=True))

    def spawn(self, work: Any) -> asyncio.Task[Any]:
        """Run something beside all else; it is held until it ends."""
        return self._background.spawn(work)

    async def _give_up(self) -> None:
        """Leave nothing of a start that failed."""
        await asyncio.gather(*self._background.cancel(), return_exceptions=True)
        if self.transit:
            await self.transit.close()

    def _changed(self, local: bool) -> None:  # noqa: FBT001 - as the catalog tells it
        if local:
            self.catalog.local.seq += 1
        self._arrivals.changed()
        self.spawn(self.raise_local("$services.changed", {"localService": local}))
        if local and self.transit and self.is_started:
            self.spawn(self.transit.announce())
