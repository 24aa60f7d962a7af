"""Rows: the slice of what is loaded, one entry a month.

Each `flights.load-month` writes its event to its own context, so that months never wait for each
other: `dama state CONTEXT --slice rows_loaded` shows what one of them loaded.
"""

from dataclasses import dataclass

from dama import Slice


@dataclass(frozen=True)
class MonthRows:
    """How many rows a month has.

    Attributes:
        month: 1 to 12.
        rows: Departures, the cancelled ones included.
    """

    month: int
    rows: int


@dataclass(frozen=True)
class RowsLoaded:
    """The months that are loaded, in order.

    Attributes:
        months: One entry a month.
    """

    months: tuple[MonthRows, ...] = ()


rows_loaded = Slice("rows_loaded", initial=RowsLoaded(), version=1)


@rows_loaded.reducer
def month_loaded(state: RowsLoaded, loaded: MonthRows) -> RowsLoaded:
    """A month replaces what was known of it, so an event that comes twice counts once."""
    others = (known for known in state.months if known.month != loaded.month)
    return RowsLoaded(tuple(sorted((*others, loaded), key=lambda rows: rows.month)))


@rows_loaded.selector
def total(state: RowsLoaded) -> int:
    """The rows of all months together."""
    return sum(month.rows for month in state.months)
