"""Durable subscriptions: each event is handled once, whatever is killed, parked or shared."""

import asyncio
import subprocess
import sys
import time
from collections import defaultdict

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from dama.domain.event import Event
from dama.store import LogFilter, Start, Store
from dama.store.errors import (
    LanesError,
    NotParkedError,
    SubscriptionInUseError,
    UnknownSubscriptionError,
)

EFFECT = (
    "INSERT INTO effect (position, context_id, version, pid) VALUES (%s, %s, %s, pg_backend_pid())"
)


async def note(connection, event):
    """The effect of an event: a row."""
    await connection.execute(EFFECT, [event.position, event.context_id, event.version])


@pytest.fixture
def effects(database_url):
    """What handlers wrote, in the order of the writing."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE effect (n bigserial, position bigint, context_id bigint, version bigint,"
            " pid int)"
        )

        def column(name="position"):
            query = SQL("SELECT {} FROM effect ORDER BY n").format(Identifier(name))
            return [value for (value,) in connection.execute(query).fetchall()]

        yield column


@pytest.fixture
async def contexts(store):
    """Three contexts with three events each."""
    found = await store.start([Start("a.b", {})] * 3)
    for number in (1, 2):
        for context in found:
            await store.append(context, [Event("x", number)])
    return found


async def test_events_are_handled_once_and_a_second_time_there_is_nothing_to_do(
    store, contexts, effects
):
    """The checkpoint is there when the handler comes again."""
    subscription = store.log.subscription("notes", note)

    await subscription.catch_up()
    await subscription.catch_up()
    await store.append(contexts[0], [Event("y", None)])
    await store.log.subscription("notes", note).catch_up()

    assert effects() == list(range(1, 11))


async def test_a_filter_and_a_first_position_leave_events_out(store, contexts, effects):
    """The checkpoint passes over them."""
    subscription = store.log.subscription("notes", note, filter=LogFilter(types=("x",)), after=4)

    await subscription.catch_up()

    assert effects() == [5, 6, 7, 8, 9]
    assert [row.position for row in await store.log.subscriptions()] == [9]


async def test_it_handles_what_comes_until_it_is_cancelled(store, contexts, effects):
    """And whoever wrote an event can wait until it is handled."""
    subscription = store.log.subscription("notes", note)
    await subscription._create()
    running = asyncio.create_task(subscription.run())

    (event_id,) = await store.append(contexts[0], [Event("y", None)])
    await store.log.wait(await store.log.position_of(event_id), "notes")

    assert effects() == list(range(1, 11))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    with pytest.raises(UnknownSubscriptionError):
        await store.log.wait(1, "nobody")


async def test_a_poison_event_parks_its_own_context_only(store, contexts, effects):
    """What it wrote is undone, its later events wait, all other contexts continue."""
    poison = contexts[1]

    async def handle(connection, event):
        await note(connection, event)
        if event.context_id == poison and event.version == 2:
            raise ValueError("no such month")

    await store.log.subscription("notes", handle).catch_up()
    await store.append(poison, [Event("late", None)])
    await store.log.subscription("notes", handle).catch_up()

    assert effects("context_id").count(poison) == 1
    assert effects("context_id").count(contexts[0]) == 3
    (parked,) = await store.log.parked()
    assert (parked.subscription, parked.context_id, parked.position) == ("notes", poison, 5)
    assert (parked.error["name"], parked.error["message"]) == ("ValueError", "no such month")
    (row,) = await store.log.subscriptions()
    assert (row.position, row.parked) == (10, 1)


@pytest.mark.parametrize(("skip", "versions"), [(False, [1, 2, 3, 4]), (True, [1, 3, 4])])
async def test_a_parked_context_is_resumed_in_order(store, contexts, effects, skip, versions):
    """With the event that failed, or without it, and with all that came after it."""
    poison = contexts[1]
    broken = True

    async def handle(connection, event):
        if broken and event.context_id == poison and event.version == 2:
            raise ValueError("no such month")
        await note(connection, event)

    subscription = store.log.subscription("notes", handle)
    await subscription.catch_up()
    await store.append(poison, [Event("late", None)])
    await subscription.catch_up()
    broken = skip

    assert await store.log.resume("notes", poison, skip=skip) == 5
    await subscription.catch_up()

    of_poison = [
        version
        for context, version in zip(effects("context_id"), effects("version"), strict=True)
        if context == poison
    ]
    assert of_poison == versions
    assert await store.log.parked() == []
    with pytest.raises(NotParkedError):
        await store.log.resume("notes", poison)


async def test_a_context_that_fails_again_is_parked_again(store, contexts, effects):
    """At the event that fails now; nothing is handled twice."""
    fails = 2

    async def handle(connection, event):
        if event.context_id == contexts[1] and event.version == fails:
            raise ValueError(f"not {fails}")
        await note(connection, event)

    subscription = store.log.subscription("notes", handle)
    await subscription.catch_up()
    fails = 3
    await store.log.resume("notes", contexts[1])

    await subscription.catch_up()

    (parked,) = await store.log.parked()
    assert (parked.position, parked.error["message"], parked.resumed_at) == (8, "not 3", None)
    fails = 0
    await store.log.resume("notes", contexts[1])
    await subscription.catch_up()
    assert sorted(effects()) == list(range(1, 10))


async def test_a_bad_statement_parks_and_leaves_the_connection_whole(store, contexts, effects):
    """A savepoint is around each event."""

    async def handle(connection, event):
        await note(connection, event)
        if event.position == 2:
            await connection.execute("SELECT 1 / 0")

    await store.log.subscription("notes", handle).catch_up()

    assert effects() == [1, 3, 4, 6, 7, 9]


async def test_an_event_that_meets_another_transaction_is_tried_again(store, contexts, effects):
    """A deadlock says nothing about the event."""
    failures = []

    async def handle(connection, event):
        await note(connection, event)
        if event.position == 5 and len(failures) < 2:
            failures.append(event)
            raise psycopg.errors.DeadlockDetected("as it may happen")

    await store.log.subscription("notes", handle).catch_up()

    assert len(failures) == 2
    assert effects() == list(range(1, 10))
    assert await store.log.parked() == []


async def test_members_share_the_lanes_and_keep_the_order_of_each_tree(database_url, effects):
    """Four members on connections of their own; the events of a root stay in their order."""
    async with Store.opened(database_url) as store:
        roots = await store.start([Start("a.b", {})] * 12)
        children = {}
        for root in roots:
            (child,) = await store.start([Start("c.d", {})], parent=root)
            children[child] = root
        for number in range(10):
            for context in [*roots, *children]:
                await store.append(context, [Event("x", number)])

        async def handle(connection, event):
            await asyncio.sleep(0)
            await note(connection, event)

        members = [store.log.subscription("notes", handle, lanes=6) for _ in range(4)]
        running = [asyncio.create_task(member.run()) for member in members]
        await members[0]._create()
        await store.log.wait(12 * 2 * 11, "notes")
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    positions = effects()
    assert sorted(positions) == list(range(1, 12 * 2 * 11 + 1))
    assert len(set(effects("pid"))) > 1
    by_root = defaultdict(list)
    for context, position in zip(effects("context_id"), positions, strict=True):
        by_root[children.get(context, context)].append(position)
    assert all(found == sorted(found) for found in by_root.values())


async def test_two_contexts_of_one_tree_are_never_handled_at_the_same_time(store, effects):
    """A member is busy with the root; another one leaves its child alone."""
    (root,) = await store.start([Start("a.b", {})])
    (child,) = await store.start([Start("c.d", {})], parent=root)
    assert child % 2 != root % 2
    started, gate = asyncio.Event(), asyncio.Event()

    async def handle(connection, event):
        started.set()
        await gate.wait()
        await note(connection, event)

    busy = asyncio.create_task(store.log.subscription("notes", handle, lanes=2).catch_up())
    await started.wait()
    await store.log.subscription("notes", note, lanes=2).catch_up()
    while_busy = effects()
    gate.set()
    await busy

    assert while_busy == []
    assert effects("context_id") == [root, child]


async def test_another_number_of_lanes_is_refused(store, contexts):
    """Events of one tree would be in two lanes."""
    await store.log.subscription("notes", note, lanes=2)._create()

    with pytest.raises(LanesError, match="2 lanes, not 3"):
        await store.log.subscription("notes", note, lanes=3).catch_up()


async def test_a_member_whose_connection_is_cut_goes_on_with_another(
    store, contexts, effects, database_url
):
    """An outage is waited for, and is not the fault of the event."""
    cut = []

    async def handle(connection, event):
        await note(connection, event)
        if event.position == 5 and not cut:
            cut.append(connection.info.backend_pid)
            with psycopg.connect(database_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s)", [cut[0]])
            await connection.execute("SELECT 1")

    subscription = store.log.subscription("notes", handle)
    await subscription._create()
    running = asyncio.create_task(subscription.run())
    await store.log.wait(9, "notes")
    running.cancel()

    assert effects() == list(range(1, 10))
    assert set(effects("pid")).isdisjoint(cut)
    assert await store.log.parked() == []


MEMBER = """
import asyncio, sys
from dama.store import Store, subscription
subscription.BATCH = 3

async def handle(connection, event):
    await connection.execute(
        "INSERT INTO effect (position, pid) VALUES (%s, pg_backend_pid())", [event.position])
    if event.position == int(sys.argv[2]):
        await connection.execute("SELECT pg_advisory_xact_lock(77)")

async def main():
    async with Store.opened(sys.argv[1]) as store:
        await store.log.subscription("notes", handle).catch_up()

asyncio.run(main())
"""


def test_what_a_killed_member_wrote_is_kept_with_its_checkpoint_or_not_at_all(
    database_url, effects
):
    """Killed in the middle of its second batch; the next member begins with that batch."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO _data_manager_admin.etl_context (task) VALUES ('a.b')")
        connection.execute(
            "INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type)"
            " SELECT 1, 'a.b:' || CASE n WHEN 1 THEN 'INITIAL' ELSE 'LOG' END"
            " FROM generate_series(1, 9) n"
        )
        connection.execute("SELECT pg_advisory_lock(77)")
        member = subprocess.Popen([sys.executable, "-c", MEMBER, database_url, "5"])
        wait_until(connection, "SELECT count(*) FROM pg_locks WHERE NOT granted")
        assert effects() == [1, 2, 3]

        member.kill()
        member.wait()
        connection.execute("SELECT pg_advisory_unlock_all()")
        subprocess.run([sys.executable, "-c", MEMBER, database_url, "0"], check=True)

    assert effects() == list(range(1, 10))
    assert len(set(effects("pid"))) == 2


def wait_until(connection, query):
    """Until a count is not 0."""
    while connection.execute(query).fetchone() == (0,):
        time.sleep(0.01)


async def test_a_subscription_is_dropped_only_when_its_program_has_ended(store, contexts, effects):
    """A program that still ran would hear of nothing any more. Then the name is free."""
    subscription = store.log.subscription("mailer", note)
    await subscription.catch_up()
    reader = asyncio.create_task(subscription.run())
    await store.append(contexts[0], [Event("x", 3)])
    await store.log.wait(await store.log.position(), "mailer")
    with pytest.raises(SubscriptionInUseError, match="in use"):
        await store.log.drop("mailer")
    reader.cancel()
    await asyncio.gather(reader, return_exceptions=True)
    while True:  # the server takes a moment to end the session
        try:
            await store.log.drop("mailer")
            break
        except SubscriptionInUseError:
            await asyncio.sleep(0.01)

    with pytest.raises(UnknownSubscriptionError):
        await store.log.drop("mailer")
    assert len(effects()) == 10
    await subscription.catch_up()
    assert len(effects()) == 20
