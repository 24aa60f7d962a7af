"""Statements: the SQL by which something is read, as a person can run it."""

from __future__ import annotations

from dama.store.statements import statement_with


def shown(name: str, /, **values: object) -> str:
    """The statement of `store/sql/NAME.sql` with its values in place, for any client of SQL.

    Args:
        name: Of the file, without its ending.
        values: Of each of its params; None is NULL.

    Raises:
        KeyError: A value is missing.
    """
    return statement_with(name, values)
