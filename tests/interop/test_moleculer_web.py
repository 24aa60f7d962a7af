"""The real moleculer-web as the oracle: the same requests to it and to our gateway.

What is different on purpose is written down here and in docs/howto/gateway.md, with its reason.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dama.app import App
from dama.definitions.registry import Registry
from dama.gateway.server import serving
from dama.gateway.settings import GatewaySettings
from dama.shipped.node import node_of
from dama.store import Store
from tests.interop.cluster import HERE, Bus, install_moleculer, js_node

pytestmark = pytest.mark.asyncio(loop_scope="module")

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
COMPARED = ("content-type", "location", "x-made")

SAME = [
    ("POST", "/api/js/echo", b'{"a": [1, null, {"b": true}]}', JSON),
    ("POST", "/api/js/echo", b"", {}),
    ("POST", "/api/js/echo?x=1&y=two", b'{"x": "body", "z": 3}', JSON),
    ("POST", "/api/js/echo?a=1&a=2&c[d]=4", b"", {}),
    ("POST", "/api/js/echo", b"x=1&y[z]=2", FORM),
    ("GET", "/api/js/echo?x=1", b"", {}),
    ("PUT", "/api/js/echo", b'{"x": 1}', JSON),
    ("DELETE", "/api/js/echo?x=1", b"", {}),
    ("GET", "/api/js/things/7?q=1", b"", {}),
    ("GET", "/api/js/things/a%20b", b"", {}),
    ("GET", "/api/js/things/a%2541", b"", {}),
    ("GET", "/api/js/things/a%2Fb", b"", {}),
    ("GET", "/api/js/things/%C3%BC", b"", {}),
    ("POST", "/api/js/things", b"{}", JSON),
    ("POST", "/api/js/add", b'{"a": 1, "b": 2}', JSON),
    ("POST", "/api/js/typed", b"", {}),
    ("POST", "/api/js/redirected", b"", {}),
    ("POST", "/api/js/nothing", b"", {}),
    ("POST", "/api/js/number", b"", {}),
    ("POST", "/api/js/bytes", b"", {}),
    ("POST", "/api/~node/options", b"", {}),
]
SAME_ERRORS = [
    ("POST", "/api/js/add", b'{"a": "x"}', JSON),
    ("POST", "/api/js/failLeaving", b"", {}),
    ("POST", "/api/js/fail", b"", {}),
    ("POST", "/api/js/publicOnly", b"", {}),
    ("POST", "/api/js/hidden", b"", {}),
    ("POST", "/api/js/nosuch", b"", {}),
    ("POST", "/api/nosuch/action", b"", {}),
    ("GET", "/elsewhere", b"", {}),
    ("POST", "/api/js/echo", b"{", JSON),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(server, template, tmp_path_factory):
    """Clients of moleculer-web and of our gateway, before the same node."""
    from tests.conftest import url_of

    install_moleculer()
    folder, bus = tmp_path_factory.mktemp("web"), Bus()
    await bus.start(folder)
    web = None
    try:
        async with js_node(bus.url), Store.opened(url_of(server, template)) as store:
            web = await asyncio.create_subprocess_exec(
                "node", str(HERE / "web.js"), bus.url, stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "NODE_PATH": str(install_moleculer())},
            )  # fmt: skip
            assert web.stdout
            async with asyncio.timeout(30):
                port = int(await web.stdout.readline())
            app = App(store, Registry(), folder)
            settings = GatewaySettings(port=0, any_method=True, tokens=False)
            node: dict[str, object] = {"url": bus.url, "heartbeat_interval": 1}
            async with node_of(app, node, ""), serving(app, settings) as address:
                await (await app.broker()).wait_for_services("js", timeout=10)
                async with (
                    httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as theirs,
                    httpx.AsyncClient(base_url=address) as ours,
                ):
                    yield theirs, ours
    finally:
        if web:
            web.kill()
            await web.wait()
        await bus.kill()


def body_of(answer: httpx.Response) -> Any:
    if answer.headers.get("content-type", "").startswith("application/json"):
        return answer.json()
    return answer.content


def without_node(data: Any) -> Any:
    """Details without the id of the node that called: each gateway is one of its own."""
    if isinstance(data, list):
        return [without_node(each) for each in data]
    return {k: v for k, v in data.items() if k != "nodeID"} if isinstance(data, dict) else data


@pytest.mark.parametrize(("method", "path", "body", "headers"), SAME)
async def test_answers_are_the_same(both, method, path, body, headers):
    theirs, ours = [await c.request(method, path, content=body, headers=headers) for c in both]
    assert ours.status_code == theirs.status_code
    if "~node" in path:
        return  # each tells of itself
    assert body_of(ours) == body_of(theirs)
    for header in COMPARED:
        assert ours.headers.get(header) == theirs.headers.get(header)


@pytest.mark.parametrize(("method", "path", "body", "headers"), SAME_ERRORS)
async def test_errors_have_the_same_status_and_fields(both, method, path, body, headers):
    theirs, ours = [await c.request(method, path, content=body, headers=headers) for c in both]
    assert ours.status_code == theirs.status_code
    expected, found = theirs.json(), ours.json()
    assert set(expected) <= {"name", "message", "code", "type", "data"}
    for field in ("code", "type"):
        if path.startswith("/api/js/") and not path.endswith(("Only", "hidden", "nosuch", "echo")):
            assert found[field] == expected[field]
            assert without_node(found.get("data")) == without_node(expected.get("data"))
            assert found["name"] == expected["name"]
    assert found["request_id"]


async def test_an_unforeseen_error_is_not_shown(both):
    """moleculer-web shows what the exception says, which may be anything."""
    theirs, ours = [await c.post("/api/js/plain") for c in both]
    assert ours.status_code == theirs.status_code == 500
    assert theirs.json()["message"] == "a bug"
    assert "a bug" not in ours.text


async def test_a_body_that_is_a_list_is_passed_on(both):
    """moleculer-web makes an object of it, with the places as keys."""
    theirs, ours = [await c.post("/api/js/echo", content=b"[1, 2]", headers=JSON) for c in both]
    assert theirs.json() == {"0": 1, "1": 2}
    assert ours.json() == [1, 2]


async def test_a_body_of_another_type_is_refused(both):
    """moleculer-web makes nothing of it, and calls the action without params."""
    theirs, ours = [
        await c.post("/api/js/echo", content=b"<x/>", headers={"Content-Type": "text/xml"})
        for c in both
    ]
    assert (theirs.status_code, ours.status_code) == (200, 415)


async def test_what_has_not_changed_is_not_sent_again(both):
    for client in both:
        first = await client.get("/api/js/things/7")
        again = await client.get(
            "/api/js/things/7", headers={"If-None-Match": first.headers["etag"]}
        )
        assert (again.status_code, again.content) == (304, b"")


async def test_other_sites_are_refused(both):
    """moleculer-web serves them: on loopback any page could call."""
    headers = {"Origin": "https://evil.example"}
    theirs, ours = [await c.post("/api/js/echo", headers=headers) for c in both]
    assert (theirs.status_code, ours.status_code) == (200, 403)
