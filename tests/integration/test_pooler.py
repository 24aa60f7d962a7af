"""Behind a pooler of transactions: no NOTIFY, no session, and all continues by polling.

Each test meets two of them: a pooler of our own that is as bad as one may be (tests/pooler.py), and
pgbouncer where it is installed.
"""

import asyncio
import getpass
import logging
import os
import shutil
import subprocess

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.run.subtasks import Endings
from dama.store import Start, Store, schema
from dama.worker.worker import Worker
from tests.integration.test_sessions import use
from tests.interop.cluster import free_port
from tests.pooler import Pooler

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
CONFIG = """
[databases]
{database} = host={host} port={port} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 4
ignore_startup_parameters = extra_float_digits
logfile = {folder}/log
"""
SPOILT = """
SET search_path = nowhere; SET DateStyle = 'German'; SET TimeZone = 'Asia/Kathmandu';
SET default_transaction_read_only = on; SET default_transaction_isolation = 'serializable';
SET client_encoding = 'LATIN1';
SET standard_conforming_strings = off; SET bytea_output = escape; SET row_security = on;
SET extra_float_digits = -15;
SELECT pg_advisory_lock_shared(1684106593); LISTEN dama_queue;
PREPARE _pg3_0 AS SELECT 1; CREATE TEMP TABLE IF NOT EXISTS etl_context (a int)
"""
BEHIND = "behind a pooler of transactions"
pooled = Service("pooled")


@pooled.task
async def child(task: Task, n: int) -> int:
    """Give n."""
    return n


@pooled.task
async def parent(task: Task) -> int:
    """Add what the subtasks give."""
    return sum(await task.map(child, [{"n": n} for n in range(20)]))


@pooled.task
async def waiting(task: Task) -> int:
    """Park for a moment, and write in a transaction of a step."""
    await task.sleep(0.01)
    return await task.step("sql", written, transactional=True)


def written(connection):
    """A step's SQL: several statements of one transaction, with settings of its own."""
    connection.execute("CREATE TABLE IF NOT EXISTS public.written (n int)")
    connection.execute("SET LOCAL search_path = public")
    for n in range(20):
        connection.execute("INSERT INTO written VALUES (%s)", [n], prepare=False)
    return connection.execute("SELECT count(*) FROM written").fetchone()[0]


@pytest.fixture(params=["of our own", "pgbouncer"])
async def pooler(request, tmp_path):
    """Puts a pooler before a database; the URL of that."""
    stopped = []

    async def put(url):
        start = _pgbouncer if request.param == "pgbouncer" else _own
        address, stop = await start(url, tmp_path)
        stopped.append(stop)
        return address

    if request.param == "pgbouncer" and PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed: the pooler of our own is tried alone")
    yield put
    for stop in stopped:
        await stop()


async def _own(url, _folder):
    pooler = Pooler(url, free_port())
    await pooler.start()
    found = conninfo_to_dict(url)
    return f"postgresql://{found['user']}@127.0.0.1:{pooler.port}/{found['dbname']}", pooler.stop


async def _pgbouncer(url, folder):
    with psycopg.connect(url) as connection:
        info = connection.info
        host, port, database, user = info.host, info.port, info.dbname, info.user
    listen = free_port()
    config = folder / "pgbouncer.ini"
    config.write_text(
        CONFIG.format(
            host=host, port=port, database=database, user=user, folder=folder, listen=listen
        )
    )
    command = [str(PGBOUNCER), str(config)]
    if getpass.getuser() == "root":  # which it refuses to run as
        command = ["unshare", "--user", "--map-user=1000", "--map-group=1000", *command]
    process = await asyncio.create_subprocess_exec(*command, stderr=subprocess.DEVNULL)
    address = f"postgresql://{user}@127.0.0.1:{listen}/{database}"

    async def stop():
        process.terminate()
        await process.wait()

    for _ in range(600):
        try:
            await (await psycopg.AsyncConnection.connect(address)).close()
            break
        except psycopg.OperationalError:
            assert process.returncode is None, (folder / "log").read_text()
            await asyncio.sleep(0.05)
    return address, stop


async def test_tasks_run_behind_a_pooler_which_is_said(database_url, pooler, caplog):
    """Leases, steps, subtasks and their ends need no session; a line says what is missing."""
    caplog.set_level(logging.WARNING, "dama.hints")
    starts = [Start("pooled.parent", {})] * 3 + [Start("pooled.waiting", {})]
    async with Store.opened(await pooler(database_url)) as store:
        contexts = await store.start(starts)
        async with Worker(store, Registry([pooled])).working(), asyncio.timeout(60):
            found = await Endings(store, lambda: None).wait(contexts, fail_fast=False)
        assert not store.hints.arrive

    assert [found[context].result for context in contexts] == [190] * 3 + [20]
    assert BEHIND in caplog.text


async def test_a_database_is_migrated_and_used_through_a_pooler(empty_database_url, pooler):
    """The lock of a migration is one of a transaction; subscriptions need no session either."""
    url = await pooler(empty_database_url)

    assert await schema.migrate(url)
    assert await schema.migrate(url) == []
    assert all(await schema.status(url))
    await use(url)


async def test_what_others_leave_in_the_sessions_of_a_pooler_is_not_ours(database_url, pooler):
    """Settings, locks, prepared statements and tables of the sessions that all share."""
    url = await pooler(database_url)
    clients = [
        await psycopg.AsyncConnection.connect(url, autocommit=True, prepare_threshold=None)
        for _ in range(4)
    ]
    for client in clients:  # all sessions at once, so that each has its turn
        await client.execute("BEGIN")
    for client in clients:
        for statement in SPOILT.split(";"):
            await client.execute(statement)
        await client.execute("COMMIT")
        await client.close()

    await use(url)
