"""Behind a pooler of transactions: no NOTIFY, no session, and all goes on by polling."""

import asyncio
import getpass
import logging
import os
import shutil
import subprocess
import time

import psycopg
import pytest

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.run.subtasks import Endings
from dama.store import Start, Store
from dama.worker.worker import Worker
from tests.interop.cluster import free_port

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

pytestmark = pytest.mark.skipif(
    PGBOUNCER is None, reason="NO PGBOUNCER HERE: the pooler is untested"
)
pooled = Service("pooled")


@pooled.task
async def child(task: Task, n: int) -> int:
    """Give n."""
    return n


@pooled.task
async def parent(task: Task) -> int:
    """Add what the subtasks give."""
    return sum(await task.map(child, [{"n": n} for n in range(20)]))


@pytest.fixture
def pooler_url(database_url, tmp_path):
    """The database of the test behind a pgbouncer."""
    with psycopg.connect(database_url) as connection:
        info = connection.info
        host, port, database, user = info.host, info.port, info.dbname, info.user
    folder = tmp_path
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
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    url = f"postgresql://{user}@127.0.0.1:{listen}/{database}"
    try:
        for _ in range(100):
            try:
                psycopg.connect(url).close()
                break
            except psycopg.OperationalError:
                assert process.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        process.wait()


async def test_tasks_run_behind_a_pooler_which_is_said(pooler_url, caplog):
    """Leases, steps, subtasks and their ends need no session; a line says what is missing."""
    caplog.set_level(logging.WARNING, "dama.hints")
    async with Store.opened(pooler_url) as store:
        contexts = await store.start([Start("pooled.parent", {})] * 3)
        async with Worker(store, Registry([pooled])).working(), asyncio.timeout(30):
            found = await Endings(store, lambda: None).wait(
                contexts, fail_fast=False, may_park=lambda: False
            )
        assert not store.hints.arrive

    assert [found[context].result for context in contexts] == [190] * 3
    assert "behind a pooler of transactions" in caplog.text
