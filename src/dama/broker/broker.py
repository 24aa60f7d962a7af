"""The broker: holds services, routes calls and events, here or to other nodes.

Without a transporter it works in memory. With one it is a node of a cluster: what it does not have
itself it asks of others, and what they ask for it performs (`dama.broker.wire.transit`).
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, Any, Self, Unpack, cast
from uuid import uuid4

from dama.broker.cache import Cache
from dama.broker.call import Call, CallOptions, EmitOptions
from dama.broker.caller import Caller
from dama.broker.catalog import Catalog, Endpoint, Node
from dama.broker.emitter import Emitter
from dama.broker.errors import ServiceNotFoundError
from dama.broker.local import LocalService
from dama.broker.node_service import node_service
from dama.broker.options import BrokerOptions
from dama.broker.stream import as_stream
from dama.broker.wire.discovery import client
from dama.broker.wire.transit import Transit
from dama.definitions.errors import DuplicateNameError
from dama.errors import DamaError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import TracebackType

    from dama.broker.middleware import Middleware
    from dama.broker.wire.transporter import Transporter
    from dama.definitions.service import Service


TELL_SECONDS = 3.0

_log = logging.getLogger("dama.broker")


@dataclass(frozen=True)
class Answer:
    """What an action answered.

    Attributes:
        result: What it gave.
        meta: That of the call, with what the action put in.
        node_id: The node that performed it.
    """

    result: Any
    meta: Mapping[str, Any]
    node_id: str


class Broker:
    """A node: services, and the way to those of others.

    Args:
        services: Those to begin with.
        node_id: Its name in the cluster; by default of the host and the process.
        options: How it works.
        middleware: Code around all actions, calls and events, the outermost first.
        transporter: The way to other nodes, or the URL of a NATS server, such as
            `nats://127.0.0.1:4222`; None for this one alone.
        bus_names: What other nodes know services by, by their full names at home; None for those
            that they are not offered. Services that are not in it keep their names.

    Attributes:
        catalog: What there is, here and elsewhere.
        cache: Results of actions that have one.
        services: Those of this node by their full names.
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
        self._bus_names = bus_names or {}
        self.options = options or BrokerOptions()
        self.node_id = node_id or f"{platform.node()}-{os.getpid()}"
        self.instance_id = str(uuid4())
        self.middleware = tuple(middleware)
        self.cache = Cache(self.options.cache_entries)
        self.services: dict[str, LocalService] = {}
        self.is_started = False
        self._ids = count(1)
        self._id_base = secrets.token_hex(8)
        node = Node(self.node_id, self.instance_id, seq=1, is_local=True)
        self.catalog = Catalog(
            node,
            self._changed,
            strategy=self.options.strategy,
            prefer_local=self.options.prefer_local,
            breaker=self.options.breaker,
        )
        if isinstance(transporter, str):
            from dama.broker.wire.nats import NatsTransporter  # noqa: PLC0415 - only who names one

            transporter = NatsTransporter(transporter)
        self.transit = Transit(self, transporter) if transporter else None
        self._changes = asyncio.Event()
        self._background: set[asyncio.Task[Any]] = set()
        self._caller = Caller(
            self.catalog, self.options, self.middleware, self.transit, self.next_id
        )
        self._emitter = Emitter(
            self.catalog, self.middleware, self.transit, balancer=self.options.balancer
        )
        for service in (*([node_service(self)] if self.options.node_service else []), *services):
            self._take(service)

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

    def next_id(self) -> str:
        """An id for a call, which no other call has, on this node or another."""
        return f"{self._id_base}-{next(self._ids):x}"

    @property
    def calls(self) -> int:
        """How many calls were made on this node or performed for others."""
        return self._caller.calls

    async def start(self, *, waits: bool = True) -> None:
        """Connect with the other nodes, if there is a way to them, and start the services.

        Args:
            waits: Return when all services are started; otherwise they start in the background,
                each when those that it needs are there.

        Raises:
            DisconnectedError: The way to other nodes can not be opened, or another one has the id.
            ServiceNotFoundError: What a service needs did not come in time.
            ServiceStartError: A service failed at its start; nothing goes on then.
        """
        try:
            if self.transit:
                await self.transit.connect()
            await (self._start_services() if waits else self._start_services_later())
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
        for service in reversed(list(self.services.values())):
            await self._stop(service)
        for middleware in reversed(self.middleware):
            await middleware.stopped(self)
        await self.raise_local("$broker.stopped")
        for task in tuple(self._background):
            task.cancel()
        if self.transit:
            await self.transit.disconnect()

    async def add(self, service: Service) -> LocalService:
        """Add a service, and start it when the broker runs.

        Raises:
            DuplicateNameError: There is one of its name and version.
        """
        taken = self._take(service)
        if self.is_started:
            await taken.created()
            await self._start(taken)
        return taken

    async def remove(self, full_name: str) -> None:
        """Stop a service of this node and forget it.

        Raises:
            ServiceNotFoundError: There is none of this name.
        """
        if full_name not in self.services:
            raise ServiceNotFoundError(
                f"This node has no service {full_name!r}.", data={"service": full_name}
            )
        service = self.services[full_name]
        await self._stop(service)
        del self.services[full_name]
        self.catalog.local.services = self._descriptions()

    async def call(
        self,
        action: str,
        params: Any = None,  # noqa: ANN401 - any JSON
        **options: Unpack[CallOptions],
    ) -> Any:  # noqa: ANN401 - what the action gives
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
        params: Any = None,  # noqa: ANN401 - any JSON
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
        self,
        parent: Call | None,
        action: str,
        params: Any,  # noqa: ANN401 - any JSON
        options: CallOptions,
    ) -> Any:  # noqa: ANN401 - what the action gives
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
        params: Any,  # noqa: ANN401 - any JSON
        options: CallOptions,
    ) -> Any:  # noqa: ANN401 - what the action gives
        """Call an action of the service that performs another call, by its short name."""
        service = self.services.get(parent.service.full_name) if parent.service else None
        found = service.actions.get(action) if service else None
        if found is None:
            raise ServiceNotFoundError(
                f"{parent.name} has no action {action!r} beside it.", data={"action": action}
            )
        call = self.new_call(parent, found.name, params, options)
        call.timeout = options.get("timeout")
        try:
            return await self._caller.timed(call, found.perform)
        finally:
            parent.meta.update(call.meta)

    def new_call(
        self,
        parent: Call | None,
        name: str,
        params: Any,  # noqa: ANN401 - any JSON
        options: CallOptions | EmitOptions,
    ) -> Call:
        """Make a call, or a delivery, without performing it."""
        meta = options.get("meta")
        if parent is None:
            call = Call(self, name, params)
            if meta:
                call.meta = dict(meta)
        else:
            call = parent.child(name, params, meta)
        if options:
            call.headers = dict(options.get("headers") or {})
            if request_id := options.get("request_id"):
                call.request_id = cast("str", request_id)
            stream = cast("CallOptions", options).get("stream")
            call.stream = as_stream(stream) if stream is not None else None
        return call

    async def perform(self, call: Call, **options: Unpack[CallOptions]) -> Any:  # noqa: ANN401 - what the action gives
        """Perform a call that `new_call` has made; its meta then has what the action put in."""
        return await self._caller.perform(call, options)

    async def perform_here(self, call: Call, endpoint: Endpoint) -> Any:  # noqa: ANN401 - what the action gives
        """Perform a call of another node, which tries again itself if it wants to."""
        return await self._caller.perform_for_others(call, endpoint)

    def info(self) -> dict[str, Any]:
        """What this node tells of itself and its services."""
        return {
            "services": [
                s.bus_description() for s in self.services.values() if s.is_started and s.bus_name
            ],
            "ipList": _addresses(),
            "hostname": platform.node(),
            "client": client(),
            "config": {},
            "instanceID": self.instance_id,
            "metadata": dict(self.options.metadata),
            "seq": self.catalog.local.seq,
        }

    async def mcall(
        self,
        calls: Sequence[tuple[str, Any]] | Mapping[str, tuple[str, Any]],
        *,
        settled: bool = False,
        **options: Unpack[CallOptions],
    ) -> Any:  # noqa: ANN401 - a list or a mapping of results
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
        return await self.mcall_from(None, calls, options, settled=settled)

    async def mcall_from(
        self,
        parent: Call | None,
        calls: Sequence[tuple[str, Any]] | Mapping[str, tuple[str, Any]],
        options: CallOptions,
        *,
        settled: bool,
    ) -> Any:  # noqa: ANN401 - a list or a mapping of results
        """Make several calls at once, as parts of another call."""
        wanted = list(calls.values()) if isinstance(calls, Mapping) else list(calls)

        async def one(action: str, params: Any) -> Any:  # noqa: ANN401 - any JSON
            own = cast("CallOptions", dict(options))
            make = parent.call if parent else self.call
            return await make(action, params, **own)

        tasks = [asyncio.ensure_future(one(action, params)) for action, params in wanted]
        try:
            results = await asyncio.gather(*tasks, return_exceptions=settled)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        return dict(zip(calls, results, strict=True)) if isinstance(calls, Mapping) else results

    async def emit(self, event: str, payload: Any = None, **options: Unpack[EmitOptions]) -> None:  # noqa: ANN401 - any JSON
        """Emit an event: of each group one handler gets it, on this node or another.

        Handlers of this node have ended when this returns. No handler at all is no error.
        """
        await self.emit_from(None, event, payload, options)

    async def broadcast(
        self,
        event: str,
        payload: Any = None,  # noqa: ANN401 - any JSON
        **options: Unpack[EmitOptions],
    ) -> None:
        """Broadcast an event: all handlers of all nodes get it."""
        await self.emit_from(None, event, payload, options, event_type="broadcast")

    async def broadcast_local(
        self,
        event: str,
        payload: Any = None,  # noqa: ANN401 - any JSON
        **options: Unpack[EmitOptions],
    ) -> None:
        """Broadcast an event to all handlers of this node."""
        call = self.new_call(None, event, payload, options)
        call.groups, call.event_type = options.get("groups"), "broadcast"
        await self.deliver(call)

    async def raise_local(self, event: str, payload: Any = None) -> None:  # noqa: ANN401 - any JSON
        """Tell the handlers of this node what the broker has to tell, such as `$node.connected`."""
        call = Call(self, event, payload)
        call.event_type = "broadcast"
        await self.deliver(call)

    async def emit_from(
        self,
        parent: Call | None,
        event: str,
        payload: Any,  # noqa: ANN401 - any JSON
        options: EmitOptions,
        *,
        event_type: str = "emit",
    ) -> None:
        """Emit or broadcast an event, as a part of a call if there is one."""
        call = self.new_call(parent, event, payload, options)
        call.groups, call.event_type = options.get("groups"), event_type
        await self._emitter.send(call)

    async def deliver(self, call: Call) -> None:
        """Deliver an event to the handlers of this node that it is for, and wait for them."""
        await self._emitter.deliver(call)

    async def wait_for_services(self, *names: str, timeout: float | None = None) -> None:  # noqa: ASYNC109 - of Moleculer's words
        """Wait until services are there, on this node or another, by name or full name.

        Raises:
            ServiceNotFoundError: They did not come in time.
        """
        limit = self.options.dependency_timeout if timeout is None else timeout
        try:
            async with asyncio.timeout(limit or None):
                while missing := [n for n in names if not self.catalog.has_service(n)]:
                    self._changes.clear()
                    await self._changed_or_told(missing)
        except TimeoutError:
            missing = [n for n in names if not self.catalog.has_service(n)]
            raise ServiceNotFoundError(
                f"After {limit:g} s there is no service {', '.join(missing)}.",
                "`dama nodes` lists who is there.",
                data={"service": missing},
            ) from None

    def waiting_services(self) -> dict[str, list[str]]:
        """The services of this node that are not started, with those that they wait for."""
        return {
            service.full_name: [
                name
                for name in service.definition.dependencies
                if not self.catalog.has_service(name)
            ]
            for service in self.services.values()
            if not service.is_started
        }

    async def _changed_or_told(self, missing: Sequence[str]) -> None:
        """Wait for a change of the catalog, and say from time to time what is still missing."""
        try:
            async with asyncio.timeout(TELL_SECONDS):
                await self._changes.wait()
        except TimeoutError:
            _log.warning("%s waits for the service %s", self.node_id, ", ".join(missing))

    async def ping(self, node_id: str, timeout: float = 2.0) -> dict[str, Any] | None:  # noqa: ASYNC109 - None after it
        """Ask a node for a sign of life; None when none came in time.

        Returns:
            `nodeID`, and in milliseconds `elapsedTime` and the `timeDiff` of its clock.
        """
        if node_id == self.node_id:
            return {"nodeID": node_id, "elapsedTime": 0, "timeDiff": 0}
        return await self.transit.ping(node_id, timeout) if self.transit else None

    async def ping_all(self, timeout: float = 2.0) -> dict[str, dict[str, Any] | None]:  # noqa: ASYNC109 - None after it
        """Ask all other nodes for a sign of life; None for those that gave none in time."""
        others = [n.id for n in self.catalog.nodes.values() if n.is_available and not n.is_local]
        answers = await asyncio.gather(*(self.ping(node_id, timeout) for node_id in others))
        return dict(zip(others, answers, strict=True))

    def spawn(self, work: Any) -> asyncio.Task[Any]:  # noqa: ANN401 - a coroutine of anything
        """Let something go on beside all else; it is held until it ends."""
        task = asyncio.get_running_loop().create_task(work)
        self._background.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("something in the background of %s died", self.node_id, exc_info=error)

    async def _start_services(self) -> None:
        for service in list(self.services.values()):
            await service.created()
        try:
            # Side by side: they may wait for each other.
            async with asyncio.TaskGroup() as group:
                for service in list(self.services.values()):
                    group.create_task(self._start(service))
        except BaseExceptionGroup as failed:
            # The first is the cause; the others were waiting for it, or failed beside it.
            raise failed.exceptions[0] from None

    async def _start_services_later(self) -> None:
        for service in list(self.services.values()):
            await service.created()
            if service.definition.dependencies:
                self.spawn(self._start_or_tell(service))
            else:
                await self._start(service)

    async def _start_or_tell(self, service: LocalService) -> None:
        try:
            await self._start(service)
        except DamaError as error:
            _log.error("%s", error)

    async def _give_up(self) -> None:
        """Leave nothing of a start that failed."""
        self.is_started = False
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self.transit:
            await self.transit.close()

    def _take(self, definition: Service) -> LocalService:
        if definition.full_name in self.services:
            raise DuplicateNameError(
                f"This node has a service {definition.full_name!r} already.",
                "Give one of them another name or version.",
            )
        name = definition.full_name
        service = LocalService(self, definition, self._bus_names.get(name, name))
        self.services[service.full_name] = service
        return service

    async def _start(self, service: LocalService) -> None:
        await service.start()
        # Only now: a service that is not started gets no calls.
        self.catalog.local.services = self._descriptions()
        self.catalog.add_local(service)
        for middleware in self.middleware:
            await middleware.service_started(service)

    async def _stop(self, service: LocalService) -> None:
        was_started, service.is_started = service.is_started, False
        self.catalog.local.services = self._descriptions()
        self.catalog.remove_local(service)
        await service.stop(self.options.stop_timeout)
        if was_started:
            for middleware in self.middleware:
                await middleware.service_stopped(service)

    def _descriptions(self) -> list[dict[str, Any]]:
        return [s.description() for s in self.services.values() if s.is_started]

    def _changed(self, local: bool) -> None:  # noqa: FBT001 - as the catalog tells it
        if local:
            self.catalog.local.seq += 1
        self._changes.set()
        self.spawn(self.raise_local("$services.changed", {"localService": local}))
        if local and self.transit and self.is_started:
            self.spawn(self.transit.announce())


@cache
def _addresses() -> list[str]:
    """The addresses of this machine that others might know it by."""
    try:
        found = socket.getaddrinfo(platform.node(), None, socket.AF_INET)
    except OSError:
        return []
    return list(dict.fromkeys(str(address[4][0]) for address in found))
