"""The application: what is around each request: its id, who calls, how often, errors.

Where one goes is decided once: it has a fixed path (`fixed`), or is a call of an action (`calls`).
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
from http import HTTPStatus
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from dama.broker.ended import is_told_to_end, of_code
from dama.errors import DamaError
from dama.gateway.access import Access, RateLimit
from dama.gateway.aliases import Aliases
from dama.gateway.calls import Calls
from dama.gateway.compression import compress
from dama.gateway.errors import (
    RequestError,
    error_document,
    error_response,
)
from dama.gateway.fixed import FixedPaths, ready
from dama.gateway.metrics import Metrics
from dama.gateway.origin import ANY, Origins, pattern_of
from dama.gateway.params import headers_of
from dama.gateway.response import add_headers
from dama.telemetry import about

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

    from dama.app import App
    from dama.broker.broker import Broker
    from dama.gateway.calls import AfterCall, BeforeCall
    from dama.gateway.settings import GatewaySettings

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
_REQUEST_ID = re.compile(r"[\w.:-]{1,128}", re.ASCII)
_log = logging.getLogger("dama.gateway")


class Site(Protocol):
    """What a browser sees."""

    def has(self, path: str) -> bool:
        """Whether a path, still encoded, is one of a page."""
        ...

    def is_lost(self, request: Request) -> bool:
        """Whether a person looks for a page, where programs have no business."""
        ...

    async def answer(self, request: Request, calls: Calls) -> Response:
        """The page of a request, or what went wrong as a page."""
        ...


class Gateway:
    """What all requests share.

    Args:
        app: The database.
        broker: The services.
        settings: How HTTP is served.
        site: The pages; None for a gateway without any.
        before_call: Called with a call and its request before it is made; may change it, or raise.
        after_call: Called with a call, its request and the result; what it returns is the result.
    """

    def __init__(
        self,
        app: App,
        broker: Broker,
        settings: GatewaySettings,
        *,
        site: Site | None = None,
        before_call: BeforeCall | None = None,
        after_call: AfterCall | None = None,
    ) -> None:
        self._app = app
        self._broker = broker
        self._settings = settings
        self._site = site
        self._access = Access(app.store.tokens, settings)
        self._metrics = Metrics()
        self._origins = Origins(settings)
        self._limit = RateLimit(app.store.tokens, settings.rate_limit, settings.rate_window)
        aliases = Aliases(broker.catalog, settings)
        self._fixed = FixedPaths(app, broker, settings, self._access, aliases, self._metrics)
        self._calls = Calls(broker, settings, aliases, before_call, after_call)
        self._observed: dict[tuple[str, str], Any] = {}

    def application(self) -> ASGIApp:
        """The ASGI application."""
        if not self._settings.origins:
            return self._serve
        return CORSMiddleware(
            self._serve,
            allow_origins=["*"] if ANY in self._settings.origins else (),
            allow_origin_regex=pattern_of(self._settings.origins),
            allow_methods=METHODS,
            allow_headers=["*"],  # those that a preflight asks for: who may call is what counts
            expose_headers=["X-Request-Id", "Location", "ETag"],
        )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        match scope["path"]:
            case "/health":  # of the process, for who watches it: without a token, in any state
                response: Response = JSONResponse({"status": "ok"})
            case "/ready":
                response = await ready(self._app, self._broker)
            case _:
                response = await self._guarded(request)
        await response(scope, receive, send)

    async def _guarded(self, request: Request) -> Response:
        began = perf_counter()
        headers = headers_of(request)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        state = request.scope["dama"]
        state["request_id"], state["action"] = request_id, "-"
        about(request_id=request_id)
        try:
            response = await self._answer(request, headers)
        except ClientDisconnect:
            response = self._refused(
                RequestError("CLIENT_GONE", "The client has gone."), request_id
            )
        except BaseException as raised:
            if isinstance(raised, asyncio.CancelledError) and is_told_to_end():
                raise
            error = of_code(raised, request.scope["path"])  # whatever it is, the client is told
            response = self._refused(error, request_id)
            add_headers(response, state.get("meta", {}))
        response.raw_headers += [
            (b"x-request-id", request_id.encode()),
            (b"x-content-type-options", b"nosniff"),
        ]
        if "cache-control" not in response.headers:  # it is for one caller
            response.raw_headers.append((b"cache-control", b"no-store"))
        await compress(response, headers)
        self._note(request, state, response.status_code, perf_counter() - began)
        return response

    async def _answer(self, request: Request, headers: Mapping[str, str]) -> Response:
        path = request.scope["raw_path"].decode("latin-1")
        is_page = self._site is not None and (
            self._site.has(path)
            or (self._site.is_lost(request) and not self._is_for_programs(request, path))
        )
        if not is_page:  # a page says itself from where it may be visited
            self._origins.check(headers)
        limits = await self._limit.count(request.client.host if request.client else "")
        if is_page and self._site is not None:
            return await self._site.answer(request, self._calls)
        identity = await self._access.identify(headers)
        if found := self._fixed.find(request.scope["path"]):
            fixed, request.scope["path_params"] = found
            fixed.check(request.method)
            response = await fixed.answer(request, identity)
        else:
            response = await self._calls.answer(request, identity)
        if limits:
            response.headers.update(limits)
        return response

    def _is_for_programs(self, request: Request, path: str) -> bool:
        is_fixed = self._fixed.find(request.scope["path"]) is not None
        return is_fixed or self._calls.has(request.method, path)

    def _note(self, request: Request, state: dict[str, Any], status: int, spent: float) -> None:
        key = (state["action"], str(status))
        observed = self._observed.get(key)
        if observed is None:
            observed = self._observed[key] = self._metrics.requests.labels(*key)
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
            self._metrics.refused.labels(str(document.get("type"))).inc()
        headers: dict[str, str] = {}
        match error:
            case RequestError(code="METHOD_NOT_ALLOWED", data={"allowed": allowed}):
                headers["Allow"] = ", ".join(allowed)
            case RequestError(code="RATE_LIMIT_EXCEEDED", data={"retry_after": wait}):
                headers["Retry-After"] = str(wait)
            case RequestError(code="PAYLOAD_TOO_LARGE"):
                headers["Connection"] = "close"  # the rest of it is not waited for
            case RequestError(status=401):
                headers["WWW-Authenticate"] = 'Bearer realm="dama"'
            case _:
                pass
        return error_response(error, request_id, headers)
