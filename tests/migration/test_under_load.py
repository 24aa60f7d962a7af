"""Migrating while others work: nobody is stopped, nothing is half done, all waiting is said."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import psycopg
import pytest

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.store import Start, Store, schema
from dama.store.schema import Migration
from dama.worker.worker import Worker

PATIENCE = 60.0
STALE = (
    "UPDATE _data_manager_admin.schema_migration SET checksum = 'older' WHERE name = 'functions'"
)
NEW_CONTEXT = """
INSERT INTO _data_manager_admin.etl_context (parent_id) VALUES (NULL) RETURNING context_id
"""
NEW_EVENT = """
INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type) VALUES (%s, %s)
"""
DONE = """
SELECT count(*) FROM _data_manager_admin.etl_context WHERE task IS NOT NULL AND status = 'DONE'
"""
IS_VALID = """
SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('_data_manager_admin.more_types')
"""
IS_ENABLED = """
SELECT tgenabled FROM pg_trigger
  WHERE tgname = 'contexts_are_kept' AND tgrelid = '_data_manager_admin.etl_context'::regclass
"""
INDEX = "CREATE INDEX CONCURRENTLY more_types ON _data_manager_admin.event_store_prototype (type)"
work = Service("work")


@work.task
async def small(task: Task) -> int:
    """One step."""
    return await task.step("one", lambda: 1)


@pytest.fixture
def more(monkeypatch):
    """Further migrations, as a later version would have them."""

    def add(*migrations):
        *numbered, code = schema.migrations()
        found = (*numbered, *(Migration(*each) for each in migrations), code)
        monkeypatch.setattr(schema, "migrations", lambda: found)

    return add


def context_of(connection):
    """A context of an old program, made by a direct INSERT."""
    (context,) = connection.execute(NEW_CONTEXT).fetchone()
    write(connection, context, "p:INITIAL")
    return context


def write(connection, context, type_):
    connection.execute(NEW_EVENT, [context, type_])


class Writer:
    """Inserts events all the time; what it has is its `written`, and the longest of its waits."""

    def __init__(self, url):
        self.written = 0
        self.failures = []
        self._url = url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)

    def _write(self):
        try:
            with psycopg.connect(self._url, autocommit=True) as connection:
                context = context_of(connection)
                while not self._stop.wait(0.005):
                    write(connection, context, "p:PROGRESS")
                    self.written += 1
        except psycopg.Error as error:
            self.failures.append(error)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def finished(url):
    with psycopg.connect(url) as connection:
        (count,) = connection.execute(DONE).fetchone()
    return count


async def until(condition):
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - it is changed by threads
            await asyncio.sleep(0.01)


async def test_functions_are_replaced_beside_a_writer_that_never_commits(database_url):
    """Its open INSERT holds the tables of events and contexts for the whole time."""
    async with Store.opened(database_url) as store:
        with psycopg.connect(database_url) as stranger, Writer(database_url) as writer:
            context_of(stranger)
            async with Worker(store, Registry([work])).working():
                for _ in range(3):
                    await store.start([Start("work.small", {})] * 5)
                    with psycopg.connect(database_url, autocommit=True) as connection:
                        connection.execute(STALE)
                    before = writer.written
                    async with asyncio.timeout(PATIENCE):
                        assert await schema.migrate(database_url) == ["functions"]
                    await until(lambda before=before: writer.written > before + 3)
                await until(lambda: finished(database_url) == 15)
    assert writer.failures == []


async def test_a_table_that_somebody_holds_is_waited_for_and_nobody_behind_it_is(
    database_url, more
):
    """Appends continue, the one that is waited for is named, and all is done once it has ended."""
    more(("9000_more", "ALTER TABLE _data_manager_admin.event_store_prototype ADD COLUMN more int"))
    told = []
    with psycopg.connect(database_url, application_name="stranger") as stranger:
        context_of(stranger)
        migrating = asyncio.create_task(schema.migrate(database_url, tell=told.append))
        with Writer(database_url) as writer:
            await until(lambda: told)
            before = writer.written
            await until(lambda: writer.written > before + 100 or migrating.done())
            assert not migrating.done()
        pid = stranger.info.backend_pid
    async with asyncio.timeout(PATIENCE):
        assert await migrating == ["9000_more", "functions"]

    assert writer.failures == []
    assert f"pid {pid} (stranger, plain_owner; idle in transaction since" in told[0]
    assert "INSERT INTO" in told[0]


async def test_two_migrations_at_once_are_one(empty_database_url):
    """The other one waits, says for whom, and finds nothing left to do."""
    async with asyncio.timeout(PATIENCE * 2):
        done = await asyncio.gather(*(schema.migrate(empty_database_url) for _ in range(3)))

    names = [migration.name for migration in schema.migrations()]
    assert sorted(done, key=len) == [[], [], names]


async def test_an_index_is_built_beside_an_open_transaction_and_workers_do_not_wait_for_it(
    database_url, more
):
    """It needs the end of all older transactions; the schema is that of the new version before."""
    more(("9000_index", INDEX + ";"))
    told = []
    with psycopg.connect(database_url) as stranger, Writer(database_url) as writer:
        context_of(stranger)
        migrating = asyncio.create_task(schema.migrate(database_url, tell=told.append))
        await until(lambda: told)
        before = writer.written
        await until(lambda: writer.written > before + 50 or migrating.done())
        assert not migrating.done()
        async with Store.opened(database_url):  # this version is content
            pass
        stranger.rollback()
        async with asyncio.timeout(PATIENCE):
            assert await migrating == ["9000_index"]
    assert writer.failures == []
    assert is_valid(database_url)
    assert await schema.migrate(database_url) == []


def is_valid(url):
    with psycopg.connect(url) as connection:
        return connection.execute(IS_VALID).fetchone() == (True,)


async def test_a_half_built_index_is_built_again(database_url, more):
    """What a kill in the middle leaves is there, and not valid."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        with psycopg.connect(database_url) as stranger:
            context_of(stranger)
            connection.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                connection.execute(INDEX)
        assert not is_valid(database_url)
    more(("9000_index", INDEX + ";"))

    async with asyncio.timeout(PATIENCE):
        await schema.migrate(database_url)

    assert is_valid(database_url)


def killed_when_it_waits(command, environment):
    """Start a migration, and kill it with -9 when it says what it waits for."""
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as dama:
        said = dama.stderr.readline()
        dama.send_signal(signal.SIGKILL)
    return said


async def test_a_migration_that_is_killed_leaves_nothing_half_done(database_url):
    """It waits for the lock of a table; after kill -9 the next one does all of it."""
    spoiled = "ALTER TABLE _data_manager_admin.etl_context DISABLE TRIGGER contexts_are_kept"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(STALE)
        connection.execute(spoiled)
    environment = {**os.environ, "DAMA_DATABASE_URL": database_url}
    command = [sys.executable, "-m", "dama.cli", "db", "migrate"]
    with psycopg.connect(database_url) as stranger:
        context_of(stranger)
        pid = stranger.info.backend_pid
        said = await asyncio.to_thread(killed_when_it_waits, command, environment)
    assert f"waits for pid {pid}" in said

    async with asyncio.timeout(PATIENCE):
        assert await schema.migrate(database_url) == ["functions"]
    assert await schema.migrate(database_url) == []
    with psycopg.connect(database_url) as connection:
        assert connection.execute(IS_ENABLED).fetchone() == ("O",)


def test_what_builds_indexes_beside_others_does_nothing_else():
    """Each of its statements is executed by itself, and again after a kill."""
    for migration in schema.migrations():
        if migration.is_concurrent:
            lines = [line for line in migration.sql.splitlines() if not line.startswith("--")]
            statements = [each.strip() for each in "\n".join(lines).split(";") if each.strip()]
            assert statements == [query.strip() for _, query in migration.indexes]
