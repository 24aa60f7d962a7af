"""The application: routes, and what is around each request: its id, who calls, limits, errors."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from dama.config.table import shown
from dama.errors import DamaError
from dama.gateway import files, openapi, runs
from dama.gateway.access import Access, RateLimit, demand
from dama.gateway.aliases import Aliases, Match
from dama.gateway.errors import (
    BadRequestError,
    ClientGoneError,
    ForbiddenError,
    MethodNotAllowedError,
    PathNotFoundError,
    PayloadTooLargeError,
    RateLimitExceededError,
    UnauthorizedError,
    error_document,
    error_response,
)
from dama.gateway.invoke import headers_of, read_params, respond
from dama.gateway.metrics import Metrics
from dama.gateway.streams import stream
from dama.shipped.documents import COMMANDS, PERMITTED, permit_context
from dama.telemetry import about

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

    from dama.app import App
    from dama.broker.broker import Broker
    from dama.broker.call import Call
    from dama.gateway.settings import GatewaySettings
    from dama.store.tokens import Identity

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# With these the services of the product look themselves at whose tasks are meant.
OF_ONE_TASK = frozenset(
    {
        "tasks.start",
        "tasks.run",
        "tasks.wait",
        "tasks.cancel",
        "tasks.resume",
        "contexts.get",
        "contexts.tree",
        "contexts.events",
        "contexts.state",
        "events.dispatch",
    }
)
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_HOST = re.compile(r"(?:\[(?P<v6>[0-9a-f:.]+)\]|(?P<name>[a-z0-9._~-]+))(?::[0-9]{1,5})?")
_TRACEPARENT = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
# What is no call of an action; all else below /api is one.
_FIXED = re.compile(
    r"/(?!api/)|/api/(run|stream)(/|$)|/api/contexts/[0-9]{1,19}/(tree/)?(stream|logs|artifacts|files)(/|$)"
)
MOST_HOSTS = 1000
LONGEST_KEY = 200
_log = logging.getLogger("dama.gateway")


class _IdConvertor(IntegerConvertor):
    """The id of a context in a path, with no more digits than PostgreSQL has room for."""

    regex = "[0-9]{1,19}"


register_url_convertor("id", _IdConvertor())

Endpoint = Callable[["Request", "Identity"], Awaitable[Response]]
BeforeCall = Callable[["Call", "Request"], Any]
AfterCall = Callable[["Call", "Request", Any], Any]


class Gateway:
    """What all requests share.

    Args:
        app: The database.
        broker: The services.
        settings: How HTTP is served.
        before_call: Called with a call and its request before it is made; may change it, or raise.
        after_call: Called with a call, its request and the result; what it returns is the result.
    """

    def __init__(
        self,
        app: App,
        broker: Broker,
        settings: GatewaySettings,
        *,
        before_call: BeforeCall | None = None,
        after_call: AfterCall | None = None,
    ) -> None:
        self.app = app
        self.broker = broker
        self.settings = settings
        self.access = Access(app.store.tokens, settings)
        self.aliases = Aliases(broker.catalog)
        self.metrics = Metrics()
        self._limit = RateLimit(app.store.tokens, settings.rate_limit, settings.rate_window)
        self._before_call = before_call
        self._after_call = after_call
        self._observed: dict[tuple[str, str], Any] = {}
        self._hosts: set[str] = set()
        self._names = _names_of(settings)

    def application(self) -> ASGIApp:
        """The ASGI application."""
        context = "/api/contexts/{context_id:id}"
        routes = [
            Route("/health", self._health),
            Route("/ready", self._ready),
            Route("/metrics", self._guarded(self._metrics)),
            Route("/openapi.json", self._guarded(self._openapi)),
            Route("/api", self._guarded(self._page)),
            Route("/api/run", self._guarded(self._run)),
            Route("/api/run/events", self._guarded(self._run_events), methods=["POST"]),
            Route("/api/stream", self._guarded(self._stream_all)),
            Route(f"{context}/stream", self._guarded(self._stream_context)),
            Route(f"{context}/tree/stream", self._guarded(self._stream_tree)),
            Route(f"{context}/logs", self._guarded(self._logs)),
            Route(f"{context}/artifacts", self._guarded(self._artifacts)),
            Route(f"{context}/artifacts/{{name:path}}", self._guarded(self._artifact)),
            Route(f"{context}/files/{{name}}", self._guarded(self._upload), methods=["PUT"]),
            Route("/{path:path}", self._guarded(self._call), methods=METHODS),
        ]
        middleware = [Middleware(GZipMiddleware, minimum_size=1000, compresslevel=5)]
        if self.settings.origins:
            cors = Middleware(
                CORSMiddleware,
                allow_origins=self.settings.origins,
                allow_methods=METHODS,
                allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
                expose_headers=["X-Request-Id", "Location", "ETag"],
            )
            middleware.insert(0, cors)
        fixed = Starlette(
            routes=routes, middleware=middleware, exception_handlers={HTTPException: _no_route}
        )
        calls = self._guarded(self._call)

        async def front(scope: Scope, receive: Receive, send: Send) -> None:
            """Calls take the short way: they are most of what comes."""
            if scope["type"] != "http" or self.settings.origins or _FIXED.match(scope["path"]):
                await fixed(scope, receive, send)
                return
            response = await calls(Request(scope, receive, send))
            await response(scope, receive, send)

        return front

    def _guarded(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def guarded(request: Request) -> Response:
            began = perf_counter()
            headers = headers_of(request)
            told = headers.get("x-request-id", "")
            request_id = told if _REQUEST_ID.fullmatch(told) else secrets.token_hex(8)
            state = request.scope["dama"]
            state["request_id"], state["action"] = request_id, "-"
            about(request_id=request_id)
            try:
                self._check_where_from(headers)
                limits = await self._limit.count(request.client.host if request.client else "")
                response = await endpoint(request, await self.access.identify(headers))
                if limits:
                    response.headers.update(limits)
            except ClientDisconnect:
                response = self._refused(ClientGoneError("The client has gone."), request_id)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client is told
                response = self._refused(error, request_id)
            response.raw_headers += [
                (b"x-request-id", request_id.encode()),
                (b"x-content-type-options", b"nosniff"),
            ]
            if "cache-control" not in response.headers:  # it is for one caller
                response.raw_headers.append((b"cache-control", b"no-store"))
            self._note(request, state, response.status_code, perf_counter() - began)
            return response

        return guarded

    def _note(self, request: Request, state: dict[str, Any], status: int, spent: float) -> None:
        key = (state["action"], str(status))
        observed = self._observed.get(key)
        if observed is None:
            observed = self._observed[key] = self.metrics.requests.labels(*key)
        observed.observe(spent)
        level = logging.DEBUG if status < HTTPStatus.INTERNAL_SERVER_ERROR else logging.WARNING
        if _log.isEnabledFor(level):
            _log.log(
                level,
                "%s %s %s %.1f ms request=%s",
                request.method,
                request.scope["path"],
                status,
                spent * 1000,
                state["request_id"],
            )

    def _refused(self, error: Exception, request_id: str) -> Response:
        _, document = error_document(error, request_id) if isinstance(error, DamaError) else (0, {})
        if document:
            self.metrics.refused.labels(str(document.get("type"))).inc()
        headers: dict[str, str] = {}
        match error:
            case MethodNotAllowedError(data={"allowed": allowed}):
                headers["Allow"] = ", ".join(allowed)
            case RateLimitExceededError(data={"retry_after": wait}):
                headers["Retry-After"] = str(wait)
            case PayloadTooLargeError():
                headers["Connection"] = "close"  # the rest of it is not waited for
            case UnauthorizedError():
                headers["WWW-Authenticate"] = 'Bearer realm="dama"'
            case _:
                pass
        return error_response(error, request_id, headers)

    def _check_where_from(self, headers: Mapping[str, str]) -> None:
        """Refuse what a page of somebody else makes a browser ask.

        Raises:
            BadRequestError: The request calls this server by a name that is not its own, or by
                none.
            ForbiddenError: It comes from a page of another origin.
        """
        told = headers.get("host", "")
        if told not in self._hosts:
            found = _HOST.fullmatch(told.lower())
            host = (found["v6"] or found["name"]) if found else ""
            if not host:
                raise BadRequestError(
                    f"The header Host is {shown(told)}, which is no name of a server.",
                    "Send the name or the address, and the port.",
                    code="WRONG_HOST",
                )
            if self._names is not None and host not in self._names:
                raise BadRequestError(
                    f"This server is not called {host!r}.",
                    "Name it in allowed_hosts of [gateway] if it is.",
                    code="WRONG_HOST",
                )
            if len(self._hosts) < MOST_HOSTS:
                self._hosts.add(told)
        origin = headers.get("origin")
        is_own = origin is None or origin.partition("://")[2] == told
        is_cross_site = headers.get("sec-fetch-site") == "cross-site"
        if (is_own and not is_cross_site) or origin in self.settings.origins:
            return
        raise ForbiddenError(
            f"The request comes from a page of {shown(origin) if origin else 'another site'}.",
            "Name it in origins of [gateway] if that is right.",
            code="ORIGIN_NOT_ALLOWED",
        )

    async def _call(self, request: Request, identity: Identity) -> Response:
        """Make a call of a request."""
        # Not decoded yet: a slash within a param is not one between two of them.
        path: str = request.scope["raw_path"].decode("latin-1")
        if not path.startswith("/api/"):
            raise PathNotFoundError(f"There is nothing at {path}.", "GET /api lists what there is.")
        match = self._match(request, path.removeprefix("/api"))
        endpoints = self.broker.catalog.actions.get(match.action)
        if endpoints is None:  # it has just gone
            raise PathNotFoundError(f"There is no action {match.action!r} now.")
        description = endpoints.all[0].description
        request.scope["dama"]["action"] = match.action
        call = await self._new_call(request, identity, match, description)
        if self._before_call:
            await _awaited(self._before_call(call, request))
        perform = self.broker.perform(call)
        if description.get("timeout") == 0:
            perform = _until_gone(request, perform)
        result = await perform
        if self._after_call:
            changed = await _awaited(self._after_call(call, request, result))
            result = result if changed is None else changed
        return respond(request, call, result, endpoints.all[0])

    def _match(self, request: Request, path: str) -> Match:
        method = "GET" if request.method == "HEAD" else request.method
        match = self.aliases.find(method, path)
        if isinstance(match, Match):
            allowed = self._methods_of(match)
            if match.is_alias or method in allowed or self.settings.any_method:
                return match
            match = allowed
        if match:
            raise MethodNotAllowedError(
                f"{path} does not take {request.method}.",
                f"It takes {', '.join(match)}.",
                data={"allowed": list(match)},
            )
        raise PathNotFoundError(
            f"There is no action at /api{path}.", "GET /api lists what there is.",
        )  # fmt: skip

    def _methods_of(self, match: Match) -> tuple[str, ...]:
        """GET changes nothing: it is for actions that say so."""
        endpoints = self.broker.catalog.actions.get(match.action)
        reads = endpoints and endpoints.all[0].description.get("scope") == "viewer"
        return ("GET", "POST") if reads else ("POST",)

    async def _new_call(
        self,
        request: Request,
        identity: Identity,
        match: Match,
        description: Any,  # noqa: ANN401 - what a node tells
    ) -> Call:
        scope = description.get("scope") or "operator"
        meta: dict[str, Any] = {"user": identity.name}
        if match.action in OF_ONE_TASK:
            own = identity.services[0] if identity.services else ""
            demand(identity, scope, own, match.action)
            if identity.services is not None:
                meta[PERMITTED] = list(identity.services)
        else:
            demand(identity, scope, match.action.rpartition(".")[0], match.action)
        headers = headers_of(request)
        if key := headers.get("idempotency-key"):
            if len(key) > LONGEST_KEY:
                raise BadRequestError(
                    f"The Idempotency-Key has {len(key)} characters; {LONGEST_KEY} are the most.",
                    "Send a shorter one, such as a digest.",
                )
            meta["$idempotencyKey"] = key
        traceparent = headers.get("traceparent", "")
        if _TRACEPARENT.fullmatch(traceparent):
            meta["traceparent"] = traceparent
        params = await read_params(request, match.params, self.settings.body_limit)
        options: Any = {"meta": meta, "request_id": request.scope["dama"]["request_id"]}
        call = self.broker.new_call(None, match.action, params, options)
        if self.settings.undeclared_commands and identity.may_run_commands:
            call.locals[COMMANDS] = True
        return call

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def _ready(self, _: Request) -> Response:
        """Whether it can serve: the database answers, and the bus is there."""
        checks: dict[str, str] = {}
        try:
            async with asyncio.timeout(5):
                await self.app.store.now()
            checks["database"] = "ok"
        except (DamaError, TimeoutError) as error:
            checks["database"] = getattr(error, "code", "TIMEOUT")
        if self.broker.transit:
            checks["bus"] = "ok" if self.broker.transit.is_connected else "away"
        is_ready = set(checks.values()) == {"ok"}
        return JSONResponse(checks, 200 if is_ready else 503)

    async def _metrics(self, _: Request, identity: Identity) -> Response:
        demand(identity, "viewer", "", "/metrics")
        text = await self.metrics.text(self.app, self.broker)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, _: Request, __: Identity) -> Response:
        return JSONResponse(openapi.document(self.broker, self.aliases))

    async def _page(self, _: Request, __: Identity) -> Response:
        return HTMLResponse(openapi.page(openapi.document(self.broker, self.aliases)))

    async def _stream_all(self, request: Request, identity: Identity) -> Response:
        demand(identity, "viewer", "events", "/api/stream")
        return await stream(request, self.app, self.access, context=None, tree=False)

    async def _stream_context(self, request: Request, identity: Identity) -> Response:
        context_id = await self._permitted(request, identity)
        return await stream(request, self.app, self.access, context=context_id, tree=False)

    async def _stream_tree(self, request: Request, identity: Identity) -> Response:
        context_id = await self._permitted(request, identity)
        return await stream(request, self.app, self.access, context=context_id, tree=True)

    async def _run(self, _: Request, identity: Identity) -> Response:
        return JSONResponse(await runs.read(self.app, identity))

    async def _run_events(self, request: Request, identity: Identity) -> Response:
        body = await read_params(request, {}, self.settings.body_limit)
        return JSONResponse(await runs.append(self.app, identity, body), 201)

    async def _logs(self, request: Request, identity: Identity) -> Response:
        return await files.log(request, self.app, await self._permitted(request, identity))

    async def _artifacts(self, request: Request, identity: Identity) -> Response:
        return JSONResponse(
            await files.artifacts(self.app, await self._permitted(request, identity))
        )

    async def _artifact(self, request: Request, identity: Identity) -> Response:
        context_id = await self._permitted(request, identity)
        return await files.artifact(self.app, context_id, request.path_params["name"])

    async def _upload(self, request: Request, identity: Identity) -> Response:
        context_id = await self._permitted(request, identity, "operator")
        name, limit = request.path_params["name"], self.settings.upload_limit
        return JSONResponse(await files.upload(request, self.app, context_id, name, limit), 201)

    async def _permitted(self, request: Request, identity: Identity, scope: str = "viewer") -> int:
        """The context of a path, when the token is for it."""
        context_id: int = request.path_params["context_id"]
        if context_id >= 2**63:
            raise PathNotFoundError(f"There is no context {context_id}.")
        services = identity.services
        demand(identity, scope, services[0] if services else "", request.scope["path"])
        meta = {} if services is None else {PERMITTED: list(services)}
        call = self.broker.new_call(None, "contexts.get", None, {"meta": meta})
        await permit_context(self.app, call, context_id)
        return context_id


def _names_of(settings: GatewaySettings) -> frozenset[str] | None:
    """The names that requests may call this server; None for any."""
    names = {*settings.allowed_hosts, settings.host}
    if settings.is_loopback:
        return frozenset(names | LOOPBACK_NAMES)
    # Without a list tokens are needed all the same, and no page of somebody else has one.
    return frozenset(names) if settings.allowed_hosts else None


async def _no_route(request: Request, error: Exception) -> Response:
    """What Starlette itself refuses: a path that no route fits, a method of a fixed route."""
    request_id = secrets.token_hex(8)
    if getattr(error, "status_code", None) == HTTPStatus.METHOD_NOT_ALLOWED:
        headers: dict[str, str] = getattr(error, "headers", None) or {}
        refused = MethodNotAllowedError(f"The path does not take {request.method}.")
        return error_response(refused, request_id, headers)
    return error_response(PathNotFoundError("There is nothing at this path."), request_id)


async def _awaited(value: Any) -> Any:  # noqa: ANN401 - what a hook gives
    return await value if hasattr(value, "__await__") else value


async def _until_gone(request: Request, perform: Awaitable[Any]) -> Any:  # noqa: ANN401 - what the action gives
    """Perform a call that may take for ever, as long as its client is there."""
    performing = asyncio.ensure_future(perform)
    leaving = asyncio.ensure_future(request.receive())
    try:
        await asyncio.wait([performing, leaving], return_when=asyncio.FIRST_COMPLETED)
        if not performing.done():
            raise ClientGoneError("The client has gone.")
        return performing.result()
    finally:
        for task in (performing, leaving):
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
