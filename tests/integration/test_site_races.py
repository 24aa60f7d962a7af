"""What goes or changes between two reads of a page: the page says so, and does not fail."""

from __future__ import annotations

import shutil
import threading

import pytest

from dama.domain.event import Event
from dama.gateway.files import _listed
from dama.programs.programs import directories_of
from dama.store import Start
from tests.integration.browsing import Browser
from tests.integration.served import ended, served


@pytest.fixture
async def client(store, tmp_path):
    async with served(store, tmp_path) as client:
        yield client


@pytest.fixture
async def browser(client, tmp_path):
    browser = Browser(str(client.base_url))
    await browser.login((tmp_path / "gateway.token").read_text())
    yield browser
    await browser.client.aclose()


async def test_a_log_that_cannot_be_read_is_said_and_the_rest_is_shown(
    browser, client, store, tmp_path
):
    """A disk that fails, or a clean-up between two looks, is no failure of the page."""
    context_id = await ended(client, "shop.report")
    (run,) = (await directories_of(store, tmp_path)).of_context(context_id)
    run.stdout.unlink()
    run.stdout.mkdir()  # can be seen, and not be read
    for query in ("tab=log&stream=stdout", "tab=log&stream=stdout&find=out", "tab=moment&at=2"):
        page = await browser.get(f"/contexts/{context_id}?{query}")
        assert page.status == 200
        assert "<h1>" in page.source
    page = await browser.get(f"/contexts/{context_id}?tab=log&stream=stdout")
    assert "The log cannot be read now:" in page.text
    assert (await browser.get(f"/contexts/{context_id}/log?stream=stdout")).status == 404
    answer = await client.get(f"/api/contexts/{context_id}/logs?stream=stdout")
    assert answer.status_code == 404
    shutil.rmtree(run.path)
    for tab in ("log", "artifacts", "moment"):
        assert (await browser.get(f"/contexts/{context_id}?tab={tab}")).status == 200


async def test_errors_whose_message_is_no_text_are_shown(browser, store):
    """Programs of the first system write errors as they like."""
    for message in (7, ["a"], {"b": 1}, None, True):
        (context_id,) = await store.start([Start("shop.absent", {})])
        payload = {"message": message, "stack": message}
        await store.append(context_id, [Event("shop.absent:RETRYING", payload, error=True)])
        for tab in ("events", "params", "state"):
            page = await browser.get(f"/contexts/{context_id}?tab={tab}")
            assert page.status == 200, (message, tab)


def test_files_that_go_while_they_are_listed_are_left_out(tmp_path):
    """A program makes and removes its files while somebody looks."""
    (tmp_path / "stays").write_text("x")
    is_over = threading.Event()

    def change() -> None:
        while not is_over.is_set():
            for name in range(50):
                (tmp_path / f"{name}.part").touch()
            for name in range(50):
                (tmp_path / f"{name}.part").unlink()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(200):
            assert {"path": "stays", "bytes": 1} in _listed(tmp_path)
    finally:
        is_over.set()
        thread.join()
