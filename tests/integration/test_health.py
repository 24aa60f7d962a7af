"""Health: what the doctor is told is what the database is."""

import json
import re
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg.sql import SQL, Identifier

from dama.app import App
from dama.cli import main
from dama.config.config import load_config
from dama.definitions.registry import Registry
from dama.domain.schedule import Schedule
from dama.operations import health
from dama.store import Start, schema
from dama.store.queue_rows import WorkerIdentity


async def findings(store, monkeypatch, database_url):
    """What is not well, by name."""
    monkeypatch.setenv("DAMA_DATABASE_URL", database_url)
    found = await health.examine(App(store, Registry()), load_config())
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
    await store.schedules.fail(await store.schedules.get("nightly"), "no such param")
    monkeypatch.setattr("dama.upkeep.doctor.LONG_TRANSACTION", 0)
    monkeypatch.setattr("dama.upkeep.doctor.LONG_WAIT", 0)
    await store.queue.register(
        WorkerIdentity("here", "boot", 8, "1", "0"),
        queues=["default"],
        root=None,
        slots=1,
        lease=timedelta(minutes=1),
    )
    await store.start([Start("c.d", {})])
    with psycopg.connect(database_url) as old:
        old.execute("SELECT pg_current_xact_id()")
        found = await findings(store, monkeypatch, database_url)

    assert "gone:7" in found["workers"]
    assert "1 run waits in etl with the labels gpu" in found["queue"]
    assert "nightly" in found["schedule"]
    assert "idle in transaction" in found["transactions"]
    assert "1 run of c.d waits in default" in found["task"]


async def test_a_limited_queue_is_not_blamed_on_its_worker(store, monkeypatch, database_url):
    """Its runs wait because they were told to."""
    monkeypatch.setattr("dama.upkeep.doctor.LONG_WAIT", 0)
    await store.queue.register(
        WorkerIdentity("here", "boot", 8, "1", "0"),
        queues=["default"],
        root=None,
        slots=1,
        lease=timedelta(minutes=1),
    )
    await store.start([Start("c.d", {})])
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO _data_manager_admin.queue_setting (queue, paused) VALUES ('default', TRUE)"
        )

    assert "task" not in await findings(store, monkeypatch, database_url)


async def test_the_log_is_brought_up_to_date_by_the_look(store, monkeypatch, database_url):
    """It says how many events had no position."""
    monkeypatch.setenv("DAMA_DATABASE_URL", database_url)
    await store.start([Start("c.d", {})] * 3)

    for placed in (3, 0):
        found = {
            f.name: f.found for f in await health.examine(App(store, Registry()), load_config())
        }
        assert found["log"] == f"3 events, {placed} of them placed just now"


def test_an_older_schema_is_a_finding(empty_database_url, monkeypatch, capsys):
    """Nothing else can be asked of it, and the advice says what to do."""
    monkeypatch.setenv("DAMA_DATABASE_URL", empty_database_url)

    code = main(["doctor", "--json"])

    (finding,) = json.loads(capsys.readouterr().out)
    assert (code, finding["name"], finding["level"]) == (1, "schema", "fail")
    assert "dama db migrate" in finding["advice"]


async def test_a_slot_that_nobody_reads_is_found(server, store, monkeypatch, database_url):
    """It fills the disk in silence."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SELECT pg_create_physical_replication_slot('forgotten', TRUE)")
        try:
            found = await findings(store, monkeypatch, database_url)
        finally:
            connection.execute("SELECT pg_drop_replication_slot('forgotten')")

    assert "forgotten" in found["slot"]


DAMAGE = {
    "ALTER TABLE {}.event_store_prototype DISABLE TRIGGER event_admission": "event_admission",
    "ALTER TABLE {}.schedule SET UNLOGGED": "schedule is not logged",
    "DROP FUNCTION {}.list_contexts CASCADE": "list_contexts is missing",
}


async def test_what_was_switched_off_in_the_schema_is_found(store, database_url):
    """No version tells of it: the triggers of a restore that was broken off, a lost function."""
    with psycopg.connect(database_url, autocommit=True) as owner:
        for statement in DAMAGE:
            owner.execute(SQL(statement).format(Identifier("_data_manager_admin")))

    found = await health.examine(App(store, Registry()), load_config())

    said = [f"{each.found}: {each.advice}" for each in found if each.name == "schema"]
    assert len(said) == len(DAMAGE) + 1  # and which version it is
    for damage in DAMAGE.values():
        assert any(damage in each for each in said), damage
    with psycopg.connect(database_url, autocommit=True) as owner:
        for each in said[1:]:
            owner.execute(re.search(r": ([A-Z][^;]*)", each)[1])
    await schema.migrate(database_url)
    assert "schema" not in {
        each.name
        for each in await health.examine(App(store, Registry()), load_config())
        if each.level != "ok"
    }
