"""Actions in a browser: seen with their nodes, called with a form, by the rules of all calls."""

from __future__ import annotations

import pytest

from dama.operations import acts
from tests.integration.browsing import Browser
from tests.integration.served import served


class Holder:
    """What `acts.latest` reads of an app."""

    def __init__(self, store):
        self.store = store


@pytest.fixture
async def client(store, tmp_path):
    async with served(store, tmp_path, working=False, blacklist=("shop.nothing",)) as client:
        yield client


@pytest.fixture
async def browser(client, tmp_path):
    browser = Browser(str(client.base_url))
    await browser.login((tmp_path / "gateway.token").read_text())
    yield browser
    await browser.client.aclose()


async def test_an_action_is_called_with_a_form_made_of_its_params(browser):
    page = await browser.get("/services")
    assert "/services/shop.item" in page.links
    page = await browser.get("/services/shop.item")
    assert "Read an item." in page.text
    page = await browser.send(
        page.form("/services/shop.item"), **{"param.id": "7", "param.color": "blue"}
    )
    assert '"id": 7' in page.text
    assert '"color": "blue"' in page.text


async def test_what_changes_something_asks_why_and_is_an_act(browser, store):
    form = (await browser.get("/services/shop.save")).form("/services/shop.save")
    refused = await browser.send(form, **{"param.name": "lamp", "reason": ""})
    assert (refused.status, "reason is missing" in refused.text) == (400, True)
    page = await browser.send(form, **{"param.name": "lamp", "reason": "stock"})
    assert '"name": "lamp"' in page.text
    (done,) = await acts.latest(Holder(store))
    assert (done.type, done.payload) == ("action/called", {"action": "shop.save"})
    assert done.meta["reason"] == "stock"


async def test_an_action_that_takes_anything_takes_json(browser):
    form = (await browser.get("/services/shop.echo")).form("/services/shop.echo")
    page = await browser.send(form, params='{"a": [1, 9007199254740993]}', reason="a try")
    assert "9007199254740993" in page.text
    for wrong in ("[1]", "{", "1"):
        page = await browser.send(form, params=wrong, reason="a try")
        assert page.status == 400, wrong


async def test_what_an_action_refuses_is_said_and_what_it_should_not_say_is_not(browser):
    form = (await browser.get("/services/shop.taken")).form("/services/shop.taken")
    page = await browser.send(form, params="{}", reason="a try")
    assert (page.status, "it is taken" in page.text) == (409, True)
    form = (await browser.get("/services/shop.bug")).form("/services/shop.bug")
    page = await browser.send(form, params="{}", reason="a try")
    assert page.status == 500
    assert "hunter2" not in page.source
    form = (await browser.get("/services/shop.item")).form("/services/shop.item")
    page = await browser.send(form, **{"param.id": "many"})
    assert page.status == 422, page.text
    assert "id" in page.text


async def test_bytes_and_streams_are_named(browser):
    form = (await browser.get("/services/shop.picture")).form("/services/shop.picture")
    page = await browser.send(form, params="{}", reason="a try")
    assert "4 B of bytes" in page.text
    form = (await browser.get("/services/shop.lines")).form("/services/shop.lines")
    page = await browser.send(form, **{"param.count": "3", "reason": "a try"})
    assert "A stream" in page.text


@pytest.mark.parametrize("name", ["shop.inner", "shop.nothing", "shop.none"])
async def test_what_is_not_offered_cannot_be_called(browser, name):
    page = await browser.get(f"/services/{name}")
    assert page.status == 404
    token = (await browser.get("/services/shop.echo")).form("/services/shop.echo").fields
    page = await browser.post(f"/services/{name}", {**token, "params": "{}", "reason": "x"})
    assert page.status == 404


async def test_a_viewer_reads_and_calls_what_only_reads(client, store):
    browser = Browser(str(client.base_url))
    await browser.login(await store.tokens.add("eve", "viewer", "test"))
    form = (await browser.get("/services/shop.item")).form("/services/shop.item")
    page = await browser.send(form, **{"param.id": "7"})
    assert '"id": 7' in page.text
    page = await browser.get("/services/shop.save")
    assert "needs the scope operator" in page.text
    assert not [each for each in page.forms if each.action == "/services/shop.save"]
    forged = {**form.fields, "param.name": "x", "reason": "x"}
    page = await browser.post("/services/shop.save", forged)
    assert page.status == 403
    assert not await acts.latest(Holder(store))
    await browser.client.aclose()
