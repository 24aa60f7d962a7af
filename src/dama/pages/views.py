"""Saved views: filters of the list of contexts by names, kept in this browser like its settings."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlencode

from dama.gateway.errors import RequestError
from dama.pages.look import KEPT_SECONDS
from dama.pages.visit import see

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from dama.pages.visit import Visit

# What filters the list.
FIELDS = (
    "status", "state", "task", "service", "queue", "worker", "user", "schedule", "params", "since",
    "until", "all",
)  # fmt: skip
COOKIE = "dama_views"
LONGEST_NAME = 40
LONGEST = 3500  # bytes of all of them: browsers keep no cookie of more than 4,096
_MOST = 100


def read_views(cookies: Mapping[str, str]) -> dict[str, str]:
    """The views that a browser keeps: the query of the list, by name."""
    return {name: filters(query) for name, query in _pairs(unquote(cookies.get(COOKIE, "")))}


def filters(query: str) -> str:
    """What of a query filters the list; nothing else is taken from an address."""
    return urlencode({name: value for name, value in _pairs(query) if name in FIELDS})


async def keep(visit: Visit) -> Response:
    """Keep a view in this browser, or forget one.

    Raises:
        RequestError: It has no name or no filters, or there is no more room.
    """
    views = read_views(visit.request.cookies)
    name = " ".join(visit.form.get("name", "").split())[:LONGEST_NAME]
    query = filters(visit.form.get("view", ""))
    if "forget" in visit.form:
        views.pop(visit.form["forget"], None)
    elif not name or not query:
        raise RequestError("BAD_REQUEST", "A view needs a name and filters.")
    else:
        views[name] = query
    kept = quote(urlencode(views), safe="")
    if len(kept) > LONGEST:
        raise RequestError(
            "BAD_REQUEST", "A browser keeps no more than these views.", "Forget one of them first."
        )
    response = see("/settings#views" if "forget" in visit.form else f"/contexts?{query}")
    response.set_cookie(COOKIE, kept, max_age=KEPT_SECONDS, samesite="lax")
    return response


def _pairs(text: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(text, max_num_fields=_MOST)
    except ValueError:  # it was made by hand
        return []
