"""A visit: one request of a browser, who makes it, and the page that it gets."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from dama.app import App
from dama.broker.broker import Broker
from dama.config.config import Config
from dama.gateway.access import demand
from dama.gateway.calls import Calls
from dama.gateway.environments import base_of, names_of
from dama.gateway.errors import RequestError
from dama.operations import contexts
from dama.operations.who import because
from dama.pages.look import Look
from dama.pages.rendering import Templates
from dama.store.tokens import Identity

if TYPE_CHECKING:
    from dama.store.rows import ContextRow

FORM_FIELD = "form_token"
LONGEST_ID = 2**63
_ADDRESS = re.compile(r'(\s(?:href|src|action|formaction|data-[a-z-]+))="/(?!/)')
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types dama"
)


@dataclass(frozen=True)
class Visit:
    """One request of a browser.

    Attributes:
        request: As it came.
        app: The database.
        broker: The services.
        identity: Who makes it.
        secret: Of the forms, that of the session if there is one; empty when none is needed.
        has_session: Whether they can log out.
        look: How the person wants the pages.
        templates: Of the pages.
        config: The settings of the project.
        is_known: Whether the session still is one.
        calls: Of actions, as the gateway makes them.
        parts: The params of the path, decoded.
        form: What was filled in; a name given twice has its last value.
        lists: The same, with all values.
    """

    request: Request
    app: App
    broker: Broker
    identity: Identity
    secret: str
    has_session: bool
    look: Look
    templates: Templates
    config: Config
    is_known: Callable[[], Awaitable[bool]]
    calls: Calls
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    form: Mapping[str, str] = field(default_factory=dict[str, str])
    lists: Mapping[str, list[str]] = field(default_factory=dict[str, list[str]])

    @property
    def query(self) -> Mapping[str, str]:
        """The query of the address; what is empty was not given."""
        return {name: value for name, value in self.request.query_params.items() if value}

    def page(self, template: str, *, status: int = 200, **values: Any) -> Response:
        """A page of a template."""
        path, base = self.request.scope["path"], base_of(self.request.scope)
        common: dict[str, Any] = {
            "visit": self,
            "here": path,
            "address": _address(self.request),
            "look": self.look,
            "base": base,
            "server": f"{self.request.url.scheme}://{self.request.url.netloc}{base}",
            "environment": self.config.environment,
            "environments": names_of(self.request.scope),
            "form_token": form_token(self.secret),
            "may_act": self.identity.may("operator"),
            "is_admin": self.identity.may("admin") and self.identity.services is None,
            "now": datetime.now(UTC),
        }
        return html(_based(self.templates.text(template, common | values), base), status)

    def by(self) -> dict[str, Any]:
        """Who does it and why, for the meta of events.

        Raises:
            RequestError: No reason is given.
        """
        reason = self.form.get("reason", "").strip()
        if not reason:
            raise RequestError(
                "BAD_REQUEST", "The reason is missing.", "Say why: it is kept with your name."
            )
        return because({"user": self.identity.name}, reason[:1000])

    def demand(self, scope: str, service: str) -> None:
        """Refuse what the token does not allow.

        Raises:
            RequestError: Its scope is not as wide, or it is for other services.
        """
        demand(self.identity, scope, service, self.request.scope["path"])

    def demand_task(self, scope: str, task: str | None) -> None:
        """Refuse a task of a service that the token is not for.

        Raises:
            RequestError: It is for others, or its scope is not as wide.
        """
        self.demand(scope, (task or "").partition(".")[0])

    def at(self, parts: Mapping[str, str]) -> Visit:
        """The same visit with other params of the path."""
        return replace(self, parts=parts)

    async def context(self, scope: str = "viewer") -> ContextRow:
        """The context of the path, when the token is for it.

        Raises:
            RequestError: It is of another service, or none can have this id.
            UnknownContextError: There is none.
        """
        context_id = int(self.parts["context_id"])
        if context_id >= LONGEST_ID:
            raise RequestError("NOT_FOUND", f"There is no context {context_id}.")
        found = await contexts.row_of(self.app, context_id)
        if self.identity.services is None:
            self.demand(scope, "")
        else:
            root = await contexts.row_of(self.app, found.root_context_id)
            self.demand_task(scope, root.task)
        return found

    def number(self, name: str, default: int | None = None) -> int | None:
        """A number of the query.

        Raises:
            RequestError: It is none.
        """
        text = self.query.get(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or int(text[:20]) >= LONGEST_ID:
            raise RequestError(
                "BAD_REQUEST", f"{name} in the address is {text[:40]!r}, not a number."
            )
        return int(text)


def _based(text: str, base: str) -> str:
    """A page whose addresses stay within an environment.

    Only templates have double quotes outside of what they print, so each of these is an address.
    """
    return _ADDRESS.sub(rf'\1="{base}/', text) if base else text


def html(text: str, status: int = 200) -> Response:
    """A page that runs no script but our own, and that nobody else keeps."""
    data = text.encode(errors="replace")
    headers = {
        "Cache-Control": "private, no-cache",
        "Content-Security-Policy": POLICY,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Referrer-Policy": "same-origin",
        "ETag": f'W/"{hashlib.sha256(data).hexdigest()[:20]}"',
    }
    return Response(data, status, headers, media_type="text/html; charset=utf-8")


def form_token(secret: str) -> str:
    """What a form of a session has, and no page of somebody else can know."""
    return hmac.new(secret.encode(), b"dama form", hashlib.sha256).hexdigest()


def check_form(secret: str, form: Mapping[str, str]) -> None:
    """Refuse a form that no page of this session has made.

    Raises:
        RequestError: It was made for another session.
    """
    if not hmac.compare_digest(form.get(FORM_FIELD, "").encode(), form_token(secret).encode()):
        raise RequestError(
            "FORBIDDEN",
            "The form was made for another session.",
            "Load the page again, and send it once more.",
        )


def see(path: str) -> Response:
    """Go on to another page: what was sent is not sent again by a reload."""
    return RedirectResponse(path, 303, {"Cache-Control": "no-store"})


def _address(request: Request) -> str:
    query = request.scope["query_string"].decode("latin-1")
    path = quote(request.scope["path"], safe="/~:@!$&'()*+,;=")
    return f"{path}?{query}" if query else path
