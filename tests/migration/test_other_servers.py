"""Other versions of PostgreSQL: those that this machine has besides the embedded one."""

from pathlib import Path

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.embedded import EmbeddedPostgres
from dama.run.subtasks import Endings
from dama.store import LogFilter, Start, Store, schema
from dama.worker.worker import Worker

SERVERS = sorted(path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres"))
other = Service("other")


def created(connection):
    """A step's SQL."""
    connection.execute("CREATE TABLE made (n int)")


@other.task
async def child(task: Task) -> int:
    """A transactional step."""
    await task.step("create", created, transactional=True)
    return 7


@other.task
async def parent(task: Task) -> int:
    """A subtask."""
    return await task.run(child)


LOCALES = ("en-US", "tr-TR", "und-u-ks-level2-kn-true")  # numbers in order, cases alike
ICU = "CREATE DATABASE {} LOCALE_PROVIDER icu ICU_LOCALE {} LOCALE 'C' TEMPLATE template0"


@pytest.mark.skipif(not SERVERS, reason="this machine has no other PostgreSQL")
@pytest.mark.parametrize("binaries", SERVERS, ids=lambda path: path.parent.name)
async def test_the_schema_and_a_run_work_on_the_servers_of_the_machine(tmp_path, binaries):
    """PostgreSQL 14 is the oldest; with the locale of the machine and, since 15, those of ICU."""
    server = EmbeddedPostgres(tmp_path / "home", binaries=binaries, fsync=False)
    try:
        url = server.start()
        await migrate_and_run(url)
        with psycopg.connect(url, autocommit=True) as connection:
            has_icu = connection.info.server_version >= 150000
            for locale in LOCALES if has_icu else ():
                connection.execute(SQL(ICU).format(Identifier(locale), Literal(locale)))
        for locale in LOCALES if has_icu else ():
            await migrate_and_run(url.replace("/dama?", f"/{locale}?"))
    finally:
        server.stop()


async def migrate_and_run(url):
    """All that a project begins with."""
    await schema.migrate(url)
    assert await schema.migrate(url) == []
    async with Store.opened(url) as store:
        (context,) = await store.start([Start("other.parent", {})])
        await store.append(context, [Event("noted", None)])
        async with Worker(store, Registry([other])).working():
            found = await Endings(store, lambda: None).wait([context], fail_fast=False)
        events = await store.events(context)
        await store.log.position()
        page = await store.log.read(0, LogFilter(context=context))

    assert (found[context].status, found[context].result) == ("DONE", 7)
    assert [event.version for event in page.events] == [event.version for event in events]
