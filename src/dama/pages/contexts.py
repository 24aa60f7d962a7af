"""The list of contexts, newest first: its filters are the address of the page."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from dama.config.duration import parse_duration
from dama.domain.errors import InvalidJsonError
from dama.domain.exact import decode
from dama.errors import InvalidDefinitionError
from dama.gateway.errors import RequestError
from dama.operations import contexts
from dama.pages.elsewhere import of_list
from dama.pages.views import FIELDS, read_views
from dama.shapes import is_dict
from dama.store.windows import ContextFilter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.responses import Response

    from dama.pages.visit import Visit

PAGE = 50
STATUSES = ("OPEN", "DONE", "ERROR", "CANCELLED")
STATES = ("queued", "delayed", "blocked", "placed", "running", "waiting", "retrying")


async def show(visit: Visit) -> Response:
    """A window of the list."""
    query = visit.query
    visit.demand("viewer", service_of(visit) or "")
    chosen, before = filter_of(visit), visit.number("before")
    page = await contexts.all_of(visit.app, chosen, before=before, limit=PAGE)
    kept = {name: query[name] for name in FIELDS if name in query}
    more = page.next_before and f"/contexts?{urlencode({**kept, 'before': page.next_before})}"
    return visit.page(
        "contexts.html",
        page=page,
        filters=kept,
        failures={**kept, "status": "" if kept.get("status") == "ERROR" else "ERROR"},
        more=more,
        view=urlencode(kept),
        views=read_views(visit.request.cookies),
        newest="before" not in query,
        elsewhere=of_list(chosen, PAGE, before),
        statuses=STATUSES,
        states=STATES,
    )


def filter_of(visit: Visit) -> ContextFilter:
    """Which contexts the address asks for.

    Raises:
        RequestError: A part of it has none of its values, or the token is not for the service.
    """
    query = visit.query
    return ContextFilter(
        roots="all" not in query,
        status=_one_of(query, "status", STATUSES),
        state=_one_of(query, "state", STATES),
        task=query.get("task"),
        service=service_of(visit),
        queue=query.get("queue"),
        worker=visit.number("worker"),
        user=query.get("user"),
        schedule=query.get("schedule"),
        params=_params(query.get("params")),
        since=_moment(visit, "since"),
        until=_moment(visit, "until"),
    )


def service_of(visit: Visit) -> str | None:
    """The service whose contexts are listed: that of the address, or one that the token is for.

    Raises:
        RequestError: It is not for the one of the address, or for none.
    """
    asked, permitted = visit.query.get("service"), visit.identity.services
    if permitted is None:
        return asked
    if (asked is not None and asked not in permitted) or not permitted:
        raise RequestError("FORBIDDEN", f"The token is for {', '.join(permitted) or 'no service'}.")
    return asked or permitted[0]


def _one_of(query: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str | None:
    value = query.get(name)
    if value is not None and value not in choices:
        raise RequestError(
            "BAD_REQUEST",
            f"{name} is {value[:40]!r} in the address.",
            f"It may be {', '.join(choices)}.",
        )
    return value


def _params(text: str | None) -> Mapping[str, Any] | None:
    """Params as JSON, or as `name=value`, where a value that is not valid JSON is a string."""
    if text is None:
        return None
    if not text.lstrip().startswith("{"):
        name, equals, value = text.partition("=")
        if not equals:
            raise _unreadable(text)
        return {name.strip(): _value(value.strip())}
    found = _value(text)
    if not is_dict(found):
        raise _unreadable(text)
    return found


def _value(text: str) -> Any:
    try:
        return decode(text)
    except InvalidJsonError:
        return text


def _unreadable(text: str) -> RequestError:
    return RequestError(
        "BAD_REQUEST",
        f"params is {text[:40]!r} in the address.",
        'Write month=7, or JSON: {"month": 7}.',
    )


def _moment(visit: Visit, name: str) -> datetime | None:
    """A time of the address: `1h` ago, or a time by the zone of the pages."""
    text = visit.query.get(name)
    if text is None:
        return None
    with suppress(InvalidDefinitionError, OverflowError):
        age = timedelta(seconds=parse_duration(text, of=name))
        return datetime.now(UTC) - age
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise RequestError(
            "BAD_REQUEST",
            f"{name} is {text[:40]!r} in the address.",
            "Write how long ago, such as 30m, 1h or 7d, or a time such as 2026-01-31T06:30.",
        ) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=visit.look.tzinfo)
