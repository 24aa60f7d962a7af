"""What happened when: counted once, whoever counts; the same on the page and in HTTP."""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import time
from datetime import timedelta

import psycopg
import pytest

from dama.app import App
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.operations import activity
from dama.store import Start, Store
from dama.store.database import Database
from dama.store.errors import InvalidValueError
from tests.integration.browsing import Browser
from tests.integration.served import ended, project, served


@pytest.fixture
def app(store, tmp_path):
    return App(store, Registry([project()]), tmp_path)


async def noted(store: Store) -> None:
    """All that is committed is noted."""
    await store.log.position()
    while await store.activity.note():
        await store.log.position()


async def ended_as(store: Store, suffix: str) -> int:
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    if suffix == "CANCELLED":
        await store.cancel([context_id], "x", {"user": "ada"})
    else:
        failure = {"payload": {"name": "E", "message": "m"}, "error": True}
        given = failure if suffix == "ERROR" else {}
        await store.append(context_id, [Event(f"shop.double:{suffix}", **given)])
    return context_id


async def test_what_begins_and_ends_is_counted_once_whoever_counts(app, store, database_url):
    """Also while several note at once, and what was there before the first look is not read."""
    await ended_as(store, "FINAL")
    await noted(store)
    for suffix in ("FINAL", "FINAL", "ERROR", "CANCELLED"):
        await ended_as(store, suffix)
    (_,) = await store.start([Start("shop.double", {"n": 2}, delay=3600)])

    async with Database.opened(database_url) as other:
        await asyncio.gather(*(noted(each) for each in (store, Store(other)) for _ in range(4)))
    await noted(store)

    report = await activity.read(app)
    assert (report.started, report.done, report.error, report.cancelled) == (5, 2, 1, 1)
    assert len(report.pieces) == 120
    assert report.seconds == 720
    assert sum(piece.started for piece in report.pieces) == 5
    assert report.pieces[-1].at + timedelta(seconds=report.seconds) > await store.now()


async def test_steps_and_acts_are_no_ends(app, store):
    await noted(store)
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    await store.append(context_id, [Event("shop.double/a:DONE"), Event("note", {"x": 1})])
    await store.acts.keep(Event("queue/paused", {"queue": "x"}, meta={"idempotency_key": "1"}))
    await noted(store)

    report = await activity.read(app)
    assert (report.started, report.done, report.error) == (1, 0, 0)


async def test_durations_are_the_shares_within_a_fifth(app, store, database_url):
    """50 took up to 1 ms, 44 up to half a second, 5 up to a minute, one a day; others not known."""
    took = {0.001: 50, 0.5: 44, 60.0: 5, 86400.0: 1}
    rows = [(math.ceil(4 * math.log2(1000 * each)), count) for each, count in took.items()]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for bucket, count in [*rows, (-1, 1000)]:
            connection.execute(
                "INSERT INTO _data_manager_admin.activity_count VALUES "
                "(_data_manager_admin.four_minutes(clock_timestamp()), 'done', %s, %s)",
                [bucket, count],
            )

    report = await activity.read(app)

    assert report.done == 1100
    assert 0.001 <= report.p50 <= 0.0012
    assert 60 <= report.p95 <= 72


async def test_a_run_took_as_long_as_since_its_start(app, store):
    await noted(store)
    began = time.monotonic()
    await ended_as(store, "FINAL")
    await noted(store)
    assert 0 < (await activity.read(app)).p95 <= (time.monotonic() - began) * 1.2 + 0.002


async def test_queues_have_their_depth_and_age(app, store):
    await store.start([Start("shop.double", {"n": n}, queue="etl") for n in range(3)])
    await noted(store)
    await noted(store)

    (history,) = await activity.queues(app)
    *_, piece = history.pieces
    assert (history.queue, piece.queued, piece.running) == ("etl", 3, 0)
    assert piece.age > 0


@pytest.mark.parametrize("hours", [1, 7, 8, 9, 24, 25, 100, 168])
async def test_any_time_is_whole_and_its_pieces_are_alike(app, store, hours):
    """Pieces hold the same number of the four minutes that the store counts together."""
    await noted(store)
    await ended_as(store, "FINAL")
    await noted(store)

    report = await activity.read(app, hours)

    assert len(report.pieces) <= 120
    assert report.seconds % activity.GRAIN == 0
    assert len(report.pieces) * report.seconds >= hours * 3600
    assert (report.done, report.pieces[-1].done + report.pieces[-2].done) == (1, 1)


@pytest.mark.parametrize("hours", [0, -1, 169])
async def test_more_than_is_kept_is_not_asked_for(app, hours):
    for read in (activity.read, activity.queues):
        with pytest.raises(InvalidValueError, match="1 to 168"):
            await read(app, hours)


async def test_a_shorter_log_after_a_restore_is_noted_from_its_end(app, store, database_url):
    await noted(store)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE _data_manager_admin.activity_state SET position = 999999")
    await noted(store)
    await ended_as(store, "FINAL")
    await noted(store)
    assert (await activity.read(app)).done == 1


async def test_a_gateway_notes_and_its_page_shows_it(store, tmp_path):
    """The overview has a chart with the numbers in a table; HTTP says the same."""
    async with served(store, tmp_path) as client:
        await noted(store)  # the first look says where the log ends
        await ended(client, "shop.double", {"n": 1})
        await noted(store)
        report = (await client.get("/api/workers/activity?hours=24")).json()
        browser = Browser(str(client.base_url))
        await browser.login((tmp_path / "gateway.token").read_text().strip())
        overview, queues = await browser.get("/"), await browser.get("/queues")
        await browser.client.aclose()
    assert report["done"] == 1
    assert [piece["done"] for piece in report["pieces"] if piece["done"]] == [1]
    assert "Ended" in overview.text
    assert [v for tag, v in overview.tags if tag == "rect" and v["class"] == "is-done"]
    assert "style=" not in overview.source + queues.source


async def test_the_command_has_what_http_has(app, store, database_url, tmp_path):
    """`dama activity` in a terminal, and as JSON."""
    await ended_as(store, "FINAL")
    await noted(store)  # what was there before the first look is not read
    for suffix in ("FINAL", "ERROR"):
        await ended_as(store, suffix)
    await noted(store)
    environ = {**os.environ, "DAMA_DATABASE_URL": database_url, "DAMA_HOME": str(tmp_path)}

    async def dama(*words: str) -> bytes:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dama.cli", *words, env=environ, stdout=asyncio.subprocess.PIPE
        )
        told, _ = await process.communicate()
        return told

    told = json.loads(await dama("activity", "--json"))
    table = (await dama("activity", "--hours", "1")).decode()

    assert (told["started"], told["done"], told["error"]) == (2, 1, 1)
    assert table.split()[:4] == ["since", "started", "done", "failed"]
