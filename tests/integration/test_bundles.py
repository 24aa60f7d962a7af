"""Bundles: contexts leave for a file and come into another database, as they were."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import sys
import zipfile
from contextlib import suppress
from datetime import timedelta
from functools import partial

import psycopg
import pytest
from msgspec import UNSET

from dama import Service, Task
from dama.app import App
from dama.bundles import layout, reading
from dama.bundles.errors import BundleError
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.domain.exact import document, encode
from dama.domain.lifecycle import lifecycle
from dama.errors import DamaError
from dama.operations import bundles, contexts, forks, tasks
from dama.programs.programs import directories_of
from dama.store import Append, Start, Store
from dama.store.bundles import LINES_AT_ONCE
from dama.store.errors import UnknownContextError
from tests.conftest import create_role, fresh_database, url_of
from tests.integration.counters import settle_counters

moves = Service("moves")
done: list[tuple[int, str]] = []
failing: set[str] = set()


def note(context_id: int, name: str) -> str:
    """What is done, once each; its own id is among its arguments."""
    if name in failing:
        raise ValueError(name)
    done.append((context_id, name))
    return name


@moves.task
async def part(task: Task, n: int) -> str:
    """One step."""
    return await task.step("part", note, task.context_id, f"part {n}")


@moves.task
async def whole(task: Task, count: int = 2, *, waits: bool = False) -> list[str]:
    """Subtasks, a step, perhaps an answer, a step."""
    await task.step("first", note, task.context_id, "first")
    parts = await task.map(part, [{"n": n} for n in range(count)])
    await task.dispatch("rows/loaded", {"rows": len(parts), "share": 0.1})
    if waits:
        await task.wait_for("go")
    last = await task.step("last", note, task.context_id, "last")
    return [*parts, last]


@pytest.fixture(autouse=True)
def nothing_done():
    done.clear()
    failing.clear()


@pytest.fixture
async def app(store, tmp_path):
    return App(store, Registry([moves]), tmp_path / "here")


@pytest.fixture
def elsewhere_url(server, template):
    yield from fresh_database(server, template)


@pytest.fixture
async def elsewhere(elsewhere_url, tmp_path):
    async with Store.opened(elsewhere_url) as store:
        yield App(store, Registry([moves]), tmp_path / "elsewhere")


async def ran(app, task=whole, until="its end", **params):
    """A context whose task has run to an event of such a type."""
    context_id = await tasks.start(app, task, params)
    await work(app, context_id, until)
    return context_id


async def work(app, context_id, until="its end"):
    async with app.working():
        async for event in contexts.follow(app, context_id):
            if event.type.endswith(until):
                return


async def moved(app, other, path, *given, **options):
    """What came of an export and an import."""
    await bundles.export(app, given, path)
    return await bundles.import_bundle(other, path, **options)


def lines(path, name=layout.EVENTS):
    with zipfile.ZipFile(path) as file:
        return [json.loads(line) for line in file.read(name).splitlines()]


async def told(app, context_id):
    """What its events tell, but for ids and where they come from."""
    events = (await contexts.events(app, context_id)).events
    return [
        (e.type, None if e.type.endswith(":SPAWNED") else e.payload, e.error, e.created_at)
        for e in events
    ]


async def test_a_tree_comes_into_another_database_as_it_was(app, elsewhere, tmp_path):
    """Statuses, results, times and life cycles; ids are new, in the order of the old ones."""
    for _ in range(3):  # ids are others there
        await elsewhere.store.start([Start("moves.part", {"n": 9})])
    context_id = await ran(app)

    made = await moved(app, elsewhere, tmp_path / "a.zip", context_id)

    (new,) = [each.context_id for each in made.contexts]
    here, there = await contexts.tree(app, context_id), await contexts.tree(elsewhere, new)
    assert [(row.task, row.status, row.version, row.created_at) for row in here] == [
        (row.task, row.status, row.version, row.created_at) for row in there
    ]
    assert new == 4
    assert [row.context_id for row in there] == [4, 5, 6]
    for old, row in zip(here, there, strict=True):
        assert await told(elsewhere, row.context_id) == await told(app, old.context_id)
    report = await contexts.read(elsewhere, new)
    assert report.result == (await contexts.read(app, context_id)).result
    assert report.imported_from.context_id == context_id
    assert (await contexts.state(elsewhere, new, lifecycle.name)).subtasks == {
        "map:moves.part": (5, 6)
    }


async def test_export_import_export_is_the_same_file(app, elsewhere, server, template, tmp_path):
    """Also through a third database, and for part of a tree."""
    context_id = await ran(app)
    await ran(app, count=3)
    failing.add("last")
    failed = await ran(app)
    files = [tmp_path / f"{n}.zip" for n in range(3)]

    made = await moved(app, elsewhere, files[0], context_id, failed)
    roots = [each.context_id for each in made.contexts]
    await bundles.export(elsewhere, roots, files[1])
    for url in fresh_database(server, template):
        async with Store.opened(url) as store:
            third = App(store, Registry([moves]), tmp_path / "third")
            made = await bundles.import_bundle(third, files[1])
            await bundles.export(third, [e.context_id for e in made.contexts], files[2])

    assert files[0].read_bytes() == files[1].read_bytes() == files[2].read_bytes()


KINDS = (
    "x", "a.b:LOG", "rows/loaded", "a.b/s:DONE", "a.b/m:SPAWNED", "a.b/end:m:DONE", "a.b:PROGRESS",
    "a.b:ERROR", "a.b:FINAL",
)  # fmt: skip


def anything(chance):
    return chance.choice([
        None, 0, -1.5, "", "é\u2028", [], {}, [1, [2, {"a": None}]], {"context_ids": [1, 2]},
        {"failed": 1}, 10**30, {"imported_from": 3}, "x" * 5000,
    ])  # fmt: skip


async def history(store, chance):
    """A tree of contexts with events of any kind, in any order among each other."""
    ids: list[int] = []
    for n in range(chance.randint(1, 8)):
        key = f"key {n}" if chance.random() < 0.3 else None
        ids += await store.start([
            Start(chance.choice(["a.b", "c.d"]), {"any": anything(chance)}, key=key)
        ], parent=chance.choice(ids) if ids else None)  # fmt: skip
    ended: set[int] = set()
    for n in range(chance.randint(0, 60)):
        context_id = chance.choice(ids)
        if context_id in ended:
            continue
        kind = chance.choice(KINDS)
        is_error = kind.endswith(":ERROR")
        if kind.endswith((":FINAL", ":ERROR")):
            ended.add(context_id)
        meta = chance.choice(
            [None, {"idempotency_key": f"k{n}"}, {"imported_from": n}, {"a": []}, {}]
        )
        payload = {"name": "E", "any": anything(chance)} if is_error else anything(chance)
        if kind.endswith("SPAWNED"):
            payload = {"context_ids": chance.sample([*ids, 999_999_999, -4], 2)}
        if kind.endswith("/end:m:DONE"):
            payload = {"failed": chance.choice([*ids, 77])}
        event = Event(kind, payload, error=is_error or UNSET, meta=UNSET if meta is None else meta)
        await store.append_many([Append(context_id, event)])
    return ids


@pytest.mark.parametrize("seed", range(8))
async def test_any_history_survives_the_way_out_and_in(app, elsewhere, tmp_path, seed):
    """States equal, the same file again: with ids in payloads, keys of starts, errors, odd JSON."""
    chance = random.Random(seed)
    await history(elsewhere.store, chance)
    ids = await history(app.store, chance)
    given = chance.sample(ids, min(len(ids), 3))

    made = await moved(app, elsewhere, tmp_path / "a.zip", *given)
    await bundles.export(elsewhere, [each.context_id for each in made.contexts], tmp_path / "b.zip")

    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    for each in made.contexts:
        old = await contexts.read(app, each.source_id)
        new = await contexts.read(elsewhere, each.context_id)
        is_ended = each.context_id in made.ended
        assert (new.status, is_ended) == (
            "CANCELLED" if is_ended else old.status,
            old.status == "OPEN",
        )
        assert new.version == old.version + is_ended


async def test_rows_of_an_adopted_database_leave_and_come_as_they_are(
    app, elsewhere, server, database_url, tmp_path
):
    """Meta that is no object, no INITIAL, no events, no task, types of any kind."""
    superuser = url_of(server, psycopg.conninfo.conninfo_to_dict(database_url)["dbname"], "dama")
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(
            """INSERT INTO _data_manager_admin.etl_context
                 (context_id, parent_id, root_context_id, status, version) VALUES
                 (101, NULL, 101, 'OPEN', 3), (102, 101, 101, NULL, 0)"""
        )
        connection.execute(
            """INSERT INTO _data_manager_admin.event_store_prototype
                 (event_id, etl_context_id, type, payload, meta, error, version) VALUES
                 (9001, 101, 'begin', NULL, '[1]', NULL, 1),
                 (9002, 101, '', 'null', 'null', false, 2),
                 (9003, 101, 'é', '"x"', '"text"', NULL, 3)"""
        )

    made = await moved(app, elsewhere, tmp_path / "a.zip", 101)
    (new,) = [each.context_id for each in made.contexts]
    await bundles.export(elsewhere, [new], tmp_path / "b.zip")

    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert made.ended == []  # a context without a task has no run
    events = (await contexts.events(elsewhere, new)).events
    assert [(e.type, e.meta, e.error) for e in events] == [
        ("begin", [1], UNSET),
        ("", {"imported_from": {"event_id": 9002, "meta": None}}, False),
        ("é", "text", UNSET),
    ]  # fmt: skip


async def test_what_was_open_is_ended_here_and_can_continue(app, elsewhere, tmp_path):
    """Nothing begins to run because a file was read. Resumed, its done steps are not done again."""
    context_id = await ran(app, until=":WAITING", waits=True)
    before = list(done)

    made = await moved(app, elsewhere, tmp_path / "a.zip", context_id)

    (new,) = [each.context_id for each in made.contexts]
    assert made.ended == [new]
    assert (await contexts.read(app, context_id)).status == "OPEN"
    await contexts.resume(elsewhere, new)
    await contexts.dispatch(elsewhere, new, {"type": "go"})
    await work(elsewhere, new)
    assert (await contexts.read(elsewhere, new)).status == "DONE"
    assert done == [*before, (new, "last")]


async def test_a_failed_run_is_resumed_in_the_other_database(app, elsewhere, tmp_path):
    """The subtask that had failed is reopened there, not the one of the same id."""
    failing.add("part 1")
    context_id = await ran(app)
    failing.clear()

    made = await moved(app, elsewhere, tmp_path / "a.zip", context_id)
    (new,) = [each.context_id for each in made.contexts]
    await contexts.resume(elsewhere, new)
    await work(elsewhere, new)

    assert (await contexts.read(elsewhere, new)).result == ["part 0", "part 1", "last"]
    assert sorted(name for _, name in done) == ["first", "last", "part 0", "part 1"]


async def test_what_is_here_already_comes_in_once(app, elsewhere, tmp_path):
    """By where it ran, not by the file; in its own database too. `again` makes further ones."""
    context_id = await ran(app)
    other = await ran(app, part, n=7)
    (first,) = (await moved(app, elsewhere, tmp_path / "a.zip", context_id)).contexts

    again = await moved(app, elsewhere, tmp_path / "b.zip", context_id, other)
    at_home = await bundles.import_bundle(app, tmp_path / "b.zip")
    forced = await bundles.import_bundle(elsewhere, tmp_path / "a.zip", again=True)

    assert [each.context_id for each in again.known] == [first.context_id]
    assert [each.source_id for each in again.contexts] == [other]
    assert ([e.context_id for e in at_home.known], at_home.contexts) == ([context_id, other], [])
    assert forced.contexts[0].context_id not in {first.context_id, context_id}


async def test_keys_of_starts_are_not_taken(app, elsewhere, tmp_path):
    """A start with the same key begins a run there, before and after a rebuild."""
    start = Start("moves.part", {"n": 1}, key="nightly")
    (context_id,) = await app.store.start([start])
    made = await moved(app, elsewhere, tmp_path / "a.zip", context_id)

    await elsewhere.store.rebuild()
    (other,) = await elsewhere.store.start([start])

    assert other != made.contexts[0].context_id


async def test_a_rebuild_knows_what_was_imported(app, elsewhere, elsewhere_url, tmp_path):
    """It stands in the events. A fork of an imported context is none."""
    context_id = await ran(app)
    (new,) = (await moved(app, elsewhere, tmp_path / "a.zip", context_id)).contexts
    fork = await forks.fork(elsewhere, new.context_id, step="last")
    await work(elsewhere, fork.context_id)
    with psycopg.connect(elsewhere_url, autocommit=True) as connection:
        query = "SELECT * FROM _data_manager_admin.imported ORDER BY 1"
        before = connection.execute(query).fetchall()
        connection.execute("DELETE FROM _data_manager_admin.imported")
        await elsewhere.store.rebuild()
        after = connection.execute(query).fetchall()

    assert after == before
    assert (await contexts.read(elsewhere, fork.context_id)).result == ["part 0", "part 1", "last"]
    assert [name for _, name in done].count("first") == 1


async def test_archived_contexts_are_exported_too(app, elsewhere, tmp_path):
    """They are read where they are, and stay there."""
    context_id = await ran(app)
    async for _ in app.store.archive.add(timedelta(0)):
        pass

    made = await moved(app, elsewhere, tmp_path / "a.zip", context_id)

    assert (await contexts.read(elsewhere, made.contexts[0].context_id)).status == "DONE"
    with pytest.raises(UnknownContextError):
        await app.store.context(context_id)


async def test_an_unknown_context_writes_nothing(app, tmp_path):
    """Nor is a file replaced that is there."""
    context_id = await ran(app, part, n=1)
    path = tmp_path / "a.zip"

    with pytest.raises(UnknownContextError, match="no context 99"):
        await bundles.export(app, [context_id, 99], path)
    assert list(tmp_path.glob("*.zip*")) == []

    path.write_text("mine")
    with pytest.raises(BundleError, match="is there already"):
        await bundles.export(app, [context_id], path)
    assert path.read_text() == "mine"


def rewritten(path, change):
    """The bundle with other members, and checksums that are right."""
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    manifest = json.loads(members[layout.MANIFEST])
    for name in manifest["sha256"]:
        if name in members:
            manifest["sha256"][name] = hashlib.sha256(members[name]).hexdigest()
    manifest["contexts"] = len(members.get(layout.CONTEXTS, b"").splitlines())
    manifest["events"] = len(members[layout.EVENTS].splitlines())
    members[layout.MANIFEST] = json.dumps(manifest).encode()
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)


def change_line(member, number, members, **values):
    found = [json.loads(line) for line in members[member].splitlines()]
    found[number] |= values
    members[member] = b"".join(json.dumps(line).encode() + b"\n" for line in found)


def without_line(member, number, members):
    found = members[member].splitlines(keepends=True)
    del found[number]
    members[member] = b"".join(found)


WRONG = {
    "no events": lambda members: members.update({layout.EVENTS: b""}),
    "an event is missing": partial(without_line, layout.EVENTS, 2),
    "the last event is missing": partial(without_line, layout.EVENTS, -1),
    "a version twice": partial(change_line, layout.EVENTS, 2, version=2),
    "version 0": partial(change_line, layout.EVENTS, 0, version=0),
    "an event of no context": partial(change_line, layout.EVENTS, 1, context=9),
    "a type that is no text": partial(change_line, layout.EVENTS, 1, type=5),
    "a time that is none": partial(change_line, layout.EVENTS, 1, created_at="yesterday"),
    "a zero character": partial(change_line, layout.EVENTS, 1, type="a\0b"),
    "a zero character in a payload": partial(change_line, layout.EVENTS, 1, payload={"a": "\0"}),
    "an unknown key": partial(change_line, layout.EVENTS, 1, sql="DROP"),
    "a parent that comes later": partial(change_line, layout.CONTEXTS, 1, parent=3),
    "its own parent": partial(change_line, layout.CONTEXTS, 1, parent=2),
    "a context twice": partial(change_line, layout.CONTEXTS, 1, context=1),
    "a number too large": partial(change_line, layout.CONTEXTS, 1, context_id=10**30),
    "fewer events than said": partial(change_line, layout.CONTEXTS, 1, events=99),
    "no JSON": lambda members: members.update({layout.EVENTS: b"{]\n"}),
    "a cut line": lambda members: members.update({layout.EVENTS: members[layout.EVENTS][:-5]}),
    "no contexts": lambda members: members.pop(layout.CONTEXTS),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_a_file_that_is_wrong_changes_nothing(app, elsewhere, elsewhere_url, tmp_path, wrong):
    """Its checksums are right: somebody has written it so."""
    context_id = await ran(app)
    path = tmp_path / "a.zip"
    await bundles.export(app, [context_id], path)
    rewritten(path, wrong)

    with pytest.raises(DamaError) as raised:
        await bundles.import_bundle(elsewhere, path)

    assert "this is a bug" not in str(raised.value)
    assert rows(elsewhere_url) == (0, 0, 0)


def rows(url):
    names = ("etl_context", "event_store_prototype", "imported")
    with psycopg.connect(url) as connection:
        return tuple(
            connection.execute(f"SELECT count(*) FROM _data_manager_admin.{name}").fetchone()[0]  # noqa: S608
            for name in names
        )


async def test_a_damaged_file_changes_nothing(app, elsewhere, elsewhere_url, tmp_path):
    """A bit flipped anywhere, or a part of it missing."""
    context_id = await ran(app)
    path = tmp_path / "a.zip"
    await bundles.export(app, [context_id], path)
    whole_file = path.read_bytes()
    chance = random.Random(1)
    for n in range(60):
        data = bytearray(whole_file)
        at = chance.randrange(len(data))
        if n % 3:
            data[at] ^= 1 << chance.randrange(8)
        else:
            del data[at:]
        path.write_bytes(data)
        before = rows(elsewhere_url)
        found = await refusal(elsewhere, path)
        if found is None:  # it was where a zip file says what nobody needs
            assert rows(elsewhere_url)[0] == 3
        else:
            assert "this is a bug" not in str(found)
            assert rows(elsewhere_url) == before


async def test_no_byte_of_a_file_can_be_such_that_reading_it_is_a_bug(app, tmp_path):
    """Each byte of the file is another one once, and a part of the files ends after it."""
    context_id = await ran(app)
    path = tmp_path / "a.zip"
    await bundles.export(app, [context_id], path)
    whole_file = path.read_bytes()
    chance = random.Random(1)
    told = 0
    for at in range(len(whole_file)):
        data = bytearray(whole_file)
        data[at] ^= chance.randrange(1, 256)
        path.write_bytes(data if at % 4 else data[:at])
        with suppress(BundleError), reading.opened(path) as bundle:
            bundle.verify()
            assert len(list(bundle.events())) == bundle.manifest.events
            continue
        told += 1
    assert told > len(whole_file) / 2


async def refusal(app, path):
    try:
        await bundles.import_bundle(app, path)
    except DamaError as error:
        return error


async def test_a_newer_version_of_the_format_is_refused_by_name(app, elsewhere, tmp_path):
    """What it means is not known here."""
    path = tmp_path / "a.zip"
    await bundles.export(app, [await ran(app, part, n=1)], path)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    members[layout.MANIFEST] = members[layout.MANIFEST].replace(b'"version": 1', b'"version": 2')
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)

    with pytest.raises(BundleError, match=r"version 2 .* up to version 1"):
        await bundles.import_bundle(elsewhere, path)


async def test_who_does_not_own_the_tables_is_told_so(app, elsewhere_url, server, tmp_path):
    """History is written as it was, which no worker may."""
    create_role(server, "mere_worker")
    path = tmp_path / "a.zip"
    await bundles.export(app, [await ran(app, part, n=1)], path)
    with psycopg.connect(elsewhere_url, autocommit=True) as connection:
        for (grant,) in connection.execute(
            "SELECT * FROM _data_manager_admin.access_grants('mere_worker', 'worker')"
        ).fetchall():
            connection.execute(grant)
    name = psycopg.conninfo.conninfo_to_dict(elsewhere_url)["dbname"]

    async with Store.opened(url_of(server, name, "mere_worker")) as store:
        worker = App(store, Registry([moves]), tmp_path / "worker")
        with pytest.raises(DamaError, match="permission") as raised:
            await bundles.import_bundle(worker, path)

    assert "this is a bug" not in str(raised.value)
    assert rows(elsewhere_url) == (0, 0, 0)


async def test_many_events_keep_their_order_in_the_tree(app, elsewhere, tmp_path):
    """More than come in at once, of several contexts in turn."""
    ids = await app.store.start([Start("moves.part", {"n": 0})])
    starts = [Start("moves.part", {"n": n}) for n in (1, 2)]
    ids += await app.store.start(starts, parent=ids[0])
    events = [Append(ids[n % 3], Event("row", n)) for n in range(LINES_AT_ONCE * 2 + 7)]
    await app.store.append_many(events)

    made = await moved(app, elsewhere, tmp_path / "a.zip", ids[0])

    assert made.events == len(events) + 3
    (new,) = [each.context_id for each in made.contexts]
    assert await rows_of(elsewhere, new) == await rows_of(app, ids[0])


async def rows_of(app, context_id):
    events = contexts.follow(app, context_id, tree=True, wait=False)
    return [event.payload async for event in events if event.type == "row"]


async def test_logs_and_artifacts_come_along_when_they_are_asked_for(app, elsewhere, tmp_path):
    """Where `dama logs` finds them; a name that leads out of the folder is none."""
    (context_id,) = await app.store.start([Start("moves.part", {"n": 1})])
    run = (await directories_of(app.store, app.home)).of(context_id, 3)
    run.make()
    run.stdout.write_bytes(b"one\ntwo\n" + b"\xff\n")
    run.artifacts.joinpath("deep").mkdir()
    run.artifacts.joinpath("deep", "é.csv").write_text("a,b\n")
    run.artifacts.joinpath("link").symlink_to("/etc/passwd")
    for odd in (b"z\xe9", b"z\xea"):  # names of text are made of these
        run.artifacts.joinpath(os.fsdecode(odd)).write_bytes(odd)
    path = tmp_path / "a.zip"
    await bundles.export(app, [context_id], path, logs=True, artifacts=True)
    with zipfile.ZipFile(path) as file:
        names = [name for name in file.namelist() if "/" in name]
    assert names[:2] == ["logs/1/3/stdout", "artifacts/1/3/deep/é.csv"]
    assert [name[:17] for name in names[2:]] == ["artifacts/1/3/z\ufffd."] * 2
    rewritten(path, escape)

    made = await bundles.import_bundle(elsewhere, path)
    twice = await bundles.import_bundle(elsewhere, path)

    new = made.contexts[0].context_id
    there = (await directories_of(elsewhere.store, elsewhere.home)).of(new, 3)
    assert (made.files, twice.files) == (4, 0)
    assert there.stdout.read_bytes() == run.stdout.read_bytes()
    assert {file.read_bytes() for file in there.artifacts.glob("z*")} == {b"z\xe9", b"z\xea"}
    assert there.artifacts.joinpath("deep", "é.csv").read_text() == "a,b\n"
    assert not there.is_open()
    assert list(tmp_path.rglob("evil*")) == []
    await bundles.export(elsewhere, [new], tmp_path / "b.zip", logs=True, artifacts=True)
    with zipfile.ZipFile(tmp_path / "b.zip") as file:
        assert [name for name in file.namelist() if "/" in name] == names


def escape(members):
    manifest = json.loads(members[layout.MANIFEST])
    for name in ("artifacts/1/3/../../evil", "artifacts/1/3//tmp/evil", "logs/1/3/evil",
                 "logs/7/3/stdout"):  # fmt: skip
        members[name] = b"evil"
        manifest["sha256"][name] = ""
    members[layout.MANIFEST] = json.dumps(manifest).encode()


async def test_a_killed_import_leaves_nothing(app, elsewhere, elsewhere_url, tmp_path):
    """It was in the middle of it; it can be done again."""
    ids = await app.store.start([Start("moves.part", {"n": n}) for n in range(40)])
    await app.store.append_many([Append(ids[n % 40], Event("row", n)) for n in range(4000)])
    path = tmp_path / "a.zip"
    await bundles.export(app, ids, path)
    import_it = f"""
import asyncio
from pathlib import Path
from dama.app import App
from dama.definitions.registry import Registry
from dama.operations import bundles
from dama.store import Store
async def main():
    async with Store.opened({elsewhere_url!r}) as store:
        app = App(store, Registry([]), Path({str(tmp_path / "home")!r}))
        await bundles.import_bundle(app, Path({str(path)!r}))
asyncio.run(main())
"""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", import_it)
    with psycopg.connect(elsewhere_url, autocommit=True) as connection:
        while not connection.execute(WRITES).fetchall():
            await asyncio.sleep(0.001)
            assert process.returncode is None
        process.kill()
        await process.wait()
        settle_counters(connection, besides=1)

    assert rows(elsewhere_url) == (0, 0, 0)
    made = await bundles.import_bundle(elsewhere, path)
    assert (len(made.contexts), rows(elsewhere_url)) == (40, (40, 4080, 40))


WRITES = """
SELECT pid FROM pg_stat_activity
  WHERE datname = current_database() AND application_name = 'dama import'
    AND backend_xid IS NOT NULL
"""


async def test_parquet_has_a_row_for_each_event(app, tmp_path):
    """With types that a data frame has, and JSON as text with all its digits."""
    pandas = pytest.importorskip("pandas")
    context_id = await ran(app)
    path = tmp_path / "a.parquet"

    done = await bundles.export_parquet(app, [context_id], path)
    frame = pandas.read_parquet(path)

    assert (done.contexts, done.events) == (3, len(frame))
    tree = await contexts.tree(app, context_id)
    assert frame.groupby("context_id").size().to_dict() == {r.context_id: r.version for r in tree}
    (row,) = frame[frame.type == "rows/loaded"].to_dict("records")
    assert row["payload"] == '{"rows": 2, "share": 0.1}'
    assert (row["context_id"], row["error"]) == (context_id, None)
    assert str(frame.created_at.dtype) == "datetime64[us, UTC]"
    assert set(frame[frame.context_id != context_id].parent_id) == {context_id}


async def test_redux_devtools_get_each_event_with_the_states_after_it(app, tmp_path):
    """What a monitor needs to move through the history without reducers."""
    context_id = await ran(app)
    path = tmp_path / "a.json"

    await bundles.export_devtools(app, context_id, path, [lifecycle.name])
    lifted = json.loads(path.read_text())

    events = (await contexts.events(app, context_id)).events
    types = [lifted["actionsById"][str(n)]["action"]["type"] for n in lifted["stagedActionIds"]]
    assert types == ["@@INIT", *(event.type for event in events)]
    for computed, event in zip(lifted["computedStates"][1:], events, strict=True):
        state = await contexts.state(app, context_id, lifecycle.name, event.event_id)
        wanted = {"lifecycle": document(lifecycle.encode_state(state))}
        assert computed["state"] == json.loads(encode(wanted))
    assert lifted["currentStateIndex"] == lifted["nextActionId"] - 1 == len(events)


async def test_another_context_of_the_same_id_is_another_one(app, tmp_path):
    """In a database that was copied with its files, and has gone its own way since."""
    context_id = await ran(app, part, n=1)
    later_id = await ran(app, part, n=2)
    path = tmp_path / "a.zip"
    await bundles.export(app, [context_id, later_id], path)
    change = partial(change_line, layout.CONTEXTS, 1, created_at="2020-01-01T00:00:00+00:00")
    rewritten(path, change)

    made = await bundles.import_bundle(app, path)

    assert [each.context_id for each in made.known] == [context_id]
    (other,) = made.contexts
    assert (other.source_id, other.context_id) == (later_id, later_id + 1)


async def test_ids_that_were_never_drawn_here_are_not_taken(app, tmp_path):
    """The database is an older state of itself: its next runs have these ids."""
    path = tmp_path / "a.zip"
    await bundles.export(app, [await ran(app, part, n=1)], path)
    rewritten(path, partial(change_line, layout.CONTEXTS, 0, context_id=1000))

    made = await bundles.import_bundle(app, path)

    assert made.contexts[0].context_id == 2
    report = await contexts.read(app, 2)
    assert report.imported_from.context_id == 1000


async def test_an_artifact_that_begins_with_a_hole_is_whole(app, elsewhere, tmp_path):
    """Of a log these bytes would be what its cap has taken."""
    (context_id,) = await app.store.start([Start("moves.part", {"n": 1})])
    run = (await directories_of(app.store, app.home)).of(context_id, 1)
    run.make()
    with run.artifacts.joinpath("image").open("wb") as file:
        file.seek(3_000_000)
        file.write(b"end\nof it")
    path = tmp_path / "a.zip"

    await bundles.export(app, [context_id], path, artifacts=True)
    made = await bundles.import_bundle(elsewhere, path)

    there = (await directories_of(elsewhere.store, elsewhere.home)).of(
        made.contexts[0].context_id, 1
    )
    assert there.artifacts.joinpath("image").read_bytes() == b"\0" * 3_000_000 + b"end\nof it"


async def test_files_that_cannot_be_written_come_with_the_next_import(app, elsewhere, tmp_path):
    """The contexts are there, and what is in the way is named."""
    (context_id,) = await app.store.start([Start("moves.part", {"n": 1})])
    run = (await directories_of(app.store, app.home)).of(context_id, 1)
    run.make()
    run.artifacts.joinpath("a").write_text("a")
    path = tmp_path / "a.zip"
    await bundles.export(app, [context_id], path, artifacts=True)
    runs = (await directories_of(elsewhere.store, elsewhere.home)).path
    runs.parent.mkdir(parents=True)
    runs.write_text("a file in its place")

    with pytest.raises(BundleError, match="cannot be written below"):
        await bundles.import_bundle(elsewhere, path)
    runs.unlink()
    made = await bundles.import_bundle(elsewhere, path)

    assert ([each.context_id for each in made.known], made.files) == ([1], 1)
