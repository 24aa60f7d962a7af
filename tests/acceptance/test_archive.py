"""The archive under SIGKILL: a tree is in one place, whenever `dama archive` is killed."""

import asyncio
import time

import psycopg
import pytest

from dama.domain.event import Event
from dama.store import Append, Start, Store
from tests.acceptance.killing import Program

PLACES = """
SELECT (SELECT count(*) FROM _data_manager_admin.etl_context),
       (SELECT count(*) FROM _data_manager_admin.event_store_prototype),
       (SELECT count(*) FROM _data_manager_admin.archived_context),
       (SELECT count(*) FROM _data_manager_admin.archived_event)
"""
WAITING = """
SELECT pid FROM pg_stat_activity
  WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%archive_trees%'
"""


async def closed_tree(url):
    """A closed tree of three contexts with two events each, and the one that tells of the start."""
    async with Store.opened(url) as store:
        (root,) = await store.start([Start("a.b", {})])
        children = await store.start([Start("a.b", {})] * 2, parent=root)
        await store.append_many([Append(c, Event("a.b:FINAL", {})) for c in [*children, root]])


def one(url, query):
    """The first row of a query, or None."""
    with psycopg.connect(url) as connection:
        return connection.execute(query).fetchone()


def wait_for_end_of(url, backend):
    """Until the server has noticed that its client is gone."""
    deadline = time.monotonic() + 60
    with psycopg.connect(url, autocommit=True) as connection:
        alive = "SELECT FROM pg_stat_activity WHERE pid = %s"
        while connection.execute(alive, [backend]).fetchone() is not None:
            assert time.monotonic() < deadline
            time.sleep(0.01)


@pytest.mark.parametrize("server_goes_on", [True, False])
def test_a_tree_is_in_one_place_when_its_archiving_is_killed(database_url, server_goes_on):
    """Killed while the events have moved and the contexts have not: it is all here or all there."""
    asyncio.run(closed_tree(database_url))
    before = one(database_url, PLACES)

    with psycopg.connect(database_url) as blocker:
        blocker.execute("LOCK TABLE _data_manager_admin.slice_snapshot")  # met in the middle
        with Program(database_url, "archive", "add", "--older-than", "0s") as program:
            program.kill_when(lambda: one(database_url, WAITING) is not None)
        (backend,) = one(database_url, WAITING)
        if not server_goes_on:
            blocker.execute("SELECT pg_terminate_backend(%s, 10000)", [backend])
    wait_for_end_of(database_url, backend)

    moved = (0, 0, *before[:2])
    assert one(database_url, PLACES) == (moved if server_goes_on else before)
