"""The real moleculer-web as the oracle: the same requests to it and to our gateway.

What is different on purpose is written down here and in docs/howto/gateway.md, with its reason.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest
import pytest_asyncio

from dama.app import App
from dama.definitions.registry import Registry
from dama.gateway import own_aliases
from dama.gateway.own_aliases import Route
from dama.gateway.server import serving
from dama.gateway.settings import GatewaySettings
from dama.shipped.node import node_of
from dama.store import Store
from tests.conftest import fresh_database
from tests.interop.cluster import HERE, Bus, install_moleculer, js_node
from tests.interop.requests import ALIKE, ALIKE_ERRORS, DIFFERENT, FORM, JSON, answered, run
from tests.plain_http import NO_TLS

pytestmark = pytest.mark.asyncio(loop_scope="module")

COMPARED = (
    "content-type", "location", "x-made", "x-number", "x-yes", "x-described", "retry-after",
    "content-disposition", "content-range", "content-encoding",
)  # fmt: skip

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
    ("GET", "/api/js/maybe", b"", {}),
    ("GET", "/api/js/maybe/2013", b"", {}),
    ("GET", "/api/js/maybe/2013/", b"", {}),
    ("GET", "/api/js/tree", b"", {}),
    ("GET", "/api/js/tree/a/b%20c", b"", {}),
    ("GET", "/api/js/most/a/b", b"", {}),
    ("GET", "/api/js/files/a.b.csv", b"", {}),
    ("GET", "/api/js/unnamed", b"", {}),
    ("GET", "/api/whole/7", b"", {}),
    ("GET", "/outside", b"", {}),
    ("GET", "/api/other/x", b"", {}),
    ("POST", "/api/js/echo?a[0]=x", b"", {}),
    ("POST", "/api/js/echo?a[1]=y&a[0]=x", b"", {}),
    ("POST", "/api/js/echo?a[3]=y", b"", {}),
    ("POST", "/api/js/echo?a[0][b]=1&a[0][c]=2", b"", {}),
    ("POST", "/api/js/echo?a[20]=x&a[1]=y", b"", {}),
    ("POST", "/api/js/echo?a[21]=x", b"", {}),
    ("POST", "/api/js/echo?a[0]=x&a[b]=y", b"", {}),
    ("POST", "/api/js/echo?a[01]=x", b"", {}),
    ("POST", "/api/js/echo?0=x&1=y", b"", {}),
    ("POST", "/api/js/echo?a[]=1&a[]=2&b&c=", b"", {}),
    ("POST", "/api/js/echo?a%5B0%5D=x&d.e=f", b"", {}),
    ("POST", "/api/js/echo", b"a[0]=x&a[1]=y", FORM),
    ("POST", "/api/js/cookies", b"", {}),
    ("POST", "/api/js/described", b"", {}),
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
    ("POST", "/api/js/failWithHeaders", b"", {}),
    ("GET", "/api/most/nothing", b"", {}),
    ("GET", "/api/js/things/%ff", b"", {}),
    ("GET", "/api/js/things/%", b"", {}),
    ("GET", "/api/api/whole/7", b"", {}),
    ("GET", "/api//js/echo", b"", {}),
]
OF_ALIASES = [
    ("GET", "/api/own"), ("GET", "/api/own/7?q=1"), ("GET", "/api/own/fixed"), ("POST", "/api/own"),
    ("GET", "/api/own/deep"), ("GET", "/api/own/deep/a/b"),
    ("GET", "/api/any"), ("PUT", "/api/any"), ("DELETE", "/api/any"),
    ("GET", "/api/items"), ("GET", "/api/items/7"), ("POST", "/api/items"),
    ("PUT", "/api/items/7"), ("PATCH", "/api/items/7"), ("DELETE", "/api/items/7"),
    ("PUT", "/api/items"), ("GET", "/api/some"), ("POST", "/api/some"),
    ("GET", "/api/gone"), ("GET", "/api/secret"), ("GET", "/api/refused"), ("GET", "/api/blocked"),
    ("GET", "/api/js/echo"), ("POST", "/api/js/echo"), ("POST", "/api/~node/list"),
]  # fmt: skip


ALIASES = tuple(
    Route(method, path, action)
    for method, path, action in [
        ("GET", "/own/:id?", "js.echo"),
        ("", "/any", "js.echo"),
        ("GET", "/some", "js.list"),
        ("GET", "/gone", "nobody.there"),
        ("GET", "/secret", "js.hidden"),
        ("GET", "/refused", "js.add"),
        ("GET", "/blocked", "js.typed"),
        ("GET", "/own/fixed", "js.number"),
        ("GET", "/own/deep/:rest*", "js.echo"),
        *(
            (method, f"/items{tail}", f"js.{name}")
            for name, (method, tail) in own_aliases.REST.items()
        ),
    ]
)
SETTINGS: dict[str, dict[str, Any]] = {
    "api": {},
    "aliases": {
        "aliases": ALIASES, "whitelist": ("js.*", "$node.*"), "mapping_policy": "restrict",
        "blacklist": ("js.typed", "js.add"),
    },
    "anyOrigin": {"origins": ("*",)},
    "someOrigins": {"origins": ("https://a.example", "https://*.b.example")},
}  # fmt: skip


@pytest.fixture(scope="module")
def web_url(server, template):
    """A database of their own."""
    yield from fresh_database(server, template)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pairs(web_url, tmp_path_factory):
    """Clients of moleculer-web and of our gateway, before the same node, by their settings."""
    modules = install_moleculer()
    folder, bus = tmp_path_factory.mktemp("web"), Bus()
    await bus.start(folder)
    web = None
    try:
        async with (
            js_node(bus.url),
            Store.opened(web_url) as store,
            AsyncExitStack() as stack,
        ):
            web = await asyncio.create_subprocess_exec(
                "node", str(HERE / "web.js"), bus.url, stdout=asyncio.subprocess.PIPE,
                env={**os.environ, "NODE_PATH": str(modules)},
            )  # fmt: skip
            assert web.stdout
            async with asyncio.timeout(60):
                ports = json.loads(await web.stdout.readline())
            app = App(store, Registry(), folder)
            node: dict[str, object] = {"url": bus.url, "heartbeat_interval": 1}
            await stack.enter_async_context(node_of(app, node, ""))
            await (await app.broker()).wait_for_services("js", timeout=60)
            found = {}
            for name, chosen in SETTINGS.items():
                settings = GatewaySettings(port=0, any_method=True, tokens=False, **chosen)
                address = await stack.enter_async_context(serving(app, settings))
                found[name] = [
                    await stack.enter_async_context(
                        httpx.AsyncClient(base_url=url, timeout=60, verify=NO_TLS)
                    )
                    for url in (f"http://127.0.0.1:{ports[name]}", address)
                ]
            yield found
    finally:
        if web:
            web.kill()
            await web.wait()
        await bus.kill()


@pytest.fixture
def both(pairs):
    """Both without settings."""
    return pairs["api"]


def body_of(answer: httpx.Response) -> Any:
    kind = answer.headers.get("content-type", "")
    if kind.startswith("application/json") and answer.content:  # HEAD has none
        return answer.json()
    return answer.content


def without_node(data: Any) -> Any:
    """Details without the id of the node that called: each gateway is one of its own."""
    if isinstance(data, list):
        return [without_node(each) for each in data]
    return {k: v for k, v in data.items() if k != "nodeID"} if isinstance(data, dict) else data


@pytest.mark.parametrize(("method", "path", "body", "headers"), [*SAME, *ALIKE])
async def test_answers_are_the_same(both, method, path, body, headers):
    theirs, ours = [await c.request(method, path, content=body, headers=headers) for c in both]
    assert ours.status_code == theirs.status_code
    if "~node" in path:
        return  # each tells of itself
    assert body_of(ours) == body_of(theirs)
    for header in COMPARED:
        assert ours.headers.get(header) == theirs.headers.get(header)
    assert ours.headers.get_list("set-cookie") == theirs.headers.get_list("set-cookie")


@pytest.mark.parametrize(("method", "path"), OF_ALIASES)
async def test_aliases_of_the_gateway_lead_where_theirs_do(pairs, method, path):
    """With a whitelist, a blacklist, and no action by its name."""
    theirs, ours = [await client.request(method, path) for client in pairs["aliases"]]
    if theirs.status_code == 404 and ours.status_code == 405:
        assert ours.headers["allow"]  # the path is there: it says for which methods
    else:
        assert ours.status_code == theirs.status_code
    if theirs.status_code == 200:
        assert ours.json() == theirs.json()


@pytest.mark.parametrize(
    ("name", "origin"),
    [
        ("anyOrigin", "https://page.example"),
        ("anyOrigin", "null"),
        ("someOrigins", "https://a.example"),
        ("someOrigins", "https://x.b.example"),
        ("someOrigins", "https://b.example"),
        ("someOrigins", "https://evil.example"),
        ("someOrigins", "https://a.example.evil.example"),
    ],
)
async def test_pages_of_other_origins_may_call_or_not(pairs, name, origin):
    """What the preflight promises holds for the request."""
    asked = {
        "Origin": origin, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-my-own",
    }  # fmt: skip
    both = pairs[name]
    theirs, ours = [
        await c.post("/api/js/echo", headers={"Origin": origin, "Sec-Fetch-Site": "cross-site"})
        for c in both
    ]
    assert ours.status_code == theirs.status_code
    before = [await c.options("/api/js/echo", headers=asked) for c in both]
    assert before[1].is_success == before[0].is_success == ours.is_success
    if ours.is_success:
        allowed = "access-control-allow-origin"
        assert ours.headers[allowed] == theirs.headers[allowed] in ("*", origin)
        assert "x-my-own" in before[1].headers["access-control-allow-headers"]


@pytest.mark.parametrize(("method", "path", "body", "headers"), [*SAME_ERRORS, *ALIKE_ERRORS])
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


# Each difference of the table of docs/howto/gateway.md that is not above.


@pytest.mark.parametrize(("request_", "expected", "found"), DIFFERENT.values(), ids=DIFFERENT)
async def test_what_one_request_shows_to_be_different(both, request_, expected, found):
    """Of an error its type; of an answer all of it."""
    method, path, body, headers = request_
    answers = [await c.request(method, path, content=body, headers=headers) for c in both]

    shown = [(a.status_code, a.json() if a.is_success else a.json().get("type")) for a in answers]
    assert shown == [expected, found]


async def test_what_is_not_ascii_in_a_header_is_escaped(both):
    """moleculer-web sends it as Latin-1, and a space of a location as it is."""
    method, path, body, headers = answered(
        None, statusCode=302, location="/a b\xfc", responseHeaders={"X-Made": "\xfc"}
    )
    theirs, ours = [await c.request(method, path, content=body, headers=headers) for c in both]

    assert theirs.headers["location"] == "/a b\xfc"
    assert ours.headers["location"] == "/a%20b%C3%BC"
    assert (theirs.headers["x-made"], ours.headers["x-made"]) == ("\xfc", "%C3%BC")


@pytest.mark.parametrize(
    ("thrown", "message"),
    [("{ code: 404, m: 'x' }", '{"code": 404, "m": "x"}'), ("5", "5"), ("[1, null]", "[1, null]")],
)
async def test_what_is_thrown_and_no_error_is_told_as_text(both, thrown, message):
    """moleculer-web has it as the message, which is no text then."""
    method, path, body, headers = run(f"throw {thrown}")
    theirs, ours = [await c.request(method, path, content=body, headers=headers) for c in both]
    assert ours.status_code == theirs.status_code == 500
    assert json.dumps(theirs.json()["message"]) == ours.json()["message"] == message


async def test_a_long_answer_is_compressed(both):
    """For whom it is a gain; moleculer-web leaves it to a middleware."""
    sent = {"a": "x" * 90_000}
    theirs, ours = [await c.post("/api/js/echo", json=sent) for c in both]
    assert theirs.json() == ours.json() == sent
    kinds = [a.headers.get("content-encoding") for a in (theirs, ours)]
    assert kinds == [None, "gzip"]


async def test_what_is_nested_deep_comes_back(both):
    body = b'{"a":' + b"[" * 800 + b"]" * 800 + b"}"
    theirs, ours = [await c.post("/api/js/echo", content=body, headers=JSON) for c in both]
    assert ours.content == theirs.content == body


async def test_a_small_body_that_becomes_a_large_one_is_refused(both):
    body = gzip.compress(json.dumps({"a": "x" * 5_000_000}).encode())
    theirs, ours = [
        await c.post("/api/js/echo", content=body, headers={**JSON, "Content-Encoding": "gzip"})
        for c in both
    ]
    assert (theirs.status_code, ours.status_code) == (413, 413)
    cut = gzip.compress(b'{"a":1}')[:-4]
    ours = await both[1].post(
        "/api/js/echo", content=cut, headers={**JSON, "Content-Encoding": "gzip"}
    )
    assert (ours.status_code, ours.json()["type"]) == (400, "INVALID_REQUEST_BODY")


async def test_only_what_can_be_kept_has_a_tag(both):
    """moleculer-web tags the answers of every method."""
    theirs, ours = [await c.post("/api/js/number") for c in both]

    assert ("etag" in theirs.headers, "etag" in ours.headers) == (True, False)


async def test_a_stream_of_objects_is_lines_of_json(both):
    """moleculer-web never answers."""
    ours = await both[1].post("/api/js/rows", json={"count": 2})

    assert ours.content == b'{"i":0}\n{"i":1}\n'


async def test_a_pattern_in_a_path_is_left_out(both, caplog):
    """It could hold the loop; the log names the route."""
    theirs, ours = [await c.get("/api/js/number/7") for c in both]
    assert (theirs.status_code, ours.status_code) == (200, 404)


async def test_fixed_parts_of_a_path_are_as_they_are_written(both):
    theirs, ours = [await c.get("/api/JS/Things/7") for c in both]
    assert (theirs.status_code, ours.status_code) == (200, 404)


async def test_a_slash_within_a_param_that_repeats_is_part_of_it(both):
    """moleculer-web decodes first and splits then."""
    theirs, ours = [await c.get("/api/js/tree/a%2Fb/c") for c in both]
    assert theirs.json() == {"path": ["a", "b", "c"]}
    assert ours.json() == {"path": ["a/b", "c"]}


@pytest.mark.parametrize("action", ["oddHeader", "noHeader", "framed"])
async def test_a_header_that_is_none_is_an_error(both, action):
    """moleculer-web sends `[object Object]`, `null`, and lets an action change the connection."""
    theirs, ours = [await c.post(f"/api/js/{action}") for c in both]
    assert (theirs.status_code, ours.status_code) == (200, 500)
    assert ours.json()["message"].startswith("An action gave the header")


async def test_the_reason_phrase_is_that_of_the_status(both):
    theirs, ours = [await c.post("/api/js/statusMessage") for c in both]
    assert (theirs.reason_phrase, ours.reason_phrase) == ("Fine", "OK")


async def test_an_error_is_json_whatever_type_its_action_has_chosen(both):
    theirs, ours = [await c.post("/api/js/failWithHeaders") for c in both]
    assert theirs.headers["content-type"] == "text/plain"
    assert ours.headers["content-type"] == "application/json"
    assert ours.headers["retry-after"] == theirs.headers["retry-after"] == "7"


async def test_a_path_that_takes_other_methods_says_so(both):
    theirs, ours = [await c.delete("/api/js/things/7") for c in both]
    assert (theirs.status_code, ours.status_code) == (404, 405)
    assert ours.headers["allow"] == "GET"


async def test_head_is_get_without_a_body(both):
    theirs, ours = [await c.head("/api/js/things/7") for c in both]
    assert (theirs.status_code, ours.status_code, ours.content) == (404, 200, b"")


@pytest.mark.parametrize("query", ["a=1&a[b]=2", "a[b]=1&a=2", "a=1&a[0]=2", "a[]=1&a[0]=2"])
async def test_a_query_that_contradicts_itself_is_refused(both, query):
    """moleculer-web makes something of it, which depends on the order."""
    theirs, ours = [await c.post(f"/api/js/echo?{query}") for c in both]
    assert (theirs.status_code, ours.status_code) == (200, 400)


async def test_a_list_of_a_query_may_be_long(both):
    """moleculer-web makes an object of more than 20, with the places as keys."""
    theirs, ours = [await c.post(f"/api/js/echo?{'a=x&' * 30}b=y") for c in both]
    assert theirs.json()["a"]["29"] == "x"
    assert ours.json()["a"] == ["x"] * 30


async def test_a_query_nests_deeper_than_five(both):
    """moleculer-web makes one name of the rest."""
    theirs, ours = [await c.post("/api/js/echo?a[b][c][d][e][f][g]=1") for c in both]
    assert "[g]" in theirs.text
    assert ours.json() == {"a": {"b": {"c": {"d": {"e": {"f": {"g": "1"}}}}}}}
