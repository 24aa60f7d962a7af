"""The server: runs the application until it is told to stop."""

from __future__ import annotations

import asyncio
import importlib
import socket
from contextlib import asynccontextmanager, closing, contextmanager
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from typing_extensions import override
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from dama.contained import contain_tasks
from dama.duty import Duty, on_duty
from dama.errors import DamaError, InvalidDefinitionError, RefusedError
from dama.gateway.application import Gateway
from dama.gateway.own_token import ensure_token, note_address
from dama.gateway.proxied import PEER
from dama.upkeep.activity import note_always

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

    from starlette.types import ASGIApp, Receive, Scope, Send

    from dama.app import App
    from dama.broker.broker import Broker
    from dama.gateway.application import Site
    from dama.gateway.settings import GatewaySettings

KEEP_ALIVE_SECONDS = 30
SHUTDOWN_SECONDS = 5
CONNECTIONS = 2000


class NoTokensError(RefusedError):
    """The gateway would be open to a network."""

    code = "NO_TOKENS"


@asynccontextmanager
async def serving(
    app: App,
    settings: GatewaySettings,
    pages: Callable[[App, Broker, GatewaySettings], Site] | None = None,
) -> AsyncGenerator[str]:
    """Serve HTTP until the end of the block; returns the address.

    Args:
        app: What is served.
        settings: How.
        pages: Makes the pages; None for a gateway without any.

    Raises:
        PrivateFileError: The token of this user cannot be kept in the home of the app.
        NoTokensError: It would listen beyond loopback, and there is no token.
        InvalidDefinitionError: It cannot listen there.
    """
    gateway = await gateway_of(app, settings, pages)
    async with on_duty(noting(app)), listening(gateway.application(), settings) as address:
        note_address(app.home, address)
        yield address


async def gateway_of(
    app: App,
    settings: GatewaySettings,
    pages: Callable[[App, Broker, GatewaySettings], Site] | None = None,
) -> Gateway:
    """What answers the requests of one database.

    Raises:
        PrivateFileError: The token of this user cannot be kept in the home of the app.
        NoTokensError: It would listen beyond loopback, and there is no token.
    """
    await _check_tokens(app, settings)
    if settings.needs_tokens:
        await ensure_token(app)
    broker = await app.broker()
    return Gateway(
        app,
        broker,
        settings,
        site=pages(app, broker, settings) if pages else None,
        before_call=_hook(settings.before_call),
        after_call=_hook(settings.after_call),
    )


def noting(app: App) -> Duty:
    """What a gateway does besides: it notes what happens, for the charts of the pages."""
    return Duty("noting what happens", lambda: note_always(app.store))


@asynccontextmanager
async def listening(application: ASGIApp, settings: GatewaySettings) -> AsyncGenerator[str]:
    """Listen for requests until the end of the block; returns the address.

    Raises:
        InvalidDefinitionError: It cannot listen there.
    """
    contain_tasks(asyncio.get_running_loop())  # an exit in what is served ends no server
    with closing(_listen(settings.host, settings.port)) as listener:
        http = _Http(_uvicorn_config(application, settings), listener)
        async with on_duty(Duty("serving HTTP", http.serve_always)):
            try:
                await http.is_serving()
                host, port = listener.getsockname()[:2]
                yield f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
            finally:
                await http.stop()


def _behind_proxies(app: ASGIApp, settings: GatewaySettings) -> ASGIApp:
    """The application with the client of a request that a trusted proxy has passed on.

    The address that the request itself came from stays in the scope.
    """
    if not settings.trusted_proxies:
        return app
    # Starlette and uvicorn write the types of ASGI differently.
    inner: Any = ProxyHeadersMiddleware(cast("Any", app), list(settings.trusted_proxies))

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        scope[PEER] = (scope.get("client") or ("",))[0]
        await inner(scope, receive, send)

    return serve


def _uvicorn_config(application: ASGIApp, settings: GatewaySettings) -> uvicorn.Config:
    return uvicorn.Config(
        _behind_proxies(application, settings),
        log_config=None,
        log_level="warning",
        access_log=False,
        lifespan="off",
        proxy_headers=False,  # _behind_proxies reads them
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        limit_concurrency=CONNECTIONS,
        server_header=False,
        ws="none",
        interface="asgi3",
    )


def _hook(name: str | None) -> Any:
    """The function that `module:function` names.

    Raises:
        InvalidDefinitionError: There is none.
    """
    if name is None:
        return None
    module, _, function = name.partition(":")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidDefinitionError(
            f"[gateway] names the function {name!r}, which is not there: {error}.",
            'Write it as "my_project.hooks:before".',
        ) from error


class EndedError(DamaError):
    """The server ended, and nobody has told it to."""

    code = "ENDED"


class _Http:
    """Answers requests, and begins again where a server ended.

    Args:
        config: Of the server.
        listening: Where; it stays open, so that requests wait when no server is there.
    """

    def __init__(self, config: uvicorn.Config, listening: socket.socket) -> None:
        self._config = config
        self._listening = listening
        self._server: _Server | None = None
        self._turn = asyncio.Lock()
        self._is_told = False

    async def serve_always(self) -> None:
        """Serve until it is told to stop.

        Raises:
            EndedError: The server ended before.
        """
        async with self._turn:
            self._server = server = _Server(self._config)
            await server.serve([self._listening.dup()])
            if not self._is_told:
                raise EndedError("The HTTP server ended by itself.")

    async def is_serving(self) -> None:
        """Wait for the server."""
        while self._server is None or not self._server.started:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Let the requests that are there end, and take no more."""
        self._is_told = True
        if self._server is not None:
            self._server.should_exit = True
        async with self._turn:
            pass


class _Server(uvicorn.Server):
    """A server that leaves signals to the command that runs it."""

    @override
    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Capture none."""
        yield


def _listen(host: str, port: int) -> socket.socket:
    """A socket at an address.

    Raises:
        InvalidDefinitionError: Nothing can listen there.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except OSError as error:
        raise InvalidDefinitionError(
            f"Nothing can listen at {host}:{port}: {error.strerror or error}.",
            "Another program may do so already: choose another port with --port.",
        ) from error
    return listening


async def _check_tokens(app: App, settings: GatewaySettings) -> None:
    if settings.is_loopback:
        return
    tokens = await app.store.tokens.all()
    if not any(token.revoked_at is None for token in tokens):
        raise NoTokensError(
            f"There is no token, and at {settings.host} anybody who reaches it could call.",
            "Make one first: dama token add NAME --scope operator",
        )
