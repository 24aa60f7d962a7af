"""Tap states: where a tap continues, read before it starts and put with the rows of a commit."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import psycopg

from dama.errors import DamaError
from dama.store import session
from dama.store.connecting import connect_blocking
from dama.store.statements import statement
from dama.store.translation import translate

if TYPE_CHECKING:
    from dama.store.database import Database
    from dama.store.transaction import Connection


class TapOvertakenError(DamaError):
    """Another run of a tap has loaded since this one began."""

    code = "TAP_OVERTAKEN"

    def __init__(self, task: str) -> None:
        super().__init__(
            f"Another run of {task} has loaded meanwhile, so what this one has may be there.",
            "Nothing of it was stored. Run it again: it begins where the other one ended.",
        )


def read_state(database: Database, name: str, task: str, key: str) -> tuple[str | None, int]:
    """Where a tap continues, as JSON, and how many commits there were; None and 0 before the first.

    Raises:
        DatabaseUnreachableError: The server does not answer.

    Source: store/sql/read_tap_state.sql
    """
    try:
        options = {"application_name": name, "prepare_threshold": None, "autocommit": True}
        with closing(connect_blocking(database.conninfo, **options)) as connection:
            session.begin_plainly_blocking(connection)
            params = {"task": task, "key": key}
            row = connection.execute(statement("read_tap_state"), params).fetchone()
    except psycopg.Error as error:
        raise translate(error) or error from error
    state, version = row or (None, 0)
    return state, version


def put_state(
    connection: Connection, task: str, key: str, version: int, state: str, context_id: int
) -> int:
    """Store where a tap continues, within the transaction of its rows; return the new version.

    Raises:
        TapOvertakenError: Another run has stored a state since this one read it.

    Source: store/sql/put_tap_state.sql
    """
    params = {
        "task": task, "key": key, "version": version, "state": state, "context_id": context_id
    }  # fmt: skip
    row = connection.execute(statement("put_tap_state"), params).fetchone()
    if row is None:
        raise TapOvertakenError(task)
    (stored,) = row
    return stored
