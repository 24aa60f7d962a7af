"""The store: the only speaker of SQL. Contexts, events, the run queue, and the schema of them.

`store` reads and appends, `log` gives all events in one order, `queue` claims, `database` connects,
`schema` migrates; the statements are in `sql/`, the database's own functions in `functions/`, its
tables in `migrations/`.
`embedded` is the PostgreSQL that belongs to one home; it needs no driver, so that nothing here is
imported before it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dama.store.rows import (
        Append,
        Appended,
        Claim,
        ContextRow,
        LogFilter,
        Outcome,
        RunRow,
        Start,
    )
    from dama.store.store import Store

__all__ = [
    "Append",
    "Appended",
    "Claim",
    "ContextRow",
    "LogFilter",
    "Outcome",
    "RunRow",
    "Start",
    "Store",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'dama.store' has no attribute {name!r}")
    if name == "Store":
        from dama.store.store import Store

        return Store
    from dama.store import rows

    return getattr(rows, name)
