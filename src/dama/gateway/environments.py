"""One HTTP server for several environments: the beginning of a path says which one is meant.

`/NAME/...` and `/api/NAME/...` are of the environment of that name, everything else is of the
first. Each has a gateway of its own, which knows nothing of the others. While one is away its
requests get 503, and those of the others their answers.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from dama.errors import InvalidDefinitionError
from dama.gateway.errors import RequestError, error_response

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

BASE = "dama.base"
NAMES = "dama.environments"
AWAY_SECONDS = 2
_PATH = re.compile(r"((?:/[A-Za-z0-9._~-]+)*)/:\w+", re.ASCII)


class Environments:
    """The gateways of all environments, as one application.

    Args:
        names: Of the environments; the first is that of paths that name none.
        path: A further beginning of paths that stands for `/NAME`, as `/dama-admin/:pgEnv`.

    Raises:
        InvalidDefinitionError: It is none.
    """

    def __init__(self, names: Sequence[str], path: str | None = None) -> None:
        self._names = tuple(names)
        self._gateways: dict[str, ASGIApp] = {}
        known = f"(?P<name>{'|'.join(map(re.escape, names))})(?P<rest>/.*)?"
        beginnings = ["(?P<api>/api)", "(?P<api>)"]
        if path is not None:
            beginnings.insert(0, f"(?P<api>){re.escape(_beginning(path))}")
        self._patterns = [re.compile(f"{each}/{known}") for each in beginnings]

    @contextmanager
    def served(self, name: str, gateway: ASGIApp) -> Generator[None]:
        """Serve an environment until the end of the block."""
        self._gateways[name] = gateway
        try:
            yield
        finally:
            del self._gateways[name]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        match scope["path"]:
            case "/health":  # of the process
                await JSONResponse({"status": "ok"})(scope, receive, send)
                return
            case "/ready":
                await self._ready()(scope, receive, send)
                return
            case _:
                pass
        name, base, path = self._found(scope["raw_path"].decode("latin-1"))
        gateway = self._gateways.get(name)
        if gateway is None:
            await self._away(Request(scope), name)(scope, receive, send)
            return
        inner = {
            **scope, "path": unquote(path), "raw_path": path.encode("latin-1"),
            BASE: base, NAMES: self._names,
        }  # fmt: skip
        await gateway(inner, receive, _based(send, base) if base else send)

    def _found(self, path: str) -> tuple[str, str, str]:
        """The environment of a path, what is written before its paths, and the path in it."""
        for pattern in self._patterns:
            if found := pattern.fullmatch(path):
                rest = found["api"] + (found["rest"] or "")
                return found["name"], f"/{found['name']}", rest or "/"
        return self._names[0], "", path

    def _ready(self) -> Response:
        """One that is away makes the others no less ready."""
        states = {name: "ok" if name in self._gateways else "away" for name in self._names}
        return JSONResponse(states, 200 if self._gateways else 503)

    def _away(self, request: Request, name: str) -> Response:
        error = RequestError(
            "SERVICE_UNAVAILABLE",
            f"The environment {name} is away: its database cannot be used now.",
            "The log of this server says why. It is tried again by itself.",
            data={"environment": name},
        )
        headers = {"Retry-After": str(AWAY_SECONDS), "Cache-Control": "no-store"}
        if "text/html" not in request.headers.get("accept", ""):
            return error_response(error, "", headers)
        links = " ".join(f'<a href="/{each}/">{each}</a>' for each in self._names if each != name)
        text = f"<!doctype html><title>dama</title><p>{escape(error.message)} {links}"
        return HTMLResponse(text, 503, headers)


def _based(send: Send, base: str) -> Send:
    """Redirects and places of what was made stay within the environment."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [_header(name, value, base) for name, value in message["headers"]]
        await send(message)

    return sending


def _header(name: bytes, value: bytes, base: str) -> tuple[bytes, bytes]:
    is_here = name.lower() == b"location" and value.startswith(b"/") and value[1:2] != b"/"
    return (name, base.encode() + value) if is_here else (name, value)


def _beginning(path: str) -> str:
    if found := _PATH.fullmatch(path):
        return found[1]
    raise InvalidDefinitionError(
        f"environment_path of [gateway] is {path!r}, and has not the name of the environment "
        "as its last part.",
        'Write it as "/dama-admin/:pgEnv".',
    )


def base_of(scope: Scope) -> str:
    """What stands before the paths of this environment; empty for the only or the first one."""
    base: Any = scope.get(BASE, "")
    return base


def names_of(scope: Scope) -> Sequence[str]:
    """The environments that the server has; none where there is only one database."""
    names: Any = scope.get(NAMES, ())
    return names
