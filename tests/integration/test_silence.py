"""A network that falls silent: no packet comes back, and nobody is told that it is so."""

import asyncio
import os
import re
import socket
import stat
from contextlib import suppress
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.errors import ConnectionTimeout

from dama import Service, Task
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.store import Start, Store
from dama.store.connecting import PROMPT, REACH, connect, connect_blocking, reach
from dama.store.database import Database
from dama.store.errors import DatabaseUnreachableError
from dama.store.renewal import Renewer
from dama.store.transaction import commit, commit_blocking
from dama.worker.worker import Worker
from tests.forwarder import Forwarder
from tests.interop.cluster import free_port

STORE = Path(__file__).parents[2] / "src/dama/store"
PATIENT, PROMPTLY = (1, 15, 5, 3, 0), (1, 15, 5, 3, 20_000)
far = Service("far")


@far.task
async def steps(task: Task) -> int:
    """Wait for a signal between two steps, the second of which has a transaction."""
    await task.step("before", lambda: 1)
    await task.wait_for("go")
    await task.step("sql", lambda c: str(c.execute("SELECT 1").fetchone()), transactional=True)
    return 2


@pytest.fixture
async def address(database_url):
    """Of the database over TCP; it can fall silent."""
    forwarder = Forwarder(database_url, free_port())
    await forwarder.start()
    yield forwarder
    await forwarder.stop()


def options_of(address):
    """What the sockets of this process to an address do about silence."""
    found = []
    for descriptor in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208 - these are numbers
        with suppress(OSError):
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
        with suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as each:
            if each.getpeername()[1:] == (address.port,):
                kept = each.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT")
                tcp = [each.getsockopt(socket.IPPROTO_TCP, getattr(socket, n)) for n in names]
                found.append((kept, *tcp))
    return found


async def test_a_step_has_time_to_copy_while_it_waits_for_a_lock(address, database_url):
    """What it sends stays unread meanwhile, which is no sign of a network that is cut."""
    url = make_conninfo(database_url, **address.address)
    seen = []

    async def function(_):
        seen.extend(options_of(address))
        return []

    def blocking_function(_):
        seen.extend(options_of(address))
        return []

    await commit(Database(url), "a", function)
    await asyncio.to_thread(commit_blocking, Database(url), "a", blocking_function, lambda _: None)
    assert seen == [PATIENT, PATIENT]


async def test_the_handler_of_a_subscription_has_time_as_well(address, database_url):
    seen = []

    async def handle(_, __):
        seen.extend(options_of(address))

    async with Store.opened(make_conninfo(database_url, **address.address)) as store:
        (context,) = await store.start([Start("a.b", {})])
        await store.append(context, [Event("noted", None)])
        await store.log.position()
        await store.log.subscription("all", handle).catch_up()
    assert {*seen} == {PATIENT, PROMPTLY}


async def test_the_pool_and_the_lease_are_soon_sure(address, database_url):
    """Their statements are short; whoever waits for one may have a lease to lose."""
    url = make_conninfo(database_url, **address.address)
    of_lease = []

    def params():
        of_lease.extend(options_of(address))
        return {}

    renewer = Renewer(Database(url), params)
    with suppress(Exception):  # there is no such worker
        await asyncio.to_thread(renewer.renew)
    renewer.close()
    async with Store.opened(url) as store:
        await store.now()
        of_pool = options_of(address)
    assert of_lease == [PROMPTLY]
    assert {*of_pool} == {PROMPTLY}


async def test_hints_are_heard_by_a_connection_that_is_looked_after(address, database_url):
    """Nothing is ever sent on it, so nothing else would tell."""
    async with Store.opened(make_conninfo(database_url, **address.address)) as store:
        heard = asyncio.Event()
        listening = asyncio.create_task(store.hints.listen(heard.set))
        async with asyncio.timeout(30):
            await heard.wait()
        assert PATIENT in options_of(address)
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


def test_nobody_connects_in_another_way():
    """What connects by itself would not notice that its server fell silent."""
    found = {
        path.name
        for path in STORE.parent.rglob("*.py")
        if re.search(
            r"\b(psycopg|Async)?Connection\.connect\(|psycopg\.connect\(", path.read_text()
        )
    }
    assert found == {"connecting.py"}


@pytest.mark.parametrize(
    ("conninfo", "said"),
    [
        ("postgresql://h/d?connect_timeout=77&keepalives_idle=1", {"keepalives_idle"}),
        ("host=h keepalives_count=9 tcp_user_timeout=0", {"keepalives_count", "tcp_user_timeout"}),
        ("host=h keepalives=0", set()),
    ],
)
def test_what_the_user_says_holds(conninfo, said):
    added = reach(conninfo, PROMPT)
    assert not said & set(added)
    assert set(added) >= PROMPT.keys() - said - {"connect_timeout"}
    assert added["connect_timeout"] == str(
        conninfo_to_dict(conninfo).get("connect_timeout") or REACH["connect_timeout"]
    )


def test_what_the_environment_and_a_service_file_say_holds(tmp_path, monkeypatch):
    """The driver would not look into the file, so it is told what stands there."""
    file = tmp_path / "services"
    file.write_text(
        "[far]\nhost=one,two\nport=1,2\nconnect_timeout=33\nkeepalives_idle=44\ndbname=d\n"
        "[near]\nhost=/run\n"
    )
    monkeypatch.setenv("PGSERVICEFILE", str(file))
    far_away = {"host": "one,two", "port": "1,2", "connect_timeout": "33"}
    rest = {"keepalives_interval": "5", "keepalives_count": "3"}
    assert reach("service=far", REACH) == far_away | rest
    assert reach("service=near", REACH)["connect_timeout"] == "10"
    monkeypatch.setenv("PGCONNECT_TIMEOUT", "55")
    assert reach("service=near", REACH)["connect_timeout"] == "55"
    monkeypatch.setenv("PGSERVICE", "far")
    assert reach("", REACH) == far_away | rest
    assert reach("service=absent", REACH) == REACH  # connecting says what is wrong


async def test_an_address_that_never_answers_is_given_up(address, database_url):
    """As soon as the connection string says, or after seconds."""
    address.fall_silent()
    url = make_conninfo(database_url, **address.address, connect_timeout="2")
    async with asyncio.timeout(60):
        ends = await asyncio.gather(
            connect(url),
            asyncio.to_thread(connect_blocking, url),
            Store.opened(url).__aenter__(),
            return_exceptions=True,
        )
    assert [type(end) for end in ends] == [
        ConnectionTimeout,
        ConnectionTimeout,
        DatabaseUnreachableError,
    ]


@pytest.mark.parametrize("how", ["url", "service"])
async def test_a_run_continues_when_the_network_to_its_server_is_cut(
    address, database_url, how, tmp_path, monkeypatch
):
    """All connections hang without a word; the next of the addresses is tried."""
    second = Forwarder(database_url, free_port())
    said = conninfo_to_dict(database_url) | {
        "host": "127.0.0.1,127.0.0.1",
        "port": f"{address.port},{second.port}",
        "connect_timeout": "2",
        "keepalives_idle": "1",
        "keepalives_interval": "1",
        "keepalives_count": "2",
        "tcp_user_timeout": "2000",
    }
    url = make_conninfo("", **said)
    if how == "service":
        file = tmp_path / "services"
        file.write_text("[far]\n" + "".join(f"{key}={value}\n" for key, value in said.items()))
        monkeypatch.setenv("PGSERVICEFILE", str(file))
        url = "service=far"
    await second.start()
    try:
        async with Store.opened(url) as store, Store.opened(database_url) as direct:
            (context,) = await store.start([Start("far.steps", {})])
            async with Worker(store, Registry([far])).working(), asyncio.timeout(90):
                while "far.steps/before:DONE" not in [e.type for e in await direct.events(context)]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                address.fall_silent()
                await direct.append(context, [Event("go", None)])
                while not await direct.outcomes([context]):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
                assert (await direct.outcomes([context]))[context].result == 2
    finally:
        await second.stop()


@pytest.mark.parametrize("again", [True, False])
async def test_a_pool_asks_as_often_however_long_an_outage_lasts(again):
    """Its pauses must not grow: whoever waits would wait on, minutes after the server is back."""
    attempts = asyncio.Queue()

    async def refuse(_, writer):
        attempts.put_nowait(None)
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        url = make_conninfo("", host=host, port=port, user="nobody", dbname="none")
        async with Database.joined(url, "pool", is_pooled=False) as database:
            asking = asyncio.create_task(database.rows("read_clock", again=again))
            async with asyncio.timeout(40):
                for _ in range(7):
                    await attempts.get()
            assert not asking.done()
            asking.cancel()
            await asyncio.wait([asking])
