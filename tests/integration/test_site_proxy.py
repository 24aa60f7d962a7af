"""Users whom a proxy before the gateway has logged in: believed from it, and from nobody else."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager

import httpx
import pytest
import uvicorn
from starlette.requests import Request
from starlette.responses import Response

from dama.config.private_file import PrivateFileError
from dama.errors import InvalidDefinitionError
from dama.gateway.settings import read_settings
from dama.store import Start
from tests.cases import case
from tests.integration.browsing import Browser
from tests.integration.served import served
from tests.interop.cluster import free_port
from tests.plain_http import NO_TLS

SECRET = "s3cret-of-the-proxy"  # noqa: S105 - of the tests
USERS = {"ada": "admin", "bob@example.org": "operator", "*@example.org": "viewer", "eve*": "none"}
NGINX = """daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;
events {{ }}
http {{
  access_log off; client_body_temp_path {folder}/b; proxy_temp_path {folder}/p;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass {gateway};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Remote-User $cookie_signed_in_as;
      proxy_set_header X-Dama-Proxy {secret};
    }}
  }}
}}
"""


@asynccontextmanager
async def nginx(gateway: str, folder):
    """The proxy that most have: who is signed in is what its cookie says."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, port=port, gateway=gateway, secret=SECRET))
    process = await asyncio.create_subprocess_exec("nginx", "-p", folder, "-c", config)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def plain(gateway: str, folder):
    """The same where there is no nginx: a proxy of a few lines."""
    async with httpx.AsyncClient(base_url=gateway, timeout=60, verify=NO_TLS) as client:

        async def serve(scope, receive, send):
            request = Request(scope, receive)
            kept = [(k, v) for k, v in request.headers.raw if not k.startswith(b"x-")]
            named = [
                (b"x-remote-user", request.cookies.get("signed_in_as", "").encode()),
                (b"x-dama-proxy", SECRET.encode()),
                (b"x-forwarded-for", b"203.0.113.9"),
            ]
            answer = await client.request(
                request.method, str(request.url.path), headers=kept + named,
                params=request.url.query, content=await request.body(),
            )  # fmt: skip
            response = Response(answer.content, answer.status_code)
            skipped = ("content-encoding", "transfer-encoding", "content-length")
            for name, value in answer.headers.multi_items():
                if name not in skipped:
                    response.headers.append(name, value)
            await response(scope, receive, send)

        port = free_port()
        config = uvicorn.Config(serve, port=port, log_level="error", lifespan="off", ws="none")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve())
        yield f"http://127.0.0.1:{port}"
        server.should_exit = True
        await serving


def settings_of(folder, **values):
    """Settings as a file has them."""
    secret = folder / "proxy.secret"
    secret.touch(0o600)
    secret.write_text(f"{SECRET}\n")
    given = {
        "user_header": "X-Remote-User",
        "trusted_proxies": ["127.0.0.1"],
        "proxy_secret_file": str(secret),
        "users": USERS,
        "port": 0,
    }
    return read_settings(given | values, "dama.toml", host=None, port=None)


@asynccontextmanager
async def gateway(store, folder, **values):
    async with served(
        store, folder, working=False, **vars(settings_of(folder, **values))
    ) as client:
        yield str(client.base_url)


NEEDS_NGINX = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="nginx is not installed: only the plain proxy is tried"
)


@pytest.fixture(params=[plain, pytest.param(nginx, marks=NEEDS_NGINX)])
async def proxied(request, store, tmp_path):
    """Browsers through the proxy, by the user who is signed in at it."""
    async with (
        gateway(store, tmp_path) as address,
        request.param(address, tmp_path) as front,
    ):
        made: list[Browser] = []

        def browser(user: str) -> Browser:
            made.append(Browser(front))
            made[-1].client.cookies.set("signed_in_as", user)
            return made[-1]

        await _answers(front)
        yield browser
        for each in made:
            await each.client.aclose()


async def _answers(front: str) -> None:
    async with httpx.AsyncClient(verify=NO_TLS) as client, asyncio.timeout(30):
        while True:
            try:
                await client.get(f"{front}/health")
            except httpx.TransportError:
                await asyncio.sleep(0.05)
            else:
                return


async def test_the_user_of_the_proxy_is_in_with_the_scope_of_the_settings(proxied, store):
    """No token, no login: who is signed in at the proxy acts, and the event has the name."""
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])

    viewer = await proxied("carl@example.org").get(f"/contexts/{context_id}")
    bob = proxied("bob@example.org")
    page = await bob.get(f"/contexts/{context_id}")
    done = await bob.send(page.form(f"/contexts/{context_id}/cancel"), reason="not today")

    assert "carl@example.org (viewer)" in viewer.text
    assert not [form for form in viewer.forms if form.action.endswith("/cancel")]
    assert "/logout" not in viewer.source
    assert done.status == 200
    assert (await store.context(context_id)).status == "CANCELLED"
    event = (await store.events(context_id))[-1]
    assert event.meta["user"] == "bob@example.org"
    assert event.meta["reason"] == "not today"


async def test_viewers_of_the_proxy_cannot_act_and_only_admins_see_tokens(proxied, store):
    (context_id,) = await store.start([Start("shop.double", {"n": 1}, delay=3600)])
    carl, ada = proxied("carl@example.org"), proxied("ada")
    bob_form = (await proxied("bob@example.org").get(f"/contexts/{context_id}")).form(
        f"/contexts/{context_id}/cancel"
    )

    forged = await carl.send(bob_form, reason="x")  # the form of another user, too

    assert forged.status == 403
    assert (await store.context(context_id)).status == "OPEN"
    assert (await carl.get("/tokens")).status == 403
    assert (await ada.get("/tokens")).status == 200


async def test_who_is_in_no_rule_or_shut_out_sees_nothing(proxied):
    for user in ["mallory", "eve@example.com", "evelyn"]:
        with case(user):
            page = await proxied(user).get("/contexts")

            assert page.status == 403
            assert user in page.text
            assert not page.rows()


async def test_who_is_not_signed_in_at_the_proxy_logs_in_with_a_token(proxied, store):
    nobody = proxied("")
    assert (await nobody.get("/contexts")).url.path == "/login"
    await nobody.login(await store.tokens.add("dora", "viewer", "tests"))
    assert "dora (viewer)" in (await nobody.get("/contexts")).text


ATTACKS = {
    "without the secret": [("X-Remote-User", "ada")],
    "with a guess": [("X-Remote-User", "ada"), ("X-Dama-Proxy", "guess")],
    "with an empty secret": [("X-Remote-User", "ada"), ("X-Dama-Proxy", "")],
    "twice the secret": [
        ("X-Remote-User", "ada"), ("X-Dama-Proxy", SECRET), ("X-Dama-Proxy", SECRET),
    ],
    "forwarded for the proxy": [("X-Remote-User", "ada"), ("X-Forwarded-For", "127.0.0.1")],
    "in small letters": [("x-remote-user", "ada")],
}  # fmt: skip


async def test_nobody_else_may_name_a_user(store, tmp_path):
    """Other accounts of the machine have the address of the proxy, and not its secret."""
    async with (
        gateway(store, tmp_path) as address,
        httpx.AsyncClient(base_url=address, verify=NO_TLS) as client,
    ):
        for name, headers in ATTACKS.items():
            for path in ("/contexts", "/login", "/~live", "/tokens"):
                answer = await client.get(path, headers=headers)
                assert answer.status_code == 403, (name, path)
                assert "trusted proxy" in answer.text


async def test_another_address_may_not_name_a_user_with_whatever_it_forwards(store, tmp_path):
    """What counts is where the request comes from, not where it says to come from."""
    others = {"trusted_proxies": ["10.1.2.3", "10.9.0.0/16"], "proxy_secret_file": None}
    async with gateway(store, tmp_path, **others) as address:
        for forwarded in ("10.1.2.3", "10.9.1.1, 10.1.2.3"):
            async with httpx.AsyncClient(base_url=address, verify=NO_TLS) as client:
                headers = {"X-Remote-User": "ada", "X-Forwarded-For": forwarded}
                assert (await client.get("/contexts", headers=headers)).status_code == 403


async def test_a_proxy_names_one_user(store, tmp_path):
    named = [
        (["ada", "bob@example.org"], 400),
        (["ada\x7f"], 400),
        (["é@example.org".encode()], 200),
        ([b"\xff@example.org"], 400),
        (["x" * 300 + "@example.org"], 400),
    ]
    async with (
        gateway(store, tmp_path) as address,
        httpx.AsyncClient(base_url=address, verify=NO_TLS) as client,
    ):
        for names, status in named:
            headers = [("X-Dama-Proxy", SECRET), *(("X-Remote-User", name) for name in names)]
            assert (await client.get("/contexts", headers=headers)).status_code == status, names


async def test_a_header_is_nothing_where_no_setting_names_it(store, tmp_path):
    async with served(store, tmp_path, working=False, tokens=True) as client:
        answer = await client.get("/contexts", headers={"X-Remote-User": "ada"})
    assert answer.headers["location"].startswith("/login")


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"trusted_proxies": []}, "trusted_proxies"),
        ({"trusted_proxies": ["*"]}, "trusted_proxies"),
        ({"trusted_proxies": ["proxy.example.org"]}, "trusted_proxies"),
        ({"proxy_secret_file": None}, "proxy_secret_file"),
        ({"proxy_secret_file": None, "trusted_proxies": ["0.0.0.0/0"]}, "proxy_secret_file"),
        ({"proxy_secret_file": None, "trusted_proxies": ["::1"]}, "proxy_secret_file"),
        ({"proxy_secret_file": None, "trusted_proxies": ["10.0.0.7"], "host": "10.0.0.7"},
         "proxy_secret_file"),
        ({"user_header": None}, "users"),
        ({"user_header": None, "users": None}, "proxy_secret_file"),
        ({"users": {"ada": "root"}}, "root"),
        ({"users": {"ada": True}}, "users"),
        ({"users": ["ada"]}, "users"),
        ({"user_header": ""}, "user_header"),
        ({"user_header": "X User"}, "user_header"),
        ({"user_header": "Authorization"}, "user_header"),
        ({"user_header": "Cookie"}, "user_header"),
    ],
)  # fmt: skip
def test_settings_by_which_somebody_could_be_anybody_are_refused(tmp_path, values, named):
    with pytest.raises(InvalidDefinitionError, match=named):
        settings_of(tmp_path, **values)


@pytest.mark.parametrize(
    ("content", "mode", "error"),
    [
        (None, 0o600, InvalidDefinitionError),
        (" \n", 0o600, InvalidDefinitionError),
        ("x", 0o644, PrivateFileError),
    ],
)
async def test_without_a_secret_of_its_own_no_gateway_starts(store, tmp_path, content, mode, error):
    settings = settings_of(tmp_path)
    path = tmp_path / "proxy.secret"
    path.unlink()
    if content is not None:
        path.write_text(content)
        path.chmod(mode)
    with pytest.raises(error, match=r"proxy.secret"):
        async with served(store, tmp_path, working=False, **vars(settings)):
            pass
