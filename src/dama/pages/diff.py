"""Comparing: two moments of a context, two of its attempts, or two contexts."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from dama.counts import number_of
from dama.domain.slice import slices
from dama.gateway.errors import RequestError
from dama.operations import contexts
from dama.operations.diffs import Diff, Side, diff
from dama.store.rows import ContextRow

if TYPE_CHECKING:
    from starlette.responses import Response

    from dama.pages.visit import Visit

MOST = 200  # of a part, on a page


@dataclass(frozen=True)
class Shown:
    """One side as the page names it.

    Attributes:
        row: The context.
        version: The event after which it is looked at; None for the latest.
        attempt: Only what this attempt did; None for all of them.
        side: The same as the comparison takes it.
        latest: The event that is its latest now.
    """

    row: ContextRow
    version: int | None
    attempt: int | None
    side: Side
    latest: int


async def show(visit: Visit) -> Response:
    """A form for both sides, and what is different when both are given."""
    visit.demand("viewer", visit.identity.services[0] if visit.identity.services else "")
    query = visit.query
    first = await _side(visit, "a")
    second = await _side(visit, "b")
    name = query.get("slice")
    found: Diff | None = None
    if first and second:
        names = None if name is None else [name]
        found = await diff(visit.app, first.side, second.side, names=names)
    return visit.page(
        "diff.html",
        sides=(("a", "One side", first), ("b", "The other", second)),
        first=first,
        second=second,
        found=found,
        slice=name,
        slices=sorted(slices()),
        most=MOST,
        compared=_address(first, second, name) if first and second else "",
        command=_command(first, second, name) if first and second else "dama diff 42 43",
    )


async def _side(visit: Visit, name: str) -> Shown | None:
    """A side of the address; None when it names no context.

    Raises:
        RequestError: It has no such event, or the token is not for the context.
    """
    context_id = visit.number(name)
    if context_id is None:
        return None
    row = await visit.at({"context_id": str(context_id)}).context()
    version, attempt = visit.number(f"at_{name}"), visit.number(f"attempt_{name}")
    after = max((row.version if version is None else version) - 1, 0)
    page = await contexts.events(visit.app, context_id, after_version=after, limit=1)
    if not page.events:
        raise RequestError(
            "NOT_FOUND",
            f"Context {context_id} has {number_of(row.version, 'event')}, and no event {version}.",
        )
    event = page.events[0]
    at = None if version is None else event.event_id
    version = None if version is None else event.version
    return Shown(row, version, attempt, Side(context_id, at, attempt), event.event_id)


def _moments(first: Shown, second: Shown) -> tuple[int | None, int | None]:
    """The last events that count, of both sides as soon as of one: options have no sides."""
    if first.side.at is None and second.side.at is None:
        return None, None
    return first.side.at or first.latest, second.side.at or second.latest


def _address(first: Shown, second: Shown, slice_: str | None) -> str:
    """The same over HTTP."""
    at, other_at = _moments(first, second)
    query: dict[str, Any] = {
        "other": second.side.context_id, "at": at, "other_at": other_at,
        "attempt": first.attempt, "other_attempt": second.attempt, "slices[]": slice_,
    }  # fmt: skip
    given = {name: value for name, value in query.items() if value is not None}
    return f"/api/contexts/{first.side.context_id}/diff?{urlencode(given)}"


def _command(first: Shown, second: Shown, slice_: str | None) -> str:
    """The same on the command line."""
    words = ["dama diff", str(first.side.context_id), str(second.side.context_id)]
    words += [f"--at {at}" for at in _moments(first, second) if at is not None]
    words += [f"--attempt {n}" for n in (first.attempt, second.attempt) if n is not None]
    return " ".join([*words, *([] if slice_ is None else [f"--slice {quote(slice_)}"])])
