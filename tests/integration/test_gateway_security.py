"""The gateway and those who mean no good: tokens, scopes, paths, headers, bodies, slow clients."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from urllib.parse import quote

import httpx
import pytest

from dama.app import App
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.gateway.own_token import ensure_token
from dama.gateway.server import NoTokensError, serving
from dama.gateway.settings import GatewaySettings
from dama.programs.run_directory import WORK
from dama.store import Start
from dama.store.errors import TokenExistsError, UnknownTokenError
from tests.cases import case
from tests.integration.served import ended, served


def bearer(token):
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
async def tokens(store):
    made = {
        scope: await store.tokens.add(scope, scope, "tests")
        for scope in ("viewer", "operator", "admin")
    }
    made["shop"] = await store.tokens.add("shop", "operator", "tests", services=["shop"])
    made["other"] = await store.tokens.add("other", "operator", "tests", services=["other"])
    return made


@pytest.fixture
async def client(store, tokens, tmp_path):
    async with served(store, tmp_path, tokens=True) as client:
        yield client


async def test_without_a_token_nothing_is_told(client):
    for path in [
        "/api/shop/who",
        "/api/contexts",
        "/api/stream",
        "/openapi.json",
        "/api",
        "/metrics",
    ]:
        with case(path):
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["type"]) == (401, "NO_TOKEN")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert (await client.get("/health")).status_code == 200


async def test_a_token_that_is_none_is_refused(client):
    for header in [
        "Bearer x",
        "Bearer dama_",
        "Bearer dama_000000000000_x",
        "Basic dXNlcjpwYXNz",
        "Bearer",
        "Bearer dama_é_x",
        "Bearer " + "x" * 5000,
    ]:
        with case(header):
            answer = await client.get("/api/shop/who", headers={"Authorization": header.encode()})
            assert (answer.status_code, answer.json()["type"]) == (401, "INVALID_TOKEN")


async def test_a_token_with_another_secret_is_refused(client, tokens):
    token_id = tokens["admin"].split("_")[1]
    secret = tokens["viewer"].split("_", 2)[2]
    answer = await client.get("/api/shop/who", headers=bearer(f"dama_{token_id}_{secret}"))
    assert answer.status_code == 401


async def test_who_did_it_is_in_the_events(client, tokens):
    assert (await client.get("/api/shop/who", headers=bearer(tokens["viewer"]))).json()[
        "user"
    ] == "viewer"
    headers = bearer(tokens["operator"])
    started = await client.post(
        "/api/tasks/shop.double", json={"params": {"n": 1}}, headers=headers
    )
    id_ = started.json()["context_id"]
    events = await client.get(f"/api/contexts/{id_}/events", headers=headers)
    assert events.json()["events"][0]["meta"]["user"] == "operator"


async def test_nobody_can_say_that_another_did_it(client, tokens, store):
    headers = bearer(tokens["operator"])
    started = await client.post("/api/tasks/shop.approval", json={}, headers=headers)
    id_ = started.json()["context_id"]
    forged = {"type": "x", "meta": {"user": "ada", "request_id": "r", "note": "kept"}}
    answer = await client.post(f"/api/events/{id_}", json={"event": forged}, headers=headers)
    assert answer.status_code == 200
    (event,) = [e for e in await store.events(id_) if e.type == "x"]
    assert (event.meta["user"], event.meta["note"]) == ("operator", "kept")
    assert event.meta["request_id"] != "r"
    wrong = {"event": {"type": "x", "meta": [1]}}
    answer = await client.post(f"/api/events/{id_}", json=wrong, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "INVALID_EVENT")


FORGED = [
    *({"type": f"{prefix}:{kind}", **more}
      for prefix in ("", "shop.approval", "x")
      for kind, more in (
          ("INITIAL", {}), ("STARTED", {"meta": {"epoch": 7}}), ("ADOPTED", {"meta": {"epoch": 7}}),
          ("LOST", {"meta": {"epoch": 7}}), ("RETRYING", {}), ("RESUMED", {}), ("CANCELLED", {}),
          ("FINAL", {"payload": "forged"}), ("ERROR", {"error": True, "payload": {"message": "m"}}),
      )),
    {"type": "shop.approval/wait:approved:DONE", "payload": "forged"},
    {"type": "x.y/wait:approved:DONE", "payload": "forged"},
    {"type": "shop.approval/a:SPAWNED", "payload": {"context_ids": [1]}},
    {"type": "shop.approval/wait:approved:WAITING"},
    {"type": "approved", "meta": {"epoch": 1}},
    {"type": "x", "meta": {"idempotency_key": "FINAL#1"}},
    {"type": "x", "meta": {"idempotency_key": "DONE/wait:approved"}},
]  # fmt: skip


async def test_nobody_forges_what_only_the_controller_writes(client, tokens, store):
    """Each of them would end, fence, block or mislead a run that somebody waits for."""
    headers = bearer(tokens["admin"])
    started = await client.post("/api/tasks/shop.approval", json={}, headers=headers)
    id_ = started.json()["context_id"]
    for event in FORGED:
        answer = await client.post(f"/api/events/{id_}", json={"event": event}, headers=headers)
        assert (answer.status_code, answer.json()["type"]) == (400, "RESERVED_EVENT"), event
    signal = {"event": {"type": "approved", "payload": "true"}}
    assert (await client.post(f"/api/events/{id_}", json=signal, headers=headers)).is_success
    waiting = await client.get(f"/api/tasks/{id_}/result", headers=headers)
    assert waiting.json() == "true"


async def test_a_program_does_not_say_who_wrote(client, tokens, store):
    """The token of a run speaks for the run, and for nobody else."""
    headers = bearer(tokens["operator"])
    started = await client.post("/api/tasks/shop.approval", json={}, headers=headers)
    id_ = started.json()["context_id"]
    async with asyncio.timeout(60):
        while (await store.context(id_)).version < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    own = bearer(await store.tokens.of_run(id_, 1))
    meta = {"user": "root", "token": "t", "node": "n", "caller": "c", "worker": "w", "note": "kept"}
    event = {"type": "rows", "meta": meta}
    assert (await client.post("/api/run/events", json=event, headers=own)).status_code == 201
    assert (await store.events(id_))[-1].meta == {"note": "kept", "epoch": 1}
    forged = {"type": "rows", "meta": {"idempotency_key": "FINAL#1"}}
    answer = await client.post("/api/run/events", json=forged, headers=own)
    assert (answer.status_code, "FINAL#1" in answer.json()["message"]) == (400, True)


async def test_a_stream_ends_when_its_token_is_revoked(client, tokens, store, monkeypatch):
    """Also one that never pauses: events come all the while."""
    monkeypatch.setattr("dama.gateway.streams.BEAT_SECONDS", 0.3)
    task = asyncio.create_task(chatter(store))
    try:
        async with client.stream("GET", "/api/stream", headers=bearer(tokens["viewer"])) as stream:
            lines = stream.aiter_lines()
            while not (await anext(lines)).startswith("data: "):
                pass
            await store.tokens.revoke("viewer")
            async with asyncio.timeout(60):
                rest = [line async for line in lines]
        assert rest
        assert not task.done()
    finally:
        task.cancel()


async def chatter(store):
    (context_id,) = await store.start([Start("x.y", {})])
    while True:
        await store.append(context_id, [Event("said")])
        await asyncio.sleep(0.02)


async def test_a_viewer_reads_and_does_nothing_else(client, tokens):
    headers = bearer(tokens["viewer"])
    assert (await client.get("/api/contexts", headers=headers)).status_code == 200
    for method, path in (
        ("POST", "/api/tasks/shop.double"),
        ("POST", "/api/shop/echo"),
        ("POST", "/api/queues/default/pause"),
        ("PUT", "/api/contexts/1/files/x"),
        ("POST", "/api/events/1"),
    ):
        answer = await client.request(method, path, headers=headers, json={})
        assert (answer.status_code, answer.json()["type"]) == (403, "FORBIDDEN"), path


async def test_a_token_for_a_service_forks_no_subtask_of_another(client, store, tokens):
    """The tree is of its service; what the fork would continue, with other params, is not."""
    (root,) = await store.start([Start("shop.approval", {})])
    (below,) = await store.start([Start("other.secret", {"n": 1})], parent=root)
    (event,) = await store.events(below)
    body = {"at": event.event_id, "params": {"n": 2}}
    path, own = f"/api/tasks/{below}/fork", bearer(tokens["shop"])
    assert (await client.get(f"/api/contexts/{below}", headers=own)).status_code == 200
    answer = await client.post(path, json=body, headers=own)
    assert answer.status_code == 403
    assert "not for other.secret" in answer.text
    event, *_ = await store.events(root)
    path = f"/api/tasks/{root}/fork"
    answer = await client.post(path, json={"at": event.event_id}, headers=own)
    assert answer.status_code == 202, answer.text
    assert (await store.forks.of(below)) == (None, [])


async def test_a_token_for_a_service_touches_no_other(client, tokens):
    own, other = bearer(tokens["shop"]), bearer(tokens["other"])
    body = {"params": {"n": 1}}
    started = await client.post("/api/tasks/shop.double", json=body, headers=own)
    assert started.status_code == 202
    id_ = started.json()["context_id"]
    assert (await client.get(f"/api/tasks/{id_}/result", headers=own)).json() == 2
    assert (await client.post("/api/shop/echo", json={}, headers=own)).status_code == 200
    for method, path in (
        ("POST", "/api/tasks/shop.double"),
        ("GET", f"/api/tasks/{id_}/result"),
        ("GET", f"/api/contexts/{id_}"),
        ("GET", f"/api/contexts/{id_}/tree"),
        ("GET", f"/api/contexts/{id_}/events"),
        ("GET", f"/api/contexts/{id_}/state"),
        ("POST", f"/api/tasks/{id_}/cancel"),
        ("POST", f"/api/tasks/{id_}/resume"),
        ("POST", f"/api/tasks/{id_}/fork"),
        ("GET", f"/api/contexts/{id_}/diff?at=1"),
        ("GET", f"/api/contexts/{id_}/stream"),
        ("GET", f"/api/contexts/{id_}/artifacts"),
        ("GET", f"/api/contexts/{id_}/logs"),
        ("GET", "/api/contexts"),
        ("GET", "/api/stream"),
        ("GET", "/api/events"),
        ("POST", "/api/shop/echo"),
        ("POST", f"/api/events/{id_}"),
    ):
        json = None if method == "GET" else body if path.endswith("double") else {}
        if path.startswith("/api/events/"):
            json = {"event": {"type": "x"}}
        answer = await client.request(method, path, headers=other, json=json)
        assert answer.status_code == 403, (path, answer.text)
    assert (await client.get("/api/contexts", headers=own)).status_code == 403


async def test_a_revoked_token_is_good_no_more(client, tokens, store):
    headers = bearer(tokens["viewer"])
    assert (await client.get("/api/shop/who", headers=headers)).status_code == 200
    await store.tokens.revoke("viewer")
    async with asyncio.timeout(30):
        while (await client.get("/api/shop/who", headers=headers)).status_code != 401:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    with pytest.raises(UnknownTokenError):
        await store.tokens.revoke("viewer")
    assert await store.tokens.add("viewer", "viewer", "tests")


async def test_a_token_ends_when_it_was_to(store):
    text = await store.tokens.add("short", "admin", "tests", lifetime=0)
    assert await store.tokens.find(text) is None
    assert await store.tokens.find(await store.tokens.add("long", "admin", "t", lifetime=60))
    with pytest.raises(TokenExistsError):
        await store.tokens.add("long", "admin", "tests")


async def test_no_secret_is_in_the_database(store, tokens):
    from psycopg import sql

    assert sql
    rows = await store.tokens.all()
    text = repr(rows)
    for token in tokens.values():
        assert token.split("_", 2)[2] not in text
    assert all(row.created_at <= datetime.now(UTC) for row in rows)


async def test_beyond_loopback_it_wants_tokens(store, tmp_path):
    from dama.app import App
    from dama.definitions.registry import Registry
    from dama.shipped.node import node_of

    settings = GatewaySettings(host="0.0.0.0", port=0)  # noqa: S104 - what is refused
    app = App(store, Registry(), tmp_path)
    async with node_of(app, {}, ""):
        with pytest.raises(NoTokensError, match=r"0\.0\.0\.0"):
            async with serving(app, settings):
                pass
        assert settings.needs_tokens


async def test_no_path_leads_out_of_the_artifacts(client, tokens):
    client.headers.update(bearer(tokens["operator"]))
    id_ = await ended(client, "shop.report")
    for name in [
        "../../../../etc/passwd",
        "..%2f..%2f..%2fetc%2fpasswd",
        "%2e%2e/%2e%2e/params.json",
        "/etc/passwd",
        "link",
        "sub/../../params.json",
        "%00",
        "x" * 5000,
        "",
    ]:
        with case(name):
            # httpx would tidy the path: a client that means no good does not.
            address = client.base_url
            request = f"GET /api/contexts/{id_}/artifacts/{name} HTTP/1.1\r\nHost: localhost\r\n"
            request += f"Authorization: Bearer {tokens['operator']}\r\nConnection: close\r\n\r\n"
            reader, writer = await asyncio.open_connection(address.host, address.port)
            writer.write(request.encode())
            answer = (await reader.read()).decode(errors="replace")
            writer.close()
            assert answer.split()[1] in {"404", "400", "405", "307"}, answer
            assert "root:" not in answer


async def test_no_upload_leads_out_of_its_folder(client, tokens, tmp_path):
    client.headers.update(bearer(tokens["operator"]))
    for name in ["..", "%2e%2e", "a%2fb", "%00", ".", "..%5cx"]:
        with case(name):
            id_ = (await client.post("/api/tasks/shop.approval", json={})).json()["context_id"]
            answer = await client.put(f"/api/contexts/{id_}/files/{name}", content=b"x")
            assert answer.status_code in {400, 404, 405}
            assert not [p for p in tmp_path.rglob("*") if p.is_file() and p.read_bytes() == b"x"]


async def test_an_upload_over_the_limit_leaves_nothing(store, tmp_path):
    async with served(store, tmp_path, upload_limit=1000) as client:
        id_ = (await client.post("/api/tasks/shop.approval", json={})).json()["context_id"]
        answer = await client.put(f"/api/contexts/{id_}/files/x", content=b"x" * 2000)
        assert answer.status_code == 413
        assert not [p for p in tmp_path.glob(f"runs/*/{WORK}/*/*") if p.is_file()]


async def test_an_upload_whose_client_goes_leaves_nothing(store, tmp_path, caplog):
    async with served(store, tmp_path) as client:
        id_ = (await client.post("/api/tasks/shop.approval", json={})).json()["context_id"]
        address = client.base_url
        _, writer = await asyncio.open_connection(address.host, address.port)
        head = f"PUT /api/contexts/{id_}/files/x HTTP/1.1\r\nHost: localhost\r\n"
        head += f"Authorization: {client.headers['Authorization']}\r\n"
        writer.write(f"{head}Content-Length: 1000\r\n\r\nhalf".encode())
        async with asyncio.timeout(60):
            while not [*tmp_path.glob(f"runs/*/{WORK}/*/.*.part")]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            writer.close()
            while [*tmp_path.glob(f"runs/*/{WORK}/*/*")]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert "Traceback" not in caplog.text


async def test_a_header_holds_no_second_header(store, tmp_path):
    async with served(store, tmp_path, working=False) as client:
        answer = await client.post("/api/shop/text", json={"crlf": "\r\nSet-Cookie: x=ü"})
        assert "set-cookie" not in answer.headers
        assert answer.headers["x-text"] == "a%0D%0ASet-Cookie: x=%C3%BCb"
        answer = await client.get("/health", headers={"X-Request-Id": "a b\tc"})
        assert answer.status_code == 200


async def test_a_body_that_is_wrong_is_refused(store, tmp_path):
    async with served(store, tmp_path, working=False) as client:
        for body, kind, status in [
            (b"{", "application/json", 400),
            (b'{"a": NaN}', "application/json", 400),
            (b"\xff\xfe", "application/json", 400),
            (b"[" * 100_000, "application/json", 400),
            (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "application/json", 400),
            (b"<x/>", "application/xml", 415),
            (b"a=\xff", "application/x-www-form-urlencoded", 400),
            (b"x" * 2_000_000, "application/json", 413),
            (b'{"a": ' + b"9" * 100_000 + b"}", "application/json", 400),
        ]:
            with case(kind, body):
                answer = await client.post(
                    "/api/shop/echo", content=body, headers={"Content-Type": kind}
                )
                assert answer.status_code == status, answer.text
                assert (await client.get("/health")).status_code == 200


async def test_a_body_without_a_length_is_not_read_beyond_the_limit(store, tmp_path):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 100_000
            yield b"x" * 100_000

    async with served(store, tmp_path, working=False, body_limit=1_000_000) as client:
        try:
            answer = await client.post("/api/shop/echo", content=endless())
        except httpx.TransportError:  # the server does not wait for the rest
            answer = None
        assert answer is None or answer.status_code == 413
        assert sent < 100_000_000


async def test_query_strings_do_not_nest_without_end(store, tmp_path):
    async with served(store, tmp_path, working=False) as client:
        answer = await client.post(f"/api/shop/echo?a{'[b]' * 1000}=1")
        assert answer.status_code == 400
        answer = await client.post("/api/shop/echo?a=1&a[b]=2")
        assert answer.status_code == 400


async def test_slow_clients_hold_up_nobody(store, tmp_path):
    async with served(store, tmp_path, working=False) as client:
        address = client.base_url
        slow = [await asyncio.open_connection(address.host, address.port) for _ in range(200)]
        for _, writer in slow:
            writer.write(b"POST /api/shop/echo HTTP/1.1\r\nHost: localhost\r\nContent-Le")
        async with asyncio.timeout(60):
            assert (await client.get("/health")).status_code == 200
        for _, writer in slow:
            writer.close()


async def test_pages_of_others_can_not_make_a_browser_call(store, tmp_path):
    origins = ("https://etl.example",)
    async with served(store, tmp_path, working=False, origins=origins) as client:
        for headers, status in [
            ({"Host": "evil.example"}, 400),
            ({"Host": "localhost:1"}, 200),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({"Origin": "https://etl.example"}, 200),
        ]:
            with case(headers):
                answer = await client.get("/api/shop/who", headers=headers)
                assert answer.status_code == status


async def test_a_client_that_asks_too_often_is_told_to_wait(store, tmp_path):
    async with served(store, tmp_path, working=False, rate_limit=3, rate_window=3600) as client:
        answers = [await client.get("/api/shop/who") for _ in range(4)]
        assert [a.status_code for a in answers] == [200, 200, 200, 429]
        assert [a.headers.get("x-rate-limit-remaining") for a in answers] == ["2", "1", "0", None]
        assert int(answers[-1].headers["retry-after"]) > 0


async def test_a_client_gets_no_more_by_asking_several_copies(store, tmp_path):
    limits = {"rate_limit": 3, "rate_window": 3600, "working": False}
    async with served(store, tmp_path, **limits) as one, served(store, tmp_path, **limits) as two:
        clients = [one, two, one, two, one]
        statuses = [(await client.get("/api/shop/who")).status_code for client in clients]
    assert statuses == [200, 200, 200, 429, 429]


async def test_a_client_may_ask_again_in_the_next_window(store):
    counts = [await store.tokens.count_request("c", 0.05)]
    async with asyncio.timeout(30):
        while len(counts) < 3 or counts[-1][0] > 1:
            counts.append(await store.tokens.count_request("c", 0.05))
    assert max(count for count, _ in counts) > 1
    assert all(0 <= left <= 0.05 for _, left in counts)


async def test_forwarded_headers_are_believed_of_trusted_proxies_only(store, tmp_path):
    """Else a client could be another one at each request."""
    headers = [{"X-Forwarded-For": f"10.0.0.{n}"} for n in range(3)]
    async with served(store, tmp_path, working=False, rate_limit=1, rate_window=3600) as client:
        statuses = [(await client.get("/api/shop/who", headers=h)).status_code for h in headers]
        assert statuses == [200, 429, 429]
    proxies = ("127.0.0.1",)
    async with served(
        store, tmp_path, working=False, rate_limit=1, rate_window=3600, trusted_proxies=proxies
    ) as client:
        statuses = [(await client.get("/api/shop/who", headers=h)).status_code for h in headers]
        assert statuses == [200, 200, 200]


async def test_a_program_writes_into_its_own_context_and_nowhere_else(store, tmp_path, tokens):
    """Level 4 of the protocol of programs: over HTTP, with the token of its run."""
    async with served(store, tmp_path, tokens=True) as client:
        headers = bearer(tokens["operator"])
        started = await client.post("/api/tasks/shop.approval", json={}, headers=headers)
        id_ = started.json()["context_id"]
        async with asyncio.timeout(60):
            while (await store.context(id_)).version < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        own = bearer(await store.tokens.of_run(id_, 1))

        told = (await client.get("/api/run", headers=own)).json()
        assert (told["context_id"], told["epoch"], told["task"]) == (id_, 1, "shop.approval")
        events = [{"type": ":PROGRESS", "payload": {"done": 1}}, {"type": "rows", "payload": 5}]
        answer = await client.post("/api/run/events", json=events, headers=own)
        assert (answer.status_code, len(answer.json()["event_ids"])) == (201, 2)
        stored = await store.events(id_)
        assert [e.type for e in stored[-2:]] == ["shop.approval:PROGRESS", "rows"]
        assert [e.meta["epoch"] for e in stored[-2:]] == [1, 1]

        for event in ({"type": ":FINAL"}, {"type": ":ERROR"}, {"type": ""}, {"kind": "x"}, []):
            answer = await client.post("/api/run/events", json=event, headers=own)
            assert answer.status_code == 400, answer.text
        for method, path in (
            ("GET", f"/api/contexts/{id_}"),
            ("POST", "/api/shop/echo"),
            ("GET", "/api/stream"),
            ("GET", "/metrics"),
        ):
            assert (await client.request(method, path, headers=own)).status_code == 403, path
        assert (await client.get("/api/run", headers=headers)).status_code == 403

        text = await store.tokens.of_run(id_, 1)
        for forged in (
            text.replace(f"_{id_}_1_", f"_{id_}_2_"),
            text[:-1] + "0x",
            "run_1_1_" + "0" * 64,
        ):
            assert (await client.get("/api/run", headers=bearer(forged))).status_code == 401
        stale = bearer(await store.tokens.of_run(id_, 0))
        answer = await client.post("/api/run/events", json={"type": "x"}, headers=stale)
        assert (answer.status_code, answer.json()["type"]) == (409, "STALE_EPOCH")


async def test_the_token_of_a_run_ends_with_the_run(store, tmp_path, tokens):
    """Neither its state nor its context are for whoever kept the token."""
    async with served(store, tmp_path) as client:
        started = await client.post("/api/tasks/shop.approval", json={})
        id_ = started.json()["context_id"]
        async with asyncio.timeout(60):
            while (await store.context(id_)).version < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        own = bearer(await store.tokens.of_run(id_, 1))
        assert (await client.get("/api/run", headers=own)).status_code == 200
        await client.post(f"/api/events/{id_}", json={"event": {"type": "approved", "payload": 1}})
        assert (await client.get(f"/api/tasks/{id_}/result")).status_code == 200
        answer = await client.get("/api/run", headers=own)
        assert (answer.status_code, "over" in answer.json()["message"]) == (401, True)
        answer = await client.post("/api/run/events", json={"type": "x"}, headers=own)
        assert (answer.status_code, answer.json()["type"]) == (409, "STALE_EPOCH")


async def test_a_host_that_is_none_is_a_bad_request(client, tokens, caplog):
    """Not a bug of the server, and no traceback in its log."""
    for host in [
        "[",
        "[::1",
        "",
        "]",
        "a b",
        "[::1]x",
        "h\xe9",
        "localhost:x",
        "http://localhost",
        "user@localhost",
        "localhost/a",
        "127.0.0.1:",
    ]:
        with case(host):
            headers = {**bearer(tokens["admin"]), "Host": host.encode("latin-1")}
            for path in ("/api/shop/who", "/api/contexts/1/logs", "/api/stream", "/nowhere"):
                answer = await client.get(path, headers=headers)
                assert (answer.status_code, answer.json()["type"]) == (400, "WRONG_HOST"), path
            assert "Traceback" not in caplog.text


async def test_an_origin_that_is_none_is_another_page(client, tokens):
    for origin in [
        "http://[",
        "[",
        "http://",
        "",
        "null",
        "http://[::1",
        "\xe9",
        "http://a b",
        "https://evil.example",
        "http://127.0.0.1@evil",
    ]:
        with case(origin):
            headers = {**bearer(tokens["admin"]), "Origin": origin.encode("latin-1")}
            answer = await client.get("/api/shop/who", headers=headers)
            assert (answer.status_code, answer.json()["type"]) == (403, "ORIGIN_NOT_ALLOWED")


async def test_odd_headers_and_paths_are_no_bugs(client, tokens):
    for path, headers, status in [
        ("/api/stream", {"Last-Event-ID": "9" * 5000}, 400),
        ("/api/stream?after=" + "9" * 5000, {}, 400),
        ("/api/contexts/" + "9" * 5000 + "/stream", {}, 404),
        ("/api/contexts/" + "9" * 19 + "/stream", {}, 404),
        ("/api/contexts/" + "9" * 5000, {}, 422),
        ("/api/contexts/1/stream/%", {}, 404),
        ("/api/shop/who?" + "%" * 100, {}, 200),
        ("/api/shop/who", {"Idempotency-Key": "k" * 201}, 400),
        ("/api/shop/who", {"traceparent": "00-" + "f" * 5000}, 200),
        ("/api/shop/who", {"If-None-Match": ", " * 10000 + "x"}, 200),
        ("/api/shop/who", {"X-Request-Id": "\xe9"}, 200),
        ("/api/shop/who", {"Accept-Encoding": "gzip;q=\xe9"}, 200),
    ]:
        with case(path, headers):
            sent = bearer(tokens["admin"]) | {k: v.encode("latin-1") for k, v in headers.items()}
            answer = await client.get(path, headers=sent)
            assert answer.status_code == status, answer.text
            assert answer.json()


async def test_what_is_private_is_kept_by_no_cache(client, tokens):
    headers = bearer(tokens["admin"])
    for path in ("/api/shop/who", "/api/contexts", "/openapi.json", "/api", "/metrics", "/nowhere"):
        answer = await client.get(path, headers=headers)
        assert answer.headers["cache-control"] == "no-store", path
    assert (await client.get("/api/shop/who")).headers["cache-control"] == "no-store"


async def test_health_names_nobody(client):
    assert (await client.get("/health")).json() == {"status": "ok"}


ODD_NAMES = ["-rf", ".bashrc", "..", ".", "a\nb", "\x1b[31m", "a\u202eb", "\u200b", "a" * 201,
             "\u00e9" * 101, "~root", " a", "a ", "a.", "NUL", "com1.txt", "a\\b", "\x7f", "a\x85b",
             "a\u2028b", "\ufffd", "\ufeffa"]  # fmt: skip


async def test_names_that_would_be_taken_for_something_else_are_refused(
    client, tokens, store, tmp_path
):
    """Options, hidden files, escapes: whoever lists the folder or runs `cat *` in it meets them."""
    (id_,) = await store.start([Start("shop.approval", {})])
    for name in ODD_NAMES:
        with case(name):
            path = f"/api/contexts/{id_}/files/{quote(name, safe='')}"
            answer = await client.put(path, content=b"x", headers=bearer(tokens["admin"]))
            # httpx takes `..` out of the path.
            assert answer.status_code in {400, 404, 405}, answer.text
            assert not [p for p in tmp_path.rglob("*") if p.is_file() and WORK in p.parts]


async def test_names_of_files_are_taken(client, tokens, store):
    (id_,) = await store.start([Start("shop.approval", {})])
    for name in ["a.csv", "\u00fcber 2013.csv", "_x", "1", "a-b", "\u65e5\u672c.txt"]:
        with case(name):
            path = f"/api/contexts/{id_}/files/{quote(name)}"
            answer = await client.put(path, content=b"x", headers=bearer(tokens["admin"]))
            assert answer.status_code == 201, answer.text


async def test_an_ended_context_takes_no_files(client, tokens, store):
    """Nobody would read them."""
    headers = bearer(tokens["admin"])
    (id_,) = await store.start([Start("shop.approval", {})])
    await client.post(f"/api/tasks/{id_}/cancel", headers=headers)
    answer = await client.put(f"/api/contexts/{id_}/files/a.csv", content=b"x", headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (409, "LIFE_CYCLE")


async def test_loopback_needs_a_token_which_its_user_has(store, tmp_path):
    """Other people have accounts on the same machine."""
    async with served(store, tmp_path, working=False) as client:
        assert (await client.get("/api/shop/who")).json()["user"].count("@") == 1
        del client.headers["Authorization"]
        for path in ("/api/shop/who", "/api/tasks", "/api/stream", "/metrics", "/openapi.json"):
            assert (await client.get(path)).status_code == 401
        answer = await client.post("/api/tasks/shop.double", json={"params": {"n": 1}})
        assert answer.status_code == 401
    kept = tmp_path / "gateway.token"
    assert kept.stat().st_mode & 0o777 == 0o600
    text = kept.read_text()
    assert text.split("_", 2)[2].strip() not in str(await store.tokens.all())
    async with served(store, tmp_path, working=False) as client:  # started again: the same
        assert (await client.get("/api/shop/who")).status_code == 200
    assert kept.read_text() == text
    async with served(store, tmp_path, working=False, tokens=False) as client:
        assert (await client.get("/api/shop/who")).json()["user"] == "anybody"


@pytest.mark.parametrize("spoil", ["revoked", "mode", "empty", "garbage", "link", "half"])
async def test_a_token_of_the_gateway_that_is_no_good_is_replaced(store, tmp_path, spoil):
    async with served(store, tmp_path, working=False):
        pass
    kept = tmp_path / "gateway.token"
    first = kept.read_text()
    (row,) = await store.tokens.all()
    match spoil:
        case "revoked":
            await store.tokens.revoke(row.name)
        case "mode":
            kept.chmod(0o644)
        case "link":
            kept.rename(tmp_path / "elsewhere")
            kept.symlink_to(tmp_path / "elsewhere")
        case "half":
            kept.write_text("dama_x\n")
        case _:
            kept.write_bytes(b"" if spoil == "empty" else b"\xff\x00")
    async with served(store, tmp_path, working=False) as client:
        assert (await client.get("/api/shop/who")).status_code == 200
        assert kept.read_text() != first
        assert kept.stat().st_mode & 0o777 == 0o600
        assert not kept.is_symlink()
        del client.headers["Authorization"]
        answer = await client.get("/api/shop/who", headers=bearer(first.strip()))
        assert answer.status_code == 401  # who may have read it has nothing


async def test_gateways_that_start_at_once_leave_a_valid_token(store, tmp_path):
    app = App(store, Registry([]), tmp_path)
    await asyncio.gather(*(ensure_token(app) for _ in range(8)))
    identity = await store.tokens.find((tmp_path / "gateway.token").read_text().strip())
    assert identity.may("admin")
    assert len([row for row in await store.tokens.all() if row.revoked_at is None]) == 1


async def test_one_home_serves_several_databases(store, tmp_path):
    """A token that another database does not know yet stays as it is."""
    (tmp_path / "gateway.token").write_text("dama_" + "a" * 12 + "_" + "s" * 43 + "\n")
    (tmp_path / "gateway.token").chmod(0o600)
    async with served(store, tmp_path, working=False) as client:
        assert (await client.get("/api/shop/who")).status_code == 200
    assert (tmp_path / "gateway.token").read_text().startswith("dama_aaaaaaaaaaaa_ss")


async def test_a_form_or_a_query_of_very_many_fields_is_refused_unread(client, tokens):
    """One of 1 MiB held the whole process for minutes."""
    headers = bearer(tokens["admin"])
    form = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
    for fields in (b"a=&" * 349_000, b"&" * 1_000_000, b"a[]=1&" * 150_000):
        answer = await client.post("/api/shop/echo", content=fields, headers=form)
        assert (answer.status_code, answer.json()["type"]) == (400, "TOO_MANY_FIELDS")
    answer = await client.post("/api/shop/echo?" + "a=1&" * 2000, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (400, "TOO_MANY_FIELDS")
    few = await client.post("/api/shop/echo", content=b"&".join([b"a=1"] * 1000), headers=form)
    assert few.json() == {"a": ["1"] * 1000}


@pytest.mark.parametrize("params", [{f"k{n}": n for n in range(60_000)}, {"n": [1] * 90_000}])
async def test_an_answer_to_what_is_wrong_everywhere_is_short(client, tokens, params):
    headers = bearer(tokens["admin"])
    for path, body in (("/api/shop/save", params), ("/api/tasks/shop.double", {"params": params})):
        answer = await client.post(path, json=body, headers=headers)
        assert answer.status_code == 422
        assert len(answer.content) < 200_000
