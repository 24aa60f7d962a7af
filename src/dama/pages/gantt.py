"""Bars of a Gantt chart: when contexts were there, as parts of the time that all of them took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dama.store.rows import ContextRow

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH = 1000
NARROWEST = 2


@dataclass(frozen=True)
class Bar:
    """One context.

    Attributes:
        row: Which.
        x: Where it begins, of 1000.
        width: How long it is, of 1000.
        seconds: How long it took, until now when it is open.
    """

    row: ContextRow
    x: int
    width: int
    seconds: float


def bars(rows: Sequence[ContextRow], now: datetime | None = None) -> list[Bar]:
    """A bar for each context, on one scale from the first begin to the last end, or to now."""
    now = now or datetime.now(UTC)
    spans = [(row, row.created_at, _end(row, now)) for row in rows]
    if not spans:
        return []
    begin = min(start for _, start, _ in spans)
    whole = max((max(end for *_, end in spans) - begin).total_seconds(), 0.001)
    return [
        Bar(
            row,
            round((start - begin).total_seconds() / whole * (WIDTH - NARROWEST)),
            max(round((end - start).total_seconds() / whole * WIDTH), NARROWEST),
            (end - start).total_seconds(),
        )
        for row, start, end in spans
    ]


def _end(row: ContextRow, now: datetime) -> datetime:
    """Now while it is open; never before its begin, whatever the clocks say."""
    is_open = row.status in (None, "OPEN")
    return max(now if is_open else row.modified_at, row.created_at)
