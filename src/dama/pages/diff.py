"""Comparing: two moments of a context, two of its attempts, or two contexts."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote
from typing import TYPE_CHECKING

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
    """

    row: ContextRow
    version: int | None
    attempt: int | None
    side: Side


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
    event_id = None
    if version is not None:
        page = await contexts.events(
            visit.app, context_id, after_version=max(version - 1, 0), limit=1
        )
        if not page.events:
            raise RequestError(
                "NOT_FOUND",
                f"Context {context_id} has {row.version} events, and no event {version}.",
            )
        event_id, version = page.events[0].event_id, page.events[0].version
    return Shown(row, version, attempt, Side(context_id, event_id, attempt))


def _command(first: Shown, second: Shown, slice_: str | None) -> str:
    """The same on the command line."""
    words = ["dama diff", str(first.side.context_id), str(second.side.context_id)]
    for option in ("at", "attempt"):
        values = [getattr(each.side, option) for each in (first, second)]
        words += [f"--{option} {value}" for value in values if value is not None]
    return " ".join([*words, *([] if slice_ is None else [f"--slice {quote(slice_)}"])])
