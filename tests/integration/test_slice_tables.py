"""Slices as tables: equal to the fold of everything, whoever is killed in the middle."""

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest

from dama.domain.event import Event
from dama.domain.slice import Slice
from dama.store import Start, Store
from dama.store.errors import (
    ArchivedError,
    SliceTableError,
    SubscriptionInUseError,
    UnknownSliceTableError,
)
from dama.store.slice_build import SliceBuild

ROWS = """
from dama.domain.slice import Slice

rows = Slice("kept_rows", initial={}, version=%d)


@rows.reducer
def loaded(state: dict[str, int], payload: dict) -> dict[str, int]:
    return {**state, payload["month"]: payload["rows"]}
"""
SHOWN = """
SELECT context_id, version, state::text FROM _data_manager_admin.slice_states
  WHERE slice = 'kept_rows' ORDER BY 1
"""
KEEPER = (
    ROWS
    + """
import asyncio, sys
from dama.store import Store

async def main():
    async with Store.opened(sys.argv[1]) as store:
        build = await store.slice_tables.begin(rows, again=sys.argv[2] == "again")
        await build.catch_up()
        await build.follow()

asyncio.run(main())
"""
)


@pytest.fixture
def rows():
    """The slice; each test has its own."""
    return made(1)


def made(version: int) -> Slice:
    """A version of it."""
    from dama.domain import slice as slices

    slices._SLICES.pop("kept_rows", None)
    names: dict = {}
    exec(ROWS % version, names)  # noqa: S102 - the text above
    return names["rows"]


def loaded(month: str, rows: int) -> Event:
    return Event("kept_rows/loaded", {"month": month, "rows": rows})


def shown(database_url: str) -> list[tuple]:
    with psycopg.connect(database_url) as connection:
        return [(c, v, json.loads(s)) for c, v, s in connection.execute(SHOWN).fetchall()]


async def folded(store: Store, rows: Slice, contexts: list[int]) -> list[tuple]:
    """What a full fold of every context gives."""
    found = []
    for each in contexts:
        own = [e for e in await store.events(each) if e.type == "kept_rows/loaded"]
        if own:
            found.append((each, own[-1].version, rows.fold(own)))
    return found


async def test_a_table_has_the_state_of_each_context_that_has_an_event(store, rows, database_url):
    """And nothing is folded twice."""
    one, two, three = await store.start([Start("a.b", {})] * 3)
    await store.append(one, [loaded("1", 10), Event("other", 1), loaded("2", 20)])
    await store.append(two, [loaded("1", 5)])
    build = await store.slice_tables.begin(rows)

    await build.catch_up()
    await store.append(one, [loaded("2", 21)])
    await build.catch_up()

    assert shown(database_url) == [(one, 5, {"1": 10, "2": 21}), (two, 2, {"1": 5})]
    (table,) = await store.slice_tables.tables()
    assert (table.state, table.rows, table.parked) == ("shown", 2, 0)
    assert table.position == await store.log.position()
    assert three


async def test_another_version_is_built_beside_what_is_shown(store, rows, database_url):
    """Until it has caught up; archived contexts are in it."""
    one, two = await store.start([Start("a.b", {})] * 2)
    await store.append(one, [loaded("1", 10), Event("a.b:FINAL", None)])
    await store.append(two, [loaded("1", 5)])
    await (await store.slice_tables.begin(rows)).catch_up()
    async for _ in store.archive.add(timedelta(0)):
        pass
    newer = made(2)
    with pytest.raises(SliceTableError, match="is not of version 2"):
        await store.slice_tables.begin(newer)

    build = await store.slice_tables.begin(newer, again=True)
    before = shown(database_url)
    assert {t.state for t in await store.slice_tables.tables()} == {"shown", "building"}
    await build.catch_up()

    assert before == shown(database_url) == [(one, 2, {"1": 10}), (two, 2, {"1": 5})]
    assert [t.version for t in await store.slice_tables.tables()] == [2]
    assert len(await store.log.subscriptions()) == 1
    assert await store.slice_tables.remove_left_over() == 2


async def test_what_is_archived_while_a_table_is_begun_is_in_it(store, rows, database_url):
    """Whoever archives has looked for subscriptions before there was one, and commits after."""
    (one,) = await store.start([Start("a.b", {})])
    await store.append(one, [loaded("1", 10), Event("a.b:FINAL", None)])
    await store.log.position()

    async def begun() -> SliceBuild:
        build = await store.slice_tables.begin(rows)
        await build._fold_archived()
        return build

    with psycopg.connect(database_url) as archiver:
        moved = archiver.execute(
            "SELECT contexts FROM _data_manager_admin.archive_trees('0', FALSE, 0, 10)"
        )
        assert moved.fetchall() == [(1,)]
        beginning = asyncio.create_task(begun())
        query = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not (beginning.done() or archiver.execute(query).fetchall()):
            await asyncio.wait([beginning], timeout=0.02)
        archiver.commit()
    await (await beginning).catch_up()

    assert shown(database_url) == [(one, 2, {"1": 10})]


@pytest.mark.parametrize(
    ("leaves", "is_shown"),
    [
        ("SELECT contexts FROM _data_manager_admin.forget_trees('0', 10)", False),
        ("SELECT _data_manager_admin.restore_tree(%s)", True),
    ],
)
async def test_what_leaves_the_archive_while_it_is_folded(
    store, rows, database_url, leaves, is_shown
):
    """What is removed for good is not in the table; what is brought back is found in the log."""
    (one,) = await store.start([Start("a.b", {})])
    await store.append(one, [loaded("1", 10), Event("a.b:FINAL", None)])
    await store.log.position()
    async for _ in store.archive.add(timedelta(0)):
        pass
    build = await store.slice_tables.begin(rows)

    with psycopg.connect(database_url) as leaving:
        moved = leaving.execute(leaves, [one] if "%s" in leaves else None)
        assert moved.fetchall() == [(1,)]
        folding = asyncio.create_task(build.catch_up())
        query = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not (folding.done() or leaving.execute(query).fetchall()):
            await asyncio.wait([folding], timeout=0.02)
        leaving.commit()
    await folding

    assert shown(database_url) == ([(one, 2, {"1": 10})] if is_shown else [])


async def test_an_archived_context_whose_event_cannot_be_folded_waits_alone(
    store, rows, database_url
):
    """It is brought back to continue; one that is removed for good waits no more."""
    one, two, three = await store.start([Start("a.b", {})] * 3)
    for each in (one, two):
        bad = Event("kept_rows/loaded", {"oops": 1})
        await store.append(each, [loaded("1", each), bad, loaded("2", 7), Event("a.b:FINAL", 1)])
    await store.append(three, [loaded("1", 5), Event("a.b:FINAL", 1)])
    await store.log.position()
    async for _ in store.archive.add(timedelta(0)):
        pass
    build = await store.slice_tables.begin(rows)

    await build.catch_up()
    before = [(one, 2, {"1": one}), (two, 2, {"1": two}), (three, 2, {"1": 5})]
    assert shown(database_url) == before
    assert {p.context_id for p in await store.log.parked()} == {one, two}
    with pytest.raises(ArchivedError, match="is archived"):
        await store.log.resume(build.subscription, one, skip=True)
    await store.archive.restore(one)
    await store.log.resume(build.subscription, one, skip=True)
    await build.catch_up()
    async for _ in store.archive.forget(timedelta(0)):
        pass

    assert shown(database_url) == [(one, 4, {"1": one, "2": 7})]
    assert await store.log.parked() == []


async def test_who_is_dropped_meanwhile_ends(store, rows, database_url):
    """And leaves nothing behind; what was removed for good is gone, too."""
    one, two = await store.start([Start("a.b", {})] * 2)
    await store.append(one, [loaded("1", 10), Event("a.b:FINAL", None)])
    await store.append(two, [loaded("1", 10)])
    build = await store.slice_tables.begin(rows)
    await build.catch_up()
    async for _ in store.archive.add(timedelta(0)):
        pass
    assert [row[0] for row in shown(database_url)] == [one, two]
    async for _ in store.archive.forget(timedelta(0)):
        pass
    assert [row[0] for row in shown(database_url)] == [two]

    assert await store.slice_tables.drop("kept_rows") == 1
    await build.follow()
    await build.catch_up()

    assert shown(database_url) == await store.log.subscriptions() == []
    with pytest.raises(UnknownSliceTableError):
        await store.slice_tables.drop("kept_rows")


async def test_a_context_whose_event_cannot_be_folded_waits_alone(store, rows, database_url):
    """The others of its batch are folded, and a person may leave its event out."""
    one, two = await store.start([Start("a.b", {})] * 2)
    await store.append(one, [loaded("1", 1)])
    (bad,) = await store.append(one, [Event("kept_rows/loaded", {"oops": 1})])
    await store.append(two, [loaded("1", 2)])
    await store.append(one, [loaded("2", 3)])
    build = await store.slice_tables.begin(rows)

    await build.catch_up()
    assert shown(database_url) == [(one, 2, {"1": 1}), (two, 2, {"1": 2})]
    assert [t.parked for t in await store.slice_tables.tables()] == [1]
    await store.log.resume(build.subscription, one, skip=True)
    await build.catch_up()

    assert shown(database_url)[0] == (one, 4, {"1": 1, "2": 3})
    assert bad


class Keepers:
    """Processes that keep the table."""

    def __init__(self, database_url: str) -> None:
        self.alive: list[subprocess.Popen] = []
        self._database_url = database_url

    def begin(self, how: str) -> None:
        command = [sys.executable, "-c", KEEPER % 1, self._database_url, how]
        self.alive.append(subprocess.Popen(command))

    def kill_oldest(self) -> None:
        """One whose build was replaced has ended before."""
        oldest = self.alive.pop(0)
        assert oldest.poll() in {None, 0}
        oldest.kill()
        oldest.wait()


@contextmanager
def keeping(database_url: str) -> Iterator[Keepers]:
    """All are killed at the end."""
    keepers = Keepers(database_url)
    try:
        yield keepers
    finally:
        while keepers.alive:
            keepers.kill_oldest()


async def test_killed_at_random_it_is_equal_to_a_fold_of_everything(store, rows, database_url):
    """Beside writers, with two who keep it, and one who builds it again."""
    chance = random.Random(7)
    contexts = await store.start([Start("a.b", {})] * 20)
    with keeping(database_url) as keepers:
        for number in range(1, 11):
            for _ in range(60):
                each = chance.choice(contexts)
                await store.append(each, [loaded(str(chance.randrange(9)), chance.randrange(99))])
            keepers.begin("again" if number % 4 == 0 else "so")
            if number > 3:
                await asyncio.sleep(chance.random() * 0.4)
                keepers.kill_oldest()
    build = await store.slice_tables.begin(rows)
    await build.catch_up()

    assert shown(database_url) == await folded(store, rows, contexts)
    assert [t.state for t in await store.slice_tables.tables()] == ["shown"]


async def test_the_subscription_of_a_table_is_dropped_with_it(store, rows):
    await (await store.slice_tables.begin(rows)).catch_up()
    (name,) = [row.name for row in await store.log.subscriptions()]
    with pytest.raises(SubscriptionInUseError) as refused:
        await store.log.drop(name)

    assert "dama slice drop" in refused.value.hint
    await store.slice_tables.drop(rows.name)
    assert await store.log.subscriptions() == []
