"""The caller: finds who executes a call, and does around it what the call or its action ask for.

A call of a local action without policies takes the shortest way: nothing is around it.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from dama.broker.errors import (
    RequestTimeoutError,
    ServiceNotAvailableError,
    ServiceNotFoundError,
)
from dama.broker.hooks import called
from dama.broker.middleware import Middleware
from dama.config.duration import optional_duration
from dama.definitions.action import ABSENT_FALLBACK, retry_policy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dama.broker.call import Call, CallOptions, Perform
    from dama.broker.catalog import Catalog, Endpoint
    from dama.broker.options import BrokerOptions
    from dama.broker.wire.transit import Transit

_log = logging.getLogger("dama.broker")


class Caller:
    """Performs the calls of a broker.

    Args:
        catalog: Who executes what.
        middleware: Around all calls, the outermost first.
        transit: The way to other nodes, if there is one.
        options: How calls are made.
        next_id: Returns an id that no other call has.

    Attributes:
        perform: Performs a call with its options, with the middleware around it.
        calls: How many were made.
    """

    def __init__(
        self,
        catalog: Catalog,
        middleware: Sequence[Middleware],
        transit: Transit | None,
        options: BrokerOptions,
        next_id: Callable[[], str],
    ) -> None:
        self._catalog = catalog
        self._options = options
        self._middleware = middleware
        self._transit = transit
        self._next_id = next_id
        self.calls = 0
        self._is_plain = not (
            self._options.request_timeout
            or self._options.retries
            or (transit and not self._options.balancer)
        )
        self.perform: Any = self._call
        if any(type(m).call is not Middleware.call for m in middleware):
            self.perform = self._through_middleware()
        self._remote: Perform = self._request
        for each in reversed(middleware):
            self._remote = each.remote_action(self._remote)

    def _through_middleware(self) -> Any:
        async def innermost(call: Call) -> Any:
            return await self._call(call, call.locals.pop("$options"))

        perform: Perform = innermost
        for middleware in reversed(self._middleware):
            perform = middleware.call(perform)

        async def outermost(call: Call, options: CallOptions) -> Any:
            call.locals["$options"] = options
            return await perform(call)

        return outermost

    async def _call(self, call: Call, options: CallOptions) -> Any:
        self.calls += 1
        endpoint = self._catalog.choose(call.name, options.get("node_id"))
        action = endpoint.action if endpoint else None
        if action and action.is_plain and self._is_plain and not options:
            return await action.perform(call)
        return await self.guarded(call, endpoint, options)

    async def perform_for_others(self, call: Call, endpoint: Endpoint) -> Any:
        """Perform a call of another node, which tries again itself if it wants to."""
        self.calls += 1
        options: CallOptions = {"timeout": call.timeout, "retries": 0, "node_id": endpoint.node.id}
        return await self.guarded(call, endpoint, options)

    async def guarded(self, call: Call, endpoint: Endpoint | None, options: CallOptions) -> Any:
        """Perform a call with all that it or its action asks for: time, tries, another answer.

        Raises:
            CallError: What it failed with at last.
        """
        params = call.params  # validation puts others into their place
        action = endpoint.action.definition.options if endpoint and endpoint.action else None
        fallback = options.get("fallback", action.fallback if action else ABSENT_FALLBACK)
        policy = (
            retry_policy(options.get("retries"))
            or (action and action.retries)
            or self._options.retries
        )
        tries = 0
        while True:
            try:
                return await self._once(call, endpoint, options)
            except Exception as error:
                tries += 1
                if policy and tries <= policy.retries and policy.check(error) and not call.stream:
                    await asyncio.sleep(policy.wait(tries))
                    call.params = params
                    # A late answer to the try before is none to this one.
                    call.id = self._next_id()
                    endpoint = self._catalog.choose(call.name, options.get("node_id"))
                    continue
                if fallback is ABSENT_FALLBACK:
                    raise
                _log.info("%s failed and returns its fallback: %s", call.name, error)
                return await called(fallback, call, error) if callable(fallback) else fallback

    async def _once(self, call: Call, endpoint: Endpoint | None, options: CallOptions) -> Any:
        if endpoint is None:
            raise self._nobody(call.name, options.get("node_id"))
        given = optional_duration(options.get("timeout"), of=f"{call.name}: timeout")
        if given is None:
            given = self._options.request_timeout if endpoint.timeout is None else endpoint.timeout
        call.timeout = given or None
        is_pinned = options.get("node_id") is not None
        if endpoint.action and (self._options.balancer or is_pinned or not self._transit):
            perform: Perform = endpoint.action.perform
        else:
            call.node_id = endpoint.node.id
            call.locals["$pinned"] = is_pinned
            perform = self._remote
        if endpoint.breaker:
            inner, breaker = perform, endpoint.breaker

            async def broken(call: Call) -> Any:
                return await breaker.perform(call, lambda c: self.timed(c, inner))

            return await broken(call)
        return await self.timed(call, perform)

    async def timed(self, call: Call, perform: Perform) -> Any:
        """Perform a call within its time.

        Raises:
            RequestTimeoutError: It took too long.
        """
        if not call.timeout:
            return await perform(call)
        call.start_clock()
        limit = asyncio.timeout(call.timeout)
        try:
            async with limit:
                return await perform(call)
        except TimeoutError:
            if not limit.expired():
                raise
            raise RequestTimeoutError(
                f"{call.name} did not answer within {call.timeout:g} s.",
                data={"action": call.name, "nodeID": call.node_id},
            ) from None

    async def _request(self, call: Call) -> Any:
        if self._transit is None:  # the catalog has no other nodes then
            raise self._nobody(call.name, call.node_id)
        return await self._transit.request(call)

    def _nobody(self, action: str, node_id: str | None) -> Exception:
        data = {"action": action, **({"nodeID": node_id} if node_id else {})}
        where = f" on node {node_id!r}" if node_id else ""
        known = self._catalog.actions.get(action)
        if known and (node_id is None or any(e.node.id == node_id for e in known.all)):
            return ServiceNotAvailableError(
                f"The action {action!r} takes no calls now{where}.",
                "Its node is gone, or failed too often of late. Try again later.",
                data=data,
            )
        message = f"There is no action {action!r}{where}."
        return ServiceNotFoundError(message, self._catalog.why_absent(action), data=data)
