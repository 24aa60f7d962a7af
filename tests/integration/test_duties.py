"""What a process does in the background: begun again when it fails, seen from outside meanwhile."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import psycopg
import pytest

from dama import Service, Task, duty
from dama import app as app_module
from dama.app import App
from dama.broker.wire.discovery import Discovery
from dama.config.config import EmbeddedDatabase, load_config
from dama.definitions.registry import Registry
from dama.duty import DutyError
from dama.embedded import EmbeddedPostgres
from dama.gateway import server as gateway_server
from dama.programs.programs import Programs
from dama.shipped.node import node_of
from dama.store import Start, Store
from dama.store.hints import Hints
from dama.upkeep import cleaning
from dama.worker import worker as worker_module
from dama.worker.claiming import Claiming
from dama.worker.lease import LeaseKeeper
from dama.worker.scheduler import Scheduler
from dama.worker.worker import Worker
from tests.integration.served import served

some = Service("some")


@some.task
async def small(task: Task) -> int:
    """End at once."""
    return 42


@pytest.fixture
def impatient(monkeypatch):
    """What fails again and again does so within moments."""
    monkeypatch.setattr(duty, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(duty, "LONGEST_PAUSE", 0.02)
    monkeypatch.setattr("dama.worker.lease.RENEW_SECONDS", 0.02)


@asynccontextmanager
async def away(database_url, kind, name):
    """Something of the schema is missing, as in the middle of a migration."""
    rename = "ALTER {} _data_manager_admin.{} RENAME TO {}"
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        await admin.execute(rename.format(kind, name, "away"))
        yield
        await admin.execute(rename.format(kind, "away", name))


async def until(condition):
    """Wait until it is so."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def forever(block, begin=lambda _: asyncio.sleep(0)):
    """Be in a block that is not left."""
    async with asyncio.timeout(60), block as value:
        await begin(value)
        await asyncio.Event().wait()


async def trouble(store, word):
    """Wait until a worker tells of a trouble; with an empty word until it tells of none."""
    async with asyncio.timeout(30):
        while True:
            (row,) = await store.queue.workers()
            if (word in (row.trouble or "")) if word else row.trouble is None:
                return row.trouble
            await asyncio.sleep(0.02)


async def test_a_lease_that_is_not_renewed_is_seen_and_renewed_again(store, database_url):
    """Others would take its runs."""
    async with Worker(store, Registry([some])).working() as worker:
        async with away(database_url, "FUNCTION", "renew_lease"):
            assert "renew_lease" in await trouble(store, "renewing the lease")
        await trouble(store, "")
        await store.start([Start(small.name, {})])
        await worker.idle()


async def test_what_a_renewal_tells_and_cannot_be_taken_is_seen(store, monkeypatch):
    """It is said in the loop, where nobody waits for it."""
    worker = Worker(store, Registry([some]))
    async with worker.working():
        monkeypatch.setattr(worker, "_drop", lambda *_: 1 / 0)
        monkeypatch.setattr(worker._lease, "_learn", worker._learn)
        assert "ZeroDivisionError" in await trouble(store, "renewing the lease")
        monkeypatch.undo()
        await trouble(store, "")


async def test_a_worker_whose_lease_is_never_renewed_ends_with_the_reason(
    store, monkeypatch, impatient
):
    """Its supervisor starts another. A schema that is not complete is waited for, as an outage."""
    worker = Worker(store, Registry([some]))
    monkeypatch.setattr(worker._lease._renewer, "_params", None)
    with pytest.raises(DutyError, match=r"renewing the lease failed 10 times.*NoneType"):
        await forever(worker.working())


async def test_schedules_that_are_not_fired_are_seen(store, database_url):
    """A schedule that nobody looks at looks like one that is not due."""
    worker = Worker(store, Registry([some]))
    async with worker.working(), away(database_url, "TABLE", "schedule"):
        worker._scheduler.look()
        assert "schedule" in await trouble(store, "firing schedules")


async def test_cleaning_that_fails_is_seen_until_it_is_done(store, monkeypatch):
    """It mostly sleeps: that it does not fail then says nothing."""
    monkeypatch.setattr(cleaning, "SOONEST", 0.0)
    monkeypatch.setattr(cleaning, "LATEST", 0.05)
    monkeypatch.setattr(duty, "STEADY_SECONDS", 0.01)
    worker = Worker(store, Registry([some]))
    monkeypatch.setattr(cleaning._Runs, "candidates", lambda _: 1 / 0)
    async with worker.working():
        assert "ZeroDivisionError" in await trouble(store, "cleaning")
        monkeypatch.undo()
        monkeypatch.setattr(cleaning, "SOONEST", 0.0)
        monkeypatch.setattr(cleaning, "LATEST", 0.05)
        await trouble(store, "")


def dies_thrice(monkeypatch, owner, name, errors):
    """Let what a duty does die before it begins; returns how often it was begun."""
    begun: list[None] = []
    real = getattr(owner, name)

    async def dies(*arguments, **named):
        begun.append(None)
        if errors:
            raise errors.pop(0)
        await real(*arguments, **named)

    monkeypatch.setattr(owner, name, dies)
    return begun


DUTIES = {
    "claiming runs": (Claiming, "always"),
    "hearing of changes": (Hints, "listen"),
    "firing schedules": (Scheduler, "fire_always"),
    "ending programs that nobody wants": (Programs, "end_always"),
    "cleaning": (worker_module, "clean_always"),
    "renewing the lease": (LeaseKeeper, "_fail_with_it"),
}


@pytest.mark.parametrize("name", DUTIES)
async def test_each_duty_of_a_worker_that_dies_is_seen_and_begins_again(store, monkeypatch, name):
    """Whatever it dies of; the worker goes on with the others meanwhile."""
    monkeypatch.setattr(duty, "FIRST_PAUSE", 0.2)
    errors = [ZeroDivisionError("it broke"), asyncio.CancelledError(), SystemExit(3)]
    begun = dies_thrice(monkeypatch, *DUTIES[name], errors)
    async with Worker(store, Registry([some])).working() as worker:
        assert {each.name for each in worker._duties} == set(DUTIES)
        told = await trouble(store, name)
        assert told.startswith(f"{name}: ")
        await until(lambda: len(begun) == 4)
        (context,) = await store.start([Start(small.name, {})])
        async with asyncio.timeout(30):
            while (await store.context(context)).status != "DONE":  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.02)


async def test_what_keeps_a_database_reachable_begins_again(monkeypatch, tmp_path):
    """Without it a database whose socket was removed is out of reach for whoever comes later."""
    monkeypatch.setattr(app_module, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(duty, "FIRST_PAUSE", 0.2)
    looked: list[None] = []

    def look(_self):
        looked.append(None)
        if len(looked) == 1:
            raise ZeroDivisionError("it broke")

    monkeypatch.setattr(EmbeddedPostgres, "keep_reachable", look)
    config = load_config(home=tmp_path)
    assert isinstance(config.database, EmbeddedDatabase)
    async with duty.on_duty(*app_module._duties(config)):
        await until(lambda: any("keeping the database" in each for each in duty.troubles()))
        await until(lambda: len(looked) > 2)


async def test_an_http_server_that_ended_begins_again_and_loses_no_request(
    store, tmp_path, monkeypatch, impatient
):
    """A process that answers nobody would look alive. Metrics tell of it."""
    served_by = []
    serve = gateway_server._Server.serve

    async def watched(self, sockets):
        served_by.append(self)
        await serve(self, sockets)

    monkeypatch.setattr(gateway_server._Server, "serve", watched)
    async with served(store, tmp_path, working=False) as client:
        assert (await client.get("/health")).status_code == 200
        served_by[0].should_exit = True
        await until(lambda: len(served_by) == 2)
        assert (await client.get("/health")).status_code == 200
        metrics = (await client.get("/metrics")).text
    assert "dama_duties_in_trouble 1.0" in metrics


class Bus:
    """A bus on which nobody else is, and which breaks in an unknown way."""

    longest_packet = 1 << 20

    def __init__(self):
        self.is_broken = False
        self.beats = 0

    async def connect(self, name, reconnected, disconnected):
        pass

    async def subscribe(self, topic, kind, receive, group=None):
        return lambda: None

    async def publish(self, topic, body):
        if topic.endswith("HEARTBEAT"):
            if self.is_broken:
                raise ZeroDivisionError("it broke")
            self.beats += 1

    async def flush(self):
        pass

    async def close(self):
        pass


def node(monkeypatch, store, bus):
    """A node on a bus."""
    monkeypatch.setattr("dama.broker.wire.nats.NatsTransporter", lambda *_: bus)
    settings = {"url": "nats://nobody:1", "heartbeat_interval": 0.02, "heartbeat_timeout": 1}
    return node_of(App(store, Registry([some])), settings, "dama.toml")


async def test_a_heartbeat_that_died_beats_again(store, monkeypatch, impatient):
    """Other nodes would hold the node to be gone, and it would not know."""
    bus = Bus()
    async with node(monkeypatch, store, bus) as source:
        await source.broker()
        bus.is_broken = True
        await until(lambda: any("this one is alive" in each for each in duty.troubles()))
        bus.is_broken = False
        beats = bus.beats
        await until(lambda: bus.beats > beats)
    assert duty.troubles() == []


async def test_silent_nodes_are_missed_again_when_the_watch_died(store, monkeypatch):
    """Calls would be sent to nodes that are long gone."""
    monkeypatch.setattr(duty, "FIRST_PAUSE", 0.2)
    begun = dies_thrice(monkeypatch, Discovery, "_watch", [ZeroDivisionError("it broke")])
    async with node(monkeypatch, store, Bus()) as source:
        await source.broker()
        await until(lambda: any("missing nodes" in each for each in duty.troubles()))
        await until(lambda: len(begun) == 2)


async def test_a_node_without_a_heartbeat_ends_its_process(store, monkeypatch, impatient):
    """With the reason."""
    bus = Bus()
    bus.is_broken = True
    with pytest.raises(DutyError, match=r"this one is alive failed 10 times.*it broke"):
        await forever(node(monkeypatch, store, bus), lambda source: source.broker())


async def test_a_hint_that_is_about_to_be_sent_is_sent_before_its_connections_are_closed(
    database_url, monkeypatch
):
    """A client of a loop that goes on would have a task forever that waits for a closed one."""
    monkeypatch.setattr("dama.store.hints.INTERVAL", 0.5)  # the second comes before it is over
    async with Store.opened(database_url) as store:
        store.hints.send()
        await asyncio.sleep(0)  # the first is under way
        store.hints.send()
        late = store.hints._sending
        assert late is not None
        assert not late.done()
    assert late.done()
    assert not late.cancelled()
    assert late.exception() is None
