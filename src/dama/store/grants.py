"""Grants: the statements that give roles their rights in a database, for people to execute.

The database makes them (functions/privileges.sql): it knows its tables and functions. Nothing here
executes one; that takes the owner of the schema.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import psycopg

from dama.store import schema, session
from dama.store.connecting import connect
from dama.store.rights import rights_named
from dama.store.translation import translate

if TYPE_CHECKING:
    from collections.abc import Sequence

Access = Literal["reader", "writer", "worker"]
ACCESSES: Sequence[Access] = ("reader", "writer", "worker")

CREATE = """\
DO $$ BEGIN
  IF to_regrole('{role}') IS NULL THEN CREATE ROLE {role} NOLOGIN; END IF;
END $$;"""


async def grants(conninfo: str, role: str, access: Access) -> list[str]:
    """The statements that give a role its rights; they may be executed again at any time.

    Raises:
        SchemaError: The schema is not that of this version.
        InvalidValueError: Nobody can be given rights under this name.
        DatabaseUnreachableError: The database does not answer.

    Source: store/functions/privileges.sql
    """
    try:
        async with await connect(conninfo) as connection:
            await session.pin_transaction(connection)
            user = await schema.check(connection)
            with rights_named(user):
                return await _statements(connection, role, access)
    except psycopg.Error as error:
        raise translate(error) or error from error


async def _statements(
    connection: psycopg.AsyncConnection[tuple[object, ...]], role: str, access: Access
) -> list[str]:
    query = "SELECT _data_manager_admin.access_grants(%s, %s)"
    cursor = await connection.execute(query, [role, access])
    return [str(statement) for (statement,) in await cursor.fetchall()]


async def default_grants(conninfo: str) -> list[str]:
    """The same for a role of each kind, `dama_reader` and so on, which are made when missing."""
    found: list[str] = []
    for access in ACCESSES:
        role = f"dama_{access}"
        found += [CREATE.format(role=role), *await grants(conninfo, role, access)]
    return found
