"""Open pages in a real browser while things change and fail: they stay true, and lose nothing."""

from __future__ import annotations

import asyncio
import re
from functools import partial

import pytest
import pytest_asyncio
from playwright.async_api import expect
from psycopg.conninfo import make_conninfo

from dama.domain.event import Event
from dama.pages import live
from dama.store import Start, Store
from tests.acceptance.browser import chromium as chromium  # noqa: PLC0414 - a fixture
from tests.acceptance.browser import log_in, opened
from tests.acceptance.browser import store as store  # noqa: PLC0414 - a fixture
from tests.forwarder import Forwarder
from tests.integration.served import served
from tests.interop.cluster import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

PRINTED = ("events", "state", "timeline", "moment")
_SHOWN = """[...document.querySelectorAll({!r})]
    .filter((e) => e.checkVisibility() && e.getClientRects().length)"""
PRESSED = f"""{_SHOWN.format("nav, button:not(.bar-of), .button, [type=checkbox], [type=range]")}
    .map((e) => e.outerHTML)"""
CLIPPED = f"""{_SHOWN.format("main, main *:not(svg *, input, textarea, select, .hidden)")}
    .filter((e) => getComputedStyle(e).overflowY !== "visible")
    .filter((e) => e.scrollHeight > e.clientHeight + 1).map((e) => e.outerHTML.slice(0, 200))"""
LINKS = f"""[...new Set({_SHOWN.format("main a")}.map((e) => getComputedStyle(e).color))]"""


async def _answer(answer, route):
    await route.fulfill(**answer)


@pytest_asyncio.fixture(loop_scope="module")
async def client(store, tmp_path):
    async with served(store, tmp_path, working=False) as client:
        yield client


async def test_a_stream_that_a_proxy_broke_is_opened_again_and_the_mark_goes(
    chromium, client, tmp_path, store
):
    """A browser gives a stream up for good at a redirect or an error; forms stay as they are."""
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    async with opened(chromium, client, tmp_path, problems=False) as page:
        for answer in ({"status": 502}, {"status": 302, "headers": {"Location": "/doctor"}}):
            await page.route("**/~live*", partial(_answer, answer))
            await page.goto(f"/contexts/{context_id}")
            await expect(page.locator("#stale")).to_contain_text("does not answer")
            await page.locator("[data-act=emit]").click()
            await page.locator("#acts [name=type]").fill("half-wri")
            await page.unroute("**/~live*")
            await expect(page.locator("#stale")).not_to_contain_text("does not answer")
            await store.append(context_id, [Event("tick")])
            await expect(page.locator("#stale")).to_contain_text("changed meanwhile")
            assert await page.locator("#acts [name=type]").input_value() == "half-wri"
            await page.locator("[data-act=emit]").click()  # closed: what came is shown at once
            await expect(page.locator("#tab")).to_contain_text("tick")
            await expect(page.locator("#stale")).to_be_hidden()


async def test_a_slow_gateway_is_said_and_its_answers_are_shown(chromium, client, tmp_path, store):
    """However often something changes while it answers."""
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    given_up: list[str] = []
    is_answering = asyncio.Event()

    async def hold(route):
        await is_answering.wait()
        await route.continue_()

    async with opened(chromium, client, tmp_path) as page:
        await page.goto(f"/contexts/{context_id}")
        page.on("requestfailed", lambda request: given_up.append(request.url))
        await page.route(f"**/contexts/{context_id}", hold)
        await store.append(context_id, [Event("tick")])
        await expect(page.locator("#stale")).to_contain_text("does not answer")
        await store.append(context_id, [Event("tock")])
        is_answering.set()
        await expect(page.locator("#tab")).to_contain_text("tock")
        await expect(page.locator("#stale")).to_be_hidden()
        assert not [url for url in given_up if url.endswith(f"/contexts/{context_id}")]


async def test_a_context_that_ended_is_followed_when_somebody_resumes_it(
    chromium, client, tmp_path, store
):
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    await store.cancel([context_id], "x", {"user": "ada"})
    async with opened(chromium, client, tmp_path) as page:
        await page.goto(f"/contexts/{context_id}")
        await expect(page.locator("#head h1")).to_contain_text("cancelled")
        await store.resume(context_id, {"user": "bob"})
        await expect(page.locator("#head h1")).to_contain_text("queued")
        await expect(page.locator("[data-act=cancel]")).to_be_visible()
        assert (await page.title()).startswith("○")


async def test_a_revoked_token_ends_pages_within_ten_seconds_and_no_half_written_form(
    chromium, client, tmp_path, store, monkeypatch
):
    monkeypatch.setattr(live, "BEAT_SECONDS", 1.0)
    token = await store.tokens.add("ada", "operator", "bob")
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    async with opened(chromium, client, tmp_path, token=token, problems=False) as page:
        other, third = await page.context.new_page(), await page.context.new_page()
        await other.goto("/contexts")
        form = await page.context.new_page()
        await form.goto("/tasks/shop.approval")
        await form.fill("#reason", "started once")
        await page.goto(f"/contexts/{context_id}")
        await page.locator("[data-act=emit]").click()
        await page.locator("#acts [name=type]").fill("approved")
        await page.locator("#acts form[action$=emit] [name=reason]").fill("it is right")
        await store.tokens.revoke("ada")
        await other.wait_for_url("**/login*")
        await expect(page.locator("#stale")).to_contain_text("nothing here is lost")
        await form.click("form.fields > button")
        await expect(form.locator("h1")).to_contain_text("401")
        await log_in(third, (tmp_path / "gateway.token").read_text().strip())
        await expect(page.locator("#stale")).to_be_hidden()
        await page.locator("#acts form[action$=emit] button").click()
        await expect(page.locator("#tab")).to_contain_text("approved")
        await form.go_back(wait_until="networkidle")
        assert await form.locator("#reason").input_value() == "started once"
        await form.click("form.fields > button")
        await form.wait_for_url("**/contexts/*")
    event = (await store.events(context_id))[-1]
    assert event.type == "approved"
    assert event.meta["reason"] == "it is right"
    assert event.meta["user"] != "ada"


async def test_a_database_that_is_away_is_said_in_words_and_pages_come_back(
    chromium, database_url, tmp_path
):
    """Both one that was open and one that was asked for meanwhile, and nobody presses a key."""
    forwarder = Forwarder(database_url, free_port())
    await forwarder.start()
    async with (
        Store.opened(make_conninfo(database_url, **forwarder.address)) as store,
        served(store, tmp_path, working=False) as client,
        opened(chromium, client, tmp_path, problems=False) as page,
    ):
        (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
        await page.goto(f"/contexts/{context_id}")
        await forwarder.stop()
        other = await page.context.new_page()
        await other.goto("/queues")
        await expect(other.locator("h1")).to_contain_text("503")
        await expect(other.locator("[role=alert]")).to_contain_text("database")
        await expect(other.get_by_text("opens by itself")).to_be_visible()
        await expect(page.locator("#stale")).to_contain_text(
            re.compile("not up to date: .*database")
        )
        await expect(page.locator("h1")).to_contain_text("shop.double")
        await forwarder.start()
        await expect(other.locator("h1")).to_have_text("Queues")
        await store.append(context_id, [Event("tick")])
        await expect(page.locator("#tab")).to_contain_text("tick")
        await expect(page.locator("#stale")).to_be_hidden()
    await forwarder.stop()


async def test_ten_tabs_load_and_only_the_one_that_is_seen_holds_a_stream(
    chromium, client, tmp_path, store
):
    """A browser opens six connections to a server: with a stream each the seventh would hang."""
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    see = """isAway = {}; document.dispatchEvent(new Event("visibilitychange"))"""
    streams: set[object] = set()
    async with opened(chromium, client, tmp_path) as first:
        await first.context.add_init_script(
            'window.isAway = false;Object.defineProperty(document, "hidden", { get: () => isAway })'
        )
        first.context.on("request", lambda r: streams.add(r) if "/~live" in r.url else None)
        for end in ("requestfinished", "requestfailed"):
            first.context.on(end, lambda request: streams.discard(request))  # noqa: PLW0108 - it is marked
        tabs = [first]
        await first.goto(f"/contexts/{context_id}")
        for _ in range(9):
            await tabs[-1].evaluate(see.format("true"))
            tabs.append(await first.context.new_page())
            await tabs[-1].goto(f"/contexts/{context_id}")
        await store.append(context_id, [Event("tick")])
        await expect(tabs[-1].locator("#tab")).to_contain_text("tick")
        assert len(streams) == 1
        assert "tick" not in await first.locator("#tab").inner_text()
        await tabs[-1].evaluate(see.format("true"))
        await first.evaluate(see.format("false"))
        await expect(first.locator("#tab")).to_contain_text("tick")
        assert len(streams) == 1


async def test_print_has_all_text_and_nothing_to_press(chromium, client, tmp_path, store):
    """Also of a dark page: what is folded or scrolls on a screen is whole on paper."""
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    await store.append(context_id, [Event("long", {"lines": [f"line {n}" for n in range(90)]})])
    async with opened(chromium, client, tmp_path, color_scheme="dark") as page:
        await page.emulate_media(media="print", color_scheme="dark")
        for path in (
            *(f"/contexts/{context_id}?tab={tab}" for tab in PRINTED),
            "/",
            "/contexts",
            "/tasks/shop.double",
        ):
            await page.goto(path)
            assert await page.evaluate(PRESSED) == [], path
            assert await page.evaluate(CLIPPED) == [], path
            assert await page.evaluate(LINKS) == ["rgb(11, 87, 184)"], path
            await expect(page.locator("footer")).to_contain_text(f"{client.base_url}{path}")
        await page.goto(f"/contexts/{context_id}")
        await expect(page.get_by_text('"line 89"').last).to_be_visible()
        assert (await page.pdf()).startswith(b"%PDF")
