"""The pages in a browser, on a store that is full: what a person waits for.

First paint and weight of each page, a step of the scrubber through 100,000 events, an event from
its commit to the screen, and the memory of the gateway with 50 open pages. Targets: 200 ms,
100 kB, 100 ms and 300 ms. With `--prefect VENV`, the dashboard of a server of Prefect from there
beside it: `python -m venv VENV && VENV/bin/pip install prefect`. `--small` fills a tenth.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from benchmarks import MISSED
from benchmarks.filled import Filled
from dama.domain.event import Event
from dama.embedded import EmbeddedPostgres
from dama.store import Start, Store, schema

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

ROOT = Path(__file__).parents[1]
LOADS, STEPS, EVENTS, OPEN, TABS = 5, 50, 30, 50, 2
PAINT = """() => new Promise((done) => {
  const found = () => performance.getEntriesByName("first-contentful-paint")[0]?.startTime;
  const look = () => (found() ? done(found()) : setTimeout(look, 5)); look(); })"""
WEIGHT = """() => performance.getEntriesByType("resource").concat(
  performance.getEntriesByType("navigation")).reduce((sum, e) => sum + e.encodedBodySize, 0)"""


def main(arguments: list[str]) -> int:
    """Measure and print."""
    part = 10 if "--small" in arguments else 1
    filled = Filled(closed=3_333_334 // part, queued=100_000 // part)
    venv = arguments[arguments.index("--prefect") + 1] if "--prefect" in arguments else None
    with tempfile.TemporaryDirectory() as folder:
        server = EmbeddedPostgres(Path(folder) / "postgres")
        url = server.start()
        try:
            return asyncio.run(_measure(url, Path(folder), filled, venv))
        finally:
            server.stop()


async def _measure(url: str, folder: Path, filled: Filled, venv: str | None) -> int:
    await schema.migrate(url)
    filled.fill(url)
    found = subprocess.check_output([ROOT / "tools" / "browser", "--install"], text=True)  # noqa: ASYNC221 - nothing else runs
    environ = {**os.environ, "DAMA_DATABASE_URL": url, "DAMA_HOME": str(folder / "home")}
    gateway = [str(Path(sys.executable).with_name("dama")), "gateway", "--port", "0"]
    missed = False
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=found.strip(), args=["--no-sandbox"])
        async with _serving(gateway, environ, r"at (http://[^;\s]+)") as (base, pid):
            token = (folder / "home" / "gateway.token").read_text().strip()
            missed |= await _ours(browser, base, pid, token, url, filled)
        if venv:
            environ = {**os.environ, "PREFECT_HOME": str(folder / "prefect")}
            peer = [f"{venv}/bin/prefect", "server", "start", "--port", "4299"]
            async with _serving(peer, environ, r"(http://127\.0\.0\.1:\d+)/?\s") as (base, pid):
                await _loads(browser, base, "Prefect", ["/dashboard", "/runs", "/flows"], "")
                await _memory(browser, base, pid, "Prefect", "/dashboard", "")
    return MISSED if missed else 0


@asynccontextmanager
async def _serving(
    command: list[str], environ: dict[str, str], address: str
) -> AsyncGenerator[tuple[str, int]]:
    """A server in a process of its own: its address and its pid."""
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout  # noqa: S101 - PIPE makes it
    try:
        told = ""
        while not (found := re.search(address, told)):
            line = await process.stdout.readline()
            if not line:
                sys.exit(told)
            told += line.decode()
        reading = asyncio.create_task(process.stdout.read())
        yield found[1].rstrip("/"), process.pid
        reading.cancel()
    finally:
        process.terminate()
        await process.wait()


async def _ours(
    browser: Browser, base: str, pid: int, token: str, url: str, filled: Filled
) -> bool:
    """Ours; whether a target was missed."""
    long, root = f"/contexts/{filled.long}", f"/contexts/{filled.root}?tab=tree"
    paths = ["/", "/contexts", "/tasks", "/queues", "/workers", "/log", "/doctor", long, root]
    paint, weight = await _loads(browser, base, "dama", paths, token)
    page = await _page(browser, base, token)
    await page.goto(f"{long}?tab=state&at=99000")
    step = median([await _step(page, 99_000 - n) for n in range(1, STEPS + 1)])
    print(f"a step of the scrubber: {step:.0f} ms (target: less than 100)")
    async with Store.opened(url) as store:
        (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
        await page.goto(f"/contexts/{context_id}")
        await page.wait_for_timeout(1000)
        seen = median([await _seen(page, store, context_id, n) for n in range(EVENTS)])
    print(f"an event from commit to screen: p50 {seen:.0f} ms (target: less than 300)")
    await page.context.close()
    await _memory(browser, base, pid, "dama", f"/contexts/{context_id}", token)
    return paint >= 200 or weight >= 100 or step >= 100 or seen >= 300  # noqa: PLR2004 - the targets


async def _page(browser: Browser, base: str, token: str) -> Page:
    context = await browser.new_context(base_url=base)
    page = await context.new_page()
    if token:
        await page.goto("/login")
        await page.fill("[name=token]", token)
        await page.click("main button")
        await page.wait_for_url("**/")
    return page


async def _loads(
    browser: Browser, base: str, name: str, paths: list[str], token: str
) -> tuple[float, float]:
    """The slowest and the heaviest of some pages; print them."""
    page = await _page(browser, base, token)
    paints, weights = {}, {}
    for path in paths:
        found: list[float] = []
        for _ in range(LOADS):
            await page.goto(path, wait_until="networkidle" if not token else "load")
            found.append(await page.evaluate(PAINT))
        paints[path] = median(found)
        weights[path] = await page.evaluate(WEIGHT) / 1000
    slow, heavy = max(paints, key=paints.__getitem__), max(weights, key=weights.__getitem__)
    print(f"{name}: first paint {paints[slow]:.0f} ms at most, of {slow} (target: less than 200)")
    print(f"{name}: {weights[heavy]:.0f} kB at most, of {heavy} (target: less than 100)")
    await page.context.close()
    return paints[slow], weights[heavy]


async def _step(page: Page, version: int) -> float:
    await page.evaluate("window.begun = performance.now()")
    await page.keyboard.press("[")
    text = f"What event {version} changed"
    return await (
        await page.wait_for_function(
            "(text) => document.getElementById('tab').textContent.includes(text)"
            " && performance.now() - window.begun",
            arg=text,
        )
    ).json_value()


async def _seen(page: Page, store: Store, context_id: int, number: int) -> float:
    await store.append(context_id, [Event(f"tick{number}")])
    begun = time.perf_counter()
    await page.wait_for_function(
        "(text) => document.getElementById('tab').textContent.includes(text)", arg=f"tick{number}"
    )
    return (time.perf_counter() - begun) * 1000


async def _memory(browser: Browser, base: str, pid: int, name: str, path: str, token: str) -> None:
    """How much the server has, and how much 50 open pages add."""
    page = await _page(browser, base, token)
    session = await page.context.storage_state()  # ten logins a minute are allowed
    await page.context.close()
    before = _resident(pid)
    contexts: list[BrowserContext] = []
    for _ in range(OPEN // TABS):  # a browser opens six connections to a server
        contexts.append(await browser.new_context(base_url=base, storage_state=session))
        for _ in range(TABS):
            page = await contexts[-1].new_page()
            await page.goto(path)
            if urlsplit(page.url).path != urlsplit(path).path:
                sys.exit(f"{path} is not open, but {page.url}.")
    more = _resident(pid) - before
    print(f"{name}: {before:.0f} MiB, and {more:.0f} more with {OPEN} open pages")
    for context in contexts:
        await context.close()


def _resident(pid: int) -> float:
    """MiB of a process and of those that it started."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (line,) = re.findall(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(line) / 1024 + sum(_resident(int(each)) for each in children)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
