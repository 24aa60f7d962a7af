"""Histories: the events of many contexts, one context after the other, as lines of JSON."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from dama.store.apart import lines_of, transaction_apart
from dama.store.session import READ_COMMITTED

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence

    from dama.store.database import Database
    from dama.store.rows import ContextRow


async def read_histories(
    database: Database, contexts: Sequence[ContextRow], types: Collection[str] | None = None
) -> AsyncGenerator[list[str]]:
    """Read the events that contexts have, up to the version of each row.

    Args:
        database: Where they are.
        contexts: Which, in the order in which they are to come.
        types: Only events of these types; None for all.

    Yields:
        Events as JSON, one a line, in the order of their contexts and versions.

    Raises:
        DatabaseUnreachableError: The server went away.

    Source: store/sql/read_histories.sql
    """
    params = {
        "context_ids": [row.context_id for row in contexts],
        "versions": [row.version for row in contexts],
        "types": None if types is None else sorted(types),
    }
    async with (
        transaction_apart(database, "dama histories", READ_COMMITTED) as connection,
        aclosing(lines_of(connection, "read_histories", params)) as pages,
    ):
        async for lines in pages:
            yield lines
