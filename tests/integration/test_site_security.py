"""The pages and those who mean no good: sessions, forms, origins, scopes, services."""

from __future__ import annotations

import asyncio

import pytest

from dama.pages.opening import NoGatewayError, address_of, address_to_open
from dama.store import Start
from tests.cases import case
from tests.integration.browsing import Browser
from tests.integration.served import served

READS = (
    "/", "/contexts", "/tasks", "/tasks/shop.double", "/schedules", "/queues", "/workers",
    "/services", "/log", "/doctor", "/settings", "/~live",
)  # fmt: skip


@pytest.fixture
async def browsers(store, tmp_path):
    """A browser of each scope, and one whose token is for another service."""
    async with served(store, tmp_path, working=False, tokens=True) as client:
        made = {}
        for name, scope, services in (
            ("viewer", "viewer", None),
            ("operator", "operator", None),
            ("admin", "admin", None),
            ("shop", "operator", ["shop"]),
            ("other", "operator", ["other"]),
        ):
            text = await store.tokens.add(name, scope, "tests", services=services)
            made[name] = Browser(str(client.base_url))
            await made[name].login(text)
        made["nobody"] = Browser(str(client.base_url))
        yield made
        for browser in made.values():
            await browser.client.aclose()


async def test_who_has_not_logged_in_is_led_to_the_login_and_back(browsers, store):
    nobody = browsers["nobody"]
    for path in READS[:-1]:
        page = await nobody.get(path)
        assert page.url.path == "/login", path
        assert not page.rows(), path
    page = await nobody.get("/contexts?status=DONE&all=1")
    form = page.form("/login")
    assert form.fields["next"] == "/contexts?status=DONE&all=1"
    text = await store.tokens.add("ada", "viewer", "tests")
    page = await nobody.send(form, token=text)
    assert str(page.url).endswith("/contexts?status=DONE&all=1")


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:1", "/a\r\nb"],
)
async def test_the_way_back_leads_to_no_other_site(browsers, store, target):
    text = await store.tokens.add("ada", "viewer", "tests")
    page = await browsers["nobody"].post("/login", {"token": text, "next": target})
    assert page.url.path == "/"


async def test_a_wrong_token_is_refused_and_tries_are_counted(browsers):
    statuses = [
        (await browsers["nobody"].post("/login", {"token": "dama_0_x"})).status for _ in range(12)
    ]
    assert statuses[0] == 401
    assert statuses[-1] == 429


async def test_the_token_of_a_run_logs_nobody_in(browsers, store):
    text = await store.tokens.of_run(1, 1)
    assert (await browsers["nobody"].post("/login", {"token": text})).status == 401


async def test_the_cookie_is_for_this_server_only_and_no_script_reads_it(browsers):
    answer = await browsers["viewer"].client.get("/")
    assert answer.status_code == 200
    (cookie,) = browsers["viewer"].client.cookies.jar
    assert cookie.has_nonstandard_attr("HttpOnly")
    assert cookie.get_nonstandard_attr("SameSite") == "lax"


async def test_a_revoked_token_ends_its_sessions(browsers, store):
    viewer = browsers["viewer"]
    assert (await viewer.get("/contexts")).url.path == "/contexts"
    async with viewer.client.stream("GET", "/~live") as answer:
        await store.tokens.revoke("viewer")
        text = "".join([part async for part in answer.aiter_text()])
    assert "event: gone" in text
    assert (await viewer.get("/contexts")).url.path == "/login"


async def test_who_logs_out_is_out_at_once(browsers):
    admin = browsers["admin"]
    form = (await admin.get("/")).form("/logout")
    kept = dict(admin.client.cookies)
    await admin.send(form)
    admin.client.cookies.update(kept)
    assert (await admin.get("/contexts")).url.path == "/login"


async def test_a_cookie_that_was_made_up_is_none(browsers, store):
    nobody = browsers["nobody"]
    (cookie,) = browsers["viewer"].client.cookies.jar
    for value in ("", "x", cookie.value[:-1], cookie.value + "x", "é" * 10, "x" * 4000):
        headers = {"Cookie": f"{cookie.name}={value}".encode()}
        answer = await nobody.client.get("/contexts", headers=headers)
        assert answer.url.path == "/login"


async def test_a_session_is_none_for_the_programs_interface(browsers):
    answer = await browsers["admin"].client.get("/api/contexts")
    assert answer.status_code == 401


async def test_pages_run_no_script_of_others_and_nobody_keeps_them(browsers):
    for path in READS[:-1]:
        page = await browsers["viewer"].get(path)
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["cache-control"] == "private, no-cache"
        assert page.headers["x-content-type-options"] == "nosniff"
        for tag, values in page.tags:
            assert "style" not in values, (path, tag)
            assert not [name for name in values if name.startswith("on")], (path, tag)
            if tag == "script":
                assert str(values["src"]).startswith("/static/")
            for name in ("src", "href", "action"):
                assert "//" not in str(values.get(name) or ""), (path, values)


async def test_a_form_of_another_site_is_refused(browsers, store):
    (context_id,) = await store.start([Start("shop.double", {"n": 1})])
    operator = browsers["operator"]
    for headers in [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "null"},
        {"Origin": None},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "none"},
    ]:
        with case(headers):
            form = (await operator.get(f"/contexts/{context_id}")).form(
                f"/contexts/{context_id}/cancel"
            )
            named = {"Origin": operator.address}
            named |= {name.replace("_", "-"): value for name, value in headers.items()}
            answer = await operator.client.post(
                form.action,
                data={**form.fields, "reason": "x"},
                headers={name: value for name, value in named.items() if value is not None},
            )
            assert answer.status_code == 403
            assert (await store.context(context_id)).status == "OPEN"


async def test_a_form_of_another_session_is_refused(browsers, store):
    (context_id,) = await store.start([Start("shop.double", {"n": 1})])
    action = f"/contexts/{context_id}/cancel"
    form = (await browsers["admin"].get(f"/contexts/{context_id}")).form(action)
    for token in (form.fields["form_token"], "", "é"):
        page = await browsers["operator"].post(action, {"form_token": token, "reason": "x"})
        assert page.status == 403
    assert (await store.context(context_id)).status == "OPEN"


async def test_a_link_of_another_site_opens_the_page(browsers):
    page = await browsers["viewer"].get(
        "/contexts",
        Sec_Fetch_Site="cross-site",
        Sec_Fetch_Mode="navigate",
        Sec_Fetch_Dest="document",
    )
    assert page.status == 200
    framed = await browsers["viewer"].get(
        "/contexts", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe"
    )
    assert framed.status == 403
    fetched = await browsers["viewer"].get(
        "/contexts", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors", Sec_Fetch_Dest="image"
    )
    assert fetched.status == 403
    renamed = await browsers["viewer"].get("/contexts", Host="evil.example")
    assert renamed.status == 400


async def test_a_viewer_has_no_buttons_and_a_forged_form_does_nothing(browsers, store):
    (context_id,) = await store.start([Start("shop.double", {"n": 1})])
    viewer = browsers["viewer"]
    page = await viewer.get(f"/contexts/{context_id}")
    token = page.form("/logout").fields["form_token"]
    for path in (f"/contexts/{context_id}", "/contexts", "/queues", "/tasks/shop.double"):
        page = await viewer.get(path)
        actions = {form.action for form in page.forms if form.method == "post"}
        assert actions <= {"/logout", "/contexts/acts"}, path
        assert "button" not in [t for t, v in page.tags if v.get("value") == "cancel"]
    for action, fields in (
        (f"/contexts/{context_id}/cancel", {}),
        (f"/contexts/{context_id}/resume", {}),
        (f"/contexts/{context_id}/fork", {"at": "1"}),
        (f"/contexts/{context_id}/emit", {"type": "x"}),
        ("/tasks/shop.double", {"param.n": "1", "key": "k"}),
        ("/queues/default/pause", {}),
        ("/queues/default/limit", {"concurrency": "1"}),
        ("/schedules/x/pause", {}),
        ("/schedules/x/backfill", {"begin": "2024-01-01", "end": "2024-01-01"}),
    ):
        page = await viewer.post(action, {"form_token": token, "reason": "x", **fields})
        assert page.status == 403, action
    page = await viewer.post(
        "/contexts/acts",
        {"form_token": token, "act": "cancel", "context": str(context_id), "confirmed": "1",
         "reason": "x"},
    )  # fmt: skip
    assert "needs a token with the scope operator" in page.text
    assert (await store.context(context_id)).status == "OPEN"
    assert (await viewer.get("/tokens")).status == 403


async def test_a_token_of_a_service_sees_and_touches_that_only(browsers, store):
    (context_id,) = await store.start([Start("shop.double", {"n": 1})])
    shop, other = browsers["shop"], browsers["other"]
    assert (await shop.get("/contexts")).rows() == [f"c{context_id}"]
    assert (await other.get("/contexts")).rows() == []
    assert (await other.get("/contexts?service=shop")).status == 403
    assert (await shop.get(f"/contexts/{context_id}")).status == 200
    for path in (
        f"/contexts/{context_id}", f"/contexts/{context_id}?tab=log", f"/contexts/{context_id}/log",
        f"/~live?context={context_id}", "/tasks/shop.double", "/queues", "/log", "/doctor",
        "/tokens", "/workers", "/schedules",
    ):  # fmt: skip
        assert (await other.get(path)).status == 403, path
    token = (await other.get("/contexts")).form("/logout").fields["form_token"]
    page = await other.post(f"/contexts/{context_id}/cancel", {"form_token": token, "reason": "x"})
    assert page.status == 403
    assert (await store.context(context_id)).status == "OPEN"


async def test_an_address_of_dama_open_logs_in_once(browsers, store, tmp_path):
    from dama.app import App
    from dama.definitions.registry import Registry
    from dama.gateway.settings import GatewaySettings

    app = App(store, Registry([]), tmp_path)
    address = await asyncio.to_thread(address_of, app)
    nobody = browsers["nobody"]
    assert address == nobody.address
    opened = await address_to_open(app, GatewaySettings(), address, "/contexts?all=1")
    page = await nobody.get(opened)
    assert (page.status, str(page.url)) == (200, f"{address}/contexts?all=1")
    again = Browser(address)
    assert (await again.get(opened)).status == 401
    await again.client.aclose()
    (tmp_path / "gateway.address").write_text("http://127.0.0.1:1\n")
    with pytest.raises(NoGatewayError, match="No gateway answers"):
        await asyncio.to_thread(address_of, app)


async def test_large_and_odd_forms_are_refused(browsers):
    operator = browsers["operator"]
    for body, kind in (
        (b"x" * (1024 * 1024 + 1), "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % n for n in range(3000)), "application/x-www-form-urlencoded"),
        (b"%ff=1", "application/x-www-form-urlencoded"),
        (b"{}", "application/json"),
        (b"--x", "multipart/form-data; boundary=x"),
    ):
        answer = await operator.client.post(
            "/settings", content=body, headers={"Origin": operator.address, "Content-Type": kind}
        )
        assert answer.status_code in (400, 413), body[:20]
    answer = await operator.client.put("/contexts")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


async def test_an_admin_sees_sessions_and_ends_one_with_a_reason(browsers, store):
    """The browser logs in again; the act has its user and reason."""
    admin, viewer = browsers["admin"], browsers["viewer"]
    page = await admin.get("/tokens")
    (action,) = {
        form.action for form in page.forms if form.action.startswith("/sessions/")
    } - await _sessions_but(store, "viewer")
    secret = next(iter(viewer.client.cookies.jar)).value

    assert secret not in page.source
    assert (await viewer.get("/tokens")).status == 403
    assert (await viewer.post(action, {"reason": "x"})).status == 403
    assert (await admin.send(page.form(action), reason="")).status == 400
    await admin.send(page.form(action), reason="a lost laptop")

    await _is_out(viewer)
    assert await _last_act(store) == ("session/ended", "admin", "a lost laptop")
    assert (await admin.send(page.form(action), reason="again")).status == 404


async def test_an_admin_revokes_a_token_on_its_page(browsers, store):
    admin = browsers["admin"]
    form = (await admin.get("/tokens")).form("/tokens/shop/revoke")
    page = await admin.send(form, reason="left")

    assert await _last_act(store) == ("token/revoked", "admin", "left")
    assert "/tokens/shop/revoke" not in page.source
    await _is_out(browsers["shop"])


async def _sessions_but(store, token) -> set[str]:
    rows = await store.browser_sessions.all()
    return {f"/sessions/{row.id}/end" for row in rows if row.token != token}


async def _last_act(store) -> tuple[str, str, str]:
    (context_id, *_) = await store.acts.contexts()
    event = (await store.events(context_id))[-1]
    return event.type, event.meta["user"], event.meta["reason"]


async def _is_out(browser: Browser) -> None:
    """Wait until it has to log in: what was found good is so for a second."""
    for _ in range(300):
        if (await browser.get("/contexts")).url.path == "/login":
            return
        await asyncio.sleep(0.1)
    pytest.fail("It is still logged in.")
