"""The gateway: actions as moleculer-web has them, tasks, contexts, streams and files."""

from __future__ import annotations

import asyncio
import os
import sys
from types import ModuleType
from urllib.parse import quote

import pytest

from dama.errors import InvalidDefinitionError
from dama.programs.run_directory import WORK
from tests.cases import case
from tests.integration.served import artifacts_of, began, ended, events_of, left, served


@pytest.fixture
async def client(store, tmp_path):
    async with served(store, tmp_path) as client:
        yield client


# Actions


async def test_an_action_is_called_by_its_name(client):
    answer = await client.post("/api/shop/echo", json={"a": [1, None]})
    assert (answer.status_code, answer.json()) == (200, {"a": [1, None]})
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert (await client.post("/api/shop/echo", json=[1, 2])).json() == [1, 2]
    assert (await client.post("/api/shop/echo")).json() == {}
    null = await client.post("/api/shop/echo", content=b"null")
    assert (null.content, null.headers["content-type"][:16]) == (b"null", "application/json")


async def test_params_of_body_query_and_path_are_merged_in_this_order(client):
    answer = await client.put(
        "/api/shop/items/7?name=query&name2=x", json={"name": "body", "id": 1}
    )
    assert answer.status_code == 422
    answer = await client.put("/api/shop/items/7?name=query", json={"name": "body", "id": 1})
    assert answer.json() == {"id": 7, "name": "query"}
    answer = await client.get("/api/shop/items/7", params={"color": "blue"})
    assert answer.json() == {"id": 7, "color": "blue"}


async def test_queries_and_forms_may_nest_and_repeat(client):
    answer = await client.post("/api/shop/echo?a=1&a=2&b[]=3&c[d][e]=4&f=")
    assert answer.json() == {"a": ["1", "2"], "b": ["3"], "c": {"d": {"e": "4"}}, "f": ""}
    answer = await client.post("/api/shop/echo", data={"x": "1", "y[z]": "ü"})
    assert answer.json() == {"x": "1", "y": {"z": "ü"}}


async def test_meta_says_what_the_response_is_like(client):
    saved = await client.post("/api/shop/items", json={"name": "cup"})
    assert (saved.status_code, saved.headers["location"]) == (201, "/items/1")
    assert saved.headers["x-saved"] == "cup"
    picture = await client.post("/api/shop/picture")
    assert (picture.headers["content-type"], picture.content) == ("image/png", b"\x89PNG")
    text = await client.post("/api/shop/text")
    assert text.headers["content-type"].startswith("text/plain")
    assert text.text == "hello"
    moved = await client.post("/api/shop/moved")
    assert (moved.status_code, moved.headers["location"]) == (302, "/elsewhere?a=b%20c")
    assert moved.headers["content-type"] == "application/problem+json"
    nothing = await client.post("/api/shop/nothing")
    assert (nothing.status_code, nothing.content) == (200, b"")


async def test_a_stream_is_sent_as_it_comes(client):
    answer = await client.post("/api/shop/lines", json={"count": 1000})
    assert answer.text.split() == [str(n) for n in range(1000)]
    assert answer.headers["content-type"] == "application/octet-stream"


async def test_what_has_not_changed_is_not_sent_again(client):
    first = await client.get("/api/shop/items/7")
    headers = {"If-None-Match": first.headers["etag"]}
    again = await client.get("/api/shop/items/7", headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    other = await client.get("/api/shop/items/8", headers=headers)
    assert other.status_code == 200


async def test_a_long_answer_is_compressed(client):
    answer = await client.post("/api/shop/echo", json={"x": "y" * 5000})
    assert answer.headers["content-encoding"] == "gzip"


async def test_errors_are_json_with_the_names_of_moleculer_web_and_a_hint(client):
    answer = await client.post("/api/shop/taken", headers={"X-Request-Id": "r-1"})
    assert answer.status_code == 409
    assert answer.json() == {
        "name": "MoleculerClientError",
        "message": "it is taken",
        "code": 409,
        "type": "TAKEN",
        "data": [1],
        "hint": "take another",
        "request_id": "r-1",
    }
    assert answer.headers["x-request-id"] == "r-1"
    answer = await client.get("/api/shop/items/x")
    assert (answer.status_code, answer.json()["type"]) == (422, "VALIDATION_ERROR")
    assert answer.json()["data"][0]["field"] == "id"
    answer = await client.get("/api/contexts/99999")
    assert (answer.status_code, answer.json()["type"]) == (404, "UNKNOWN_CONTEXT")


async def test_a_bug_tells_nothing_but_the_id_under_which_the_log_has_it(client, caplog):
    answer = await client.post("/api/shop/bug", headers={"X-Request-Id": "r-2"})
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    assert answer.json()["request_id"] == "r-2"
    assert "r-2" in caplog.text
    assert "hunter2" in caplog.text


async def test_what_is_not_there_is_refused(client):
    for method, path, status in [
        ("GET", "/api/no/such", 404),
        ("POST", "/api/shop/inner", 404),
        ("GET", "/api/shop/echo", 405),
        ("GET", "/api/contexts/whatif", 405),
        ("GET", "/api/contexts/what_if", 405),
        ("DELETE", "/api/shop/items/1", 405),
        ("GET", "/elsewhere", 404),
    ]:
        with case(method, path):
            answer = await client.request(method, path)
            assert answer.status_code == status
            if status == 405:
                assert answer.headers["allow"]


async def test_actions_of_the_node_are_reached_with_a_tilde(client):
    assert (await client.post("/api/~node/list")).json()[0]["local"] is True


async def test_a_call_that_takes_for_ever_ends_when_its_client_goes(client):
    asking = asyncio.ensure_future(client.post("/api/shop/busy"))
    await began.wait()
    full = await client.post("/api/shop/busy")
    assert (full.status_code, full.json()["type"]) == (429, "QUEUE_FULL")
    asking.cancel()
    async with asyncio.timeout(60):
        await left.wait()


async def test_a_trace_goes_on_through_a_call(client):
    traceparent = f"00-{'a' * 32}-{'b' * 16}-01"
    told = await client.get("/api/shop/who", headers={"traceparent": traceparent})
    assert told.json()["traceparent"] == traceparent


def before(call, request):
    call.params["seen"] = request.method


async def after(call, request, result):
    return {**result, "by": call.name}


async def test_hooks_of_the_project_go_around_each_call(store, tmp_path, monkeypatch):
    module = ModuleType("hooks_of_a_project")
    module.before, module.after = before, after
    monkeypatch.setitem(sys.modules, module.__name__, module)
    hooks = {f"{moment}_call": f"{module.__name__}:{moment}" for moment in ("before", "after")}
    async with served(store, tmp_path, working=False, **hooks) as client:
        answer = await client.post("/api/shop/echo", json={"a": 1})
    assert answer.json() == {"a": 1, "seen": "POST", "by": "shop.echo"}


async def test_a_hook_that_is_not_there_is_named(store, tmp_path):
    with pytest.raises(InvalidDefinitionError, match="no_such:function"):
        async with served(store, tmp_path, working=False, before_call="no_such:function"):
            pass


# Tasks and contexts


async def test_a_task_is_started_and_its_result_awaited(client):
    answer = await client.post("/api/tasks/shop.total", json={"params": {"count": 5}})
    assert answer.status_code == 202
    context_id = answer.json()["context_id"]
    assert answer.headers["location"] == f"/api/contexts/{context_id}"
    assert (await client.get(f"/api/tasks/{context_id}/result")).json() == 20
    context = (await client.get(f"/api/contexts/{context_id}")).json()
    assert (context["status"], context["result"]) == ("DONE", 20)
    assert len((await client.get(f"/api/contexts/{context_id}/tree")).json()) == 6


async def test_a_second_request_with_an_idempotency_key_starts_nothing(client):
    headers = {"Idempotency-Key": "k-1"}
    body = {"params": {"n": 1}}
    first = await client.post("/api/tasks/shop.double", json=body, headers=headers)
    again = await client.post("/api/tasks/shop.double", json=body, headers=headers)
    assert first.json() == again.json()
    other = await client.post("/api/tasks/shop.double", json={"params": {"n": 2}}, headers=headers)
    assert other.status_code == 409


async def test_contexts_are_listed_in_pages(client):
    made = [await ended(client, "shop.double", {"n": n}) for n in range(5)]
    seen, before = [], ""
    while before is not None:
        page = (await client.get(f"/api/contexts?limit=2&task=shop.double{before}")).json()
        seen += [context["context_id"] for context in page["contexts"]]
        before = page["next_before"] and f"&before={page['next_before']}"
    assert seen == made[::-1]


async def test_a_context_is_emitted_to_cancelled_and_resumed(client):
    started = (await client.post("/api/tasks/shop.approval", json={})).json()
    id_ = started["context_id"]
    assert (await client.post(f"/api/tasks/{id_}/cancel")).json() == {"cancelled": [id_]}
    assert (await client.post(f"/api/tasks/{id_}/cancel")).status_code == 409
    assert (await client.post(f"/api/tasks/{id_}/resume")).status_code == 200
    event = {"event": {"type": "approved", "payload": 5}}
    assert (await client.post(f"/api/events/{id_}", json=event)).status_code == 200
    assert (await client.get(f"/api/tasks/{id_}/result")).json() == 5
    events = (await client.get(f"/api/contexts/{id_}/events")).json()["events"]
    (approved,) = [e for e in events if e["type"] == "approved"]
    at = (await client.get(f"/api/contexts/{id_}/state?at={approved['event_id']}")).json()
    assert at["status"] == "OPEN"


# Streams


async def test_a_stream_goes_on_from_the_last_event_without_a_gap_or_a_double(client):
    id_ = await ended(client, "shop.total", {"count": 10})
    path = f"/api/contexts/{id_}/tree/stream"
    async with client.stream("GET", path) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        whole = await events_of(response, 11 * 3 + 1)
    assert whole[0][1] == "shop.total:INITIAL"
    assert len({position for position, _ in whole}) == len(whole)
    for cut in (1, 7, 20):
        headers = {"Last-Event-ID": str(whole[cut - 1][0])}
        async with client.stream("GET", path, headers=headers) as response:
            assert await events_of(response, len(whole) - cut) == whole[cut:]


async def test_a_stream_has_only_what_it_is_for(client):
    id_ = await ended(client, "shop.total", {"count": 2})
    other = await ended(client, "shop.double", {"n": 1})
    async with client.stream("GET", f"/api/contexts/{other}/stream") as response:
        types = [type_ for _, type_ in await events_of(response, 3)]
    assert types == ["shop.double:INITIAL", "shop.double:STARTED", "shop.double:FINAL"]
    async with client.stream("GET", f"/api/contexts/{id_}/stream") as response:
        assert len(await events_of(response, 4)) == 4
    async with client.stream("GET", "/api/stream?after=0") as response:
        assert len(await events_of(response, 13)) == 13


async def test_events_come_as_they_happen(client):
    async with client.stream("GET", "/api/stream?after=latest") as response:
        id_ = await ended(client, "shop.double", {"n": 1})
        assert [t for _, t in await events_of(response, 3)][-1] == "shop.double:FINAL"
    assert id_


async def test_a_place_that_is_none_is_refused(client):
    for place in ["x", "-1", "9" * 40, "٣"]:
        with case(place):
            answer = await client.get("/api/stream", params={"after": place})
            assert answer.status_code == 400


async def test_a_stream_of_nothing_is_refused(client):
    assert (await client.get("/api/contexts/999/stream")).status_code == 404


# Files


async def test_what_a_program_printed_is_read_by_byte_ranges(client):
    id_ = await ended(client, "shop.report")
    whole = await client.get(f"/api/contexts/{id_}/logs")
    assert (whole.status_code, whole.text) == (200, "out\n")
    part = await client.get(f"/api/contexts/{id_}/logs", headers={"Range": "bytes=1-2"})
    assert (part.status_code, part.text) == (206, "ut")
    assert part.headers["content-range"] == "bytes 1-2/4"
    end = await client.get(f"/api/contexts/{id_}/logs", headers={"Range": "bytes=-2"})
    assert end.text == "t\n"
    beyond = await client.get(f"/api/contexts/{id_}/logs", headers={"Range": "bytes=9-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, "bytes */4")
    errors = await client.get(f"/api/contexts/{id_}/logs?stream=stderr")
    assert errors.text == "err\n"
    for query in ("stream=x", "run=99"):
        assert (await client.get(f"/api/contexts/{id_}/logs?{query}")).status_code == 400
    none = await ended(client, "shop.double", {"n": 1})
    assert (await client.get(f"/api/contexts/{none}/logs")).json()["type"] == "NO_LOGS"


async def test_what_a_program_left_is_listed_and_read(client):
    id_ = await ended(client, "shop.report")
    (found,) = (await client.get(f"/api/contexts/{id_}/artifacts")).json()
    assert (found["path"], found["bytes"]) == ("sub/a.csv", 4)
    answer = await client.get(f"/api/contexts/{id_}/artifacts/sub/a.csv")
    assert answer.text == "data"
    assert answer.headers["content-disposition"].startswith("attachment")


async def test_what_a_program_left_has_any_name(client, tmp_path):
    """Bytes that are not UTF-8, in folders too: they are listed, and asked for as they are."""
    id_ = await ended(client, "shop.report")
    folder = artifacts_of(tmp_path, id_)
    names = [b"d\xff/caf\xe9", b"d\xfe/caf\xe9", "d\ufffd/\ufffd".encode()]
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(name)
    listed = (await client.get(f"/api/contexts/{id_}/artifacts")).json()
    assert [each["path"] for each in listed] == [
        *["d\ufffd/caf\ufffd"] * 2,
        "d\ufffd/\ufffd",
        "sub/a.csv",
    ]
    found = [bytes.fromhex(each.get("path_hex", "")) or each["path"].encode() for each in listed]
    assert set(found) == {*names, b"sub/a.csv"}
    for name in names:
        answer = await client.get(f"/api/contexts/{id_}/artifacts/{quote(name)}")
        assert answer.content == name
    none = await client.get(f"/api/contexts/{id_}/artifacts/d%ff/none%ff")
    assert none.json()["type"] == "NOT_FOUND"


async def test_a_file_is_written_into_the_folder_of_a_tree(client, store, tmp_path):
    id_ = (await client.post("/api/tasks/shop.approval", json={})).json()["context_id"]

    async def body():
        for _ in range(100):
            yield b"x" * 10_000

    answer = await client.put(f"/api/contexts/{id_}/files/in.csv", content=body())
    assert (answer.status_code, answer.json()) == (201, {"name": "in.csv", "bytes": 1_000_000})
    (written,) = tmp_path.glob(f"runs/*/{WORK}/{id_}/*")
    written.with_name("folder").mkdir()
    refused = await client.put(f"/api/contexts/{id_}/files/folder", content=b"x")
    assert refused.status_code == 400
    assert (written.name, written.stat().st_size) == ("in.csv", 1_000_000)


# What it is like itself


async def test_health_readiness_and_metrics(client):
    assert (await client.get("/health")).json()["status"] == "ok"
    assert (await client.get("/ready")).json() == {"database": "ok"}
    await ended(client, "shop.double", {"n": 1})
    text = (await client.get("/metrics")).text
    assert 'dama_http_request_seconds_count{action="tasks.start",status="202"} 1.0' in text
    assert "dama_workers 1.0" in text
    assert "dama_log_position 3.0" in text
    assert 'dama_pool_connections{state="open"}' in text


async def test_it_is_not_ready_when_the_database_is_away(store, tmp_path, server, database_url):
    import psycopg
    from psycopg.sql import SQL, Identifier

    async with served(store, tmp_path, working=False) as client:
        name = database_url.rpartition("/")[2].partition("?")[0]
        allow = SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(allow.format(Identifier(name), SQL("false")))
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            away = await client.get("/ready")
            assert away.status_code == 503
            assert (await client.get("/health")).status_code == 200
            connection.execute(allow.format(Identifier(name), SQL("true")))
