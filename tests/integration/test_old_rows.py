"""Readers survive what older writers stored, and show it as what it is."""

import asyncio
import json

import pytest

from dama.cli.output import json_text
from dama.domain.event import Event
from dama.domain.exact import Digits, Undecoded
from dama.domain.lifecycle import lifecycle
from dama.store.rows import Append
from tests.integration.old_rows import digits, nested, store_row
from tests.integration.served import served

POISON = {
    "5,000 digits": digits(5000),
    "60,000 digits": digits(60_000),
    "1,100 levels": nested(1100),
    "5,000 levels": nested(5000),
}
ODD_META = {"meta of 1,100 levels": nested(1100), "meta of 5,000 digits": digits(5000)}


@pytest.fixture
async def contexts(store, database_url):
    """Three contexts; the one in the middle is to hold what is odd."""
    ids = [1, 2, 3]
    async with store.database._pool.connection() as connection:
        await connection.execute(
            "INSERT INTO _data_manager_admin.etl_context (task)"
            " SELECT 'a.b' FROM generate_series(1, 3)"
        )
    await store.append_many([Append(i, Event("a.b:INITIAL", {})) for i in ids])
    return ids


def odd_row(url, context, sql, type_="odd", *, is_meta=False):
    if is_meta:
        store_row(url, context, type_, "'{}'", sql)
    else:
        store_row(url, context, type_, sql)


@pytest.mark.parametrize("name", [*POISON, *ODD_META])
async def test_every_reader_takes_what_an_older_writer_stored(store, contexts, database_url, name):
    """One row must not make its context, or the log behind it, unreadable."""
    odd = contexts[1]
    odd_row(database_url, odd, (POISON | ODD_META)[name], is_meta=name in ODD_META)
    await store.append_many([Append(i, Event("late")) for i in contexts])

    of_context = await store.events(odd)
    of_tree = await store.tree_events(odd, {})
    await store.log.position()
    logged = (await store.log.read()).events
    state = await store.state(odd, lifecycle)

    assert (
        [e.type for e in of_context] == [e.type for e in of_tree] == ["a.b:INITIAL", "odd", "late"]
    )
    assert len(logged) == 7
    assert state.status == "OPEN"
    value = of_context[1].meta if name in ODD_META else of_context[1].payload
    number = value["n"] if isinstance(value, dict) else value
    assert isinstance(number, Digits | Undecoded)
    assert number.text in json_text(of_context[1], indent=0)
    assert number.text in json_text(of_context[1]).replace("\n", "").replace(" ", "")


@pytest.mark.parametrize(
    "type_", ["a.b:FINAL", "a.b:CANCELLED", "a.b/x:DONE", "a.b/x:SPAWNED", ":PROGRESS"]
)
@pytest.mark.parametrize("name", POISON)
async def test_the_life_cycle_is_read_whatever_its_events_hold(
    store, contexts, database_url, name, type_
):
    """What a FINAL or a step of an older program holds is part of the state."""
    odd_row(database_url, contexts[1], POISON[name], type_)

    state = await store.state(contexts[1], lifecycle)
    outcomes = await store.outcomes(contexts)

    assert json_text(state)
    assert (contexts[1] in outcomes) == (type_ in ("a.b:FINAL", "a.b:CANCELLED"))


@pytest.mark.parametrize("name", ["1,100 levels", "5,000 levels", "meta of 1,100 levels"])
async def test_a_subscription_parks_the_context_of_an_event_that_nobody_can_read(
    store, contexts, database_url, name
):
    """Nothing is known of what is in it; all other contexts continue, and so does it without it."""
    odd = contexts[1]
    odd_row(database_url, odd, (POISON | ODD_META)[name], is_meta=name in ODD_META)
    await store.append_many([Append(i, Event("late")) for i in contexts])
    handled = []

    async def handle(_, event):
        handled.append((event.context_id, event.type))

    subscription = store.log.subscription("all", handle)
    await subscription.catch_up()
    before = [*handled]
    (parked,) = await store.log.parked()
    await store.log.resume("all", odd, skip=True)
    await subscription.catch_up()

    assert (odd, "late") not in before
    assert len(before) == 5
    assert parked.context_id == odd
    assert parked.error["name"] == "UnreadableEventError"
    assert handled[5:] == [(odd, "late")]


async def test_a_number_of_any_length_is_handled_by_a_subscription(store, contexts, database_url):
    """It is a number all the same, with all its digits."""
    odd_row(database_url, contexts[1], digits(5000))
    found = []

    async def handle(_, event):
        if event.type == "odd":
            found.append(event.payload["n"])

    await store.log.subscription("all", handle).catch_up()

    assert [number.text for number in found] == ["9" * 5000]


async def test_the_stream_sends_what_an_older_writer_stored(
    store, contexts, database_url, tmp_path
):
    """And what came behind it, rather than nothing."""
    for sql in POISON.values():
        odd_row(database_url, contexts[1], sql)
    await store.append(contexts[2], [Event("late", {"last": True})])

    async with served(store, tmp_path, working=False) as client:
        lines = []
        async with client.stream("GET", "/api/stream?after=0") as response:
            async with asyncio.timeout(60):
                async for line in response.aiter_lines():
                    if line.startswith("data: "):
                        lines.append(line)
                    if '"late"' in line:
                        break
        page = await client.get(f"/api/contexts/{contexts[1]}/events")
        context = await client.get(f"/api/contexts/{contexts[1]}")
        state = await client.get(f"/api/contexts/{contexts[1]}/state")
        log = await client.get("/api/events")

    assert len(lines) == 3 + len(POISON) + 1
    for answer in (page, context, state, log):
        assert answer.status_code == 200, answer.text[:300]
    assert "9" * 5000 in page.text
    assert "[" * 1100 in page.text


async def test_digits_that_no_double_holds_are_shown_as_they_were_stored(
    store, contexts, database_url
):
    """A sum of NUMERIC is money; the seventeenth digit of it counts, too."""
    store_row(
        database_url, contexts[1], "odd",
        "'{\"sum\": 123456789012345678.1234567890, \"mean\": 2.3333333333333333,"
        " \"half\": 0.5, \"ten\": 1.10}'",
    )  # fmt: skip

    payload = (await store.events(contexts[1]))[1].payload

    assert json_text(dict(sorted(payload.items())), indent=0) == (
        '{"half":0.5,"mean":2.3333333333333333,"sum":123456789012345678.1234567890,"ten":1.1}'
    )
    assert payload["sum"] + 1 == float("123456789012345678.1234567890") + 1
    assert type(payload["half"]) is float
    assert json.loads(json_text(payload))
