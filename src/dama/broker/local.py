"""Local services: definitions that a broker has taken, with what it made around each function.

Around an action are, from the outside in: the counting of running calls, the cache, the bulkhead,
the validation of params, the hooks, the middleware. They are put together once, when the service
is registered; what an action does not use costs its calls nothing.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from dama.beside import beside, is_large
from dama.broker.breaker import Bulkhead
from dama.broker.cache import cache_key
from dama.broker.call import Home
from dama.broker.ended import is_told_to_end, of_code
from dama.broker.errors import (
    GracefulStopTimeoutError,
    ValidationError,
    invalid_params,
)
from dama.broker.hooks import call_all, with_hooks
from dama.broker.schema import describe_action, describe_service, outline_action
from dama.broker.stream import Stream
from dama.contained import carried
from dama.definitions.action import ABSENT_FALLBACK
from dama.definitions.errors import InvalidParamsError, ServiceStartError
from dama.domain.excerpt import first_problems

if TYPE_CHECKING:
    from collections.abc import AsyncIterable, Callable, Mapping

    from dama.broker.cache import Cache
    from dama.broker.call import Call, Perform
    from dama.broker.middleware import Middleware
    from dama.definitions.action import ActionDefinition, EventHandler
    from dama.definitions.policies import CachePolicy
    from dama.definitions.service import Service

_log = logging.getLogger("dama.broker")

POLL_SECONDS = 0.02


class Host(Home, Protocol):
    """The node of a service: what the service and its actions ask of it.

    Attributes:
        cache: Results of actions that have one.
        middleware: Code around all actions and handlers, the outermost first.
    """

    cache: Cache
    middleware: tuple[Middleware, ...]

    async def wait_for_services(self, *names: str, timeout: float | None = None) -> None:
        """Wait until services are there."""
        ...


class LocalAction:
    """An action of this node.

    Attributes:
        name: The full name, such as `flights.count`.
        bus_name: What other nodes call it; None when they are not offered it.
        definition: What it is.
        service: Whose it is.
        perform: Performs a call of it.
        is_plain: Nothing has to be done around a call of it.
    """

    def __init__(self, service: LocalService, definition: ActionDefinition[Any]) -> None:
        self.service = service
        self.definition = definition
        self.name = service.action_name(definition.name)
        self.bus_name = service.bus_action_name(definition.name)
        self.perform = _pipeline(self)
        options = definition.options
        self.is_plain = (
            options.timeout is None
            and options.retries is None
            and options.fallback is ABSENT_FALLBACK
            and not (options.breaker or service.broker.options.breaker)
        )

    def description(self, name: str | None = None) -> dict[str, Any]:
        """What it is, under another name if one is given."""
        return {**self._described, "name": name} if name else self._described

    @cached_property
    def outline(self) -> dict[str, Any]:
        """What it is, without its params: what this node itself needs."""
        return outline_action(self.name, self.definition)

    @cached_property  # a node describes all its actions whenever another one comes
    def _described(self) -> dict[str, Any]:
        return describe_action(self.name, self.definition)


class LocalHandler:
    """A handler of events of this node.

    Attributes:
        group: Of all handlers of a group one gets an event that is emitted.
    """

    def __init__(self, service: LocalService, handler: EventHandler) -> None:
        self.service = service
        self.pattern = handler.pattern
        self.group = handler.group or service.name
        self.given_group = handler.group
        perform = _handle(handler)
        for middleware in reversed(service.broker.middleware):
            perform = middleware.local_event(perform, handler)
        self._perform = perform
        self._name = handler.name

    async def deliver(self, call: Call) -> None:
        """Handle an event; a failure is logged, and nobody else hears of it."""
        call.service = self.service
        self.service.running += 1
        try:
            await self._perform(call)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_told_to_end():
                raise
            _log.exception("%s of %s failed on %s", self._name, self.service.full_name, call.name)
        finally:
            self.service.running -= 1


class LocalService:
    """A service of this node.

    Attributes:
        broker: The node.
        definition: What it is.
        name: Without the version.
        full_name: With the version: `v2.flights`.
        bus_name: What other nodes know it by; None when they are not offered it.
        settings: All, the secure ones too.
        actions: Its actions by their short names, private ones too.
        handlers: Its handlers of events.
        running: Calls and deliveries under way.
    """

    def __init__(self, broker: Host, definition: Service, bus_name: str | None) -> None:
        self.broker = broker
        self.definition = definition
        self.bus_name = bus_name
        self.name = definition.name
        self.version = definition.version
        self.settings: Mapping[str, Any] = definition.settings
        self.full_name = definition.full_name
        self.running = 0
        self.is_started = False
        self.actions = {name: LocalAction(self, a) for name, a in definition.actions.items()}
        self.handlers = [LocalHandler(self, handler) for handler in definition.handlers]

    def action_name(self, name: str) -> str:
        """The full name of an action."""
        return name if self.settings.get("$noServiceNamePrefix") else f"{self.full_name}.{name}"

    def bus_action_name(self, name: str) -> str | None:
        """What other nodes call an action; None when they are not offered it."""
        if self.bus_name in (None, self.full_name):
            return self.action_name(name) if self.bus_name else None
        return f"{self.bus_name}.{name}"

    def description(self) -> dict[str, Any]:
        """What it is at home."""
        return self._described({a.name: a.description() for a in self._shown()})

    def outline(self) -> dict[str, Any]:
        """What it is at home, without the params of its actions."""
        return self._described({a.name: a.outline for a in self._shown()})

    def bus_description(self) -> dict[str, Any]:
        """What other nodes are told of a service that they are offered."""
        described = self.description()
        if self.bus_name in (None, self.full_name):
            return described
        offered = [a for a in self.actions.values() if a.name in described["actions"]]
        actions = {str(a.bus_name): a.description(a.bus_name) for a in offered}
        return {**described, "name": self.bus_name, "fullName": self.bus_name, "actions": actions}

    def _shown(self) -> list[LocalAction]:
        return [a for a in self.actions.values() if a.definition.options.visibility != "private"]

    def _described(self, actions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        handlers = [(handler.pattern, handler.given_group) for handler in self.handlers]
        return describe_service(self.definition, actions, handlers)

    async def created(self) -> None:
        """Call what wants to know that a broker has taken it."""
        await call_all(self.definition.moments("created"), self)

    async def start(self) -> None:
        """Wait for the services that it needs, and call what is to be done at the start.

        Raises:
            InvalidDefinitionError: The params of an action cannot be validated.
            ServiceNotFoundError: They did not come in time.
            ServiceStartError: What is to be done has failed.
        """
        for action in self.actions.values():
            if not _is_of_dama(action.definition):
                _ = action.definition.takes_any or action.definition.params
        if needed := self.definition.dependencies:
            await self.broker.wait_for_services(*needed)
        try:
            await call_all(self.definition.moments("started"), self)
        except Exception as error:
            raise ServiceStartError(
                f"The service {self.full_name} cannot start: {type(error).__name__}: {error}.",
                "Run with --debug to see the traceback.",
            ) from error
        self.is_started = True

    async def stop(self, timeout: float) -> None:
        """Wait for its calls to end, and call what is to be done at the stop."""
        try:
            async with asyncio.timeout(timeout):
                while self.running:  # noqa: ASYNC110 - counted, not signalled: calls are many
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            error = GracefulStopTimeoutError(
                f"{self.full_name} stops with {self.running} calls still running.",
                data={"name": self.name, "version": self.version},
            )
            _log.warning("%s", error)
        await call_all(self.definition.moments("stopped"), self)


def _is_of_dama(definition: ActionDefinition[Any]) -> bool:
    """Whether it is an action of dama itself: known to be sound, and most of a node's start."""
    return definition.function.__module__.startswith("dama.")


def _pipeline(action: LocalAction) -> Perform:
    definition, broker = action.definition, action.service.broker
    perform = _function(definition)
    for middleware in reversed(broker.middleware):
        perform = middleware.local_action(perform, action)
    perform = with_hooks(perform, definition, action.service.definition)
    perform = _validated(perform, action)
    bulkhead = definition.options.bulkhead or broker.options.bulkhead
    if bulkhead:
        perform = partial(Bulkhead(bulkhead, broker.node_id).perform, perform=perform)
    if definition.options.cache:
        perform = _cached(perform, definition.options.cache, broker.cache)
    return _counted(perform, action.service)


def _counted(perform: Perform, service: LocalService) -> Perform:
    async def counted(call: Call) -> Any:
        call.service = service
        service.running += 1
        try:
            return await perform(call)
        except Exception:
            raise
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) and is_told_to_end():
                raise
            raise of_code(error, call.name) from error
        finally:
            service.running -= 1

    return counted


def _cached(perform: Perform, policy: CachePolicy, cache: Cache) -> Perform:
    async def cached(call: Call) -> Any:
        key = None if call.meta.get("$cache") is False or call.stream else cache_key(call, policy)
        if key is None:
            return await perform(call)
        found, value = cache.get(key)
        if found:
            call.cached = True
            return value
        result = await perform(call)
        if not isinstance(result, Stream):
            cache.put(key, result, policy.ttl)
        return result

    return cached


def _validated(perform: Perform, action: LocalAction) -> Perform:
    definition, node_id = action.definition, action.service.broker.node_id
    if definition.takes_any:
        return perform

    def arguments(params: object) -> dict[str, Any]:
        try:
            return definition.arguments(params, action.name)
        except InvalidParamsError as error:
            raise invalid_params(error, action.name, node_id) from None

    async def validated_beside(call: Call) -> Any:
        call.params = await beside(call.params, arguments, call.params)
        return await perform(call)

    def validated(call: Call) -> Any:
        if is_large(call.params):
            return validated_beside(call)
        call.params = arguments(call.params)
        return perform(call)

    return validated


def _function(definition: ActionDefinition[Any]) -> Perform:
    function = cast("Callable[..., Any]", definition.function)
    takes_any = definition.takes_any
    if definition.is_stream:

        async def streamed(call: Call) -> Any:
            chunks: AsyncIterable[Any] = function(call, **({} if takes_any else call.params))
            return Stream(chunks)

        return streamed
    if not definition.is_async:

        async def threaded(call: Call) -> Any:
            arguments: dict[str, Any] = {} if takes_any else call.params
            return await asyncio.to_thread(carried(function), call, **arguments)

        return threaded
    if takes_any:
        return function
    return lambda call: function(call, **call.params)


def _handle(handler: EventHandler) -> Perform:
    function = cast("Callable[..., Any]", handler.function)
    is_async = inspect.iscoroutinefunction(function)

    async def handle(call: Call) -> Any:
        arguments: list[object] = [call]
        if handler.payload_name is not None:
            arguments.append(_payload(handler, call))
        if is_async:
            return await function(*arguments)
        return await asyncio.to_thread(function, *arguments)

    return handle


def _payload(handler: EventHandler, call: Call) -> Any:
    if handler.payload_type is None:
        return call.params
    from pydantic import ValidationError as Invalid

    try:
        return handler.payload_type.validate_python(call.params)
    except Invalid as error:
        validate = handler.payload_type.validate_python
        problems, count = first_problems(error, validate, call.params)
        told = "; ".join(f"{'.'.join(map(str, p['loc'])) or 'it'}: {p['msg']}" for p in problems)
        raise ValidationError(
            f"The payload of {call.name} does not fit, in {count} places: {told}",
            data=[{"type": p["type"], "loc": p["loc"], "msg": p["msg"]} for p in problems],
        ) from None
