"""Take a picture of each page: light and dark, wide and narrow, into build/screenshots.

Loads the example first, into an embedded database of its own, so that there is something to see.
With an argument the pictures of the README are made instead, into that folder.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parent.parent
DAMA = str(Path(sys.executable).with_name("dama"))
SIZES = {"wide": (1280, 800), "narrow": (390, 800)}
THEMES = ("light", "dark")
PAGES = {
    "overview": "/", "contexts": "/contexts", "tasks": "/tasks", "task": "/tasks/flights.load",
    "schedules": "/schedules", "queues": "/queues", "workers": "/workers", "services": "/services",
    "log": "/log", "doctor": "/doctor", "tokens": "/tokens", "settings": "/settings",
    "context-events": "/contexts/1", "context-tree": "/contexts/1?tab=tree",
    "context-timeline": "/contexts/1?tab=timeline",
    "context-program": "/contexts/14?tab=timeline",
    "context-state": "/contexts/1?tab=state&at=16",
    "context-params": "/contexts/1?tab=params", "context-log": "/contexts/14?tab=log",
    "context-artifacts": "/contexts/14?tab=artifacts", "preview": "/contexts/14/preview/delays.csv",
    "diff": "/diff?a=2&b=3", "what-if": "/contexts/1/what-if?event=3&ask=1",
    "lineage": "/lineage?table=flights.flights", "start-failed": "/contexts/99999",
}  # fmt: skip
PROGRAM = r"""printf '\e[32mready\e[0m\n'
printf 'month,delay\n1,9.2\n2,11.4\n' > "$DAMA_ARTIFACTS/delays.csv"
exit 3"""
README = ("overview", "context-tree", "context-state")


def run(environ: Mapping[str, str], *words: str) -> str:
    """Run a command of dama; returns what it printed."""
    done = subprocess.run([DAMA, *words], env=environ, cwd=ROOT, capture_output=True, text=True)  # noqa: PLW1510 - a failed run is shown as well
    return done.stdout.strip()


def up(environ: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start everything; returns when it serves."""
    server = subprocess.Popen(
        [DAMA, "up", "--port", "0"], env=environ, cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    for line in server.stdout or ():
        if line.startswith("gateway"):
            return server
    sys.exit("`dama up` has ended. Run it by hand to see why.")


def pictures(browser: Browser, login: str, names: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """The pictures of the pages, by what they show."""
    base = login.partition("/login")[0]
    context = browser.new_context(base_url=base)
    context.new_page().goto(login)
    state = context.storage_state()
    for theme in THEMES:
        for size, (width, height) in SIZES.items():
            chosen = browser.new_context(
                base_url=base,
                storage_state=state,
                color_scheme=theme,  # pyright: ignore[reportArgumentType]
                viewport={"width": width, "height": height},
            )
            page = chosen.new_page()
            for name, path in names.items():
                page.goto(path)
                yield f"{name}-{theme}-{size}", page.screenshot()
            chosen.close()


def main(folder: str = "") -> None:
    """Take them all, or those of the README into a folder."""
    target = ROOT / (folder or "build/screenshots")
    target.mkdir(parents=True, exist_ok=True)
    path = subprocess.check_output([ROOT / "tools" / "browser", "--install"], text=True).strip()
    names = {name: PAGES[name] for name in README} if folder else PAGES
    with TemporaryDirectory() as home, sync_playwright() as driver:
        environ = {**os.environ, "DAMA_HOME": f"{home}/home"}
        server = up(environ)
        try:
            run(environ, "run", "flights.load", "--quiet")
            run(environ, "run", "--", "bash", "-c", PROGRAM)
            browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
            login = run(environ, "open", "--print")
            for name, picture in pictures(browser, login, names):
                if not folder or name.endswith("light-wide"):
                    (target / f"{name}.png").write_bytes(picture)
                    print(target / f"{name}.png")
            browser.close()
        finally:
            server.terminate()
            server.wait()
            run(environ, "db", "stop")


if __name__ == "__main__":
    main(*sys.argv[1:])
