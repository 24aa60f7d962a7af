"""The log: every committed event once, without gaps, whatever else continues in the cluster."""

import asyncio
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import psycopg
import pytest

from dama.domain.event import Event
from dama.store import LogFilter, Start, schema

TRANSACTIONS = 300
POSITIONS = """
SELECT l.position, l.event_id, e.etl_context_id, e.version
  FROM _data_manager_admin.event_log l
  FULL JOIN _data_manager_admin.event_store_prototype e USING (event_id)
  ORDER BY l.position
"""


def assert_log_is_right(url):
    """Every event is in the log once, densely, in the order of its context; returns how many."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(POSITIONS).fetchall()
    assert [position for position, *_ in rows] == list(range(1, len(rows) + 1))
    assert len({event_id for _, event_id, *_ in rows}) == len(rows)
    versions = {}
    for _, _, context, version in rows:
        assert version == versions.get(context, 0) + 1
        versions[context] = version
    return len(rows)


def dispatch(connection, context, number):
    """Append an event the slow way: by its function, or as old programs do."""
    if number % 3:
        connection.execute(
            "SELECT _data_manager_admin.dispatch(%s, 'x', %s::jsonb)", [context, json.dumps(number)]
        )
    else:
        connection.execute(
            "INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, payload)"
            " VALUES (%s, 'x', %s::jsonb)",
            [context, json.dumps(number)],
        )


def write(url, contexts, number):
    """One transaction: savepoints that are kept and undone, and perhaps a rollback of it all."""
    dice = random.Random(number)
    kept = 0
    with psycopg.connect(url) as connection:
        connection.execute("SELECT")  # begins it: the first block would be a transaction of its own
        for context in sorted(dice.choices(contexts, k=dice.randint(1, 3))):  # no deadlocks
            with connection.transaction() as savepoint:
                dispatch(connection, context, number)
                if dice.random() < 0.25:
                    raise psycopg.Rollback(savepoint)
                kept += 1
        if dice.random() < 0.2:
            connection.rollback()
            return 0
    return kept


@pytest.fixture
async def contexts(store):
    """Contexts to write to."""
    return await store.start([Start("a.b", {})] * 10)


async def numbers(stream, count):
    """The positions of the next events of a stream."""
    return [(await anext(stream)).position for _ in range(count)]


def sequence(url, stop):
    """A sequencer that competes with others until it is told to stop."""
    calls = 0
    with psycopg.connect(url, autocommit=True) as connection:
        while not stop.is_set():
            connection.execute("SELECT _data_manager_admin.sequence_log()")
            calls += 1
    return calls


async def test_racing_transactions_and_sequencers_leave_every_event_once_and_in_order(
    store, contexts, database_url
):
    """300 transactions with savepoints and rollbacks, two sequencers, one long transaction."""
    stop = threading.Event()
    with ThreadPoolExecutor(14) as pool, psycopg.connect(database_url) as long_one:
        dispatch(long_one, contexts[-1], 0)
        rivals = [pool.submit(sequence, database_url, stop) for _ in range(2)]
        try:
            writers = [
                pool.submit(write, database_url, contexts[:-1], n) for n in range(TRANSACTIONS)
            ]
            kept = sum(writer.result() for writer in writers)
            await store.log.wait(len(contexts) + kept)
            assert await store.log.position() == len(contexts) + kept
            long_one.commit()
            await store.log.wait(len(contexts) + kept + 1)
        finally:
            stop.set()
        assert min(rival.result() for rival in rivals) > 0

    assert assert_log_is_right(database_url) == len(contexts) + kept + 1


@pytest.mark.parametrize("elsewhere", [False, True], ids=["same database", "another database"])
async def test_an_open_transaction_delays_nobody_else(
    store, contexts, database_url, server, elsewhere
):
    """An hour-long load keeps its snapshot and its xid; the others are seen within a second."""
    url = server.url if elsewhere else database_url
    stream = store.log.subscribe(await store.log.position())
    lags = []
    with psycopg.connect(url) as long_one:
        long_one.execute("CREATE TABLE held (n int)")
        if not elsewhere:
            dispatch(long_one, contexts[0], 1)
        for number in range(20):
            began = time.monotonic()
            await store.append(contexts[1 + number % 9], [Event("x", number)])
            assert (await anext(stream)).payload == number
            lags.append(time.monotonic() - began)
        long_one.rollback()

    await stream.aclose()
    assert median(lags) < 1  # one or two may meet a machine that is busy
    assert_log_is_right(database_url)


async def test_a_transaction_that_commits_late_comes_late_and_is_not_lost(
    store, contexts, database_url
):
    """Its event has the lower id; a reader by id would never see it."""
    stream = store.log.subscribe(await store.log.position())
    with psycopg.connect(database_url) as late:
        dispatch(late, contexts[0], 1)
        await store.append(contexts[1], [Event("early", None)])
        first = await anext(stream)

    second = await anext(stream)

    await stream.aclose()
    assert (first.type, second.type) == ("early", "x")
    assert first.event_id > second.event_id
    assert second.position == first.position + 1


async def test_an_id_that_was_drawn_before_the_context_was_free_does_not_turn_the_order(
    store, contexts, database_url
):
    """A direct INSERT draws its id, then waits for the context: its version says when it came."""
    insert = (
        "INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type)"
        " VALUES (%s, %s) RETURNING event_id"
    )
    await store.log.position()
    with (
        psycopg.connect(database_url) as first,
        psycopg.connect(database_url, autocommit=True) as waiting,
        ThreadPoolExecutor(1) as pool,
    ):
        first.execute(
            "SELECT FROM _data_manager_admin.etl_context WHERE context_id = %s FOR UPDATE",
            [contexts[0]],
        )
        late = pool.submit(lambda: waiting.execute(insert, [contexts[0], "late"]).fetchone()[0])
        await until_blocked(database_url)
        (early,) = first.execute(insert, [contexts[0], "early"]).fetchone()
        first.commit()
        assert late.result() < early

    await store.log.position()
    page = await store.log.read(filter=LogFilter(context=contexts[0]))
    assert [event.type for event in page.events] == ["a.b:INITIAL", "early", "late"]


async def until_blocked(url):
    """Until some session of the database waits for a lock."""
    query = (
        "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE NOT l.granted AND a.datname = current_database()"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(query).fetchone() == (0,):  # noqa: ASYNC110 - it alone knows
            await asyncio.sleep(0.01)


async def test_events_of_before_the_log_get_their_positions(empty_database_url):
    """A database that is migrated with its history; in the order of the ids."""
    await schema.migrate(empty_database_url, up_to="0002_run_queue")
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(
            "INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, version)"
            " SELECT 1 + n % 5, 'x', 1 + n / 5 FROM generate_series(0, 99) n"
        )

    await schema.migrate(empty_database_url)
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        found = connection.execute("SELECT _data_manager_admin.sequence_log()").fetchone()

    assert found == (100,)
    assert assert_log_is_right(empty_database_url) == 100


async def test_sequencing_refuses_a_transaction_that_has_written(database_url):
    """Its own events are visible to it, though nobody knows yet whether they will stay."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE mine (n int)")
        with pytest.raises(psycopg.errors.ActiveSqlTransaction, match="of its own"):
            connection.execute("SELECT _data_manager_admin.sequence_log()")


async def test_positions_are_never_changed(store, contexts, database_url):
    """They are history too."""
    await store.log.position()

    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute("DELETE FROM _data_manager_admin.event_log")

    assert caught.value.sqlstate == "DM007"


async def test_a_filter_lets_through_what_fits_and_moves_on(store):
    """By types, by the beginning of the type, by tree, by context."""
    (root,) = await store.start([Start("a.b", {})])
    (child,) = await store.start([Start("c.d", {})], parent=root)
    (other,) = await store.start([Start("a.b", {})])
    await store.append(child, [Event("rows/loaded", 1), Event("rows/checked", 2)])
    await store.append(other, [Event("rows/loaded", 3)])
    last = await store.log.position()

    async def found(**filters):
        page = await store.log.read(0, LogFilter(**filters))
        assert page.position == last
        return [(event.context_id, event.type) for event in page.events]

    loaded = "rows/loaded"
    assert await found(types=(loaded,)) == [(child, loaded), (other, loaded)]
    assert await found(prefix="rows/check") == [(child, "rows/checked")]
    assert await found(root=root, types=("a.b:INITIAL", loaded)) == [
        (root, "a.b:INITIAL"),
        (child, loaded),
    ]
    assert await found(context=other) == [(other, "a.b:INITIAL"), (other, loaded)]
    assert await found(prefix="nothing") == []


async def test_pages_follow_one_another(store, contexts):
    """The position of a page is where the next one begins."""
    await store.log.position()

    first = await store.log.read(0, limit=4)
    rest = await store.log.read(first.position)

    assert [event.position for event in first.events + rest.events] == list(range(1, 11))
    assert (await store.log.read(rest.position)).events == []
    assert (await store.log.read(99)).position == 99


async def test_any_number_of_idle_readers_ask_once_a_second(store, contexts, monkeypatch):
    """They share one poll, and the pause grows to a second."""
    polls, pauses = [], []
    rows = store.database.rows

    async def counted(name, *arguments, **options):
        polls.append(name)
        return await rows(name, *arguments, **options)

    async def paused(seconds):
        pauses.append(seconds)
        if len(pauses) == 12:
            done.set()
        await asyncio.get_running_loop().run_in_executor(None, lambda: None)

    done = asyncio.Event()
    await store.log.position()
    streams = [store.log.subscribe(10) for _ in range(50)]
    monkeypatch.setattr(store.database, "rows", counted)
    monkeypatch.setattr("dama.clock.sleep", paused)

    readers = [asyncio.create_task(numbers(stream, 1)) for stream in streams]
    await done.wait()
    for reader in readers:
        reader.cancel()
    await asyncio.gather(*readers, return_exceptions=True)

    # Each reader looks twice when it begins.
    assert polls.count("poll_log") - len(streams) <= len(pauses)
    assert pauses[-1] == 1.0


async def test_read_your_writes(store, contexts):
    """The position of what was just appended, and a wait for it."""
    (event_id,) = await store.append(contexts[0], [Event("x", None)])

    position = await store.log.position_of(event_id)

    assert position == 11
    await store.log.wait(position)
    assert await store.log.position_of(event_id + 1000) is None
