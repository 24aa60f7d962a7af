"""Acts of people beside contexts: each is an event with who did it and why, by whatever door."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime

import psycopg
import pytest

from dama.domain.event import Event
from dama.domain.schedule import Schedule
from dama.operations import acts, log, queues, schedules, tokens
from dama.operations.who import because
from dama.store.errors import TokenExistsError, UnknownScheduleError, UnknownTokenError
from tests.integration.browsing import Browser
from tests.integration.served import served

ADA = because({"user": "ada"}, "maintenance")


class Holder:
    """What the operations read of an app."""

    def __init__(self, store, registry=None):
        self.store = store
        self.registry = registry


@pytest.fixture
async def client(store, tmp_path):
    async with served(store, tmp_path, working=False) as client:
        yield client


async def kept(store):
    """Type, payload, user and reason of all acts, the oldest first."""
    found = await acts.latest(Holder(store), 1000)
    return [(e.type, e.payload, e.meta.get("user"), e.meta.get("reason")) for e in reversed(found)]


async def test_what_people_do_to_queues_schedules_and_tokens_is_kept_with_the_reason(store):
    app = Holder(store)
    plan = Schedule("nightly", "shop.double", "30 6 * * *", "UTC", {"n": 1})
    await store.schedules.add(plan, datetime.now(UTC))
    await queues.pause(app, "etl", ADA)
    await queues.limit(app, "etl", concurrency=2, by=ADA)
    await queues.resume(app, "etl", ADA)
    await schedules.pause(app, "nightly", ADA)
    await schedules.resume(app, "nightly", ADA)
    await schedules.remove(app, "nightly", ADA)
    await tokens.add(app, "bob", "viewer", services=["shop"], by=ADA)
    await tokens.revoke(app, "bob", ADA)

    schedule = {"schedule": "nightly"}
    assert await kept(store) == [
        (type_, payload, "ada", "maintenance")
        for type_, payload in [
            ("queue/paused", {"queue": "etl"}),
            ("queue/limited", {"queue": "etl", "concurrency": 2}),
            ("queue/resumed", {"queue": "etl"}),
            ("schedule/paused", schedule),
            ("schedule/resumed", schedule),
            ("schedule/removed", schedule),
            ("token/added", {"token": "bob", "scope": "viewer", "services": ["shop"]}),
            ("token/revoked", {"token": "bob"}),
        ]
    ]
    assert not await store.differences()


async def test_what_was_not_done_is_not_kept(store):
    app = Holder(store)
    await tokens.add(app, "bob", "viewer", by=ADA)
    with pytest.raises(TokenExistsError):
        await tokens.add(app, "bob", "viewer", by=ADA)
    with pytest.raises(UnknownTokenError):
        await tokens.revoke(app, "nobody", ADA)
    with pytest.raises(UnknownScheduleError):
        await schedules.pause(app, "none", ADA)
    assert [act for act, *_ in await kept(store)] == ["token/added"]


async def test_acts_at_the_same_moment_share_one_context(store):
    app = Holder(store)
    await asyncio.gather(*(queues.pause(app, f"q{n}", ADA) for n in range(20)))
    assert len(await kept(store)) == 20
    assert len(await store.acts.contexts()) == 1
    assert len(await store.contexts(roots_only=False)) == 1
    assert await store.contexts() == []  # no run of anybody


async def test_a_context_that_somebody_ended_is_followed_by_another(store):
    app = Holder(store)
    await queues.pause(app, "etl", ADA)
    (first,) = await store.acts.contexts()
    await store.append(first, [Event("dama.acts:FINAL")])
    await queues.resume(app, "etl", ADA)
    (second,) = await store.acts.contexts()
    assert second != first
    await store.cancel([second], "by mistake", {})
    await queues.pause(app, "etl", ADA)
    assert [act for act, *_ in await kept(store)] == ["queue/paused"]


async def test_the_context_of_a_year_ends_with_the_first_act_of_the_next(store, database_url):
    app = Holder(store)
    await queues.pause(app, "etl", ADA)
    (first,) = await store.acts.contexts()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("UPDATE _data_manager_admin.act_context SET year = year - 1")
    await queues.resume(app, "etl", ADA)
    second, earlier = await store.acts.contexts()
    assert earlier == first
    assert (await store.context(first)).status == "DONE"
    assert (await store.context(second)).status == "OPEN"


async def test_a_parked_context_that_continues_is_an_act(store):
    async def refuse(_connection, _event):
        raise RuntimeError("no")

    (context_id,) = [await store.acts.keep(acts.act("queue/paused", {"queue": "x"}, ADA))]
    subscription = store.log.subscription("mailer", refuse)
    await subscription.catch_up()
    await log.resume(Holder(store), "mailer", context_id, skip=True, by=ADA)
    told = {"subscription": "mailer", "context_id": context_id, "skip": True}
    assert (await kept(store))[-1] == ("subscription/resumed", told, "ada", "maintenance")


async def test_http_and_pages_keep_who_and_why(client, store, tmp_path):
    await store.schedules.add(
        Schedule("nightly", "shop.double", "30 6 * * *", "UTC", {"n": 1}), datetime.now(UTC)
    )
    for path, body in (
        ("/api/queues/etl/pause", {}),
        ("/api/queues/etl/limit", {"rate": 0.5}),
        ("/api/queues/etl/resume", {}),
        ("/api/schedules/nightly/pause", {}),
        ("/api/schedules/nightly/resume", {}),
        ("/api/schedules/nightly/backfill", {"begin": "2026-01-01", "end": "2026-01-03"}),
    ):
        answer = await client.post(path, json={**body, "reason": f"by {path}"})
        assert answer.status_code in (200, 204), answer.text
    removed = await client.request("DELETE", "/api/schedules/nightly?reason=no+more")
    assert removed.status_code in (200, 204), removed.text
    browser = Browser(str(client.base_url))
    await browser.login((tmp_path / "gateway.token").read_text())
    page = await browser.get("/queues")
    await browser.send(page.form("/queues/etl/pause"), reason="from a page")
    found = await kept(store)
    assert [act for act, *_ in found] == [
        "queue/paused", "queue/limited", "queue/resumed", "schedule/paused", "schedule/resumed",
        "schedule/backfilled", "schedule/removed", "queue/paused",
    ]  # fmt: skip
    assert all("@" in user for _, _, user, _ in found)
    assert [reason for *_, reason in found][:2] == [
        "by /api/queues/etl/pause", "by /api/queues/etl/limit",
    ]  # fmt: skip
    assert [reason for *_, reason in found][-2:] == ["no more", "from a page"]
    page = await browser.get("/log")
    assert "from a page" in page.text
    told = await client.get("/api/log/acts?limit=1")
    assert [each["meta"]["reason"] for each in told.json()] == ["from a page"]
    made_up = [c for c in await store.contexts() if c.task == "shop.double"]
    for context in made_up:
        (first, *_) = await store.events(context.context_id, limit=1)
        assert first.meta["reason"] == "by /api/schedules/nightly/backfill"
    assert len(made_up) == 2
    await browser.client.aclose()


async def test_a_queue_that_is_paused_says_by_whom_and_why(client, store):
    await queues.pause(Holder(store), "default", ADA)
    started = await client.post("/api/tasks/shop.double", json={"params": {"n": 1}})
    why = (await client.get(f"/api/contexts/{started.json()['context_id']}")).json()["why"]
    assert "paused by ada: maintenance" in json.dumps(why)
