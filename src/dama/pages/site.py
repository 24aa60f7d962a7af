"""The site: which page an address is, who may see it, and what an error looks like."""

from __future__ import annotations

import re
import secrets
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from dama.gateway.errors import RequestError, error_document
from dama.gateway.origin import Origins
from dama.gateway.params import FORM, headers_of, read_body
from dama.operations.patience import brief
from dama.pages import (
    actions,
    acts,
    context,
    contexts,
    diff,
    files,
    lineage,
    live,
    login,
    overview,
    previews,
    queues,
    schedules,
    settings_page,
    start,
    system,
    tokens,
    views,
    what_if,
)
from dama.pages.look import read_look
from dama.pages.rendering import Static, Templates
from dama.pages.visit import Visit, check_form
from dama.store.tokens import Identity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.requests import Request

    from dama.app import App
    from dama.broker.broker import Broker
    from dama.config.config import Config
    from dama.gateway.calls import Calls
    from dama.gateway.settings import GatewaySettings

    Show = Callable[[Visit], Awaitable[Response]]

NOBODY = login.Visitor(Identity("nobody", "viewer", ()), "")
LONGEST_FORM = 1024 * 1024
MOST_FIELDS = 2000
UNAUTHORIZED, SERVER_ERROR, UNAVAILABLE = 401, 500, 503
_PARTS = {"context_id": "[0-9]{1,19}", "path": ".+"}


class Page(NamedTuple):
    """An address of the site.

    Attributes:
        method: GET, which is also HEAD, or POST.
        pattern: The paths, still encoded.
        show: Makes the page.
        is_open: Whether it is for people who have not logged in, too.
    """

    method: str
    pattern: re.Pattern[str]
    show: Show
    is_open: bool = False


def _page(method: str, path: str, show: Show, *, is_open: bool = False) -> Page:
    pattern = re.sub(r"{(\w+)}", lambda n: f"(?P<{n[1]}>{_PARTS.get(n[1], '[^/]+')})", path)
    return Page(method, re.compile(pattern, re.ASCII), show, is_open)


PAGES = (
    _page("GET", "/", overview.show),
    _page("GET", "/contexts", contexts.show),
    _page("POST", "/contexts/acts", acts.of_many),
    _page("GET", "/contexts/{context_id}", context.show),
    _page("GET", "/contexts/{context_id}/mark", context.mark),
    _page("POST", "/contexts/{context_id}/cancel", acts.cancel),
    _page("POST", "/contexts/{context_id}/resume", acts.resume),
    _page("POST", "/contexts/{context_id}/fork", acts.fork),
    _page("POST", "/contexts/{context_id}/emit", acts.emit),
    _page("GET", "/contexts/{context_id}/log", files.log),
    _page("GET", "/contexts/{context_id}/artifacts/{path}", files.artifact),
    _page("GET", "/contexts/{context_id}/preview/{path}", previews.show),
    _page("GET", "/contexts/{context_id}/images/{path}", previews.image),
    _page("GET", "/contexts/{context_id}/what-if", what_if.show),
    _page("GET", "/diff", diff.show),
    _page("GET", "/tasks", start.show_all),
    _page("GET", "/tasks/{task}", start.show),
    _page("POST", "/tasks/{task}", start.begin),
    _page("GET", "/schedules", schedules.show_all),
    _page("GET", "/schedules/{name}", schedules.show),
    _page("POST", "/schedules/{name}/pause", schedules.pause),
    _page("POST", "/schedules/{name}/resume", schedules.resume),
    _page("POST", "/schedules/{name}/backfill", schedules.backfill),
    _page("GET", "/queues", queues.show),
    _page("POST", "/queues/{queue}/pause", queues.pause),
    _page("POST", "/queues/{queue}/resume", queues.resume),
    _page("POST", "/queues/{queue}/limit", queues.limit),
    _page("GET", "/workers", system.workers),
    _page("GET", "/services", actions.show_all),
    _page("GET", "/services/{action}", actions.show),
    _page("POST", "/services/{action}", actions.call),
    _page("GET", "/log", system.log),
    _page("GET", "/lineage", lineage.show),
    _page("GET", "/doctor", system.doctor),
    _page("GET", "/tokens", tokens.show),
    _page("POST", "/tokens/{name}/revoke", tokens.revoke),
    _page("POST", "/sessions/{name}/end", tokens.end_session),
    _page("GET", "/settings", settings_page.show),
    _page("POST", "/settings", settings_page.keep),
    _page("POST", "/views", views.keep),
    _page("GET", "/~live", live.follow),
    _page("GET", "/login", login.show, is_open=True),
    _page("POST", "/login", login.begin, is_open=True),
    _page("POST", "/logout", login.end),
)


class Site:
    """All pages of a gateway.

    Args:
        app: The database.
        broker: The services.
        settings: How HTTP is served.
        config: The settings of the project.
    """

    def __init__(self, app: App, broker: Broker, settings: GatewaySettings, config: Config) -> None:
        self._app = app
        self._broker = broker
        self._config = config
        self._static = Static()
        self._templates = Templates(self._static)
        self._sessions = login.Sessions(app, settings)
        self._origins = Origins(settings)

    def has(self, path: str) -> bool:
        """Whether a path, still encoded, is one of a page."""
        return path.startswith("/static/") or any(each.pattern.fullmatch(path) for each in PAGES)

    def is_lost(self, request: Request) -> bool:
        """Whether a person looks for a page, where programs have no business."""
        is_seen = headers_of(request).get("sec-fetch-dest") == "document"
        return is_seen and _is_visit(request) and not request.scope["path"].startswith("/api")

    async def answer(self, request: Request, calls: Calls) -> Response:
        """The page of a request, or what went wrong as a page."""
        headers = headers_of(request)
        path: str = request.scope["raw_path"].decode("latin-1")
        visit = self._visit(request, calls)
        try:
            # Whoever reads looks again soon; what somebody does is done when the database is back.
            with brief() if request.method in ("GET", "HEAD") else nullcontext():
                response = await self._page(request, visit, headers, path)
        except ClientDisconnect:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, a person sees a page
            return _error(visit, error)
        if _is_known(request, response):
            return Response(None, 304, {"ETag": response.headers["etag"]})
        return response

    async def _page(
        self, request: Request, visit: Visit, headers: Mapping[str, str], path: str
    ) -> Response:
        self._origins.check(headers, is_visit=_is_visit(request))
        if path.startswith("/static/"):
            return self._file(path, headers.get("accept-encoding", ""))
        page, parts = _find(request.method, path)
        request.scope["dama"]["action"] = f"page {page.show.__module__.rpartition('.')[2]}"
        visitor = await self._sessions.identify(request)
        if visitor is None and not page.is_open:
            return _to_login(request, path)
        form = await _form(request) if page.method == "POST" else {}
        visit = replace(
            visit, **(visitor or NOBODY)._asdict(), parts=parts, lists=form,
            form={name: values[-1] for name, values in form.items()},
        )  # fmt: skip
        if page.method == "POST":
            self._sessions.forget(visit.secret)
            if not page.is_open:
                check_form(visit.secret, visit.form)
        return await page.show(visit)

    def _visit(self, request: Request, calls: Calls) -> Visit:
        async def is_known() -> bool:
            return await self._sessions.identify(request) is not None

        return Visit(
            request,
            self._app,
            self._broker,
            *NOBODY,
            read_look(request.cookies, "dama_"),
            self._templates,
            self._config,
            is_known,
            calls,
        )

    def _file(self, path: str, accepted: str) -> Response:
        found = self._static.answer(path.rpartition("/")[2], accepted)
        if found is None:
            raise RequestError("NOT_FOUND", "There is no such file.")
        return found


def _find(method: str, path: str) -> tuple[Page, dict[str, str]]:
    wanted = "GET" if method == "HEAD" else method
    allowed: list[str] = []
    for page in PAGES:
        if found := page.pattern.fullmatch(path):
            if page.method == wanted:
                parts = found.groupdict().items()
                # The name of a file is any bytes.
                errors = {"path": "surrogateescape"}
                return page, {
                    name: unquote(text, errors=errors.get(name, "replace")) for name, text in parts
                }
            allowed.append(page.method)
    if not allowed:
        raise RequestError("NOT_FOUND", f"There is no page at {unquote(path)}.")
    raise RequestError(
        "METHOD_NOT_ALLOWED",
        f"This address does not take {method}.",
        f"It takes {', '.join(allowed)}.",
        data={"allowed": allowed},
    )


async def _form(request: Request) -> dict[str, list[str]]:
    """The fields of a form, each with all its values.

    Raises:
        RequestError: It is no form, or no page of this server has sent it.
    """
    headers = headers_of(request)
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    is_own = site == "same-origin" or (
        site is None and origin is not None and origin.partition("://")[2] == headers.get("host")
    )
    if not is_own:
        raise RequestError(
            "ORIGIN_NOT_ALLOWED",
            "The request was not sent by a page of this server.",
            "Programs call /api with a token.",
        )
    if headers.get("content-type", "").partition(";")[0].strip() != FORM:
        raise RequestError("BAD_REQUEST", "The body is not a form.")
    body = await read_body(request, LONGEST_FORM)
    try:
        pairs = parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS
        )
    except ValueError as error:
        raise RequestError("BAD_REQUEST", f"The form cannot be read: {error}.") from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def _is_visit(request: Request) -> bool:
    """Whether a person follows a link: from any page, mail or chat."""
    headers = headers_of(request)
    return (
        request.method in ("GET", "HEAD")
        and headers.get("sec-fetch-mode", "navigate") == "navigate"
        and headers.get("sec-fetch-dest", "document") == "document"
    )


def _to_login(request: Request, path: str) -> Response:
    if path == "/~live":
        return PlainTextResponse("Log in first.", UNAUTHORIZED, {"Cache-Control": "no-store"})
    if request.method not in ("GET", "HEAD"):
        raise RequestError(
            "NO_TOKEN",
            "You are logged out; nothing was done.",
            "Log in in another tab, go back to the form, which keeps what you wrote, and send it "
            "again.",
        )
    query = request.scope["query_string"].decode("latin-1")
    wanted = quote(f"{path}?{query}" if query else path, safe="")
    return RedirectResponse(f"/login?next={wanted}", 303, {"Cache-Control": "no-store"})


def _is_known(request: Request, response: Response) -> bool:
    told = headers_of(request).get("if-none-match")
    return told is not None and told == response.headers.get("etag") and response.status_code == 200  # noqa: PLR2004


def _error(visit: Visit, error: Exception) -> Response:
    request_id = visit.request.scope["dama"].get("request_id") or secrets.token_hex(8)
    status, document = error_document(error, request_id)
    is_coming = status == UNAVAILABLE and visit.request.method in ("GET", "HEAD")
    response = visit.page("error.html", status=status, error=document, is_coming=is_coming)
    match document.get("type"):
        case "METHOD_NOT_ALLOWED":
            response.headers["Allow"] = ", ".join(document["data"]["allowed"])
        case "RATE_LIMIT_EXCEEDED":
            response.headers["Retry-After"] = str(document["data"]["retry_after"])
        case _:
            pass
    return response
