"""Health: what the doctor is told is what the database is."""

from datetime import UTC, datetime, timedelta

import psycopg

from dama.app import App
from dama.broker.registry import Registry
from dama.config import load_config
from dama.domain.schedule import Schedule
from dama.store import Start
from dama.store.queue import WorkerIdentity


async def findings(store, monkeypatch, database_url):
    """What is not well, by name."""
    monkeypatch.setenv("DAMA_DATABASE_URL", database_url)
    found = await App(store, Registry()).examine(load_config())
    return {finding.name: finding.found for finding in found if finding.level != "ok"}


async def test_a_quiet_database_is_well(store, monkeypatch, database_url):
    """But that the tests' server is allowed to lose what it has."""
    assert set(await findings(store, monkeypatch, database_url)) == {"durability"}


async def test_what_is_wrong_is_found(store, monkeypatch, database_url):
    """A lapsed worker, a run that nobody claims, a schedule that fails, an old transaction."""
    await store.queue.register(
        WorkerIdentity("gone", "boot", 7, "1", "0"),
        queues=["default"],
        root=None,
        slots=1,
        lease=timedelta(minutes=-1),
    )
    await store.start([Start("a.b", {}, "etl", labels=["gpu"])])
    await store.schedules.add(Schedule("nightly", "a.b", "0 0 * * *"), datetime.now(UTC))
    await store.schedules.set("nightly", paused=True, failure="no such param")
    monkeypatch.setattr("dama.runtime.doctor.LONG_TRANSACTION", 0)
    with psycopg.connect(database_url) as old:
        old.execute("SELECT 1")
        found = await findings(store, monkeypatch, database_url)

    assert "gone:7" in found["workers"]
    assert "1 runs wait in etl with the labels gpu" in found["queue"]
    assert "nightly" in found["schedule"]
    assert "idle in transaction" in found["transactions"]
