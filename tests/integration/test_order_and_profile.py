"""Versions order the events of a context, whatever their ids; the database holds the profile."""

# ruff: noqa: S608 - the names in the statements are those of this file

import json

import psycopg
import pytest

from dama.domain.event import Event
from dama.domain.slice import Slice
from dama.store import Start
from tests.cases import case

S = "_data_manager_admin"
EVENTS = f"{S}.event_store_prototype"
seen = Slice("seen", initial=())


@seen.on_match(lambda _event: True)
def note(state: tuple, event: Event) -> tuple:
    """All types in their order."""
    return (*state, event.type)


@pytest.fixture
def sql(database_url):
    """A connection of the owner."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def turned(store, sql):
    """A context whose ids are not in the order of its versions, as after INSERTs that waited."""
    (context,) = await store.start([Start("a.b", {})])
    ids = [
        sql.execute(f"SELECT nextval('{S}.event_store_prototype_event_id_seq')").fetchone()[0]
        for _ in range(4)
    ]
    for place, type_ in ((3, "v2"), (0, "v3"), (2, "v4"), (1, "v5")):
        sql.execute(
            f"INSERT INTO {EVENTS} (event_id, etl_context_id, type) VALUES (%s, %s, %s)",
            [ids[place], context, type_],
        )
    return context


async def test_the_state_at_an_event_is_that_of_its_version(store, sql, turned):
    """In SQL, in pages, in slices: all that came before in the context, and nothing after."""
    for event in await store.events(turned):
        read = await store.events(turned, up_to_event=event.event_id)
        (version,) = sql.execute(
            f"SELECT version FROM {S}.state_at(%s, %s)", [turned, event.event_id]
        ).fetchone()

        assert [each.version for each in read] == list(range(1, event.version + 1))
        assert version == event.version


async def test_the_state_at_an_event_of_another_context_is_what_was_there_before(store, turned):
    """No version has its id: then all before the first event with a greater one."""
    (other,) = await store.start([Start("a.b", {})])
    (before,) = [e.event_id for e in await store.events(turned) if e.version == 1]
    (after,) = [e.event_id for e in await store.events(other)]

    assert len(await store.events(turned, up_to_event=after)) == 5
    assert len(await store.events(turned, up_to_event=before - 1)) == 0


async def test_a_tree_is_followed_in_the_order_of_versions(store, turned):
    """Ids order the contexts among each other only."""
    events = await store.tree_events(turned, {})

    assert [event.version for event in events] == [1, 2, 3, 4, 5]


async def test_a_snapshot_beyond_the_last_version_is_none(store, sql, turned):
    """A restore brings an older history; the cache of a newer one must not be believed."""
    sql.execute(
        f"INSERT INTO {S}.slice_snapshot VALUES (%s, 'seen', 1, 99, '[\"forged\"]')", [turned]
    )

    state = await store.state(turned, seen)

    assert [*state] == ["a.b:INITIAL", "v2", "v3", "v4", "v5"]


def nested(levels):
    """Arrays within each other."""
    return json.loads("[" * levels + "]" * levels)


MIB = 1024 * 1024
BIGGEST = int(1.7976931348623157e308)
FITS = {
    "100 levels": nested(100),
    "100 levels in the one of many": [{}] * 50 + nested(100),
    "1 MiB": "x" * (MIB - 2),
    "brackets in text": "[{" * 500,
    "the largest number": BIGGEST,
    "the least": -BIGGEST,
    "309 digits of text": "9" * 400,
}
TOO_MUCH = {
    "101 levels": nested(101),
    "101 levels beside others": {"a": 1, "b": [1, {"c": nested(99)}]},
    "1 MiB and one byte": "x" * (MIB - 1),
    "1 MiB of two bytes": "ü" * (MIB // 2),
    "beyond a double": BIGGEST + 1,
    "beyond a double, below": [-BIGGEST - 1],
}
# What Python does not read or write, as JSON.
RAW = {
    "1,100 levels": "[" * 1100 + "]" * 1100,
    "5,000 levels of objects": '{"a":' * 5000 + "1" + "}" * 5000,
    "5,000 digits": "9" * 5000,
    "1e400": "1e400",
    "-1e309": "[-1e309]",
    "401 decimals": "0." + "0" * 400 + "1",
}


def doors(sql, ours, text):
    """The verdict of each door of the database, for a payload that is given as JSON."""
    event = f'{{"type": "x", "payload": {text}}}'
    initial = f'{{"type": "a.b:INITIAL", "payload": {text}}}'
    tries = [
        (f"SELECT {S}.append_events(%s)", [f'[{{"context_id": {ours}, "event": {event}}}]']),
        (f"SELECT {S}.dispatch(%s, 'x', %s)", [ours, text]),
        (
            f"INSERT INTO {EVENTS} (etl_context_id, type, payload) VALUES (%s, 'x', %s)",
            [ours, text],
        ),
        (f"SELECT {S}.start_contexts(%s)", [f'[{{"task": "a.b", "event": {initial}}}]']),
    ]
    return [verdict(sql, *each) for each in tries]


def verdict(sql, statement, params):
    """The SQLSTATE of a statement; ok without one."""
    try:
        sql.execute(statement, params)
    except psycopg.Error as error:
        return error.sqlstate
    return "ok"


@pytest.mark.parametrize("value", FITS.values(), ids=FITS)
async def test_what_fits_is_taken_at_every_door(store, sql, value):
    """The limit itself is within."""
    (ours,) = await store.start([Start("a.b", {})])

    assert doors(sql, ours, json.dumps(value, ensure_ascii=False)) == ["ok"] * 4


async def test_what_does_not_fit_is_refused_at_every_door(store, sql):
    """One verdict, and nothing is stored."""
    (ours,) = await store.start([Start("a.b", {})])
    for name in [*TOO_MUCH, *RAW]:
        with case(name):
            text = RAW.get(name) or json.dumps(TOO_MUCH[name], ensure_ascii=False)

            assert doors(sql, ours, text) == ["DM001"] * 4
            assert len(await store.events(ours)) == 1


async def test_types_keys_and_meta_have_their_limits(store, sql):
    """A key of 8 kB used to be an error of an index."""
    (ours,) = await store.start([Start("a.b", {})])
    for type_, meta in [
        ("x" * 1001, {}),
        ("ü" * 501, {}),
        ("x", {"idempotency_key": "k" * 1001}),
        ("x", {"idempotency_key": "ü" * 501}),
        ("x", {"idempotency_key": "k" * 10_000}),
        ("x", {"start_key": "k" * 1001}),
        ("x", {"a": "x" * 65_536}),
        ("x", {"a": nested(100)}),
        ("x", {"epoch": "1"}),
        ("x", {"epoch": 10**18}),
        ("x", {"epoch": 1.5}),
    ]:
        with case(type_, meta):
            event = {"type": type_, "meta": meta}
            text = json.dumps(meta, ensure_ascii=False)
            batch = json.dumps([{"context_id": ours, "event": event}], ensure_ascii=False)

            found = [
                verdict(sql, f"SELECT {S}.append_events(%s)", [batch]),
                verdict(sql, f"SELECT {S}.dispatch(%s, %s, NULL, %s)", [ours, type_, text]),
                verdict(
                    sql,
                    f"INSERT INTO {EVENTS} (etl_context_id, type, meta) VALUES (%s, %s, %s)",
                    [ours, type_, text],
                ),
            ]

            assert found == ["DM001"] * 3


@pytest.mark.parametrize(
    "item",
    [
        {"event": {"type": "a.b:INITIAL"}},
        {"task": "", "event": {"type": "a.b:INITIAL"}},
        {"task": "a.b", "event": {"type": "a.b:FINAL"}},
        {"task": "a.b", "event": {"type": "a.b:INITIAL", "meta": {"priority": "high"}}},
        {"task": "a.b", "event": {"type": "a.b:INITIAL", "meta": {"delay": "1h"}}},
        {"task": "a.b", "event": {"type": "a.b:INITIAL", "meta": {"labels": "gpu"}}},
        {"task": "a.b", "event": {"type": "a.b:INITIAL", "meta": {"queue": 7}}},
        {"task": "a.b", "idempotency_key": "k" * 5000, "event": {"type": "a.b:INITIAL"}},
    ],
)
def test_what_is_no_start_is_refused(sql, item):
    """The queue is rebuilt from the meta of the INITIAL."""
    assert verdict(sql, f"SELECT {S}.start_contexts(%s)", [json.dumps([item])]) == "DM001"
