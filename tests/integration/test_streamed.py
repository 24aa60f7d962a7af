"""A stream whose client leaves takes what it waits for along, and nothing that others need."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from dama.gateway.streamed import Streamed

UNDER_WAY = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(300)'"


async def test_who_leaves_a_stream_ends_its_query_and_its_connection_stays(database_url):
    """A query that is cancelled again and again cannot be: its connection would be closed."""
    async with (
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as asked,
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as watching,
    ):

        async def parts():
            yield b"the first"
            await asked.execute("SELECT pg_sleep(300)")

        async def receive():
            count = 0
            while not count:
                ((count,),) = await (await watching.execute(UNDER_WAY)).fetchall()
            return {"type": "http.disconnect"}

        sent: list[bytes] = []

        async def send(message):
            sent.append(message.get("body", b""))

        response = Streamed(parts())
        await response({"type": "http", "asgi": {"spec_version": "2.3"}}, receive, send)

        assert sent == [b"", b"the first"]
        assert not asked.closed
        assert await (await asked.execute("SELECT 1")).fetchone() == (1,)
        assert await (await watching.execute(UNDER_WAY)).fetchone() == (0,)


async def test_a_stream_that_fails_says_so_to_the_server():
    """The server breaks the connection, so that a part does not look like the whole."""

    async def parts():
        yield b"the first"
        raise OSError(5, "the disk is away")

    async def receive():
        await asyncio.Event().wait()

    async def send(message):
        pass

    with pytest.raises(OSError, match="the disk is away"):
        await Streamed(parts())({"type": "http"}, receive, send)
