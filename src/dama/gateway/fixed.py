"""Fixed paths: what is served besides calls of actions, each in one line of one table."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, NamedTuple

from starlette.responses import HTMLResponse, JSONResponse, Response

from dama.beside import beside
from dama.broker.wire.values import as_json
from dama.errors import DamaError
from dama.gateway import files, runs
from dama.gateway.access import demand
from dama.gateway.errors import RequestError
from dama.gateway.openapi import Documents
from dama.gateway.params import read_params
from dama.gateway.streams import stream
from dama.shipped.documents import PERMITTED, permit_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request

    from dama.app import App
    from dama.broker.broker import Broker
    from dama.gateway.access import Access
    from dama.gateway.aliases import Aliases
    from dama.gateway.metrics import Metrics
    from dama.gateway.settings import GatewaySettings
    from dama.store.tokens import Identity

_PARTS = {"context_id": "[0-9]{1,19}", "path": ".+", "name": "[^/]+"}
_READY_SECONDS = 5.0


class Fixed(NamedTuple):
    """A fixed path.

    Attributes:
        path: As the OpenAPI document has it.
        pattern: What fits.
        method: That it takes; GET is also HEAD.
        answer: What a request gets.
    """

    path: str
    pattern: re.Pattern[str]
    method: str
    answer: Callable[[Request, Identity], Awaitable[Response]]

    def check(self, method: str) -> None:
        """Refuse other methods.

        Raises:
            RequestError: It does not take this one.
        """
        allowed = ["GET", "HEAD"] if self.method == "GET" else [self.method]
        if method not in allowed:
            raise RequestError(
                "METHOD_NOT_ALLOWED",
                f"{self.path} does not take {method}.",
                f"It takes {', '.join(allowed)}.",
                data={"allowed": allowed},
            )


class FixedPaths:
    """The fixed paths of a gateway that need a caller.

    Args:
        app: The database.
        broker: The services.
        settings: How HTTP is served.
        access: Says who calls, as long as a stream continues.
        aliases: What can be called.
        metrics: Those of this copy.
    """

    def __init__(
        self,
        app: App,
        broker: Broker,
        settings: GatewaySettings,
        access: Access,
        aliases: Aliases,
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._broker = broker
        self._settings = settings
        self._access = access
        self._metrics = metrics
        context = "/api/contexts/{context_id}"
        self.all = [
            _fixed("/metrics", self._metrics_text),
            _fixed("/openapi.json", self._openapi),
            _fixed("/api", self._page),
            _fixed("/api/run", self._run),
            _fixed("/api/run/events", self._run_events, "POST"),
            _fixed("/api/stream", self._stream_all),
            _fixed(f"{context}/stream", self._stream_context),
            _fixed(f"{context}/tree/stream", self._stream_tree),
            _fixed(f"{context}/logs", self._logs),
            _fixed(f"{context}/artifacts", self._artifacts),
            _fixed(f"{context}/artifacts/{{path}}", self._artifact),
            _fixed(f"{context}/files/{{name}}", self._upload, "PUT"),
            _fixed("/api/contexts/import", self._import, "POST"),
        ]
        fixed = [(each.path, each.method) for each in self.all]
        self._documents = Documents(broker, aliases, fixed)

    def find(self, path: str) -> tuple[Fixed, dict[str, str]] | None:
        """The fixed path that a path is, and its params; None when it is a call."""
        for each in self.all:
            if found := each.pattern.fullmatch(path):
                return each, found.groupdict()
        return None

    async def _metrics_text(self, _: Request, identity: Identity) -> Response:
        demand(identity, "viewer", "", "/metrics")
        text = await self._metrics.text(self._app, self._broker)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def _openapi(self, _: Request, __: Identity) -> Response:
        return Response((await self._documents.current()).json, media_type="application/json")

    async def _page(self, _: Request, __: Identity) -> Response:
        return HTMLResponse((await self._documents.current()).page)

    async def _stream_all(self, request: Request, identity: Identity) -> Response:
        demand(identity, "viewer", "events", "/api/stream")
        return await stream(request, self._app, self._access, context=None, tree=False)

    async def _stream_context(self, request: Request, identity: Identity) -> Response:
        context_id = await self._permitted(request, identity)
        return await stream(request, self._app, self._access, context=context_id, tree=False)

    async def _stream_tree(self, request: Request, identity: Identity) -> Response:
        context_id = await self._permitted(request, identity)
        return await stream(request, self._app, self._access, context=context_id, tree=True)

    async def _run(self, _: Request, identity: Identity) -> Response:
        found = await runs.read(self._app, identity)
        return await _json(found, "run")

    async def _run_events(self, request: Request, identity: Identity) -> Response:
        body = await read_params(request, {}, self._settings.body_limit)
        return JSONResponse(await runs.append(self._app, identity, body), 201)

    async def _logs(self, request: Request, identity: Identity) -> Response:
        return await files.log(request, self._app, await self._permitted(request, identity))

    async def _artifacts(self, request: Request, identity: Identity) -> Response:
        context_id = await self._permitted(request, identity)
        found = await files.artifacts(self._app, context_id)
        return Response(
            await beside(found, as_json, found, "artifacts"), media_type="application/json"
        )

    async def _artifact(self, request: Request, identity: Identity) -> Response:
        context_id = await self._permitted(request, identity)
        return await files.artifact(self._app, context_id, files.name_asked(request))

    async def _upload(self, request: Request, identity: Identity) -> Response:
        context_id = await self._permitted(request, identity, "operator")
        name, limit = request.path_params["name"], self._settings.upload_limit
        return JSONResponse(await files.upload(request, self._app, context_id, name, limit), 201)

    async def _import(self, request: Request, identity: Identity) -> Response:
        """The action takes a stream, which is the body here."""
        demand(identity, "admin", "contexts", request.scope["path"])
        asked = request.query_params
        params = {"again": asked.get("again") == "true", "reason": asked.get("reason")}
        stream = files.limited(request, self._settings.upload_limit)
        meta = {"user": identity.name}
        told = await self._broker.call("contexts.import_run", params, meta=meta, stream=stream)
        return await _json(told, "imported")

    async def _permitted(self, request: Request, identity: Identity, scope: str = "viewer") -> int:
        """The context of a path, when the token is for it."""
        context_id = int(request.path_params["context_id"])
        if context_id >= 2**63:
            raise RequestError("NOT_FOUND", f"There is no context {context_id}.")
        services = identity.services
        demand(identity, scope, services[0] if services else "", request.scope["path"])
        meta = {} if services is None else {PERMITTED: list(services)}
        call = self._broker.new_call(None, "contexts.get", None, {"meta": meta})
        await permit_context(self._app, call, context_id)
        return context_id


async def ready(app: App, broker: Broker) -> Response:
    """Whether this copy can serve: the database answers, and the bus is there."""
    checks: dict[str, str] = {}
    try:
        async with asyncio.timeout(_READY_SECONDS):
            await app.store.now()
        checks["database"] = "ok"
    except (DamaError, TimeoutError) as error:
        checks["database"] = getattr(error, "code", "TIMEOUT")
    if broker.transit:
        checks["bus"] = "ok" if broker.transit.is_connected else "away"
    is_ready = set(checks.values()) == {"ok"}
    return JSONResponse(checks, 200 if is_ready else 503)


async def _json(value: object, name: str) -> Response:
    return Response(await beside(value, as_json, value, name), media_type="application/json")


def _fixed(
    path: str, answer: Callable[[Request, Identity], Awaitable[Response]], method: str = "GET"
) -> Fixed:
    pattern = re.sub(r"{(\w+)}", lambda name: f"(?P<{name[1]}>{_PARTS[name[1]]})", path)
    return Fixed(path, re.compile(pattern.replace(".json", r"\.json"), re.ASCII), method, answer)
