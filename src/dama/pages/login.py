"""Login: a browser shows a token once, and gets a cookie for it."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from dama.gateway.access import ANYBODY
from dama.gateway.environments import base_of
from dama.gateway.errors import RequestError
from dama.gateway.proxied import ProxiedUsers
from dama.operations import sessions
from dama.pages.visit import see
from dama.store.tokens import Identity  # noqa: TC001 - of a named tuple

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from dama.app import App
    from dama.gateway.settings import GatewaySettings
    from dama.pages.visit import Visit

TRIES, TRIES_SECONDS = 10, 60.0
REMEMBER_SECONDS = 1.0
REMEMBERED = 1000


class Visitor(NamedTuple):
    """Who makes a request.

    Attributes:
        identity: What they are called, and may do.
        secret: Of their forms; empty when none is needed.
        has_session: Whether they can log out.
    """

    identity: Identity
    secret: str
    has_session: bool = False


class Sessions:
    """Says whose browser makes a request.

    Args:
        app: Where the sessions are.
        settings: Whether any is needed, and whether a proxy logs users in.

    Raises:
        InvalidDefinitionError: The secret of the proxy is not there.
    """

    def __init__(self, app: App, settings: GatewaySettings) -> None:
        self._app = app
        self._settings = settings
        self._proxied = ProxiedUsers(settings)
        self._known: dict[str, tuple[Identity, float]] = {}

    async def identify(self, request: Request) -> Visitor | None:
        """Who makes a request; None when the browser has to log in.

        One that was found good is so for a second: of a revoked token no longer than that.

        Raises:
            RequestError: A user is named who may not be.
        """
        if (named := self._proxied.identify(request)) is not None:
            return Visitor(named, await sessions.form_secret(self._app, named.name))
        if not self._settings.needs_tokens:
            return Visitor(ANYBODY, "")
        secret = request.cookies.get(cookie_name(request), "")
        known = self._known.get(secret)
        if known and known[1] > monotonic():
            return Visitor(known[0], secret, has_session=True)
        found = await sessions.find(self._app, secret)
        if found is None:
            self._known.pop(secret, None)
            return None
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[secret] = (found, monotonic() + REMEMBER_SECONDS)
        return Visitor(found, secret, has_session=True)

    def forget(self, secret: str) -> None:
        """Ask the database again at the next request."""
        self._known.pop(secret, None)


async def show(visit: Visit) -> Response:
    """The form; a ticket of `dama open` in the address is as good as a token."""
    if ticket := visit.query.get("ticket"):
        secret = await sessions.redeem(visit.app, ticket)
        if secret:
            return _begun(visit, secret)
        return visit.page(
            "login.html", next=_next(visit), problem="This address was used already, or is older "
            "than a minute. `dama open` makes another one.", status=401,
        )  # fmt: skip
    return visit.page("login.html", next=_next(visit), problem="")


async def begin(visit: Visit) -> Response:
    """Begin a session with a token.

    Raises:
        RequestError: The token is invalid, or there were too many tries.
    """
    client = visit.request.client.host if visit.request.client else ""
    count, left = await sessions.count_try(visit.app, client, TRIES_SECONDS)
    if count > TRIES:
        raise RequestError(
            "RATE_LIMIT_EXCEEDED",
            f"{TRIES} tries a minute are allowed.",
            f"Try again in {max(round(left), 1)} s.",
            data={"retry_after": max(round(left), 1)},
        )
    text = visit.form.get("token", "").strip()
    secret = await sessions.begin(visit.app, text)
    if secret is None:
        raise RequestError(
            "INVALID_TOKEN",
            "The token is not valid: unknown, expired or revoked.",
            "That of this user is in gateway.token of DAMA_HOME; `dama open` uses it.",
        )
    return _begun(visit, secret)


async def end(visit: Visit) -> Response:
    """End the session."""
    await sessions.end(visit.app, visit.secret)
    response = see("/login")
    response.delete_cookie(cookie_name(visit.request))
    return response


def cookie_name(request: Request) -> str:
    """Of the session: cookies know no ports, and two gateways of one host are two sites.

    So are two environments of one gateway, each with sessions of its own.
    """
    environment = base_of(request.scope).replace("/", "-")
    if request.url.scheme == "https":
        return f"__Host-dama{environment}"
    return f"dama-{request.url.port or 80}{environment}"


def _begun(visit: Visit, secret: str) -> Response:
    response = see(_next(visit))
    is_secure = visit.request.url.scheme == "https"
    response.set_cookie(
        cookie_name(visit.request),
        secret,
        path="/",
        secure=is_secure,
        httponly=True,
        samesite="lax",
    )
    return response


def _next(visit: Visit) -> str:
    """Where to continue: a path of this server, and nothing else that a browser takes for one."""
    wanted = visit.form.get("next") or visit.query.get("next", "/")
    is_path = wanted.startswith("/") and wanted.isprintable() and wanted.isascii()
    return wanted if is_path and not wanted.startswith("//") and "\\" not in wanted else "/"
