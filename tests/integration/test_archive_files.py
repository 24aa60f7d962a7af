"""Archived trees in files: they leave the database for good, and come back as they were."""

import asyncio
import json
from datetime import timedelta

import psycopg
import pytest

from dama.app import App
from dama.cli import main
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.operations import archive, archive_files, bundles
from dama.store import Append, Start, Store
from dama.store.errors import IdempotencyConflictError, UnknownContextError
from tests.conftest import fresh_database

NOW = timedelta(0)
ALL = """
SELECT (SELECT json_agg(c ORDER BY context_id) FROM (
          SELECT context_id, parent_id, root_context_id, task, status, version, epoch,
                 initial_event_id, latest_event_id, idempotency_key, created_at
            FROM _data_manager_admin.etl_context) c),
       (SELECT json_agg(e ORDER BY event_id) FROM (
          SELECT event_id, etl_context_id, type, payload, meta, error, version, created_at
            FROM _data_manager_admin.event_store_prototype) e),
       (SELECT json_agg(f ORDER BY context_id) FROM _data_manager_admin.fork f),
       (SELECT json_agg(i ORDER BY context_id) FROM _data_manager_admin.imported i)
"""


@pytest.fixture
async def app(store, tmp_path):
    return App(store, Registry([]), tmp_path / "home")


@pytest.fixture
async def trees(store):
    """Two closed trees of three contexts; their roots."""
    return [await tree(store, f"nightly {n}") for n in range(2)]


async def tree(store, key):
    (root,) = await store.start([Start("a.b", {"n": 0.1}, key=key)])
    spawned = Event("a.b/map:SPAWNED", {"context_ids": [root + 1, root + 2]})
    children = await store.start([Start("a.c", {})] * 2, parent=root, spawned=spawned)
    events = [Event("rows/loaded", {"rows": 1}), Event("a.b:FINAL", {"sum": [1, None]})]
    for context_id in [*children, root]:
        await store.append_many([Append(context_id, event) for event in events])
    return root


async def filed(app, folder):
    await archive.add(app, NOW)
    return await archive_files.add(app, folder, NOW)


def everything(url):
    with psycopg.connect(url) as connection:
        return connection.execute(ALL).fetchone()


async def test_trees_leave_for_files_and_come_back_as_they_were(app, database_url, trees, tmp_path):
    """Ids, events, keys of starts, times: row for row."""
    before = everything(database_url)

    done = await filed(app, tmp_path / "files")

    assert (done.trees, done.contexts, done.events) == (2, 6, 20)
    assert everything(database_url) == (None,) * 4
    assert await app.store.archive.archived(NOW) == []
    for root in trees:
        made = await archive_files.restore(app, tmp_path / "files", root)
        assert made.count == 3
    assert everything(database_url) == before
    for root in trees:
        with pytest.raises(UnknownContextError):
            await archive.restore(app, root)


async def test_readers_of_the_log_meet_them_again(app, trees, tmp_path):
    """Their positions were empty; they have new ones, at the end."""
    seen = await in_the_log(app)
    await filed(app, tmp_path)
    assert await in_the_log(app) == []

    await archive_files.restore(app, tmp_path, trees[0])

    assert await in_the_log(app) == seen[:10]


async def in_the_log(app):
    return [event.event_id for event in (await app.store.log.read(0)).events]


async def test_what_is_in_a_folder_is_listed_and_verified(app, trees, tmp_path):
    """Without the database; a file that is damaged is named."""
    await filed(app, tmp_path)

    found = list(archive_files.listed(tmp_path, verify=True))

    assert [(t.context_id, t.task, t.status, t.contexts, t.events, t.error) for t in found] == [
        (root, "a.b", "DONE", 3, 10, None) for root in trees
    ]
    path = next(tmp_path.rglob(f"{trees[0]}.zip"))
    path.write_bytes(path.read_bytes()[:-30])
    errors = [tree.error for tree in archive_files.listed(tmp_path, verify=True)]
    assert errors[1] is None
    assert str(path) in errors[0]


async def test_a_move_that_was_cut_off_is_done_again(app, database_url, trees, tmp_path):
    """A file is there and the tree too: the tree goes, and the file is the same."""
    await archive.add(app, NOW)
    folder = tmp_path / await app.store.database.identity() / "0"
    folder.mkdir(parents=True)
    await bundles.export(app, [trees[0]], folder / f"{trees[0]}.zip")
    (folder / f".{trees[1]}.new").write_text("half of it")

    done = await archive_files.add(app, tmp_path, NOW)

    assert done.trees == 2
    assert sorted(path.name for path in folder.iterdir()) == [f"{root}.zip" for root in trees]
    assert everything(database_url) == (None,) * 4


async def test_a_tree_that_changed_after_its_file_has_two(app, trees, tmp_path):
    """The later one comes back."""
    await filed(app, tmp_path)
    await archive_files.restore(app, tmp_path, trees[0])
    (more,) = await app.store.start([Start("a.c", {})])
    await app.store.append_many([Append(more, Event("a.c:FINAL", 1))])
    with psycopg.connect(app.store.database.conninfo, autocommit=True) as connection:
        connection.execute("SET dama.rewrite_history = 'on'")
        connection.execute(
            "UPDATE _data_manager_admin.event_store_prototype SET payload = '7'"
            " WHERE etl_context_id = %s AND version = 1",
            [trees[0]],
        )

    await filed(app, tmp_path)

    names = sorted(path.name for path in tmp_path.rglob(f"{trees[0]}*.zip"))
    assert names == [f"{trees[0]}.2.zip", f"{trees[0]}.zip"]
    await archive_files.restore(app, tmp_path, trees[0])
    assert [e.payload for e in await app.store.events(trees[0], limit=1)] == [7]


async def test_a_key_that_was_given_to_another_start_keeps_a_tree_in_its_file(
    app, database_url, trees, tmp_path
):
    """Nothing of it comes back; with `again` it does, under other ids."""
    await filed(app, tmp_path)
    await tree(app.store, "nightly 0")
    before = everything(database_url)

    with pytest.raises(IdempotencyConflictError, match="key of its start is that of another"):
        await archive_files.restore(app, tmp_path, trees[0])

    assert everything(database_url) == before
    path = next(tmp_path.rglob(f"{trees[0]}.zip"))
    made = await bundles.import_bundle(app, path, again=True)
    assert made.contexts[0].context_id not in trees


async def test_a_context_of_no_file_is_told(app, tmp_path):
    """Also when the folder is not there."""
    with pytest.raises(UnknownContextError, match=r"No file in .* has context 7"):
        await archive_files.restore(app, tmp_path / "none", 7)
    assert list(archive_files.listed(tmp_path / "none")) == []


async def test_the_command_line_moves_lists_and_restores(
    app, database_url, trees, tmp_path, monkeypatch, capsys
):
    """As the operations do."""
    monkeypatch.setenv("DAMA_DATABASE_URL", database_url)
    await archive.add(app, NOW)

    async def dama(*arguments):
        code = await asyncio.to_thread(main, [*map(str, arguments)])
        return code, capsys.readouterr().out

    code, printed = await dama("archive", "move", "--older-than", "0s", "--to", tmp_path, "--json")
    assert (code, json.loads(printed)["trees"]) == (0, 2)
    code, printed = await dama("archive", "ls", tmp_path, "--verify")
    assert (code, printed.count("DONE")) == (0, 2)
    code, printed = await dama("archive", "restore", trees[0], "--from", tmp_path)
    assert (code, printed) == (0, "3 contexts are back.\n")


async def test_forks_and_imported_trees_come_back_with_where_they_are_from(
    app, database_url, server, template, trees, tmp_path
):
    """Under the ids that they have here; also one that was ended when it was imported."""
    (open_,) = await app.store.start([Start("a.b", {})])
    await bundles.export(app, [trees[0], open_], tmp_path / "theirs.zip")
    for url in fresh_database(server, template):
        async with Store.opened(url) as store:
            there = App(store, Registry([]), tmp_path / "there")
            await store.start([Start("a.b", {})] * 5)
            await store.cancel([1, 2, 3, 4, 5], "no", {})
            await bundles.import_bundle(there, tmp_path / "theirs.zip")
            (fork, *_) = await store.forks.create(6, 2, {}, {})
            await store.cancel([fork.context_id], "no", {})
            before = everything(url)

            done = await filed(there, tmp_path / "files")
            assert (done.trees, everything(url)) == (8, (None,) * 4)
            for root in (1, 2, 3, 4, 5, 6, 9, fork.context_id):
                await archive_files.restore(there, tmp_path / "files", root)

            assert everything(url) == before
            assert before[2] is not None
            assert len(before[3]) == 4
