"""Other versions of PostgreSQL: those that this machine has besides the embedded one."""

from pathlib import Path

import pytest

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


@pytest.mark.skipif(not SERVERS, reason="this machine has no other PostgreSQL")
@pytest.mark.parametrize("binaries", SERVERS, ids=lambda path: path.parent.name)
async def test_the_schema_and_a_run_work_on_the_servers_of_the_machine(tmp_path, binaries):
    """PostgreSQL 14 is the oldest."""
    server = EmbeddedPostgres(tmp_path / "home", binaries=binaries, fsync=False)
    try:
        url = server.start()
        await schema.migrate(url)
        async with Store.opened(url) as store:
            (context,) = await store.start([Start("other.parent", {})])
            await store.append(context, [Event("noted", None)])
            async with Worker(store, Registry([other])).working():
                found = await Endings(store, lambda: None).wait(
                    [context], fail_fast=False, may_park=lambda: False
                )
            events = await store.events(context)
            await store.log.position()
            page = await store.log.read(0, LogFilter(context=context))
    finally:
        server.stop()

    assert (found[context].status, found[context].result) == ("DONE", 7)
    assert [event.version for event in page.events] == [event.version for event in events]
