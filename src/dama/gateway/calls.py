"""Calls: which action a request means, who may call it, and what comes of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dama.gateway.access import demand
from dama.gateway.aliases import Match
from dama.gateway.errors import (
    RequestError,
)
from dama.gateway.params import headers_of, read_params
from dama.gateway.response import respond
from dama.shipped.documents import COMMANDS, PERMITTED

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from dama.broker.broker import Broker
    from dama.broker.call import Call
    from dama.broker.catalog import Endpoint
    from dama.gateway.aliases import Aliases
    from dama.gateway.settings import GatewaySettings
    from dama.shapes import Json
    from dama.store.tokens import Identity

# With these the services of the product look themselves at whose tasks are meant.
OF_ONE_TASK = frozenset(
    {
        "tasks.start",
        "tasks.run",
        "tasks.wait",
        "tasks.cancel",
        "tasks.resume",
        "tasks.fork",
        "contexts.get",
        "contexts.tree",
        "contexts.timeline",
        "contexts.events",
        "contexts.find",
        "contexts.suppose",
        "contexts.state",
        "contexts.diff",
        "contexts.export",
        "events.dispatch",
    }
)
LONGEST_KEY = 200
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")

BeforeCall = Callable[["Call", "Request"], Any]
AfterCall = Callable[["Call", "Request", Any], Any]


class Calls:
    """Makes calls of requests.

    Args:
        broker: The services.
        settings: How HTTP is served.
        aliases: What can be called.
        before_call: Called with a call and its request before it is made; may change it, or raise.
        after_call: Called with a call, its request and the result; what it returns is the result.
    """

    def __init__(
        self,
        broker: Broker,
        settings: GatewaySettings,
        aliases: Aliases,
        before_call: BeforeCall | None,
        after_call: AfterCall | None,
    ) -> None:
        self._broker = broker
        self._settings = settings
        self._aliases = aliases
        self._before_call = before_call
        self._after_call = after_call

    async def answer(self, request: Request, identity: Identity) -> Response:
        """Make a call of a request, and a response of its result.

        Raises:
            RequestError: There is nothing of this path, or it takes other methods.
        """
        match = self._match(request, identity)
        endpoints = self._broker.catalog.actions.get(match.action)
        if endpoints is None:
            raise RequestError(
                "SERVICE_UNAVAILABLE",
                f"No node has the action {match.action!r} of this path now.",
                "`dama nodes` lists who is there.",
                data={"action": match.action},
            )
        description = endpoints.all[0].description
        request.scope["dama"]["action"] = match.action
        call = await self._new_call(request, identity, match, description)
        try:
            result = await self._result(request, call, description)
        finally:  # an error has the headers that the action wanted, too
            request.scope["dama"]["meta"] = call.meta
        return await respond(request, call, result, endpoints.all[0])

    def has(self, method: str, path: str) -> bool:
        """Whether a path, still encoded, is one of an action, with this method or another one."""
        return bool(self._aliases.find(method, path))

    def offered(self) -> Mapping[str, Endpoint]:
        """The actions that are called by their names."""
        return self._aliases.named()

    def why_absent(self, action: str, identity: Identity) -> str | None:
        """Why no action of a name is offered, to who may know; None where nothing says it."""
        permitted = identity.services
        if permitted is not None and action.rpartition(".")[0] not in permitted:
            return None
        return self._broker.catalog.why_absent(action)

    async def perform(
        self, request: Request, identity: Identity, action: str, params: Mapping[str, Any]
    ) -> Any:
        """Call an action for a page, by the rules of any other request; returns its result.

        Raises:
            RequestError: Nothing of this name is offered, or the caller may not call it.
        """
        endpoint = self.offered().get(action)
        if endpoint is None:
            hint = self.why_absent(action, identity)
            raise RequestError("NOT_FOUND", f"There is no action {action[:200]!r} to call.", hint)
        meta = _meta({}, identity)
        _check_scope(identity, action, endpoint.description.get("scope") or "operator", meta)
        options: Any = {"meta": meta, "request_id": request.scope["dama"]["request_id"]}
        call = self._broker.new_call(None, action, dict(params), options)
        return await self._result(request, call, endpoint.description)

    async def _result(self, request: Request, call: Call, description: Mapping[str, Any]) -> Any:
        if self._before_call:
            await _awaited(self._before_call(call, request))
        perform = self._broker.perform(call)
        if description.get("timeout") == 0:
            perform = _until_gone(request, perform)
        result = await perform
        if self._after_call:
            changed = await _awaited(self._after_call(call, request, result))
            result = result if changed is None else changed
        return result

    def _match(self, request: Request, identity: Identity) -> Match:
        # Not decoded yet: a slash within a param is not one between two of them.
        path: str = request.scope["raw_path"].decode("latin-1")
        method = request.method
        match = self._aliases.find(method, path)
        if method == "HEAD" and not (isinstance(match, Match) and match.is_alias):
            method = "GET"
            match = self._aliases.find(method, path)
        if isinstance(match, Match):
            allowed = self._aliases.methods_by_name(match.action)
            if match.is_alias or method in allowed or self._settings.any_method:
                return match
            match = allowed
        if match:
            raise RequestError(
                "METHOD_NOT_ALLOWED",
                f"{path} does not take {request.method}.",
                f"It takes {', '.join(match)}.",
                data={"allowed": list(match)},
            )
        name = ".".join(path.strip("/").split("/")[1:])  # behind /api
        hint = self.why_absent(name, identity) or "GET /api lists what there is."
        raise RequestError("NOT_FOUND", f"There is nothing at {path}.", hint)

    async def _new_call(
        self, request: Request, identity: Identity, match: Match, description: Mapping[str, Any]
    ) -> Call:
        meta = _meta(headers_of(request), identity)
        _check_scope(identity, match.action, description.get("scope") or "operator", meta)
        params = await read_params(request, match.params, self._settings.body_limit)
        options: Any = {"meta": meta, "request_id": request.scope["dama"]["request_id"]}
        call = self._broker.new_call(None, match.action, params, options)
        if self._settings.undeclared_commands and identity.may_run_commands:
            call.locals[COMMANDS] = True
        return call


def _check_scope(identity: Identity, action: str, scope: str, meta: dict[str, Json]) -> None:
    if action not in OF_ONE_TASK:
        demand(identity, scope, action.rpartition(".")[0], action)
        return
    demand(identity, scope, identity.services[0] if identity.services else "", action)
    if identity.services is not None:
        meta[PERMITTED] = list(identity.services)


def _meta(headers: Mapping[str, str], identity: Identity) -> dict[str, Any]:
    """The meta that a request passes to its call.

    Raises:
        RequestError: Its Idempotency-Key is too long.
    """
    meta: dict[str, Json] = {"user": identity.name}
    if key := headers.get("idempotency-key"):
        if len(key) > LONGEST_KEY:
            raise RequestError(
                "BAD_REQUEST",
                f"The Idempotency-Key has {len(key)} characters; {LONGEST_KEY} are the most.",
                "Send a shorter one, such as a digest.",
            )
        meta["$idempotencyKey"] = key
    if _TRACEPARENT.fullmatch(traceparent := headers.get("traceparent", "")):
        meta["traceparent"] = traceparent
    return meta


async def _awaited(value: Any) -> Any:
    return await value if hasattr(value, "__await__") else value


async def _until_gone(request: Request, perform: Awaitable[Any]) -> Any:
    """Perform a call that may take forever, as long as its client is there."""
    performing = asyncio.ensure_future(perform)
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait([performing, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not performing.done():
            raise RequestError("CLIENT_GONE", "The client has gone.")
        return performing.result()
    finally:
        for task in (performing, leaving):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
