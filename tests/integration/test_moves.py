"""Databases that move: dumps while all work, pg_upgrade, crashes, copies, ids that begin again.

Clusters of their own: of the embedded PostgreSQL, and of an older one where the machine has it.
"""

import asyncio
import re
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.domain.lifecycle import lifecycle
from dama.embedded import EmbeddedPostgres
from dama.store import Start, Store, schema
from dama.store.errors import ReadOnlyDatabaseError, SchemaError
from dama.worker.worker import Worker
from tests.integration.clusters import OTHERS, command, configure, dump, restore, values
from tests.integration.moved import assert_it_continues, begin, moved
from tests.integration.test_databases import READS, WRITES
from tests.integration.test_embedded_postgres import kill_everything

UNLOGGED = "SELECT count(*) FROM _data_manager_admin.slice_snapshot"
OPEN_TO_ALL = """
SELECT p.oid::regprocedure FROM pg_proc p
  WHERE p.pronamespace = '_data_manager_admin'::regnamespace
    AND has_function_privilege('public', p.oid, 'EXECUTE')
"""
LAST_OF_32_BITS = 2**32
PAGE_OF_XIDS = 32768


@contextmanager
def cluster(home, **options):
    """A server of the test's own."""
    server = EmbeddedPostgres(home, fsync=False, **options)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.mark.skipif(not OTHERS, reason="this machine has no other PostgreSQL")
async def test_a_dump_of_a_running_system_continues_on_a_newer_server(
    tmp_path, server, empty_database_url
):
    """It is one moment of all tables, whatever workers and clients do meanwhile."""
    with cluster(tmp_path / "old", binaries=OTHERS[0]) as old:
        await schema.migrate(old.url)
        await begin(old.url)
        async with Store.opened(old.url) as store:
            async with Worker(store, Registry([moved])).working():
                dumping = asyncio.create_task(asyncio.to_thread(dump, server.binaries, old.url))
                while not dumping.done():
                    await store.start([Start("moved.twice", {"n": 5})] * 3)
                    await asyncio.sleep(0.01)
            dumped = await dumping
        restore(server.binaries, dumped, empty_database_url)

    await schema.migrate(empty_database_url)  # the owner has another name here
    await assert_it_continues(empty_database_url)


async def test_a_restore_without_privileges_opens_nothing_to_everybody(
    server, database_url, empty_database_url
):
    """PUBLIC may execute every function that nobody says otherwise of."""
    restore(server.binaries, dump(server.binaries, database_url), empty_database_url)

    with pytest.raises(SchemaError, match="functions missing"):
        async with Store.opened(empty_database_url):
            pass
    await schema.migrate(empty_database_url)
    assert await schema.migrate(empty_database_url) == []
    assert values(empty_database_url, OPEN_TO_ALL) == []


@pytest.mark.skipif(not OTHERS, reason="this machine has no other PostgreSQL")
async def test_pg_upgrade_keeps_everything(tmp_path, server):
    """The xids stay and the system identifier is another one: what has no position gets one."""
    home = tmp_path / "home"
    with cluster(home, binaries=OTHERS[0]) as old:
        await schema.migrate(old.url)
        await begin(old.url)
    data, earlier, work = home / "data", home / "earlier", tmp_path / "work"
    data.rename(earlier)
    work.mkdir()
    new = EmbeddedPostgres(home, fsync=False, binaries=server.binaries)
    command(
        new, earlier, "initdb", "-D", data, "-U", "dama", "-E", "UTF8", "--no-locale",
        "--data-checksums", "--auth=trust", "--no-sync", cwd=home,
    )  # fmt: skip

    command(
        new, earlier, "pg_upgrade", "-U", "dama", "-b", OTHERS[0], "-B", new.binaries,
        "-d", earlier, "-D", data, "-s", work, "--no-sync", cwd=work,
    )  # fmt: skip
    new.start()

    try:
        await assert_it_continues(new.url)
    finally:
        new.stop()


async def test_ids_of_transactions_go_past_32_bits(tmp_path):
    """The log looks at xids of 64 bits, so those that begin again are no earlier ones."""
    home, query = tmp_path / "home", "SELECT pg_current_xact_id()::text::bigint"
    with cluster(home) as server:
        await schema.migrate(server.url)
        await begin(server.url)
    for step in (3 * 2**29, 3 * 2**30, LAST_OF_32_BITS - PAGE_OF_XIDS):  # none is too far at once
        command(server, home / "data", "pg_resetwal", "-x", step, "-D", home / "data", cwd=home)
        server.start()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("UPDATE pg_database SET datallowconn = TRUE")
            for (name,) in connection.execute("SELECT datname FROM pg_database").fetchall():
                with psycopg.connect(server.url, dbname=name, autocommit=True) as other:
                    other.execute("VACUUM (FREEZE)")
        if step != LAST_OF_32_BITS - PAGE_OF_XIDS:
            server.stop()

    try:
        with (
            psycopg.connect(server.url, autocommit=True) as connection,
            psycopg.connect(server.url) as straddling,
        ):
            async with Store.opened(server.url) as store:
                (context,) = await store.start([Start("moved.twice", {"n": 8})])
                straddling.execute("SELECT pg_current_xact_id()")
                straddling.execute(
                    "SELECT _data_manager_admin.dispatch(%s, 'straddling')", [context]
                )
                await store.log.position()
                connection.execute(
                    f"DO $$ BEGIN FOR n IN 1..{PAGE_OF_XIDS} LOOP"
                    " PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$"
                )
                straddling.commit()
                ((reached,),) = connection.execute(query).fetchall()
                assert reached > LAST_OF_32_BITS
        await assert_it_continues(server.url)
    finally:
        server.stop()


async def test_a_killed_server_loses_only_caches(tmp_path):
    """Tables that are not logged are empty then; all that they held is derived again."""
    with cluster(tmp_path / "home") as server:
        await schema.migrate(server.url)
        (context, *_) = await begin(server.url)
        async with Store.opened(server.url) as store:
            await store.append(context, [Event("noted", n) for n in range(200)])
            before = await store.state(context, lifecycle)
        with psycopg.connect(server.url) as connection:
            connection.execute("SELECT pg_switch_wal()")

        kill_everything(server)
        server.start()

        assert values(server.url, UNLOGGED) == [(0,)]
        async with Store.opened(server.url) as store:
            assert await store.state(context, lifecycle) == before
        await assert_it_continues(server.url)


async def test_a_transaction_that_was_prepared_keeps_nobody_waiting(tmp_path):
    """It holds a context, a run, and an event, and outlives its session and the server."""
    with cluster(tmp_path / "home") as server:
        await schema.migrate(server.url)
        configure(server.url, max_prepared_transactions=2)
        server.stop()
        server.start()
        await begin(server.url)
        async with Store.opened(server.url) as store:
            held, free = await store.start([Start("moved.twice", {"n": n}) for n in (1, 2)])
        with psycopg.connect(server.url) as connection:
            connection.execute("SELECT _data_manager_admin.dispatch(%s, 'prepared')", [held])
            connection.execute(
                "SELECT FROM _data_manager_admin.run_queue WHERE context_id = %s FOR UPDATE", [held]
            )
            connection.execute("PREPARE TRANSACTION 'of a stranger'")
        server.stop()
        server.start()

        async with Store.opened(server.url) as store:
            async with Worker(store, Registry([moved])).working(), asyncio.timeout(60):
                while not await store.outcomes([free]):  # noqa: ASYNC110 - what a client does
                    await asyncio.sleep(0.02)
                assert await store.outcomes([held]) == {}
                await store.log.position()
                with psycopg.connect(server.url, autocommit=True) as connection:
                    connection.execute("COMMIT PREPARED 'of a stranger'")
                while not await store.outcomes([held]):  # noqa: ASYNC110 - what a client does
                    await asyncio.sleep(0.02)
            assert "prepared" in [event.type for event in await store.events(held)]
        await assert_it_continues(server.url)


PAGE = Path(__file__).parents[2] / "docs/howto/databases.md"
PUBLISH, SUBSCRIBE, TAKE_OVER = re.findall(r"```sql\n(.*?)```", PAGE.read_text(), re.DOTALL)
REACHED = "SELECT max(latest_end_lsn) >= %s::pg_lsn FROM pg_stat_subscription"


async def until(url, query, *params):
    """Wait until a query finds TRUE."""
    async with asyncio.timeout(60):
        while values(url, query, *params) != [(True,)]:  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.05)


async def test_a_subscriber_is_read_and_can_take_over(tmp_path):
    """By logical replication: a place for reads, or the way to another major version."""
    with cluster(tmp_path / "one") as one, cluster(tmp_path / "two") as two:
        await schema.migrate(one.url)
        configure(one.url, wal_level="logical")
        one.stop()
        one.start()
        await begin(one.url)
        await schema.migrate(two.url)
        with psycopg.connect(one.url, autocommit=True) as connection:
            ((publish,),) = connection.execute(PUBLISH.replace("\\gexec", "")).fetchall()
            connection.execute(publish)
        with psycopg.connect(two.url, autocommit=True) as connection:
            for statement in re.sub("CONNECTION '.*?'", f"CONNECTION '{one.url}'", SUBSCRIBE).split(
                ";"
            ):
                connection.execute(statement)

        await until(two.url, "SELECT bool_and(srsubstate = 'r') FROM pg_subscription_rel")
        async with Store.opened(two.url) as store:
            for read in READS:
                await read(store)
            for write in WRITES[:-1]:  # a rebuild sees the workers of the other first
                with pytest.raises(ReadOnlyDatabaseError, match="only reads") as caught:
                    await write(store)
                assert "subscription" in caught.value.hint
        async with Store.opened(one.url) as store:
            (late,) = await store.start([Start("moved.twice", {"n": 3})])
            last = await store.log.position()
        await schema.migrate(two.url)
        ((written,),) = values(one.url, "SELECT pg_current_wal_insert_lsn()")
        await until(two.url, REACHED, written)
        async with Store.opened(two.url) as store:
            assert (await store.context(late)).status == "OPEN"
            assert await store.log.position() == last

        with psycopg.connect(two.url, autocommit=True) as connection:
            for statement in TAKE_OVER.split(";"):
                connection.execute(statement)
        await assert_it_continues(two.url)


async def test_a_standby_that_is_promoted_continues(tmp_path):
    """It has what it had received; whoever was connected finds the new one."""
    home = tmp_path / "two"
    with cluster(tmp_path / "one") as one:
        await schema.migrate(one.url)
        await begin(one.url)
        home.mkdir()
        command(
            one, tmp_path / "one/data", "pg_basebackup", "-D", home / "data", "-R", "-X", "stream",
            "-c", "fast", "--no-sync", "-d", one.url, cwd=home,
        )  # fmt: skip
        with cluster(home) as two:
            async with Store.opened(one.url) as store:
                (late,) = await store.start([Start("moved.twice", {"n": 3})])
            ((written,),) = values(one.url, "SELECT pg_current_wal_insert_lsn()")
            await until(two.url, "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", written)
            async with Store.opened(two.url) as store:
                assert (await store.context(late)).status == "OPEN"
                with pytest.raises(ReadOnlyDatabaseError, match="only reads"):
                    await store.cancel([late], "why", {})
            one.stop()
            values(two.url, "SELECT pg_promote()")

            await assert_it_continues(two.url)
