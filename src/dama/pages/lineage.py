"""Lineage: who wrote a table, from what, when, and whether it is fresh."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dama.operations import lineage

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from starlette.responses import Response

    from dama.operations.lineage import Source
    from dama.pages.visit import Visit

LAST = 10


async def show(visit: Visit) -> Response:
    """A table that is asked for, with what it was made from."""
    visit.demand("viewer", "tables")
    table = visit.query.get("table", "").strip()
    found = await lineage.read(visit.app, table, most=LAST) if table else None
    return visit.page(
        "lineage.html",
        table=table,
        found=found,
        sources=list(_below(found.sources, 1)) if found else [],
        names=lineage.names_of(table) if table else [],
        last=LAST,
    )


def _below(sources: Sequence[Source], depth: int) -> Iterator[tuple[int, Source]]:
    """All sources in one order, each with how far it is from the table."""
    for each in sources:
        yield depth, each
        yield from _below(each.sources, depth + 1)
