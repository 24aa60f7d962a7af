"""`dama fork` and `dama archive move` under SIGKILL: nothing or the whole; a repeat completes."""

from __future__ import annotations

import asyncio
import subprocess
import time
from itertools import product
from typing import TYPE_CHECKING

import psycopg
import pytest

from dama.domain.event import Event
from dama.operations import archive_files
from dama.store import Append, Start, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.forked import Forked

TREES = 4
PATIENCE = 120
PROJECT = """
from dama import Service, Task
loads = Service("loads")

@loads.task
async def load(task: Task) -> None: ...

@loads.task
async def part(task: Task) -> None: ...
"""
WAITS = "SELECT pid FROM pg_locks WHERE relation = to_regclass(%s) AND NOT granted"
CONTEXTS = """
SELECT context_id, parent_id, root_context_id, task, status, version, epoch, created_at
  FROM _data_manager_admin.etl_context WHERE context_id = ANY (%s) ORDER BY 1
"""
EVENTS = """
SELECT event_id, etl_context_id, type, payload::text, meta::text, error, version, created_at
  FROM _data_manager_admin.event_store_prototype WHERE etl_context_id = ANY (%s) ORDER BY 1
"""
# How many forks each source has, with what they lack or have too much of.
FORKS = """
SELECT f.source_id, count(*), sum(f.version + 1 - c.version), sum(c.version - (
         SELECT count(*) FROM _data_manager_admin.event_store_prototype e
           WHERE e.etl_context_id = c.context_id)), sum((
         SELECT count(*) FROM _data_manager_admin.run_queue q WHERE q.context_id = c.context_id))
  FROM _data_manager_admin.fork f JOIN _data_manager_admin.etl_context c USING (context_id)
  GROUP BY 1 ORDER BY 1
"""
LOST = """
SELECT (SELECT count(*) FROM _data_manager_admin.event_store_prototype e WHERE NOT EXISTS (
          SELECT FROM _data_manager_admin.etl_context c WHERE c.context_id = e.etl_context_id)),
       (SELECT count(*) FROM _data_manager_admin.archived_event e WHERE NOT EXISTS (
          SELECT FROM _data_manager_admin.archived_context c
            WHERE c.context_id = e.etl_context_id)),
       (SELECT count(*) FROM _data_manager_admin.etl_context c WHERE task IS NOT NULL AND
          NOT EXISTS (SELECT FROM _data_manager_admin.event_store_prototype e
            WHERE c.context_id = e.etl_context_id))
"""


@pytest.fixture
def dama(forked: Forked, database_url: str, tmp_path: Path):
    """Start a command in a project that has the tasks."""
    (tmp_path / "jobs.py").write_text(PROJECT)
    (tmp_path / "dama.toml").write_text('services = ["jobs"]\n')
    environ = forked.environ(DAMA_DATABASE_URL=database_url, DAMA_HOME=str(tmp_path / "home"))

    def start(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["dama", *words], cwd=tmp_path, env=environ, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    return start


async def filled(url: str, *, closed: bool) -> tuple[list[int], list[int]]:
    """Trees of a load and its part; their roots and all ids."""
    roots, ids = [], []
    async with Store.opened(url) as store:
        for _ in range(TREES):
            (root,) = await store.start([Start("loads.load", {})])
            spawned = Event("loads.load/part:SPAWNED", {"context_ids": [root + 1]})
            (child,) = await store.start([Start("loads.part", {})], parent=root, spawned=spawned)
            events = [Event("rows/loaded", {"n": n}) for n in range(20)]
            events.append(Event("loads.load/check:DONE", {"result": 0.1}))
            await store.append(root, events)
            if closed:
                await store.append_many(
                    [Append(child, Event("loads.part:FINAL", 1)),
                     Append(root, Event("loads.load:FINAL", 2))]
                )  # fmt: skip
            roots.append(root)
            ids += [root, child]
    return roots, ids


def rows(url: str, query: str, *params: object):
    with psycopg.connect(url) as connection:
        return connection.execute(query, params or None).fetchall()


def killed_before(url: str, table: str, command: subprocess.Popen[str], *, ends_session: bool):
    """Kill a command whose session waits to write into a table, which is locked by then."""
    with psycopg.connect(url, autocommit=True) as watcher:
        waiting = until(lambda: watcher.execute(WAITS, [table]).fetchall(), command)
        command.kill()
        command.communicate()
        if ends_session:
            watcher.execute("SELECT pg_terminate_backend(%s, 60000)", waiting[0])
    return waiting[0]


def until(reached: Callable[[], object], command: subprocess.Popen[str] | None = None):
    end = time.monotonic() + PATIENCE
    while not (found := reached()):
        assert command is None or command.poll() is None, command.communicate()
        assert time.monotonic() < end
        time.sleep(0.002)
    return found


def kill_at(url: str, table: str, start: Callable[[], subprocess.Popen[str]], *, ends_session):
    """Kill a command before its first write into a table, and wait for the end of its session."""
    table = f"_data_manager_admin.{table}"
    with psycopg.connect(url) as blocker:
        blocker.execute(f"LOCK TABLE {table} IN SHARE MODE")
        pid = killed_before(url, table, start(), ends_session=ends_session)
    is_there = "SELECT FROM pg_stat_activity WHERE pid = %s"
    until(lambda: not rows(url, is_there, *pid))


def test_a_killed_fork_is_not_there_or_whole(dama, database_url):
    """Killed before it writes into each of its tables, while many are forked; then repeated."""
    ids = asyncio.run(filled(database_url, closed=False))[1]
    before = rows(database_url, CONTEXTS, ids), rows(database_url, EVENTS, ids)
    words = ("fork", "--where", "task=loads.load", "--at-step", "check")
    seen = []

    tables = ("event_store_prototype", "etl_context", "fork", "run_queue")
    for table, ends_session in zip(tables, (True, False, True, True), strict=True):
        kill_at(database_url, table, lambda: dama(*words), ends_session=ends_session)
        assert all(row[1:] == (1, 0, 0, 1) for row in rows(database_url, FORKS))
        assert rows(database_url, LOST) == [(0, 0, 0)]
        seen.append(len(rows(database_url, FORKS)))

    assert seen == [0, 2, 2, 2]  # only one session could go on, with the context and its part
    again = dama(*words)
    printed, _ = again.communicate()
    assert again.returncode == 0, printed
    assert rows(database_url, FORKS) == [(each, 1, 0, 0, 1) for each in ids]
    assert (rows(database_url, CONTEXTS, ids), rows(database_url, EVENTS, ids)) == before
    assert asyncio.run(differences(database_url)) == []


async def differences(url: str):
    async with Store.opened(url) as store:
        return await store.differences()


def test_a_killed_move_leaves_each_tree_in_the_archive_or_in_its_file(dama, database_url, tmp_path):
    """Killed while a file is written, and while a tree leaves the database; then repeated."""
    roots, ids = asyncio.run(filled(database_url, closed=True))
    before = rows(database_url, CONTEXTS, ids), rows(database_url, EVENTS, ids)
    assert done(dama("archive", "add", "--older-than", "0s"))
    files = tmp_path / "files"
    words = ("archive", "move", "--older-than", "0s", "--to", str(files))

    for table, ends_session in product(("archived_event", "archived_context"), (True, False)):
        kill_at(database_url, table, lambda: dama(*words), ends_session=ends_session)
        are_in(database_url, files, roots)
    written = dama(*words)
    until(lambda: written.poll() is not None or list(files.rglob(".*.new")))
    written.kill()
    written.communicate()

    until(lambda: dama_is_gone(database_url))
    are_in(database_url, files, roots)
    assert done(dama(*words))
    assert rows(database_url, "SELECT FROM _data_manager_admin.archived_event") == []
    assert sorted(path.name for path in files.rglob("*.*")) == [f"{root}.zip" for root in roots]
    for root in roots:
        assert done(dama("archive", "restore", str(root), "--from", str(files)))
    assert (rows(database_url, CONTEXTS, ids), rows(database_url, EVENTS, ids)) == before


def done(command: subprocess.Popen[str]) -> bool:
    printed, _ = command.communicate()
    assert command.returncode == 0, printed
    return True


def dama_is_gone(url: str) -> bool:
    others = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> %s"
    with psycopg.connect(url) as connection:
        return not connection.execute(others, [connection.info.backend_pid]).fetchall()


def are_in(url: str, files: Path, roots: list[int]) -> None:
    """Each tree is whole in the archive, or in a file that verifies."""
    assert rows(url, LOST) == [(0, 0, 0)]
    archived = {
        root for root, lacks in rows(
            url,
            """SELECT a.root_context_id, sum(a.version - (
                 SELECT count(*) FROM _data_manager_admin.archived_event e
                   WHERE e.etl_context_id = a.context_id))
                 FROM _data_manager_admin.archived_context a GROUP BY 1 HAVING count(*) = 2""",
        ) if lacks == 0
    }  # fmt: skip
    found = list(archive_files.listed(files, verify=True))
    assert [tree.error for tree in found if tree.error] == []
    assert archived | {tree.context_id for tree in found} == set(roots)
