"""A context in time: pages, the command line and HTTP say the same."""

from __future__ import annotations

import msgspec
import pytest

from dama.operations import timelines
from dama.store import Start
from tests.integration.served import ended, served


@pytest.fixture
async def client(store, tmp_path):
    async with served(store, tmp_path) as client:
        yield client


async def test_a_timeline_has_the_states_of_a_context_and_of_what_it_started(client, store):
    context_id = await ended(client, "shop.total", {"count": 3})
    response = await client.get(f"/api/contexts/{context_id}/timeline?limit=2")
    found = response.json()
    kinds = [span["kind"] for span in found["own"]["spans"]]
    assert kinds[:3] == ["queued", "running", "waiting"]
    assert [lane["context"]["task"] for lane in found["children"]] == ["shop.double"] * 2
    assert [lane["spans"][-1]["kind"] for lane in found["children"]] == ["running"] * 2
    assert all(span["end"] for lane in found["children"] for span in lane["spans"])
    assert found["attempts"][-1]["outcome"] == "done"
    more = await client.get(
        f"/api/contexts/{context_id}/timeline?after={found['next_after']}&limit=2"
    )
    assert len(more.json()["children"]) == 1
    assert more.json()["next_after"] is None


async def test_a_timeline_at_an_event_has_nothing_that_came_later(client, store):
    context_id = await ended(client, "shop.total", {"count": 2})
    events = await store.events(context_id)
    spawned = next(event for event in events if event.type.endswith(":SPAWNED"))
    for event in (events[1], spawned):
        response = await client.get(f"/api/contexts/{context_id}/timeline?at={event.event_id}")
        found = response.json()
        moments = msgspec.json.decode(response.content)["own"]["spans"]
        assert moments[-1]["end"] is None
        assert moments[-1]["version"] <= event.version
        assert found["own"]["context"]["version"] == event.version
        assert len(found["children"]) == (2 if event is spawned else 0)
        assert found["attempts"][-1]["outcome"] is None


async def test_what_a_program_used_is_in_its_attempts(client, store):
    context_id = await ended(client, "shop.report")
    found = (await client.get(f"/api/contexts/{context_id}/timeline")).json()
    (attempt,) = found["attempts"]
    assert attempt["usage"]["max_rss"] > 100_000
    assert found["usage"] == {
        n: v for n, v in attempt["usage"].items() if isinstance(v, int | float)
    }


async def test_how_long_a_task_usually_takes_and_who_holds_it_are_in_its_report(client, store):
    for _ in range(2):
        context_id = await ended(client, "shop.double", {"n": 1})
    report = (await client.get(f"/api/contexts/{context_id}")).json()
    assert report["usual_seconds"] > 0
    assert report["place"] is None
    (waiting,) = await store.start([Start("shop.double", {"n": 1}, queue="later", delay=3600)])
    place = (await client.get(f"/api/contexts/{waiting}")).json()["place"]
    assert (place["queue"], place["host"], place["lease_seconds"]) == ("later", None, None)


async def test_of_a_long_history_the_latest_events_are_looked_at(client, store, monkeypatch):
    monkeypatch.setattr(timelines, "LOOKED_OWN", 3)
    context_id = await ended(client, "shop.total", {"count": 2})
    found = (await client.get(f"/api/contexts/{context_id}/timeline")).json()
    assert not found["own"]["is_whole"]
    assert found["children"][0]["is_whole"]
