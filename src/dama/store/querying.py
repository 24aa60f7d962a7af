"""Rows that a query finds, counted and sampled in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.sql import SQL

from dama.store.copying import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.store.transaction import Connection

FOUND = """
WITH found AS MATERIALIZED ({}
)
SELECT (SELECT pg_catalog.count(*) FROM found),
       ARRAY(SELECT pg_catalog.to_jsonb(f) FROM (SELECT * FROM found LIMIT {}) f)
"""


def found_by(
    connection: Connection, query: str, params: Mapping[str, Any] | None, most: int
) -> tuple[int, list[Any]]:
    """How many rows a query finds, and the first of them as objects by column."""
    statement = FOUND.format(query.rstrip().rstrip(";"), int(most))
    ((count, rows),) = connection.execute(SQL(statement), params).fetchall()  # type: ignore[arg-type]
    return count, [plain(row) for row in rows]
