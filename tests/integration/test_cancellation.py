"""A cancellation is never lost, at whatever turn of the loop it comes.

`asyncio.wait_for` of Python 3.11 forgets one that comes together with what it waits for, and the
pool of connections waits with it. Whoever stops a worker would wait for its duties forever.
"""

import asyncio

import anyio

from dama.duty import Duty, on_duty
from dama.store.database import Database

TURNS = 30  # more than it takes from the return of a connection until the next one has it


async def test_who_is_cancelled_when_a_connection_becomes_free_does_not_go_on(database_url):
    """Each turn of the loop is tried."""
    async with Database.joined(database_url, "dama", is_pooled=False) as database:
        pool = database._pool
        for turns in range(TURNS):
            taken = [await pool.getconn() for _ in range(2)]
            asking = asyncio.create_task(ask_and_go_on(database))
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert pool.get_stats()["requests_waiting"] == 1
            returning = asyncio.create_task(pool.putconn(taken.pop()))
            for _ in range(turns):
                await asyncio.sleep(0)

            asking.cancel()
            done, _ = await asyncio.wait([asking], timeout=30)

            assert done, f"cancelled after {turns} turns, it continues"
            await returning
            await pool.putconn(taken.pop())


async def test_a_scope_of_anyio_knows_its_own_cancellation(database_url):
    """It knows it by its message, which is lost where the cancellation was forgotten."""
    async with Database.joined(database_url, "dama", is_pooled=False) as database:
        pool = database._pool
        for turns in range(TURNS):
            taken = [await pool.getconn() for _ in range(2)]
            scope = anyio.CancelScope()
            asking = asyncio.create_task(ask_within(scope, database))
            await asyncio.sleep(0)
            returning = asyncio.create_task(pool.putconn(taken.pop()))
            for _ in range(turns):
                await asyncio.sleep(0)

            scope.cancel()
            async with asyncio.timeout(30):
                await asking

            assert scope.cancelled_caught, f"cancelled after {turns} turns, it continues"
            await returning
            await pool.putconn(taken.pop())


async def ask_within(scope, database):
    """A function of a task whose wait is given up."""
    with scope:
        await ask_and_go_on(database)


async def ask_and_go_on(database):
    """What a duty does."""
    await database.rows("read_clock")
    await asyncio.Event().wait()


async def test_a_duty_that_forgets_its_cancellation_ends_with_its_block(monkeypatch):
    """Whatever it waits with."""
    monkeypatch.setattr("dama.duty.AGAIN_SECONDS", 0.05)
    forgotten = 0

    async def forgetful():
        nonlocal forgotten
        while forgotten < 3:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                forgotten += 1
        await asyncio.Event().wait()

    async with asyncio.timeout(30), on_duty(Duty("forgetting", forgetful)):
        await asyncio.sleep(0)

    assert forgotten == 3
