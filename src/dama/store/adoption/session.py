"""Sessions of an adoption: pinned as all of dama's, with the role of the owner of the tables."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.sql import SQL, Identifier

from dama.store import session
from dama.store.connecting import connect
from dama.store.errors import SchemaError
from dama.store.server_version import refuse_old_server
from dama.store.translation import first_line, translate, translate_own

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Connection = psycopg.AsyncConnection[Any]


@asynccontextmanager
async def opened(conninfo: str) -> AsyncGenerator[Connection]:
    """A session of its own, in no transaction.

    Raises:
        SchemaError: The server is too old, a pooler of transactions is between, or the database
            refuses something.
        DatabaseUnreachableError: It does not answer.
    """
    try:
        async with await connect(conninfo, autocommit=True) as connection:
            refuse_old_server(connection.info.server_version)
            await session.begin_plainly(connection)
            if await session.is_pooled(connection):
                raise SchemaError(
                    "An adoption needs a session of its own, and a pooler is between.",
                    "Name the server itself: DAMA_DATABASE_URL=postgresql://… dama db adopt",
                )
            await session.pin(connection)
            yield connection
    except psycopg.Error as error:
        raise (
            translate_own(error)
            or translate(error)
            or SchemaError(
                f"The database refuses the adoption: {first_line(error)}.",
                "What was done before is kept: run dama db adopt again when it is corrected.",
            )
        ) from error


async def act_as(connection: Connection, owner: str) -> None:
    """Take the role of the owner, so that all that is made belongs to it as the tables do."""
    await connection.execute(SQL("SET ROLE {}").format(Identifier(owner)))
