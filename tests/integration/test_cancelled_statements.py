"""Statements that are cancelled at any moment: their connections come back to the pool."""

import asyncio
from random import Random

import anyio
import psycopg

from dama.store import Start
from dama.store.connecting import SURE_SECONDS

ASKERS = 40
ROUNDS = 20


async def test_no_connection_is_lost_however_statements_are_cancelled(store):
    """A task may set a timer around whatever it asks for; its worker must not run dry of it."""
    database, random = store.database, Random(1)

    async def ask() -> None:
        for _ in range(ROUNDS):
            seconds = random.uniform(0, 0.02)
            if random.random() < 0.5:
                with anyio.move_on_after(seconds):  # which cancels at each turn of the loop
                    await database.rows("read_clock")
            else:
                asking = asyncio.create_task(database.rows("read_clock"))
                await asyncio.wait([asking], timeout=seconds)
                asking.cancel()
                await asyncio.wait([asking])

    await asyncio.gather(*(ask() for _ in range(ASKERS)))

    async with asyncio.timeout(30):
        while database.pool_use()["free"] < database.pool_use()["open"]:
            await database.rows("read_clock")


async def test_one_statement_after_the_other_needs_one_connection(store):
    """Each command opens a store; a server that is full has none to spare."""
    for _ in range(3):
        await store.now()

    assert store.database.pool_use()["open"] == 1


async def test_a_connection_that_was_just_used_is_asked_nothing_first_unless_it_has_ended(store):
    """A start is one statement; that its server has ended is there to be read."""
    database = store.database
    await store.start([Start("a.b", {})])
    async with database._lending.connection() as connection:
        assert connection.is_surely_there
        connection.answered_at -= SURE_SECONDS
        assert not connection.is_surely_there
        connection.answered_at += SURE_SECONDS
        pid = connection.info.backend_pid
    with psycopg.connect(database.conninfo, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 30000)", [pid])

    assert not connection.is_surely_there
    await store.start([Start("a.b", {})])  # the store does not know whether it may do this twice
    assert len(await store.contexts()) == 2
