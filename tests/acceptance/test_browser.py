"""The pages in a real browser: what only it can tell."""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import expect

from dama.domain.event import ABSENT, Event
from dama.domain.schedule import Schedule
from dama.programs.programs import directories_of
from dama.store import Start
from tests.acceptance.browser import chromium as chromium  # noqa: PLC0414 - a fixture
from tests.acceptance.browser import opened
from tests.acceptance.browser import store as store  # noqa: PLC0414 - a fixture
from tests.integration.served import ended, served

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATHS = (
    "/", "/contexts", "/tasks", "/tasks/shop.double", "/schedules", "/queues", "/workers",
    "/services", "/services/shop.item", "/log", "/doctor", "/tokens", "/settings",
)  # fmt: skip
LONG = "a name, " + "n" * 190
BEYOND = "document.documentElement.scrollWidth - innerWidth"
SEEN = "[...document.querySelectorAll('[hidden]')].filter((e) => e.getClientRects().length).length"
TALL = 8000  # pixels, of a page that is 320 wide
TABS = ("events", "state", "tree", "timeline", "log", "params", "artifacts", "moment")


@pytest_asyncio.fixture(loop_scope="module")
async def client(store, tmp_path):
    async with served(store, tmp_path) as client:
        yield client


@pytest.mark.timeout(300)
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_every_page_is_well_made_in_both_themes(chromium, client, tmp_path, theme, store):
    schedule = Schedule(LONG, "shop.double", "0 3 * * *", "UTC", {"n": 1})
    await store.schedules.add(schedule, await store.now() + timedelta(days=1))
    meta = {"schedule": LONG, "user": "u" * 200}
    await store.start([Start("shop.double", {"n": 1}, delay=3600, meta=meta) for _ in range(3)])
    context_id = await ended(client, "shop.total", {"count": 3})
    program = await ended(client, "shop.report")
    (failed,) = await store.start([Start("shop.absent", {"w" * 200: "v" * 100_000}, meta=meta)])
    error = {"name": "E", "message": "m" * 20_000, "stack": "s" * 100_000}
    await store.append(failed, [Event("shop.absent:ERROR", error, error=True)])
    paths = [
        f"/contexts/{context_id}?tab=state&at=2",
        f"/contexts/{program}?tab=log",
        "/contexts",
        "/tasks/shop.double",
        f"/schedules/{LONG}",
        f"/contexts/{failed}?tab=params",
        "/",
    ]
    if theme == "light":  # the colours of all others are among those of these
        paths += [*PATHS, *(f"/contexts/{context_id}?tab={tab}" for tab in TABS)]
    found: list[str] = []
    async with opened(chromium, client, tmp_path, color_scheme=theme) as page:
        for path in paths:
            await page.goto(path)
            results = await Axe().run(page)
            found += [
                f"{path}: {each['id']}: {node['html'][:120]}"
                for each in results.response["violations"]
                for node in each["nodes"]
            ]
            assert not await page.evaluate(SEEN), path
            assert await page.evaluate(BEYOND) <= 0, path
            if theme == "dark":
                continue
            await page.set_viewport_size({"width": 320, "height": 800})  # as at 400 %
            assert await page.evaluate(BEYOND) <= 0, path
            assert await page.evaluate("document.documentElement.scrollHeight") < TALL, path
            await page.set_viewport_size({"width": 1280, "height": 720})
    assert not found, "\n".join(found)


async def test_the_scrubber_moves_state_and_address_together(chromium, client, tmp_path, store):
    context_id = await ended(client, "shop.total", {"count": 2})
    last = (await store.context(context_id)).version
    async with opened(chromium, client, tmp_path) as page:
        await page.goto(f"/contexts/{context_id}?tab=state")
        await page.keyboard.press("[")
        await expect(page.locator("#scrubber output")).to_contain_text(
            f"event {last - 1} of {last}"
        )
        await expect(page.locator("#tab")).to_contain_text(f"What event {last - 1} changed")
        await expect(page.locator("h1")).to_contain_text("open")
        assert f"at={last - 1}" in page.url
        await page.locator("#scrubber input[type=range]").fill("2")
        await expect(page.locator("#tab")).to_contain_text("What event 2 changed")
        await page.reload()
        await expect(page.locator("#tab")).to_contain_text("What event 2 changed")
        await page.keyboard.press(".")
        await expect(page.locator("#scrubber output")).to_contain_text(f"event {last} of {last}")
        await expect(page.locator("h1")).to_contain_text("done")
        for _ in range(3):  # faster than the answers come
            await page.keyboard.press("[")
        await expect(page.locator("#tab")).to_contain_text(f"What event {last - 3} changed")


async def test_steps_by_keys_and_buttons_lead_to_events_that_fit_the_filter(
    chromium, client, tmp_path, store
):
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    for n in range(2, 13):
        await store.append(context_id, [Event("odd" if n % 3 else "third", {"n": n})])
    async with opened(chromium, client, tmp_path) as page:
        await page.goto(f"/contexts/{context_id}?tab=state&type=third")
        for press, version in (("[", 9), ("[", 6), ("]", 9), ("", 6)):
            if press:
                await page.keyboard.press(press)
            else:
                await page.locator("#scrubber [data-step=previous]").click()
            await expect(page.locator("#tab")).to_contain_text(f"What event {version} changed")
            assert f"at={version}" in page.url
            assert "type=third" in page.url


async def test_keys_lead_to_marks_play_and_show_failures(chromium, client, tmp_path, store):
    """A mark is a begin or an end of a run, or an error; it is played up to the last event."""
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    for n in range(2, 13):
        is_error = n in (5, 9)
        await store.append(context_id, [Event("odd", {"n": n}, error=is_error or ABSENT)])
    async with opened(chromium, client, tmp_path) as page:
        await page.goto(f"/contexts/{context_id}?tab=state")
        for key, version in (("{", 9), ("{", 5), ("{", 1), ("}", 5), ("]", 6), ("}", 9)):
            await page.keyboard.press(key)
            await expect(page.locator("#tab")).to_contain_text(f"What event {version} changed")
            assert f"at={version}" in page.url
        play = page.locator("#play")
        await page.keyboard.press("Space")
        await expect(play).to_have_text("Stop")
        for version in (10, 11, 12):
            await expect(page.locator("#tab")).to_contain_text(f"What event {version} changed")
        await expect(play).to_have_text("Play")
        await page.keyboard.press("Space")  # from the first, where it stood at the last
        await expect(page.locator("#tab")).to_contain_text("What event 2 changed")
        await play.click()
        await expect(play).to_have_text("Play")
        await page.keyboard.press("f")
        rows = page.locator("#tab tr[data-row]")
        await expect(rows).to_have_count(2)
        await page.keyboard.press("f")
        await expect(rows).not_to_have_count(2)
        await page.goto("/contexts?task=shop.double")
        await expect(page.locator("tr[data-row]")).to_have_count(1)
        await page.keyboard.press("f")
        await expect(page.locator("#list")).to_contain_text("No context fits")
        assert "task=shop.double" in page.url


async def test_one_step_moves_state_tree_log_and_events_to_one_event(
    chromium, client, tmp_path, store
):
    context_id = await ended(client, "shop.total", {"count": 2})
    events = await store.events(context_id)
    spawned = next(event.version for event in events if event.type.endswith(":SPAWNED"))
    async with opened(chromium, client, tmp_path) as page:
        requests: list[str] = []
        await page.goto(f"/contexts/{context_id}?tab=moment&at={spawned - 1}")
        page.on("request", lambda request: requests.append(request.url))
        tree = page.locator(".part").first
        await expect(tree).to_contain_text("It had started nothing")
        await page.keyboard.press("]")
        await expect(tree.locator("tr[data-row]")).to_have_count(3)
        await expect(tree).not_to_contain_text("done")
        await expect(page.locator("#tab")).to_contain_text(f"What event {spawned} changed")
        await expect(page.locator("#tab tr[aria-current]")).to_have_id(f"e{spawned}")
        assert len(requests) == 1
        await page.locator("#scrubber [data-step=live]").click()
        await expect(tree.locator(".is-done.pill")).to_have_count(3)


async def test_the_lines_of_a_log_are_lines(chromium, client, tmp_path):
    context_id = await ended(client, "shop.speaker")
    async with opened(chromium, client, tmp_path) as page:
        await page.goto(f"/contexts/{context_id}?tab=log&stream=stdout")
        text = await page.locator("pre.log").inner_text()
    assert [line[:6] for line in text.splitlines()[::2]] == ["line 0", "line 1", "line 2", "line 3"]


async def test_a_log_is_at_its_end_until_somebody_scrolls_up(chromium, client, tmp_path, store):
    context_id = await ended(client, "shop.report")
    (run,) = (await directories_of(store, tmp_path)).of_context(context_id)

    async def printed(text: str) -> None:
        with run.stdout.open("a") as file:
            file.write(text)
        for _ in range(2):  # stop to refresh, and go on: now
            await page.keyboard.press("p")

    run.stdout.write_text("a line\n" * 300)
    left = "log => log.scrollHeight - log.clientHeight - log.scrollTop"
    async with opened(chromium, client, tmp_path) as page:
        await page.goto(f"/contexts/{context_id}?tab=log&stream=stdout")
        log, more = page.locator("pre.log"), page.get_by_text("More was printed")
        for text in ("second", "third"):
            assert await log.evaluate(left) < 8
            await printed(f"{text}\n")
            await expect(log).to_contain_text(text)
        await log.evaluate("log => log.scrollTop = 50")
        await printed("fourth\n")
        await more.click()
        await expect(log).to_contain_text("fourth")
        await expect(more).to_have_count(0)
        assert await log.evaluate(left) < 8


async def test_a_page_follows_what_happens_and_stops_at_the_end(chromium, client, tmp_path, store):
    started = await client.post("/api/tasks/shop.approval", json={"params": {}})
    context_id = started.json()["context_id"]
    async with opened(chromium, client, tmp_path) as page:
        await page.goto(f"/contexts/{context_id}")
        await store.append(context_id, [Event("tick", {"n": 1})])
        await expect(page.locator("#tab")).to_contain_text("tick")
        await page.locator("#tab summary").first.click()  # what a person opened stays open
        await store.append(context_id, [Event("tock", {"n": 2})])
        await expect(page.locator("#tab")).to_contain_text("tock")
        assert await page.locator("#tab details[open]").count() == 1
        await store.append(context_id, [Event("approved", {"by": "ada"})])
        await expect(page.locator("#head h1")).to_contain_text("done")
        await expect(page).to_have_title("✓ {} shop.approval – dama".format(context_id))  # noqa: RUF001, UP032
        assert await page.locator("[data-act=cancel]").count() == 0


async def test_the_end_of_a_hidden_context_is_notified_to_who_asked_for_it(
    chromium, client, tmp_path, store
):
    """Only to them, and the tab says the state, too."""
    ids = await store.start([Start("shop.double", {"n": n}, delay=3600) for n in range(2)])
    record = """
        window.told = []; window.isAway = false;
        Object.defineProperty(document, "hidden", { get: () => window.isAway });
        class Told { static permission = "default";
          static async requestPermission() { return (Told.permission = "granted"); }
          constructor(title) { window.told.push(title); } };
        window.Notification = Told;"""
    leave = 'isAway = true; document.dispatchEvent(new Event("visibilitychange"))'
    async with opened(chromium, client, tmp_path) as page:
        await page.add_init_script(record)
        for context_id, is_asked in zip(ids, (True, False), strict=True):
            await page.goto(f"/contexts/{context_id}")
            button = page.locator("#notify")
            await expect(button).to_have_text("Notify me at the end")
            if is_asked:
                await button.click()
                await expect(button).to_have_text("You will be notified")
            await page.evaluate(leave)
            await store.cancel([context_id], "x", {"user": "ada"})
            if not is_asked:  # it is seen when somebody looks again
                await page.evaluate(leave.replace("true", "false"))
            await expect(page.locator("#head h1")).to_contain_text("cancelled")
            assert len(await page.evaluate("told")) == is_asked
            assert (await page.title()).startswith("⊗")


async def test_what_is_being_done_is_not_taken_away_by_news(chromium, client, tmp_path, store):
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    async with opened(chromium, client, tmp_path) as page:
        await page.goto(f"/contexts/{context_id}")
        await page.locator("[data-act=emit]").click()
        await page.locator("#acts [name=type]").fill("half-wri")
        await store.append(context_id, [Event("tick")])
        await page.wait_for_timeout(1500)
        assert await page.locator("#acts [name=type]").input_value() == "half-wri"
        assert await page.evaluate("document.activeElement.name") == "type"


async def test_a_task_is_started_found_and_cancelled_by_keys(chromium, client, tmp_path, store):
    async with opened(chromium, client, tmp_path) as page:
        await page.keyboard.press("g")
        await page.keyboard.press("t")
        await page.wait_for_url("**/tasks")
        await page.goto("/tasks/shop.approval")
        await page.locator("#reason").focus()
        await page.keyboard.type("by keys")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/contexts/*")
        context_id = int(page.url.rpartition("/")[2])
        await page.keyboard.press("g")
        await page.keyboard.press("c")
        await page.wait_for_url("**/contexts")
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await page.wait_for_url(f"**/contexts/{context_id}")
        await page.keyboard.press("c")
        await page.keyboard.type("no need")
        await page.keyboard.press("Enter")
        await expect(page.locator("#head h1")).to_contain_text("cancelled")
    assert (await store.context(context_id)).status == "CANCELLED"


async def test_keys_can_be_switched_off(chromium, client, tmp_path):
    async with opened(chromium, client, tmp_path) as page:
        await page.goto("/settings")
        await page.select_option("#keys", "off")
        await page.click("main form button")
        await page.goto("/")
        await page.keyboard.press("g")
        await page.keyboard.press("t")
        await page.wait_for_timeout(500)
        assert page.url.endswith("/")


async def test_without_javascript_tasks_are_started_seen_and_cancelled(
    chromium, client, tmp_path, store
):
    async with opened(chromium, client, tmp_path, java_script_enabled=False) as page:
        await page.goto("/tasks/shop.approval")
        await page.fill("#reason", "no script")
        await page.click("form.fields > button")
        await page.wait_for_url("**/contexts/*")
        context_id = int(page.url.rpartition("/")[2])
        await page.goto("/contexts")
        await page.click(f"#c{context_id} a")
        await page.click("[data-act=cancel]")
        await page.fill(".act[open] [name=reason]", "enough")
        await page.click(".act[open] button")
        await expect(page.locator("#head h1")).to_contain_text("cancelled")
    assert (await store.context(context_id)).status == "CANCELLED"


async def test_a_gateway_that_is_away_is_said_and_comes_back(chromium, store, tmp_path):
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    async with AsyncExitStack() as stack:
        first = await stack.enter_async_context(served(store, tmp_path, working=False))
        port = first.base_url.port
        async with opened(chromium, first, tmp_path, problems=False) as page:
            await page.goto(f"/contexts/{context_id}")
            await stack.aclose()
            await expect(page.locator("#stale")).to_contain_text("not up to date")
            await store.append(context_id, [Event("meanwhile")])
            async with served(store, tmp_path, working=False, port=port, tokens=True):
                await expect(page.locator("#tab")).to_contain_text("meanwhile")
                await expect(page.locator("#stale")).to_be_hidden()


async def test_a_bar_in_a_log_is_its_last_state_with_its_colour(chromium, client, tmp_path):
    context_id = await ended(client, "shop.bar")
    async with opened(chromium, client, tmp_path) as page:
        await page.goto(f"/contexts/{context_id}?tab=log&stream=stdout")
        assert await page.locator("pre.log").inner_text() == "100 % <b>done</b>"
        assert await page.locator("pre.log .ansi-green").inner_text() == "100 %"


async def test_a_range_of_rows_is_chosen_by_shift_and_by_keys(chromium, client, tmp_path, store):
    ids = await store.start([Start("shop.double", {"n": n}, delay=3600) for n in range(6)])
    async with opened(chromium, client, tmp_path) as page:
        await page.goto("/contexts?task=shop.*")
        await page.check(f"#c{ids[4]} input")
        await page.click(f"#c{ids[2]} input", modifiers=["Shift"])
        assert await page.locator("[data-row] input:checked").count() == 3
        for _ in range(6):  # to the last row
            await page.keyboard.press("j")
        await page.keyboard.press("X")
        assert await page.locator("[data-row] input:checked").count() == 5
        await page.click("[name=act][value=cancel]")
        await page.fill(".panel [name=reason]", "no need")
        await page.click("main .panel button")
        await expect(page.locator("h1")).to_contain_text("Cancel 5 contexts")
    statuses = [(await store.context(each)).status for each in ids]
    assert statuses == [*["CANCELLED"] * 5, "OPEN"]
