"""Looking closer: events that fit a filter, comparing, supposing, and what did not happen."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from dama import Slice
from dama.domain.event import ABSENT, Event
from dama.domain.schedule import Schedule
from dama.operations import finding, schedules
from dama.operations.finding import EventFilter
from dama.store import Start
from tests.integration.browsing import Browser
from tests.integration.served import served

tally = Slice("looked_at/tally", initial=0)


@tally.reducer(type="looked/added")
def added(state: int, payload: dict) -> int:
    return state + payload["n"]


@pytest.fixture
async def client(store, tmp_path):
    async with served(store, tmp_path, working=False) as client:
        yield client


@pytest.fixture
async def idle(client, tmp_path):
    browser = Browser(str(client.base_url))
    await browser.login((tmp_path / "gateway.token").read_text())
    yield browser
    await browser.client.aclose()


async def added_up(store):
    """A context with the events 2 to 10, of which each third is an error."""
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    for n in range(2, 11):
        is_error = n % 3 == 0
        payload = {"message": f"Number {n}"} if is_error else {"n": n, "100%_off": n == 4}
        type_ = "looked/at_fault" if is_error else "looked/added"
        await store.append(context_id, [Event(type_, payload, error=is_error or ABSENT)])
    return context_id


FOUND = [
    ("type=looked/at_fault", [9, 6, 3]),
    ("type=looked/*t", [9, 6, 3]),
    ("type=looked/a_ded", []),  # no pattern of SQL
    ("type=*%25*", []),
    ("failed=1", [9, 6, 3]),
    ("failed=1&text=nUMBER+9", [9]),
    ("text=100%25_OFF%22%3A+TRUE", [4]),
    ("text=%25", [10, 8, 7, 5, 4, 2]),
    ("type=*:INITIAL", [1]),
]


async def test_events_are_found_by_type_text_and_error(idle, store):
    context_id = await added_up(store)
    for query, versions in FOUND:
        page = await idle.get(f"/contexts/{context_id}?{query}")
        assert page.rows() == [f"e{version}" for version in versions], query
        assert ("No event fits" in page.text) is (not versions), query
        assert "Older" not in page.text


async def test_steps_follow_the_filter_and_links_keep_it(idle, store):
    context_id = await added_up(store)
    page = await idle.get(f"/contexts/{context_id}?failed=1&at=6&slice=looked_at/tally")
    steps = {v["data-step"]: v["href"] for tag, v in page.tags if tag == "a" and "data-step" in v}
    assert "at=3" in steps["previous"]
    assert "at=9" in steps["next"]
    for link in (*steps.values(), next(each for each in page.links if "tab=state" in each)):
        assert "failed=1" in link
        assert "slice=looked_at" in link
    first = await idle.get(f"/contexts/{context_id}?failed=1&at=3")
    assert next(v["href"] for _, v in first.tags if v.get("data-step") == "previous").count("at=3")


async def test_a_look_for_what_is_rare_goes_on_where_it_ended(client, idle, store, monkeypatch):
    monkeypatch.setattr(finding, "LOOK", 4)
    context_id = await added_up(store)
    page = await idle.get(f"/contexts/{context_id}?type=*:INITIAL")
    assert "among the 4 that were looked at" in page.text
    looks = 0
    while not page.rows():
        page = await idle.get(next(link for link in page.links if "to=" in link))
        looks += 1
    assert (page.rows(), looks) == (["e1"], 2)
    answer = await client.get(f"/api/contexts/{context_id}/events/find?failed=true&limit=2")
    assert [each["version"] for each in answer.json()["events"]] == [9]
    assert answer.json()["looked_to"] == 7
    on = await finding.find(_App(store), context_id, EventFilter(failed=True), after=3, limit=1)
    assert [each.version for each in on.events] == [6]


class _App:
    def __init__(self, store):
        self.store = store


async def test_the_state_without_an_event_is_supposed_and_nothing_is_stored(client, idle, store):
    context_id = await added_up(store)
    before = await store.events(context_id)
    url = f"/contexts/{context_id}/what-if?event=4&slice=looked_at/tally"
    page = await idle.get(f"{url}&ask=1")
    assert "36 → 32" in page.text
    assert "6 events after it were folded again" in page.text
    edited = await idle.get(f'{url}&ask=1&payload={{"n": 104}}')
    assert "36 → 136" in edited.text
    assert "would be the same" in (await idle.get(url.replace("event=4", "event=3&ask=1"))).text
    wrong = await idle.get(f'{url}&ask=1&payload={{"m": 1}}')
    assert "A reducer raises at event 4: KeyError" in wrong.text
    assert (await idle.get(f"{url}&ask=1&payload={{")).status == 400
    answer = await client.get(
        f"/api/contexts/{context_id}/suppose",
        params={"event": before[3].event_id, "slice": "looked_at/tally"},
    )
    assert answer.json()["changes"] == [{"path": "", "kind": "changed", "before": 36, "after": 32}]
    assert await store.events(context_id) == before


async def test_two_moments_and_two_contexts_are_compared(idle, store):
    one = await added_up(store)
    (other,) = await store.start([Start("shop.double", {"n": 7}, delay=3600)])
    page = await idle.get(f"/diff?a={one}&at_a=2&b={one}&at_b=4")
    assert "2 → 6" in page.text
    assert "looked_at/tally" in page.text
    page = await idle.get(f"/diff?a={one}&b={other}")
    assert "/params/n 1 → 7" in page.text
    assert f"dama diff {one} {other}" in page.text
    swapped = await idle.get(next(link for link in page.links if link.startswith("/diff?")))
    assert "/params/n 7 → 1" in swapped.text
    assert "Nothing is different" in (await idle.get(f"/diff?a={one}&b={one}")).text
    for query, status in ((f"a={one}&at_a=99&b={one}", 404), (f"a={one}&b=999", 404), ("a=x", 400)):
        assert (await idle.get(f"/diff?{query}")).status == status
    assert (await idle.get("/diff")).status == 200


async def test_a_token_of_a_service_compares_its_own_contexts_only(client, store, tmp_path):
    mine = await added_up(store)
    (other,) = await store.start([Start("other.task", {"n": 7}, delay=3600)])
    text = await store.tokens.add("eve", "viewer", "bob", services=["shop"])
    browser = Browser(str(client.base_url))
    await browser.login(text)
    pages = (f"/diff?a={mine}&b={mine}", f"/diff?a={mine}&b={other}", f"/contexts/{other}/what-if")
    assert [(await browser.get(path)).status for path in pages] == [200, 403, 403]
    await browser.client.aclose()


async def test_firings_that_started_nothing_are_shown(idle, store, database_url):
    """Not those of before the schedule was there, and none that has its context."""
    now = await store.now()
    schedule = Schedule("often", "shop.double", "* * * * *", "Europe/Berlin", {"n": 1})
    await store.schedules.add(schedule, now + timedelta(minutes=1))
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "UPDATE _data_manager_admin.schedule SET created_at = now() - interval '9 minutes'"
        )
    row = await schedules.read(_App(store), "often")
    assert len(row.missed) in (8, 9)
    fired = row.missed[2]
    await store.start([Start("shop.double", {"n": 1}, key=schedule.key(fired), delay=3600)])
    again = (await schedules.read(_App(store), "often")).missed
    assert fired not in again
    assert set(row.missed) - {fired} <= set(again)
    assert "Missed lately" in (await idle.get("/schedules/often")).text


async def test_the_doctor_shows_how_far_an_adoption_has_come(idle, store, database_url):
    audit = """{"generation": "first", "owner": "etl",
      "contexts": {"name": "a.etl_context", "rows": 3, "latest": 9, "id_type": "integer",
                   "checksum": "c0ffee"},
      "events": {"name": "a.event_store_prototype", "rows": 4, "latest": 10,
                 "id_type": "integer", "checksum": "abba"},
      "found": [{"kind": "no INITIAL", "level": "flagged", "count": 2, "examples": [7, 8],
                 "will": "it stays"}]}"""
    assert "Adoption" not in (await idle.get("/doctor")).text
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO _data_manager_admin.adoption (generation, step, audit) "
            "VALUES ('first', 'number events', %s)",
            [audit],
        )
    page = await idle.get("/doctor")
    assert "Adoption of the first system" in page.text
    assert "not yet" in page.text
    assert "number events" in page.text
    assert "no INITIAL" in page.text


def test_parts_of_a_state_are_found_by_their_pointers():
    from dama.pages.shown import pointed

    value = {"a/b": [{"~": 1}], "n": None}
    found = [pointed(value, p) for p in ("", "/a~1b/0/~0", "/a~1b/1", "/n", "/x/y", "/a~1b/-1")]
    assert found == [value, 1, None, None, None, None]
