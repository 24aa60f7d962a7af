"""Who wrote a table, from what, and whether it is fresh: as the steps of runs say."""

import psycopg
import pytest

from dama import Service, Task
from dama.app import App
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.operations import lineage
from dama.store import Start
from dama.testing import run
from tests.acceptance.command import Command

loads = Service("loads")


@loads.task
async def load(task: Task) -> int:
    """Copy rows, and say what was made of them."""
    copied = await task.copy("readings", [(1,), (2,)])
    await task.step("make", made, {"table": "daily", "rows": 1, "inputs": ["public.readings"]})
    return copied.rows


async def made(what: dict) -> dict:
    return what


@pytest.fixture
def app(store, tmp_path):
    return App(store, Registry([loads]), tmp_path)


async def written(store, table, *inputs, rows=1):
    """Say that a step wrote a table; its context."""
    (context_id,) = await store.start([Start("mart.build", {}, delay=3600)])
    payload = {"table": table, "rows": rows, "inputs": [*inputs]}
    await store.append(context_id, [Event("mart.build/make:DONE", payload)])
    return context_id


async def test_the_latest_write_is_found_with_all_that_it_was_made_from(app, store):
    """As far back as steps say it; a table that nobody wrote has no write."""
    raw = await written(store, "public.raw", "elsewhere", rows=7)
    await written(store, "clean", "raw")
    clean = await written(store, "clean", "raw", rows=5)
    await written(store, "mart.daily", "public.clean", "raw")

    found = await lineage.read(app, "mart.daily")
    assert [each.table for each in found.writes] == ["mart.daily"]
    assert found.is_fresh
    of_clean, of_raw = found.sources
    assert (of_clean.written.context_id, of_clean.written.rows) == (clean, 5)
    assert (of_raw.written.context_id, of_raw.written.rows) == (raw, 7)
    assert [each.table for each in of_clean.sources] == ["raw"]
    (elsewhere,) = of_clean.sources[0].sources
    assert (elsewhere.table, elsewhere.written) == ("elsewhere", None)
    assert list(of_raw.sources) == []  # it is shown above
    assert len((await lineage.read(app, "public.clean", most=10)).writes) == 2
    assert (await lineage.read(app, "nowhere")).writes == []


async def test_what_was_written_again_makes_all_that_was_made_from_it_stale(app, store):
    await written(store, "raw")
    await written(store, "clean", "raw")
    await written(store, "daily", "clean")
    assert (await lineage.read(app, "daily")).is_fresh

    await written(store, "public.raw")
    found = await lineage.read(app, "daily")
    assert not found.is_fresh
    assert [each.is_newer for each in found.sources] == [False]
    assert [each.is_newer for each in found.sources[0].sources] == [True]

    await written(store, "clean", "raw")
    await written(store, "daily", "clean")
    assert (await lineage.read(app, "daily")).is_fresh


async def test_tables_that_are_made_from_each_other_are_shown_once(app, store):
    await written(store, "a", "b", "a")
    await written(store, "b", "a")
    found = await lineage.read(app, "a")
    assert [each.table for each in found.sources] == ["b", "a"]
    assert [each.table for each in found.sources[0].sources] == ["a"]


@pytest.mark.parametrize(
    ("payload", "rows", "inputs"),
    [
        ({"rows": "many", "inputs": "raw"}, None, []),
        ({"rows": 2.0, "inputs": [1, None, "raw"]}, 2, ["raw"]),
        ({"rows": None, "inputs": {"a": 1}}, None, []),
        ({"table": "n" * 300_000}, 1, []),
    ],
)
async def test_a_step_may_say_anything(app, store, payload, rows, inputs):
    """What does not make sense is left out; no name is too long for the index."""
    said = {"table": "odd", "rows": 1, **payload}
    (context_id,) = await store.start([Start("mart.build", {}, delay=3600)])
    await store.append(context_id, [Event("mart.build/make:DONE", said)])
    found = await lineage.read(app, said["table"])
    assert [(each.rows, list(each.inputs)) for each in found.writes] == [(rows, inputs)]


def test_what_a_task_copies_is_found_by_the_command(dama, forked, tmp_path):
    with psycopg.connect(dama.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE readings (n int)")
    assert dama.run(load).result == 2
    command = Command(tmp_path, forked.environ(DAMA_DATABASE_URL=dama.database_url))
    lines = command("lineage", "daily", check=True).stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["table", "daily", "readings", "Fresh."]
    assert lines[2].split()[-2:] == ["copy:readings", "2"]
    assert "No step says" in command("lineage", "nowhere", check=True).stdout


@loads.task(inputs=["public.raw", "s3://lab/raw"], outputs=["declared", "mart.both"])
async def declares(task: Task) -> None:
    """One of its outputs is written by a step that says nothing of what it read."""
    await task.step("make", made, {"table": "mart.both", "rows": 3})


async def test_what_tasks_declare_is_written_when_they_are_done(app, store, database_url):
    """With what they declare to read, also where a step says that it wrote it."""
    await written(store, "raw")
    await store.start([Start("loads.declares", {}, delay=3600)])  # it is not done
    first = run(declares, database=database_url).context_id
    second = run(declares, database=database_url).context_id

    found = await lineage.read(app, "public.declared", most=10)
    assert [(each.context_id, each.step) for each in found.writes] == [
        (second, None),
        (first, None),
    ]
    assert [each.table for each in found.sources] == ["raw", "s3://lab/raw"]
    assert found.is_fresh
    both = (await lineage.read(app, "mart.both", most=10)).writes
    assert [(each.context_id, each.step, each.rows) for each in both] == [
        (second, "make", 3),
        (first, "make", 3),
    ]
    assert list(both[0].inputs) == ["public.raw", "s3://lab/raw"]

    await written(store, "raw")
    assert not (await lineage.read(app, "declared")).is_fresh


async def test_what_no_table_can_have_is_not_known_and_ends_no_look(app, store):
    """Names that are too long for PostgreSQL, and counts that are too large for it."""
    long = "x" * 200
    await written(store, long)
    await written(store, f"{long}y")
    await written(store, "mart.odd", long, rows=1e30)

    found = await lineage.read(app, "mart.odd")
    assert found.writes[0].rows is None
    (source,) = found.sources
    assert (source.table, source.written.table) == (long, long)
    assert (await lineage.read(app, "x" * 128)).writes == []
