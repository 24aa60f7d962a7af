"""Cleaning: files go when their context has ended for as long as the policy says, no others do."""

import os
import time
from dataclasses import replace

import psycopg
import pytest

from dama.domain.event import Event
from dama.errors import InvalidDefinitionError
from dama.programs.run_directory import RunDirectories
from dama.store import Start
from dama.upkeep.cleaning import DAY, Keep, clean, read_keep

KEEP = Keep(logs=30 * DAY, work=DAY)


class Host:
    """Contexts that ended some days ago, and what is left of their runs."""

    def __init__(self, store, url, folder):
        self.store = store
        self.url = url
        self.directories = RunDirectories(folder)

    async def run(self, days, end="FINAL", *, settled=True):
        """One that was run, and ended; give its context."""
        (context_id,) = await self.store.start([Start("a.b", {})])
        if end:
            await self.store.append(
                context_id, [Event(f"a.b:{end}", {"message": "x"}, error=end == "ERROR")]
            )
        self.age(context_id, days)
        self.files(context_id, days, settled=settled)
        return context_id

    def age(self, context_id, days):
        """Let its events be so old."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("SET dama.rewrite_history = 'on'")
            connection.execute(
                "UPDATE _data_manager_admin.event_store_prototype"
                " SET created_at = created_at - %s * interval '1 day' WHERE etl_context_id = %s",
                [days, context_id],
            )

    def files(self, context_id, days, *, settled=True):
        """What a run leaves."""
        run = self.directories.of(context_id, 1)
        run.make()
        run.stdout.write_text("x" * 10_000)
        if settled:
            run.settle()
        work = self.directories.work(context_id)
        work.mkdir(parents=True)
        (work / "rows.csv").write_text("y" * 10_000)
        then = time.time() - days * DAY
        for path in (run.path, work):
            os.utime(path, (then, then))

    def left(self):
        """The contexts whose runs and whose working folders are there."""
        runs = [int(p.name) for p in self.directories.path.iterdir() if p.name.isdigit()]
        return sorted(runs), sorted(int(p.name) for p in (self.directories.path / "work").iterdir())


@pytest.fixture
def host(store, database_url, tmp_path):
    return Host(store, database_url, tmp_path / "runs")


async def test_files_stay_as_long_as_the_policy_says(host):
    """A tree that failed may be resumed, and keeps its working folder as long as its logs."""
    young = await host.run(0.5)
    done = await host.run(2)
    failed = await host.run(2, "ERROR")
    old = await host.run(31)
    older = await host.run(31, "ERROR")
    removed = await clean(host.store, host.directories, KEEP)
    assert host.left() == ([young, done, failed], [young, failed])
    assert (removed.runs, removed.folders) == (2, 3)
    assert removed.bytes >= 5 * 8192
    assert not {old, older} & {*host.left()[0]}


async def test_what_is_open_stays_whatever_its_age(host):
    """The context, or the run: somebody may still ship what it told."""
    context = await host.run(90, end="")
    unshipped = await host.run(90, settled=False)
    await clean(host.store, host.directories, KEEP)
    assert host.left() == ([context, unshipped], [context])


async def test_what_somebody_holds_stays(host):
    context = await host.run(90)
    lock = host.directories.of(context, 1).lock()
    os.utime(host.directories.of(context, 1).path, (0, 0))
    await clean(host.store, host.directories, KEEP)
    assert host.left()[0] == [context]
    os.close(lock)
    await clean(host.store, host.directories, KEEP)
    assert host.left()[0] == []


async def test_of_an_archived_context_the_age_of_the_files_counts(host):
    host.files(999, 31)
    host.files(998, 2)
    await clean(host.store, host.directories, KEEP)
    assert host.left() == ([998], [])


async def test_what_a_tool_has_protected_goes_as_well(host):
    """Go's module cache, for one, has folders that nothing can be removed from."""
    context = await host.run(31)
    folder = host.directories.work(context) / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "file").touch()
    (folder / "link").symlink_to(host.directories.path)
    modes = host.directories.path.stat().st_mode
    for path, mode in ((folder, 0o500), (folder.parent, 0), (folder.parent.parent, 0o100)):
        path.chmod(mode)
    os.utime(host.directories.work(context), (0, 0))
    removed = await clean(host.store, host.directories, KEEP)
    assert host.left() == ([], [])
    assert removed.bytes >= 2 * 8192
    assert host.directories.path.stat().st_mode == modes


async def test_a_dry_run_removes_nothing(host):
    context = await host.run(31)
    removed = await clean(host.store, host.directories, KEEP, dry_run=True)
    assert (removed.runs, removed.folders) == (1, 1)
    assert host.left() == ([context], [context])


async def test_things_can_be_kept_for_ever(host):
    context = await host.run(1000)
    await clean(host.store, host.directories, replace(KEEP, logs=None, work=None))
    assert host.left() == ([context], [context])


def test_the_policy_is_read_from_the_settings():
    assert read_keep({"logs": "90d", "work": "forever"}, "dama.toml") == Keep(90 * DAY, None)
    for wrong in ({"log": "1d"}, {"logs": "long"}, {"work": True}, {"work": []}):
        with pytest.raises(InvalidDefinitionError, match=r"dama.toml: keep\."):
            read_keep(wrong, "dama.toml")


async def test_a_working_folder_stays_while_anything_of_its_tree_is_open(host):
    """A subtask that nobody waited for may still read what its root has left there."""
    (root,) = await host.store.start([Start("a.b", {})])
    spawned = Event("a.b/part:SPAWNED")
    (child,) = await host.store.start([Start("a.c", {})], parent=root, spawned=spawned)
    await host.store.append(root, [Event("a.b:FINAL")])
    for context in (root, child):
        host.age(context, 90)
    host.files(root, 90)
    await clean(host.store, host.directories, KEEP)
    assert root in host.left()[1]
    await host.store.append(child, [Event("a.c:FINAL")])
    await clean(host.store, host.directories, KEEP)
    assert root in host.left()[1]  # it was of use a moment ago


@pytest.mark.parametrize("kind", ["ends", "tree_ends"])
async def test_what_is_resumed_during_the_cleaning_stays(host, monkeypatch, kind):
    """The ends of many are read at once, and removing the first ones may take minutes."""
    contexts = [await host.run(90, "ERROR") for _ in range(3)]
    where = host.store if kind == "ends" else host.store.windows
    read = getattr(where, kind)
    asked = []

    async def read_and_resume(numbers):
        ends = await read(numbers)
        if not asked:
            await host.store.append(contexts[1], [Event("a.b:RESUMED")])
        asked.append(numbers)
        return ends

    monkeypatch.setattr(where, kind, read_and_resume)
    await clean(host.store, host.directories, KEEP)

    assert host.left()[1] == [contexts[1]]
    assert host.left()[0] == ([contexts[1]] if kind == "ends" else [])
    assert (host.directories.work(contexts[1]) / "rows.csv").exists()


async def test_what_a_cleaner_that_was_killed_has_begun_is_removed(host):
    gone = host.directories.path / "work/77.gone"
    gone.mkdir(parents=True)
    (gone / "rows.csv").touch()
    await clean(host.store, host.directories, KEEP, dry_run=True)
    assert gone.exists()
    await clean(host.store, host.directories, KEEP)
    assert not gone.exists()
