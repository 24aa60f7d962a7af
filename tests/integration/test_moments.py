"""Moments: state, tree, log and events of a page stand at one event, as everything was then."""

from __future__ import annotations

import random
import re

import pytest

from dama.domain.event import Event
from dama.operations import moments
from dama.store import Start
from dama.store.errors import UnknownEventError
from tests.integration.browsing import Browser
from tests.integration.served import ended, served

ENDS = {"FINAL": "DONE", "ERROR": "ERROR", "CANCELLED": "CANCELLED"}


class Holder:
    """What `as_of` reads of an app."""

    def __init__(self, store):
        self.store = store


@pytest.fixture
async def client(store, tmp_path):
    async with served(store, tmp_path) as client:
        yield client


@pytest.fixture
async def browser(client, tmp_path):
    browser = Browser(str(client.base_url))
    await browser.login((tmp_path / "gateway.token").read_text())
    yield browser
    await browser.client.aclose()


async def test_contexts_are_seen_as_they_were_at_every_event(store):
    """Held against the log, folded by hand: of contexts whose events are mixed at random."""
    chance = random.Random(5)
    ids: list[int] = []
    for _ in range(40):
        if len(ids) < 3 or chance.random() < 0.2:
            ids += await store.start([Start("shop.double", {"n": 1})])
        else:
            context_id = chance.choice(ids)
            if (await store.context(context_id)).status == "OPEN":
                event = chance.choice([Event("tick"), Event("shop.double:FINAL", 2)])
                await store.append(context_id, [event])
    rows = [await store.context(each) for each in ids]
    await store.log.position()
    seen: dict[int, tuple[int, str]] = {}
    for event in (await store.log.read()).events:
        status = ENDS.get(event.type.rpartition(":")[2], "OPEN")
        seen[event.context_id] = (event.version, status)
        then = await moments.as_of(Holder(store), rows, event.event_id)
        assert {r.context_id: (r.version, r.status) for r in then} == seen
    assert await moments.as_of(Holder(store), rows, event.event_id) == rows
    with pytest.raises(UnknownEventError):
        await moments.as_of(Holder(store), rows, 10**15)


async def test_the_tree_of_a_page_is_that_of_its_event(browser, client, store):
    """Nothing is below before the subtasks were started, and none has ended before its end."""
    context_id = await ended(client, "shop.total", {"count": 4})
    events = await store.events(context_id)
    children = [r.context_id for r in await store.tree(context_id) if r.parent_id == context_id]
    spawned = next(event for event in events if event.type.endswith(":SPAWNED"))
    before = await browser.get(f"/contexts/{context_id}?tab=tree&at=1")
    at_start = await browser.get(f"/contexts/{context_id}?tab=tree&at={spawned.version}")
    at_end = await browser.get(f"/contexts/{context_id}?tab=tree&at={len(events)}")
    assert "It had started nothing" in before.text
    assert at_start.rows() == [f"t{each}" for each in (context_id, *children)]
    assert "✓ done" not in at_start.text
    assert at_end.text.count("✓ done") >= 5
    link = f"/contexts/{children[0]}?at=1&tab=tree"
    assert link in at_start.links
    (child,) = [e.version for e in await store.events(children[0]) if e.type.endswith(":FINAL")]
    assert f"/contexts/{children[0]}?at={child}&tab=tree" in at_end.links
    told = await client.get(f"/api/contexts/{context_id}/tree?at={spawned.event_id}")
    assert [each["status"] for each in told.json()] == ["OPEN"] * 5
    refused = await client.get(f"/api/contexts/{context_id}/tree?at={10**15}")
    assert (refused.status_code, refused.json()["type"]) == (404, "UNKNOWN_EVENT")


async def test_all_parts_are_beside_each_other(browser, client):
    context_id = await ended(client, "shop.total", {"count": 2})
    page = await browser.get(f"/contexts/{context_id}?tab=moment&at=2")
    for part in ("Tree", "State", "Events", "Log", "What event 2 changed"):
        assert part in page.text
    later = [v["id"] for tag, v in page.tags if tag == "tr" and v.get("class") == "later"]
    assert set(page.rows()) >= {"e1", "e2", "e3"}
    assert "e3" in later
    assert "e2" not in later
    assert len(page.source) < 100_000


async def test_a_log_ends_where_the_program_was(browser, client):
    """An event that the program printed has the place of its line."""
    context_id = await ended(client, "shop.speaker")
    events = (await client.get(f"/api/contexts/{context_id}/events")).json()["events"]
    places = {
        event["payload"]["n"]: event["version"] for event in events if event["type"] == "said"
    }
    for n, version in places.items():
        page = await browser.get(f"/contexts/{context_id}?tab=log&stream=stdout&at={version}")
        lines = re.findall(r"^line (\d)$", page.text.partition("by then.")[2], re.MULTILINE)
        assert lines == [str(each) for each in range(n + 1)], n
        assert f"Up to the line of event {version}" in page.text
    first = await browser.get(f"/contexts/{context_id}?tab=log&stream=stdout&at=1")
    assert "No run had begun" in first.text
    assert "line 0" not in first.text
    last = await browser.get(f"/contexts/{context_id}?tab=log&stream=stdout&at={len(events)}")
    assert "line 3" in last.text
    assert "had ended" in last.text
    unknown = await browser.get(f"/contexts/{context_id}?tab=log&stream=stderr&at={places[0]}")
    assert "no event tells how much" in unknown.text
    whole = await browser.get(f"/contexts/{context_id}?tab=log&stream=stdout&byte=0&at=1")
    assert "line 3" in whole.text


async def test_what_a_task_logged_ends_at_the_event(browser, store):
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    logged = [Event("shop.double:LOG", {"message": f"message {n}"}) for n in range(3)]
    await store.append(context_id, logged)
    page = await browser.get(f"/contexts/{context_id}?tab=log&at=3")
    assert ("message 1" in page.text, "message 2" in page.text) == (True, False)
