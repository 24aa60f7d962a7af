"""A page of a real browser that has logged in.

Where there is none the tests are skipped, which pytest says; with DAMA_TEST_NEEDS_BROWSER, which CI
sets where one can be installed, they fail.
"""

from __future__ import annotations

import os
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect

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


@asynccontextmanager
async def opened(client, home, *, problems=True, token=None, **options):
    """A page of a browser that has logged in; what goes wrong in it fails the test."""
    found: list[str] = []
    path = browser_path()
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        context = await browser.new_context(base_url=str(client.base_url), **options)
        context.set_default_timeout(PATIENCE)
        page = await context.new_page()
        page.on("console", lambda m: found.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: found.append(str(error)))
        await log_in(page, token or (home / "gateway.token").read_text().strip())
        yield page
        await browser.close()
    assert not (problems and found)
