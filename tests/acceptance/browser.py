"""A page of a real browser that has logged in.

The tests of a module share the browser, and so the loop: to start one takes longer than most tests.

Where there is none the tests are skipped, which pytest says; with DAMA_TEST_NEEDS_BROWSER, which CI
sets where one can be installed, they fail.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import async_playwright, expect

from dama.store import Store

FINDER = Path(__file__).parents[2] / "tools" / "browser"
PATIENCE = 90_000  # milliseconds

expect.set_options(timeout=PATIENCE)


def browser_path() -> str:
    found = subprocess.run([FINDER], capture_output=True, text=True, check=False)
    if found.returncode:
        text = "NO BROWSER: `tools/browser --install` installs one; the pages are not tried"
        if os.environ.get("DAMA_TEST_NEEDS_BROWSER"):
            pytest.fail(text)
        pytest.skip(text)
    return found.stdout.strip()


async def log_in(page, token):
    await page.goto("/login")
    await page.fill("[name=token]", token)
    await page.click("main button")
    await page.wait_for_url("**/")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium():
    """The browser of a module of tests."""
    path = browser_path()
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def store(database_url):
    """The store of the test's own database, in the loop of the browser."""
    async with Store.opened(database_url) as store:
        yield store


@asynccontextmanager
async def opened(chromium, client, home, *, problems=True, token=None, **options):
    """A page that has logged in, of a person of its own; what goes wrong in it fails the test."""
    found: list[str] = []
    context = await chromium.new_context(base_url=str(client.base_url), **options)
    try:
        context.set_default_timeout(PATIENCE)
        page = await context.new_page()
        page.on("console", lambda m: found.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: found.append(str(error)))
        await log_in(page, token or (home / "gateway.token").read_text().strip())
        yield page
    finally:
        await context.close()
    assert not problems or not found, found
