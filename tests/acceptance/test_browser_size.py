"""The pages in a real browser on a large store: light, bounded, and exact.

Limits of time here only tell what is bounded from what is not: machines of tests are slow.
"""

from __future__ import annotations

from statistics import median
from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from benchmarks.filled import Filled
from dama.programs.programs import directories_of
from tests.acceptance.browser import chromium as chromium  # noqa: PLC0414 - a fixture
from tests.acceptance.browser import opened
from tests.acceptance.browser import store as store  # noqa: PLC0414 - a fixture
from tests.acceptance.test_browser import PATHS
from tests.conftest import url_of
from tests.integration.served import ended, served

pytestmark = pytest.mark.asyncio(loop_scope="module")

FILLED = Filled(closed=30_000, history=100_000, children=10_000, queued=3_000)
WEIGHT = """() => performance.getEntriesByType("resource").concat(
  performance.getEntriesByType("navigation")).map((e) => [e.name, e.encodedBodySize])"""
PAINT = """() => new Promise((done) => {
  const found = () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
  const look = () => (found() ? done(found()) : setTimeout(look, 20)); look(); })"""
MEBIBYTE = (b"x" * 127 + b"\n") * 8192
SLOW = 20_000  # milliseconds
KB = 1000


@pytest.mark.timeout(240)
async def test_a_large_store_is_as_light_as_a_small_one(
    chromium, server, store, database_url, tmp_path
):
    FILLED.fill(url_of(server, urlsplit(database_url).path[1:], "dama"))
    long, root = f"/contexts/{FILLED.long}", f"/contexts/{FILLED.root}"
    async with (
        served(store, tmp_path, working=False) as client,
        opened(chromium, client, tmp_path) as page,
    ):
        paints = {}
        await page.goto(long)  # its states are kept from the first look on
        for path in (*PATHS, "/diff", long, f"{root}?tab=tree", f"{long}?failed=1&text=typo"):
            await page.goto(path)
            paints[path] = await page.evaluate(PAINT)
            weights = await page.evaluate(WEIGHT)
            assert {name.split("/")[2] for name, _ in weights} == {client.base_url.netloc.decode()}
            assert sum(size for _, size in weights) < 100 * KB, path
        print("first paint, ms:", {path: round(paint) for path, paint in paints.items()})  # noqa: T201 - with -s
        assert max(paints.values()) < SLOW

        await page.goto(f"{long}?tab=state&at=99000")
        assert await page.evaluate("document.querySelectorAll('*').length") < 3000
        steps = []
        for version in range(98_999, 98_979, -1):
            await page.evaluate(
                "performance.clearResourceTimings(); window.begun = performance.now()"
            )
            await page.keyboard.press("[")
            await expect(page.locator("#tab")).to_contain_text(f"What event {version} changed")
            steps.append(await page.evaluate("performance.now() - window.begun"))
        print(f"a step, ms: median {median(steps):.0f}, most {max(steps):.0f}")  # noqa: T201 - with -s
        assert median(steps) < SLOW
        assert await page.evaluate("performance.memory.usedJSHeapSize") < 40e6

        await page.goto(f"{root}?tab=tree")
        failed = page.locator("table").first.locator("tbody tr")
        await expect(failed).to_have_count(3)
        assert set(await failed.locator(".pill").all_inner_texts()) == {"✕ error"}
        await expect(page.locator("#tab")).to_contain_text("wide.part: 9,997 done, 3 error")
        assert await page.evaluate("document.querySelectorAll('*').length") < 3000


@pytest.mark.timeout(120)
async def test_the_end_and_the_begin_of_a_log_of_a_gibibyte_are_near(chromium, store, tmp_path):
    async with served(store, tmp_path) as client, opened(chromium, client, tmp_path) as page:
        context_id = await ended(client, "shop.report")
        (run,) = (await directories_of(store, tmp_path)).of_context(context_id)
        with run.stdout.open("wb") as file:
            file.write(b"the needle\n")
            for _ in range(1024):
                file.write(MEBIBYTE)
            file.write(b"the end\n")
        log = f"/contexts/{context_id}?tab=log&stream=stdout"
        await page.goto(log)
        await expect(page.locator("pre.log")).to_contain_text("the end")
        await page.goto(f"{log}&find=needle&byte=0")
        await expect(page.locator("[role=status]", has_text="Found")).to_contain_text("byte 0")
        await page.goto(f"{log}&find=typo&byte=0")
        await expect(page.get_by_text("Not found up to byte 67108864")).to_be_visible()
        await page.get_by_text("Look further").click()
        await expect(page.get_by_text("Not found up to byte 134217728")).to_be_visible()
        await page.goto(f"{log}&find=THE END&byte={2**30 - 9999}")
        await expect(page.locator("[role=status]", has_text="Found")).to_contain_text(
            f"byte {2**30 + 11}"
        )
        run.stdout.unlink()
