"""The pages as a browser without JavaScript sees them: what is shown is true, and acts are done."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit
from zoneinfo import ZoneInfo

import pytest

from dama.domain.event import Event
from dama.domain.exact import encode
from dama.domain.lifecycle import lifecycle
from dama.domain.schedule import Schedule
from dama.pages.shown import shown_taken
from dama.store import Start
from dama.store.rows import ContextRow
from dama.store.windows import ContextFilter
from tests.cases import case
from tests.integration.browsing import Browser, Page
from tests.integration.served import artifacts_of, ended, served
from tests.integration.test_site_security import browsers as browsers  # noqa: PLC0414 - a fixture

HOSTILE = "<script>alert(1)</script>\x1b[31m\u202e"


@pytest.fixture
async def client(store, tmp_path):
    async with served(store, tmp_path) as client:
        yield client


@pytest.fixture
async def browser(client, tmp_path):
    browser = Browser(str(client.base_url))
    page = await browser.login((tmp_path / "gateway.token").read_text())
    assert (page.status, page.url.path) == (200, "/")
    yield browser
    await browser.client.aclose()


@pytest.fixture
async def idle(store, tmp_path):
    """A browser of a gateway without a worker."""
    async with served(store, tmp_path, working=False) as client:
        browser = Browser(str(client.base_url))
        await browser.login((tmp_path / "gateway.token").read_text())
        yield browser
        await browser.client.aclose()


async def test_an_empty_installation_says_how_to_begin(idle):
    page = await idle.get("/")
    assert "Nothing has run yet" in page.text
    assert "dama run TASK" in page.text
    assert "none is alive" in page.text


async def test_an_empty_installation_runs_the_example_at_one_press(idle, store, monkeypatch):
    monkeypatch.setattr("dama.pages.overview.DEMO", "shop.approval")
    page = await idle.get("/")
    started = await idle.send(page.form("/tasks/shop.approval"))
    again = await idle.send(page.form("/tasks/shop.approval"))
    assert started.url.path == again.url.path == "/contexts/1"
    assert "Nothing has run yet" not in (await idle.get("/")).text
    (first, *_) = await store.events(1)
    assert first.meta["reason"] == "a first run"


def shape_of(path):
    """Its page and tab, and which params it has besides: each moment has the same links."""
    url = urlsplit(path)
    asked = dict(parse_qsl(url.query))
    return url.path, asked.get("tab"), frozenset(asked)


async def test_every_page_of_the_navigation_is_there(browser, client):
    await ended(client, "shop.total", {"count": 2})
    seen, shapes = {"/"}, set()
    waiting = [link for link in (await browser.get("/")).links if link.startswith("/")]
    while waiting:
        path = waiting.pop()
        if path in seen or shape_of(path) in shapes or "/artifacts/" in path:
            continue
        seen.add(path)
        shapes.add(shape_of(path))
        page = await browser.get(path)
        assert page.status == 200, (path, page.text)
        assert len(page.source) < 100_000
        waiting += [link for link in page.links if link.startswith("/")]
    assert {"/contexts", "/tasks", "/schedules", "/queues", "/workers", "/log"} <= seen
    assert {"/doctor", "/tokens", "/settings", "/services", "/tasks/shop.double"} <= seen


async def test_a_context_shows_what_it_was_at_each_of_its_events(browser, client, store):
    context_id = await ended(client, "shop.total", {"count": 2})
    events = await store.events(context_id)
    for event in events:
        page = await browser.get(f"/contexts/{context_id}?tab=state&at={event.version}")
        state = await store.state(context_id, lifecycle, event.event_id)
        assert f'"status": "{state.status}"' in page.text
        assert f"event {event.version} of {len(events)}: {event.type}" in page.text
    assert '"OPEN" → "DONE"' in re.sub(r"\s+", " ", page.text)


async def test_an_event_behind_the_last_is_the_last(browser, client):
    context_id = await ended(client, "shop.double", {"n": 2})
    page = await browser.get(f"/contexts/{context_id}?at=99999")
    assert "shop.double:FINAL" in page.text


async def test_a_context_of_many_events_is_shown_in_windows(idle, store):
    (context_id,) = await store.start([Start("shop.double", {"n": 1})])
    for begin in range(0, 450, 150):
        await store.append(context_id, [Event("tick", n) for n in range(begin, begin + 150)])
    page = await idle.get(f"/contexts/{context_id}")
    assert page.rows() == [f"e{version}" for version in range(451, 351, -1)]
    seen = page.rows()
    while older := [link for link in page.links if "to=" in link]:
        page = await idle.get(older[-1])
        new = [row for row in page.rows() if row not in seen]
        if not new:
            break
        seen += new
    assert seen == [f"e{version}" for version in range(451, 0, -1)]


async def test_what_waits_says_why(idle, store):
    await store.start([Start("shop.double", {"n": 1})])
    page = await idle.get("/contexts")
    assert "no worker" in page.text
    page = await idle.get(
        page.links[[link.startswith("/contexts/") for link in page.links].index(True)]
    )
    assert "No worker is alive." in page.text
    await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    page = await idle.get("/contexts/2")
    assert re.search(r"delayed until [0-9-]{10} [0-9:]{8} UTC\.", page.text)


@pytest.mark.parametrize(("status", "taken"), [("OPEN", "3 h 0 min"), ("DONE", "50 ms")])
def test_what_has_not_ended_takes_as_long_as_it_is_there(status, taken):
    begin = datetime.now(UTC) - timedelta(hours=3)
    changed = begin + timedelta(seconds=0.05)
    assert shown_taken(ContextRow(1, None, 1, "a.b", status, 3, begin, changed, None)) == taken


async def test_an_event_without_a_payload_shows_none(idle, store):
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    await store.append(context_id, [Event("tick")])
    for path in ("/log", f"/contexts/{context_id}", f"/contexts/{context_id}/what-if?event=2"):
        assert "UNSET" not in (await idle.get(path)).source


async def test_what_programs_and_payloads_hold_is_text(browser, client, store):
    (context_id,) = await store.start(
        [Start("shop.report", {"text": HOSTILE})],
    )
    await store.append(context_id, [Event(f"said {HOSTILE[:25]}", {"a": HOSTILE})])
    for tab in ("events", "state", "params", "tree", "log", "artifacts"):
        page = await browser.get(f"/contexts/{context_id}?tab={tab}")
        assert "<script>alert" not in page.source, tab
        assert "\x1b" not in page.source
        assert "\u202e" not in page.source


async def test_the_log_of_a_program_is_shown_with_colours_and_found_in(browser, client, store):
    context_id = await ended(client, "shop.report")
    page = await browser.get(f"/contexts/{context_id}?tab=log&stream=stdout")
    assert "out\n" in page.text.rpartition("Download")[2]
    page = await browser.get(f"/contexts/{context_id}?tab=log&stream=stderr&find=ERR")
    assert "Found at byte 0" in page.text
    page = await browser.get(f"/contexts/{context_id}?tab=log&find=nowhere")
    assert "Not found up to byte" in page.text
    answer = await browser.client.get(f"/contexts/{context_id}/log?stream=stdout")
    assert (answer.text, answer.headers["content-disposition"]) == (
        "out\n",
        f'attachment; filename="{context_id}.stdout.log"',
    )


async def test_artifacts_are_kept_as_files_and_never_shown_as_pages(browser, client, tmp_path):
    context_id = await ended(client, "shop.report")
    page = await browser.get(f"/contexts/{context_id}?tab=artifacts")
    (link,) = [link for link in page.links if "/artifacts/" in link]
    answer = await browser.client.get(link)
    assert answer.text == "data"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-security-policy"].startswith("sandbox")
    outside = await browser.get(f"/contexts/{context_id}/artifacts/link")
    assert outside.status == 404
    folder = artifacts_of(tmp_path, context_id)
    (folder / os.fsdecode(b"caf\xe9")).write_text("odd")
    page = await browser.get(f"/contexts/{context_id}?tab=artifacts")
    assert "caf\ufffd" in page.text
    (link,) = [link for link in page.links if "/artifacts/caf" in link]
    assert (await browser.client.get(link)).text == "odd"
    preview = await browser.get(link.replace("/artifacts/", "/preview/"))
    assert "odd" in preview.text
    assert link in preview.links


async def test_the_filters_of_the_list_are_those_of_the_action(browser, client, store):
    await ended(client, "shop.total", {"count": 3})
    await ended(client, "shop.double", {"n": 7})
    await store.start([Start("shop.double", {"n": 8}, delay=3600)])
    for query in (
        "", "all=1", "status=DONE", "status=OPEN", "task=shop.double", "service=shop", "service=x",
        "state=delayed", "params=n%3D7", "params=%7B%22n%22%3A7%7D", "since=1h", "until=1h",
        "user=nobody", "queue=default&all=1",
    ):  # fmt: skip
        page = await browser.get(f"/contexts?{query}")
        asked = dict(pair.split("=") for pair in query.split("&") if pair)
        params = {k: v for k, v in asked.items() if k not in ("params", "since", "until", "all")}
        params |= {"params": {"n": 7}} if "params" in asked else {}
        params |= {"all": True} if "all" in asked else {}
        params |= {"until": "2000-01-01T00:00:00Z"} if "until" in asked else {}
        answer = await client.post("/api/contexts/list", json=params)
        told = answer.json()["contexts"]
        assert page.rows() == [f"c{each['context_id']}" for each in told], query


async def test_views_are_kept_in_the_browser_by_name_and_forgotten(browsers):
    viewer = browsers["viewer"]
    page = await viewer.get("/contexts?status=ERROR&task=shop.*&before=7&odd=1")
    page = await viewer.get(next(link for link in page.links if "view=" in link))
    page = await viewer.send(page.form("/views"), name="failed  <b> & 30 %; é")
    assert str(page.url.query, "ascii") == "status=ERROR&task=shop.%2A"
    assert "Save this view" not in page.text
    page = await viewer.get("/contexts")
    assert "failed <b> & 30 %; é" in page.text
    assert "/contexts?status=ERROR&task=shop.%2A" in page.links
    page = await viewer.get("/settings")
    form, name = page.form("/views"), "failed <b> & 30 %; é"
    for fields, status in (({"view": "odd=1", "name": "x"}, 400), ({"view": "task=a"}, 400),
                           ({"view": f"task={'a' * 4000}", "name": "x"}, 400)):  # fmt: skip
        assert (await viewer.send(form, **fields)).status == status, fields
    page = await viewer.send(form, forget=name)
    assert name not in page.text
    viewer.client.cookies.set("dama_views", "%FF%00&&=;" + "a%3Db%26" * 300, domain="127.0.0.1")
    assert (await viewer.get("/contexts")).status == 200


async def test_a_filter_that_is_none_is_refused_in_words(idle):
    for query, text in [
        ("status=GONE", "It may be OPEN, DONE, ERROR, CANCELLED"),
        ("state=x", "It may be queued"),
        ("since=yesterday", "Write how long ago"),
        ("params=%5B1%5D", "Write month=7"),
        ("before=x", "not a number"),
        ("before=99999999999999999999", "not a number"),
        ("worker=-1", "not a number"),
    ]:
        with case(query):
            page = await idle.get(f"/contexts?{query}")
            assert page.status == 400
            assert text in page.text


async def test_the_list_is_read_on_by_keys(idle, store):
    ids = await store.start([Start("shop.double", {"n": n}) for n in range(120)])
    page, seen = await idle.get("/contexts"), []
    while True:
        seen += page.rows()
        following = [link for link in page.links if "before=" in link]
        if not following:
            break
        page = await idle.get(following[0])
    assert seen == [f"c{each}" for each in sorted(ids, reverse=True)]


async def test_a_form_starts_a_task_once_however_often_it_is_sent(browser, client, store):
    form = (await browser.get("/tasks/shop.double")).form("/tasks/shop.double")
    first = await browser.send(form, **{"param.n": "21", "reason": "a try"})
    again = await browser.send(form, **{"param.n": "21", "reason": "a try"})
    assert first.url.path == again.url.path
    context_id = int(first.url.path.rpartition("/")[2])
    assert (await client.get(f"/api/tasks/{context_id}/result")).json() == 42
    (initial,) = await store.events(context_id, limit=1)
    assert initial.meta["reason"] == "a try"
    assert "@" in initial.meta["user"]


async def test_what_does_not_fit_is_said_beside_its_field(browser, store):
    form = (await browser.get("/tasks/shop.double")).form("/tasks/shop.double")
    page = await browser.send(form, **{"param.n": "many", "reason": "a try"})
    assert page.status == 422
    assert "n should be a valid integer" in page.text
    assert page.form("/tasks/shop.double").fields["param.n"] == "many"
    page = await browser.send(form, **{"param.n": "1", "reason": "  "})
    assert page.status == 400
    assert "reason" in page.text
    assert not (await store.windows.contexts(_any())).contexts


async def test_acts_are_events_with_user_and_reason(browser, client, store):
    started = await client.post("/api/tasks/shop.approval", json={"params": {}})
    context_id = started.json()["context_id"]
    page = await browser.get(f"/contexts/{context_id}")
    emit = page.form(f"/contexts/{context_id}/emit")
    page = await browser.send(emit, type="approved", payload='{"by": "ada"', reason="checked")
    assert (page.status, "not valid JSON" in page.text) == (400, True)
    page = await browser.send(emit, type="approved", payload='{"by": "ada"}', reason="checked")
    assert page.status == 200
    assert (await client.get(f"/api/tasks/{context_id}/result")).json() == {"by": "ada"}
    (signal,) = [e for e in await store.events(context_id) if e.type == "approved"]
    assert signal.meta["reason"] == "checked"


async def test_json_is_read_in_forms_as_at_all_other_doors(idle, store):
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    path = f"/contexts/{context_id}"
    emit = (await idle.get(path)).form(f"{path}/emit")
    echo = (await idle.get("/services/shop.echo")).form("/services/shop.echo")
    exact = '{"n": 9007199254740993, "x": 0.1000000000000000055511}'
    await idle.send(emit, type="odd", reason="x", payload=exact)
    fork = (await idle.get(f"{path}?at=2")).form(f"{path}/fork")
    await idle.send(fork, reason="x", payload=exact)
    (forked,) = (await store.forks.of(context_id))[1]
    for each in (context_id, forked):
        event = (await store.events(each))[1]
        assert encode(event.payload).decode().replace(" ", "") == exact.replace(" ", "")
    page = await idle.send(echo, reason="x", params=exact)
    assert "0.1000000000000000055511" in page.text
    for wrong in ('{"a": 1, "a": 2}', "[" * 100_000, "1e999", "{"):
        for form, name in ((emit, "payload"), (fork, "payload"), (echo, "params")):
            page = await idle.send(form, type="odd", reason="x", **{name: wrong})
            assert (page.status, "not valid JSON" in page.text) == (400, True), (name, wrong[:20])
        query = {"event": 1, "ask": 1, "payload": wrong[:5000]}
        page = await idle.get(f"{path}/what-if?{urlencode(query)}")
        assert page.status == 400
        page = await idle.get(f"/contexts?{urlencode({'params': f'n={wrong[:5000]}'})}")
        assert page.status == 200


async def test_a_context_is_cancelled_and_resumed(idle, store):
    (context_id,) = await store.start([Start("shop.double", {"n": 1})])
    page = await idle.get(f"/contexts/{context_id}")
    page = await idle.send(page.form(f"/contexts/{context_id}/cancel"), reason="no need")
    assert "cancelled" in page.text
    assert (await store.context(context_id)).status == "CANCELLED"
    page = await idle.send(page.form(f"/contexts/{context_id}/resume"), reason="after all")
    assert (await store.context(context_id)).status == "OPEN"
    cancelled, resumed = (await store.events(context_id))[1:]
    assert (cancelled.meta["reason"], resumed.meta["reason"]) == ("no need", "after all")


async def test_many_are_cancelled_after_a_preview_of_exactly_these(idle, store):
    ids = await store.start([Start("shop.double", {"n": n}) for n in range(5)])
    page = await idle.get("/contexts")
    token = page.form("/contexts/acts").fields["form_token"]
    chosen = [str(each) for each in ids[:3]]
    preview = await idle.post(
        "/contexts/acts", {"form_token": token, "act": "cancel", "context": chosen}
    )
    assert "It will be cancelled" in preview.text
    assert {(await store.context(each)).status for each in ids} == {"OPEN"}
    await store.cancel([ids[0]], "by another", {})
    (late,) = await store.start([Start("shop.double", {"n": 9})])
    done = await idle.post(
        "/contexts/acts",
        {"form_token": token, "act": "cancel", "context": chosen, "confirmed": "1", "reason": "x"},
    )
    assert "It has ended: CANCELLED." in done.text
    statuses = [(await store.context(each)).status for each in [*ids, late]]
    assert statuses == ["CANCELLED"] * 3 + ["OPEN"] * 3


async def test_a_context_is_forked_at_the_moment_of_its_page(idle, store):
    """The new context says where it comes from, and the other one what came of it."""
    (context_id,) = await store.start([Start("shop.double", {"n": 1})])
    await store.append(context_id, [Event("approved", {"ok": False}), Event("late")])
    page = await idle.get(f"/contexts/{context_id}?at=2")
    assert "up to event 2, approved" in page.text
    form = page.form(f"/contexts/{context_id}/fork")
    made = await idle.send(form, reason="said wrongly", payload='{"ok": true}')
    (fork,) = (await store.forks.of(context_id))[1]
    assert f"{context_id}, after event 2" in made.text
    shared, edited, resumed = await store.events(fork)
    assert (shared.payload, edited.payload) == ({"n": 1}, {"ok": True})
    assert resumed.meta["reason"] == "said wrongly"
    assert f"/contexts/{fork}" in (await idle.get(f"/contexts/{context_id}")).links
    wrong = await idle.send(page.form(f"/contexts/{context_id}/fork"), reason="r", payload="{")
    assert "not valid JSON" in wrong.text


async def test_queues_are_paused_limited_and_resumed(idle, store):
    await store.start([Start("shop.double", {"n": 1}, queue="a/b c")])
    page = await idle.get("/queues")
    page = await idle.send(page.form("/queues/a%2Fb%20c/pause"), reason="maintenance")
    assert "paused" in page.text
    page = await idle.send(
        page.form("/queues/a%2Fb%20c/limit"), concurrency="3", rate="0.5", reason="load"
    )
    assert page.status == 200
    page = await idle.send(page.form("/queues/a%2Fb%20c/limit"), concurrency="x", reason="load")
    assert (page.status, "not a number" in page.text) == (400, True)
    (row,) = [row for row in await store.queue.queues() if row.queue == "a/b c"]
    assert (row.paused, row.concurrency, row.rate) == (True, 3, 0.5)
    page = await idle.get("/queues")
    await idle.send(page.form("/queues/a%2Fb%20c/resume"), reason="done")
    (row,) = [row for row in await store.queue.queues() if row.queue == "a/b c"]
    assert not row.paused
    page = await idle.get("/log")
    assert "maintenance" in page.text
    assert page.text.index("queue/resumed") < page.text.index("queue/limited")


async def test_schedules_are_paused_and_backfilled_after_a_look(idle, store):
    now = await store.now()
    schedule = Schedule("nightly", "shop.double", "30 6 * * *", "Europe/Berlin", {"n": 1})
    await store.schedules.add(schedule, next(schedule.firings(now)))
    page = await idle.get("/schedules/nightly")
    form = page.form("/schedules/nightly/backfill")
    look = await idle.send(form, begin="2024-03-29", end="2024-04-01")
    assert "4 firings" in look.text
    assert not (await store.windows.contexts(_any())).contexts
    await idle.send(form, begin="2024-03-29", end="2024-04-01", confirmed="1", reason="gap")
    assert len((await store.windows.contexts(_any())).contexts) == 4
    page = await idle.send(page.form("/schedules/nightly/pause"), reason="holiday")
    assert "paused" in page.text


async def test_times_have_their_zone_and_the_night_of_the_change_is_right(idle, store):
    form = (await idle.get("/settings")).form("/settings")
    await idle.send(form, zone="Europe/Berlin")
    (context_id,) = await store.start([Start("shop.double", {"n": 2**53 + 1})])
    page = await idle.get(f"/contexts/{context_id}?tab=params")
    assert "Europe/Berlin" in page.text
    assert re.search(r"\d\d:\d\d:\d\d CES?T", page.text)
    assert str(2**53 + 1) in page.text
    refused = await idle.send(form, zone="Nowhere/Else")
    assert (refused.status, "no time zone" in refused.text) == (400, True)


async def test_a_page_that_has_not_changed_is_not_sent_again(idle):
    first = await idle.client.get("/settings")
    again = await idle.client.get("/settings", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


async def test_what_is_not_there_is_a_page_with_the_way_on(idle):
    for path, status in (
        ("/contexts/99999", 404),
        ("/contexts/9999999999999999999", 404),
        ("/tasks/shop.nothing", 400),
        ("/schedules/none", 404),
    ):
        page = await idle.get(path)
        assert page.headers["content-type"].startswith("text/html")
        assert page.status in (status, 404), path
        assert "Request " in page.text


async def test_an_address_that_is_none_is_a_page_for_people_and_json_for_programs(idle):
    visit = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for headers, path, status, type_ in (
        (visit, "/context/1", 404, "text/html"),
        (visit, "/%3Cscript%3E", 404, "text/html"),
        (visit, "/api/none", 401, "application/json"),
        (visit, "/metrics", 401, "application/json"),
        ({}, "/context/1", 401, "application/json"),
    ):
        answer = await idle.client.get(path, headers=headers)
        found = answer.headers["content-type"].partition(";")[0]
        assert (answer.status_code, found) == (status, type_), path
        assert "<script>" not in answer.text
    idle.client.cookies.clear()
    answer = await idle.client.get("/context/1", headers=visit)
    assert (answer.status_code, answer.headers["content-type"][:9]) == (404, "text/html")


async def test_the_stream_tells_of_changes_of_its_tree_only(idle, store):
    mine, other = await store.start([Start("shop.double", {"n": n}) for n in (1, 2)])
    async with idle.client.stream("GET", f"/~live?context={mine}") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.aiter_lines()
        assert (await anext(lines)).startswith("retry:")
        await store.append(other, [Event("tick")])
        await store.append(mine, [Event("tick")])
        found = [line async for line in _until(lines, "data:")]
    assert found[-1].startswith("data:")
    position = await store.log.position()
    assert int(found[-1].partition(":")[2]) == position


async def _until(lines, begin):
    async for line in lines:
        yield line
        if line.startswith(begin):
            return


def _any():
    from dama.store.windows import ContextFilter

    return ContextFilter()


def test_no_template_prints_what_is_not_escaped():
    from importlib.resources import files

    for template in files("dama.pages").joinpath("templates").iterdir():
        text = template.read_text()
        assert "|safe" not in text.replace(" ", ""), template.name
        assert "autoescape" not in text, template.name
        assert not re.search(r"\son\w+=|style=|<style|<script>", text), template.name
    assert Page


async def test_a_star_in_a_task_is_any_text_and_nothing_else_is(store):
    for task in ("shop.double", "shop.total", "shopxdouble.double"):
        await store.start([Start(task, {"n": 1}, delay=3600)])
    for pattern, fits in [
        ("shop.*", ["shop.double", "shop.total"]),
        ("*.double", ["shop.double", "shopxdouble.double"]),
        ("s*l", ["shop.total"]),
        ("shop_double*", []),
        ("%", []),
        ("*", ["shop.double", "shop.total", "shopxdouble.double"]),
        ("*\\*", []),
    ]:
        with case(pattern):
            found = await store.windows.contexts(ContextFilter(task=pattern))

            assert sorted(row.task for row in found.contexts) == fits


async def test_what_failed_is_retried_after_a_preview_and_nothing_else(browser, store):
    failed, cancelled, waiting = await store.start(
        [Start("shop.double", {"n": n}, delay=3600) for n in range(3)]
    )
    failure = Event("shop.double:ERROR", {"name": "E", "message": "m"}, error=True)
    await store.append(failed, [failure])
    await store.cancel([cancelled], "x", {"user": "ada"})
    chosen = {"context": [str(each) for each in (failed, cancelled, waiting)], "act": "retry"}
    token = (await browser.get("/contexts")).form("/contexts/acts").fields["form_token"]

    preview = await browser.post("/contexts/acts", {**chosen, "form_token": token})
    before = (await store.context(failed)).status
    form = preview.form("/contexts/acts")
    done = await browser.send(form, reason="the disk is there again")

    assert before == "ERROR"
    assert form.fields["context"] == str(failed)
    assert "It has not failed: CANCELLED." in preview.text
    assert "It continues." in done.text
    assert (await store.context(failed)).status in ("OPEN", "DONE")  # a worker is there
    assert (await store.context(cancelled)).status == "CANCELLED"
    assert (await store.events(failed))[2].meta["reason"] == "the disk is there again"


async def test_a_schedule_shows_by_day_what_it_started_on_its_own_clock(browser, store):
    """In the zone of the schedule, whatever zone the pages are in."""
    zone = "Pacific/Kiritimati"  # a day ahead of most
    schedule = Schedule("nightly", "shop.double", "0 3 * * *", zone, {"n": 1})
    await store.schedules.add(schedule, await store.now() + timedelta(days=1))
    (context_id,) = await store.start(
        [Start("shop.double", {"n": 1}, delay=3600, meta={"schedule": "nightly"})]
    )
    at = (await store.context(context_id)).created_at.astimezone(ZoneInfo(zone))

    page = await browser.get("/schedules/nightly")

    times = [str(values["datetime"]) for tag, values in page.tags if tag == "time"]
    days = [each for each in times if "T" not in each]
    assert days == [str(at.date())]
    assert f"{context_id} delayed" in page.text


async def test_a_timeline_is_drawn_zoomed_and_kept_in_the_address(browser, client):
    context_id = await ended(client, "shop.total", {"count": 2})
    page = await browser.get(f"/contexts/{context_id}?tab=timeline")
    assert [tag for tag, values in page.tags if tag == "rect"]
    assert page.rows()[:3] == [f"t{context_id}", f"t{context_id + 1}", f"t{context_id + 2}"]
    assert {"Attempts", "queued", "waited"} <= set(
        re.findall("Attempts|queued|waited", page.source)
    )
    zoomed = await browser.get(f"/contexts/{context_id}?tab=timeline&zoom=0.000-0.001&true=1")
    assert "Whole" in zoomed.text
    assert "zoom=0.000-0.001" in next(link for link in zoomed.links if "tab=state" in link)
    odd = await browser.get(f"/contexts/{context_id}?tab=timeline&zoom=9-1&true=1")
    assert odd.status == 200


async def test_the_head_of_a_context_says_how_long_it_usually_takes(browser, client):
    for _ in range(2):
        context_id = await ended(client, "shop.double", {"n": 1})
    assert "Usually" in (await browser.get(f"/contexts/{context_id}")).text


async def test_what_a_program_used_is_on_its_page(browser, client):
    context_id = await ended(client, "shop.report")
    page = await browser.get(f"/contexts/{context_id}?tab=timeline")
    assert re.search(r"[0-9.]+ MiB", page.text)


async def test_artifacts_have_previews_that_no_browser_runs(browser, client):
    context_id = await ended(client, "shop.report")
    page = await browser.get(f"/contexts/{context_id}?tab=artifacts")
    preview = f"/contexts/{context_id}/preview/sub/a.csv"
    assert preview in page.links
    shown = await browser.get(preview)
    assert "data" in shown.text
    assert "script-src 'self'" in shown.headers["content-security-policy"]
    assert (await browser.get(f"/contexts/{context_id}/images/sub/a.csv")).status == 404
    assert (await browser.get(f"/contexts/{context_id}/preview/link")).status == 404


async def test_what_is_archived_or_on_another_host_says_where_it_is(idle, store):
    """With the command that brings it back, or the host to ask; never an error without a way on."""
    elsewhere, away = await store.start([Start("shop.report", {}, delay=3600) for _ in range(2)])
    await store.append(elsewhere, [Event("said", {}, meta={"program_host": "node-7"})])
    for tab in ("log", "artifacts"):
        page = await idle.get(f"/contexts/{elsewhere}?tab={tab}")
        assert page.status == 200
        assert "ran on node-7, and its files are there" in page.text
    await store.cancel([away], "x", {"user": "ada"})
    await _drained(store.archive.add(timedelta(0)))
    for path in ("", "?tab=log", "/artifacts/a", "/preview/a", "/what-if?event=1"):
        page = await idle.get(f"/contexts/{away}{path}")
        assert page.status in (404, 409), path
        assert f"Context {away} is archived since" in page.text, path
        assert f"`dama archive restore {away}` brings it back" in page.text, path


async def _drained(moves):
    async for _ in moves:
        pass
