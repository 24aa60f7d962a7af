"""States after any event: from cached ones along the history, and always the full fold."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, replace

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.types.json import Jsonb

from dama import Slice
from dama.domain.difference import changes
from dama.domain.event import Event
from dama.domain.lifecycle import lifecycle
from dama.store import Start, Store, states

SCHEMA = "_data_manager_admin"


@dataclass(frozen=True)
class Totals:
    """A state with a dict whose keys are numbers."""

    count: int = 0
    by_day: dict[int, float] | None = None


totals = Slice("ladder_totals", initial=Totals())
untyped = Slice("ladder_untyped", initial={})
opaque = Slice("ladder_opaque", initial=frozenset())


@totals.on("rows")
def rows_loaded(state: Totals, event: Event) -> Totals:
    day, rows = event.payload
    by_day = {**(state.by_day or {}), day: (state.by_day or {}).get(day, 0.0) + rows}
    return replace(state, count=state.count + 1, by_day=by_day)


@untyped.on("rows")
def rows_counted(state, event):
    """Nobody says that the keys are numbers, and JSON makes texts of them."""
    return {**state, event.payload[0]: state.get(event.payload[0], 0) + 1}


@opaque.on("rows")
def rows_kept(state, event):
    """JSON has no sets of lists."""
    return state | {tuple(event.payload)}


async def filled(store, count, seed=1):
    """A context with random events; gives its id and their ids."""
    chance = random.Random(seed)
    (context_id,) = await store.start([Start("a.b", {})])
    ids = []
    while len(ids) < count:
        events = [
            Event("rows", [chance.randint(1, 9), chance.randint(0, 99) / 2])
            if chance.random() < 0.7
            else Event("other")
            for _ in range(min(chance.randint(1, 400), count - len(ids)))
        ]
        ids += await store.append(context_id, events)
    return context_id, ids


def rungs(url):
    """The versions that have a cached state, by slice."""
    found: dict[str, list[int]] = {}
    with psycopg.connect(url) as connection:
        for name, version in connection.execute(
            f"SELECT slice, version FROM {SCHEMA}.slice_rung ORDER BY 1, 2"  # noqa: S608
        ):
            found.setdefault(name, []).append(version)
    return found


async def full(store, context_id, slice_, at):
    """The fold from the first event, without any cache."""
    return slice_.fold(await store.events(context_id, up_to_event=at))


@pytest.mark.parametrize("slice_", [totals, untyped, opaque, lifecycle], ids=lambda s: s.name)
async def test_the_state_after_any_event_is_the_full_fold(store, monkeypatch, slice_):
    """Asked in any order, with whatever is cached by then, and again with all of it."""
    monkeypatch.setattr(states, "SNAPSHOT_EVERY", 7)
    context_id, ids = await filled(store, 150)
    wanted = {at: await full(store, context_id, slice_, at) for at in ids}
    order = [*ids, *ids]
    random.Random(2).shuffle(order)
    for at in order:
        assert await store.state(context_id, slice_, at) == wanted[at]
    assert await store.state(context_id, slice_) == wanted[ids[-1]]
    assert repr(await store.state(context_id, slice_)) == repr(wanted[ids[-1]])


EVENTS = st.lists(
    st.one_of(
        st.builds(
            lambda day, rows: Event("rows", [day, rows]),
            st.integers(-2, 3),
            st.floats(-1e9, 1e9) | st.integers(-(2**53), 2**53),
        ),
        st.sampled_from([
            Event("other"), Event("a.b/x:DONE", {"result": 1}),
            Event("a.b/y:SPAWNED", {"context_ids": [7, 8]}), Event("a.b:PROGRESS", {"share": 0.5}),
        ]),
    ),
    min_size=1,
    max_size=8,
)  # fmt: skip
# Events that are appended, or the place of an event after which the state is asked, of all so far.
HISTORIES = st.lists(EVENTS | st.floats(0, 1), min_size=2, max_size=6)


def test_the_state_after_any_event_of_any_history_is_the_full_fold(database_url, monkeypatch):
    """While it grows, with rungs that are near or far, and whatever was asked before."""
    with asyncio.Runner() as runner:
        opened = Store.opened(database_url)
        store = runner.run(opened.__aenter__())

        @settings(max_examples=15)
        @given(HISTORIES, st.integers(1, 9), st.sampled_from([totals, untyped, opaque, lifecycle]))
        @example([[Event("rows", [1, 0.5])] * 6, 0.5], 2, totals)
        @example([[Event("a.b/x:DONE", 1)] * 6, 0.5], 2, lifecycle)
        def holds(history, every, slice_):
            monkeypatch.setattr(states, "SNAPSHOT_EVERY", every)
            runner.run(is_the_full_fold(store, history, slice_))

        try:
            holds()
        finally:
            runner.run(opened.__aexit__(None, None, None))
    assert {"ladder_totals", "lifecycle"} <= set(
        rungs(database_url)
    )  # there were some to begin with


async def is_the_full_fold(store, history, slice_):
    """Append and ask, as a history says; at the end ask after each of its events."""
    (context_id,) = await store.start([Start("a.b", {})])
    events = await store.events(context_id)
    for each in history:
        if isinstance(each, list):
            await store.append(context_id, each)
            events = await store.events(context_id)
            continue
        at = events[round(each * (len(events) - 1))].event_id
        got = await store.state(context_id, slice_, at)
        assert repr(got) == repr(slice_.fold([e for e in events if e.event_id <= at]))
    for place in range(len(events), 0, -1):
        at = events[place - 1].event_id
        assert repr(await store.state(context_id, slice_, at)) == repr(slice_.fold(events[:place]))
    assert repr(await store.state(context_id, slice_)) == repr(slice_.fold(events))


async def test_any_event_of_a_long_history_is_near_a_cached_state(store, database_url, monkeypatch):
    """After one look at the end, no fold reads more than a thousand events, or a fiftieth."""
    context_id, ids = await filled(store, 4200)
    await store.state(context_id, totals)
    there = rungs(database_url)["ladder_totals"]
    assert there == [1000, 2000, 3000, 4000]
    read = []
    pages = Store.pages

    async def counted(self, *args, **kwargs):
        async for page in pages(self, *args, **kwargs):
            read.append(len(page))
            yield page

    monkeypatch.setattr(Store, "pages", counted)
    async with Store.opened(database_url) as other:
        for at in random.Random(3).sample(ids, 20):
            read.clear()
            await other.state(context_id, totals, at)
            assert sum(read) <= 1000


async def test_a_state_that_json_changes_is_not_cached(store, database_url):
    """It would come back as another one: keys as texts, no set."""
    context_id, _ = await filled(store, 2100)
    for slice_ in (untyped, opaque, totals):
        await store.state(context_id, slice_)
    assert set(rungs(database_url)) == {"ladder_totals"}


async def test_a_cached_state_of_what_a_restore_undid_is_not_believed(store, database_url):
    """A rung beyond the last version of a context is of another history."""
    context_id, ids = await filled(store, 20)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            f"INSERT INTO {SCHEMA}.slice_rung VALUES (%s, 'ladder_totals', 1, 99, '{{}}')",  # noqa: S608
            [context_id],
        )
    assert await store.state(context_id, totals) == await full(store, context_id, totals, ids[-1])


async def test_a_cached_state_can_be_read_in_sql(store, database_url):
    """The nearest one that is not after the event, and how many events it is behind."""
    context_id, ids = await filled(store, 2500)
    await store.state(context_id, totals)
    with psycopg.connect(database_url) as connection:
        query = f"SELECT version, behind, state -> 'count' FROM {SCHEMA}.slice_state(%s, %s, %s)"  # noqa: S608
        for at, version, behind in (
            (ids[1498], 1000, 500),
            (None, 2501, 0),
            (ids[999 - 1], 1000, 0),
        ):
            (found,) = connection.execute(query, [context_id, "ladder_totals", at]).fetchall()
            assert found[:2] == (version, behind)
            nearest = ids[version - 2]  # the INITIAL is version 1
            assert found[2] == (await store.state(context_id, totals, nearest)).count
        assert connection.execute(query, [context_id, "nobody", None]).fetchall() == []


@pytest.mark.parametrize("seed", range(5))
def test_sql_finds_the_same_differences(database_url, seed):
    """As `dama.domain.difference` does, for values made at random."""
    chance = random.Random(seed)

    def value(depth=3):
        kind = chance.randint(0, 5 if depth else 3)
        if kind == 4:
            return [value(depth - 1) for _ in range(chance.randint(0, 3))]
        if kind == 5:
            return {chance.choice(["a", "b/c", "~d"]): value(depth - 1) for _ in range(3)}
        return chance.choice([None, True, 1, 2.5, "x"])

    with psycopg.connect(database_url) as connection:
        for _ in range(40):
            before, after = value(), value()
            query = f"SELECT path, before_value, after_value FROM {SCHEMA}.diff_state(%s, %s)"  # noqa: S608
            rows = connection.execute(query, [Jsonb(before), Jsonb(after)]).fetchall()
            wanted = [(c.pointer, c.before, c.after) for c in changes(before, after)]
            assert sorted(rows, key=repr) == sorted(wanted, key=repr)
