"""The bus and those who are on it: what they may have done, and how a node proves itself there."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import re
import secrets
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import nats
import pytest

from dama import Service, Task
from dama.app import App
from dama.broker.errors import CallError, DisconnectedError
from dama.definitions.registry import Registry
from dama.errors import InvalidDefinitionError
from dama.operations import tasks
from dama.shipped.node import node_of
from tests.interop.cluster import Bus
from tests.interop.conftest import py_node

OPERATOR, ACCOUNT, USER = 14 << 3, 0, 20 << 3  # kinds of keys of NATS


def project() -> Service:
    service = Service("etl")

    @service.task
    async def load(task: Task) -> object:
        """Wait for a signal."""
        return await task.wait_for("go")

    @service.task
    async def secret(task: Task) -> object:
        """Wait for a signal, too."""
        return await task.wait_for("go")

    @service.action
    async def start_secret(call) -> object:
        """An action of the project starts what it decides to start."""
        return await call.call("tasks.start", {"name": "etl.secret"})

    return service


@asynccontextmanager
async def product(store, home, bus, **settings):
    """A node with the shipped services on a bus."""
    app = App(store, Registry([project()]), home)
    values = {
        "url": bus.url,
        "prefix": "",
        "node_id": "product",
        "heartbeat_interval": 1,
        **settings,
    }
    async with node_of(app, values | settings, "dama.toml") as node:
        await node.broker()
        yield app


WRITES = [
    ("tasks.start", {"name": "etl.secret"}),
    ("tasks.run", {"name": "etl.secret"}),
    ("tasks.start", {"name": "programs.run", "params": {"command": ["true"]}}),
    ("tasks.cancel", {"context_id": 1}),
    ("tasks.resume", {"context_id": 1}),
    ("events.dispatch", {"context_id": 1, "event": {"type": "go"}}),
    ("schedules.add", {"name": "s", "task": "etl.load", "cron": "* * * * *"}),
    ("schedules.pause", {"name": "s"}),
    ("schedules.resume", {"name": "s"}),
    ("schedules.remove", {"name": "s"}),
    ("schedules.backfill", {"name": "s", "begin": "2026-01-01", "end": "2026-01-02"}),
    ("queues.pause", {"queue": "default"}),
    ("queues.resume", {"queue": "default"}),
    ("queues.limit", {"queue": "default", "concurrency": 1}),
    ("tasks.fork", {"context_id": 1, "at": 1}),
    ("log.resume", {"subscription": "mailer", "context_id": 1}),
    ("archive.add", {"older_than": "1d"}),
    ("archive.restore", {"context_id": 1}),
    ("archive.forget", {"older_than": "1d"}),
    ("upkeep.clean", {}),
    ("upkeep.scrub", {"env": "HOME", "all": True}),
]


@pytest.mark.parametrize("prefix", ["", "dama", "a.b"])
async def test_the_bus_changes_nothing_until_it_is_configured(bus, store, tmp_path, prefix):
    """A packet has no credentials: whatever it says of itself, it starts and changes nothing."""
    own = f"{prefix}." if prefix else ""
    async with product(store, tmp_path, bus, prefix=prefix) as app, py_node(bus.url) as py:
        await tasks.start(app, "etl.secret", {})
        await py.wait_for_services(f"{own}tasks", "etl", timeout=60)
        for action, params in WRITES:
            for meta in ({}, {"user": "root", "$commands": True, "$services": None}):
                with pytest.raises(CallError) as raised:
                    await py.call(own + action, params, meta=meta, timeout=10)
                assert (raised.value.code, raised.value.status) == ("BUS_REFUSED", 403), action
        assert len(await store.contexts()) == 1
        assert [e.type for e in await store.events(1)] == ["etl.secret:INITIAL"]
        assert await store.schedules.all() == []
        # To read is open, and what the project itself offers is the project's to decide.
        assert (await py.call(f"{own}contexts.get", {"context_id": 1}))["task"] == "etl.secret"
        assert (await py.call("etl.start_secret"))["context_id"] == 2
        # Within the process nothing has changed.
        broker = await app.broker()
        assert (await broker.call("tasks.start", {"name": "etl.load"}))["context_id"] == 3


async def test_the_bus_starts_what_is_listed_and_changes_its_contexts(bus, store, tmp_path):
    listed = {"startable": ["etl.lo*"], "bus_actions": ["queues.pause"]}
    async with product(store, tmp_path, bus, **listed) as app, py_node(bus.url) as py:
        await py.wait_for_services("tasks", timeout=60)
        other = await tasks.start(app, "etl.secret", {})
        answer = await py.call("tasks.start", {"name": "etl.load"}, meta={"user": "root"})
        started = {"context_id": answer["context_id"]}
        (first,) = await store.events(started["context_id"])
        assert (first.meta["node"], first.meta["user_as_said"]) == ("py-1", "root")
        assert "user" not in first.meta
        go = {**started, "event": {"type": "go", "meta": {"user": "root"}}}
        assert (await py.call("events.dispatch", go))["event_id"]
        assert (await py.call("tasks.cancel", started))["cancelled"] == [started["context_id"]]
        await py.call("queues.pause", {"queue": "etl"})
        for action, params in (
            ("tasks.start", {"name": "etl.secret"}),
            ("tasks.cancel", {"context_id": other}),
            ("queues.resume", {"queue": "etl"}),
        ):
            with pytest.raises(CallError) as raised:
                await py.call(action, params)
            assert raised.value.code == "BUS_REFUSED"


async def test_everything_listed_is_still_no_shell_and_no_forgery(bus, store, tmp_path):
    listed = {"startable": ["**"], "bus_actions": [action for action, _ in WRITES]}
    async with product(store, tmp_path, bus, **listed), py_node(bus.url) as py:
        await py.wait_for_services("tasks", timeout=60)
        with pytest.raises(CallError) as raised:
            await py.call("tasks.start", {"name": "programs.run", "params": {"command": ["true"]}})
        assert raised.value.code == "UNDECLARED_COMMAND"
        answer = await py.call("tasks.start", {"name": "etl.load"})
        started = {"context_id": answer["context_id"]}
        for event in ({"type": "x:FINAL"}, {"type": "go", "meta": {"epoch": 1}}):
            with pytest.raises(CallError) as raised:
                await py.call("events.dispatch", {**started, "event": event})
            assert raised.value.code == "RESERVED_EVENT"


@pytest.mark.parametrize("topic", ["MOL.REQ.product", "MOL.REQB.tasks.start"])
async def test_a_packet_in_the_name_of_the_node_itself_is_of_the_bus(bus, store, tmp_path, topic):
    """Its sender is what somebody wrote into it."""
    more = {} if topic.endswith("product") else {"balancer": False}
    async with product(store, tmp_path, bus, **more):
        client = await nats.connect(bus.url)
        answers: asyncio.Queue[bytes] = asyncio.Queue()

        async def took(message):
            await answers.put(message.data)

        await client.subscribe("MOL.RES.product", cb=took)
        await client.flush()
        packet = {"ver": "4", "sender": "product", "id": "x", "action": "tasks.start",
                  "params": {"name": "etl.load"}, "meta": {"user": "root"}, "level": 1,
                  "requestID": "x", "tracing": None, "timeout": 0, "stream": False}  # fmt: skip
        await client.publish(topic, json.dumps(packet).encode())
        async with asyncio.timeout(60):
            answer = json.loads(await answers.get())
        await client.close()
        assert answer["error"]["type"] == "BUS_REFUSED"
    assert await store.contexts() == []


@asynccontextmanager
async def bus_with(folder: Path, config: str):
    bus = Bus()
    bus._config += config
    await bus.start(folder)
    try:
        yield bus
    finally:
        await bus.kill()


async def joins(store, home, bus, **settings):
    async with product(store, home, bus, **settings):
        pass


def key_pair(folder: Path, kind: int) -> Any:
    """A key of NATS, and the file of its seed."""
    nkeys = pytest.importorskip("nkeys", reason="LOUD: without nkeys no key of NATS is tested")
    seed = nkeys.encode_seed(secrets.token_bytes(32), kind)
    pair = nkeys.from_seed(bytearray(seed))
    (folder / pair.public_key.decode()).write_bytes(seed)
    return pair


def signed(signer: Any, subject: Any, nats: dict[str, Any]) -> str:
    """A JWT of NATS."""
    issuer, about = signer.public_key.decode(), subject.public_key.decode()
    claims = {"jti": about, "iat": 1, "iss": issuer, "sub": about, "name": "x", "nats": nats}
    parts = [{"typ": "JWT", "alg": "ed25519-nkey"}, claims]
    body = ".".join(plain(json.dumps(part).encode()) for part in parts)
    return f"{body}.{plain(signer.sign(body.encode()))}"


def plain(data: bytes) -> str:
    """Base64 as in a JWT."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


async def refused(store, home, bus, caplog, words: str, **settings):
    """A node is told why it cannot join, and what is secret is said nowhere."""
    caplog.clear()
    with pytest.raises((DisconnectedError, InvalidDefinitionError)) as raised:
        await joins(store, home, bus, **settings)
    told = f"{raised.value} {raised.value.hint} {caplog.text}"
    assert re.search(words, told), told
    assert caplog.text.count("the bus: ") <= 1  # a server that refuses is not asked again
    paths = [Path(value) for key, value in settings.items() if key.endswith("_file")]
    files = await asyncio.to_thread(lambda: [path.read_text() for path in paths])
    hidden = {"hunter2", "hunter3", *(line for f in files for line in f.split() if len(line) > 30)}
    assert not [secret for secret in hidden if secret in told]


async def test_a_node_proves_itself_to_the_bus_by_a_key(store, tmp_path, caplog):
    """The server knows its public half only."""
    caplog.set_level(logging.DEBUG)
    own, other = (key_pair(tmp_path, USER) for _ in range(2))
    config = f"authorization {{ users: [{{ nkey: {own.public_key.decode()} }}] }}\n"
    async with bus_with(tmp_path, config) as bus:
        await joins(store, tmp_path, bus, nkey_file=str(tmp_path / own.public_key.decode()))
        wrong = str(tmp_path / other.public_key.decode())
        await refused(store, tmp_path, bus, caplog, "(?i)authorization", nkey_file=wrong)
        await refused(store, tmp_path, bus, caplog, "(?i)authorization")
        (tmp_path / "none").write_text("SUhunter2hunter2hunter2hunter2hunter2")
        await refused(store, tmp_path, bus, caplog, "nkey_file", nkey_file=str(tmp_path / "none"))


async def test_a_node_proves_itself_to_the_bus_by_a_credentials_file(store, tmp_path, caplog):
    """With an operator, an account and its users."""
    caplog.set_level(logging.DEBUG)
    operator, account = key_pair(tmp_path, OPERATOR), key_pair(tmp_path, ACCOUNT)
    limits = dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1)
    limits["wildcards"] = True
    accounts = signed(operator, account, {"type": "account", "version": 2, "limits": limits})
    operators = signed(operator, operator, {"type": "operator", "version": 2})
    config = (
        f"operator: {operators}\nresolver: MEMORY\n"
        f"resolver_preload: {{ {account.public_key.decode()}: {accounts} }}\n"
    )
    for name, signer in (("own", account), ("other", key_pair(tmp_path, ACCOUNT))):
        user = key_pair(tmp_path, USER)
        may = {"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1}
        seed = (tmp_path / user.public_key.decode()).read_text()
        (tmp_path / f"{name}.creds").write_text(
            f"-----BEGIN NATS USER JWT-----\n{signed(signer, user, may)}\n"
            "------END NATS USER JWT------\n\n"
            f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        )
    (tmp_path / "none.creds").write_text("hunter2")
    async with bus_with(tmp_path, config) as bus:
        await joins(store, tmp_path, bus, creds_file=str(tmp_path / "own.creds"))
        for name, words in (("other", "(?i)authorization"), ("none", "creds_file")):
            file = str(tmp_path / f"{name}.creds")
            await refused(store, tmp_path, bus, caplog, words, creds_file=file)


@pytest.mark.parametrize("kind", ["password", "token"])
async def test_a_node_proves_itself_to_the_bus(store, tmp_path, caplog, kind):
    caplog.set_level(logging.DEBUG)
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n")
    own = {"user": "ada"} if kind == "password" else {}
    config = 'user: ada, password: "hunter2"' if kind == "password" else 'token: "hunter2"'
    async with bus_with(tmp_path, f"authorization {{ {config} }}\n") as bus:
        await joins(store, tmp_path, bus, **own, **{f"{kind}_file": str(secret)})
        await joins(store, tmp_path, bus, **own, **{kind: "hunter2"})
        for wrong in ({}, {**own, kind: "hunter3"}):
            await refused(store, tmp_path, bus, caplog, "(?i)authorization", **wrong)


@pytest.mark.parametrize(
    "settings",
    [
        {"user": "ada"},
        {"password": "hunter2"},
        {"user": "ada", "password": "hunter2", "token": "hunter2"},
        {"user": "ada", "password": 7},
        {"token": ""},
        {"token": "hunter2", "token_file": "{file}"},
        {"password_file": "/nowhere", "user": "ada"},
        {"creds_file": "/nowhere"},
        {"ca_file": "{file}"},
        {"key_file": "{file}"},
        {"url": "http://ada:hunter2@bus"},
        {"url": "nats://a,http://ada:hunter2@bus"},
    ],
)
async def test_settings_that_cannot_be_used_are_refused_without_the_secret(
    store, tmp_path, settings
):
    file = tmp_path / "file"
    file.write_text("hunter2")
    values = {
        key: value.format(file=file) if isinstance(value, str) else value
        for key, value in settings.items()
    }
    with pytest.raises(InvalidDefinitionError, match="broker") as raised:
        async with node_of(
            App(store, Registry([]), tmp_path), {"url": "nats://127.0.0.1:1", **values}, "dama.toml"
        ):
            pass
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in str(raised.value.hint)


def certificates(folder: Path) -> dict[str, str]:
    """A certificate authority, and certificates of a server and of a client."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    new = ["req", "-newkey", "rsa:2048", "-nodes"]
    openssl(*new, "-x509", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=ca", "-days", "2")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(*new, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
        signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-extfile", "names"]
        openssl("x509", "-req", "-in", f"{name}.csr", *signed, "-out", f"{name}.pem", "-days", "2")
    return {"ca_file": f"{folder}/ca.pem", "cert_file": f"{folder}/client.pem",
            "key_file": f"{folder}/client.key"}  # fmt: skip


async def test_the_bus_and_a_node_prove_themselves_by_certificates(store, tmp_path):
    files = certificates(tmp_path)
    tls = (
        f'tls {{ cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.key", '
        f'ca_file: "{tmp_path}/ca.pem", verify: true }}\n'
    )
    async with bus_with(tmp_path, tls) as bus:
        await joins(store, tmp_path, bus, **files)
        await joins(store, tmp_path, bus, url=bus.url.replace("nats:", "tls:"), **files)
        for wrong in ({}, {"ca_file": files["ca_file"]}):  # believes nobody; proves nothing
            with pytest.raises(DisconnectedError):
                await joins(store, tmp_path, bus, **wrong)


async def test_no_credentials_go_to_a_server_without_tls(bus, store, tmp_path):
    """One that stands between a node and its bus would otherwise be sent the password."""
    files = certificates(tmp_path)
    for settings in ({"ca_file": files["ca_file"]}, {"url": bus.url.replace("nats:", "tls:")}):
        own = {"user": "ada", "password": "hunter2", **settings}
        with pytest.raises(DisconnectedError, match="offers no TLS"):
            await joins(store, tmp_path, bus, **own)
