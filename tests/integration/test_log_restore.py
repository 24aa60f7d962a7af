"""Dump and restore: positions and checkpoints continue in a cluster whose xids begin again."""

import os
import subprocess

import psycopg
import pytest

from dama.domain.event import Event
from dama.embedded import EmbeddedPostgres
from dama.store import Start, Store
from tests.conftest import OWNER, create_role

XID = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"


@pytest.fixture
def other(tmp_path, server):
    """Another cluster; an account of its own is told by the binaries of the first."""
    other = EmbeddedPostgres(tmp_path / "other", fsync=False, binaries=server.binaries)
    other.start()
    create_role(other, OWNER)  # of what is restored
    yield other
    other.stop()


def scalar(url, query):
    """One value."""
    with psycopg.connect(url, autocommit=True) as connection:
        return connection.execute(query).fetchone()[0]


def burn(url, count):
    """Use up transaction ids."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "DO $$ BEGIN FOR n IN 1.." + str(count) + " LOOP"
            " PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
        )


def copy(server, source, target):
    """pg_dump into psql, as an operator does it."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    dump = subprocess.run(
        [server.binaries / "pg_dump", source], capture_output=True, check=True, env=environ
    ).stdout
    subprocess.run(
        [server.binaries / "psql", "-qX", "-v", "ON_ERROR_STOP=1", target],
        input=dump,
        stdout=subprocess.DEVNULL,
        check=True,
        env=environ,
    )


async def note(connection, event):
    """An effect."""
    await connection.execute("INSERT INTO effect VALUES (%s)", [event.position])


async def fill(url, *, between=0):
    """A log with a subscription, and events that were not sequenced when the dump was made.

    `between`: so many transactions are between the two.
    """
    async with Store.opened(url) as store:
        (context, other) = await store.start([Start("a.b", {})] * 2)
        await store.append(context, [Event("x", number) for number in range(20)])
        await store.log.subscription("notes", note).catch_up()
        burn(url, between)
        await store.append(other, [Event("left over", number) for number in range(3)])
    return context


async def assert_it_goes_on(url, context):
    """All that was handled is not handled again; all else is, once, whatever xids come by."""
    async with Store.opened(url) as store:
        subscription = store.log.subscription("notes", note)
        await subscription.catch_up()
        assert await store.log.position() == 25
        for number in range(5):
            await store.append(context, [Event("new", number)])
            burn(url, 50)
            await subscription.catch_up()
        page = await store.log.read(22)
    assert [event.type for event in page.events] == ["left over"] * 3 + ["new"] * 5
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT position FROM effect ORDER BY position").fetchall()
    assert [position for (position,) in found] == list(range(1, 31))


async def test_a_restored_log_goes_on_in_a_cluster_that_is_behind(database_url, server, other):
    """The events carry xids that the new cluster reaches only later, and then is not fooled by."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE effect (position bigint)")
    burn(database_url, max(scalar(other.url, XID) - scalar(database_url, XID), 0) + 1000)
    context = await fill(database_url)

    copy(server, database_url, other.url)
    begun = scalar(other.url, XID)
    highest = scalar(
        other.url, "SELECT max(xid::text::bigint) FROM _data_manager_admin.event_store_prototype"
    )
    assert begun < highest

    await assert_it_goes_on(other.url, context)

    burn(other.url, max(highest - scalar(other.url, XID), 0) + 10)
    async with Store.opened(other.url) as store:
        assert await store.log.position() == 30
        await store.append(context, [Event("x", None)])
        assert await store.log.position() == 31


async def test_a_restored_log_goes_on_in_a_cluster_that_is_ahead(database_url, server, other):
    """No stored xmax is beyond the current one; the other system identifier tells."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE effect (position bigint)")
    context = await fill(database_url)
    burn(other.url, max(scalar(database_url, XID) - scalar(other.url, XID), 0) + 1000)

    copy(server, database_url, other.url)

    assert scalar(other.url, XID) > scalar(database_url, XID)
    await assert_it_goes_on(other.url, context)


async def test_a_restored_log_goes_on_in_a_cluster_between_its_last_snapshot_and_its_events(
    database_url, server, other
):
    """The stored xmax is in the past, the xids of the left-overs are not: the identifier tells."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE effect (position bigint)")
    burn(database_url, max(scalar(other.url, XID) - scalar(database_url, XID), 0) + 100)
    context = await fill(database_url, between=5000)
    burn(other.url, scalar(database_url, XID) - scalar(other.url, XID) - 2500)

    copy(server, database_url, other.url)

    stored = (
        "SELECT pg_snapshot_xmax(snapshot)::text::bigint FROM _data_manager_admin.event_log_state"
    )
    highest = "SELECT max(xid::text::bigint) FROM _data_manager_admin.event_store_prototype"
    assert scalar(other.url, stored) < scalar(other.url, XID) < scalar(other.url, highest)
    await assert_it_goes_on(other.url, context)


async def test_a_copy_in_the_same_cluster_goes_on(database_url, empty_database_url, server):
    """Its xids and snapshots still mean what they meant."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE effect (position bigint)")
    context = await fill(database_url)

    copy(server, database_url, empty_database_url)

    await assert_it_goes_on(empty_database_url, context)
