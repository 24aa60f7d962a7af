"""The later generation of the first system: copied with its ids, and followed until it is left."""

import psycopg
import pytest

from dama.domain.event import Event
from dama.store import Append, Start, Store, schema
from dama.store.adoption import later
from dama.store.adoption.adopt import adopt
from dama.store.adoption.audit import Audit
from dama.store.adoption.later import Copied
from dama.store.errors import SchemaError

TABLES = """
CREATE SCHEMA data_manager;
CREATE TABLE data_manager.etl_contexts (
  etl_context_id serial PRIMARY KEY, parent_context_id int, source_id int, etl_task_id int,
  etl_status text, initial_event_id int, latest_event_id int,
  _created_timestamp timestamp DEFAULT now(), _modified_timestamp timestamp DEFAULT now());
CREATE TABLE data_manager.event_store (
  event_id serial PRIMARY KEY, etl_context_id int NOT NULL, type text NOT NULL,
  payload jsonb, meta jsonb, error boolean, _created_timestamp timestamp DEFAULT now());
"""
ROWS = """
INSERT INTO data_manager.etl_contexts
  (etl_context_id, parent_context_id, source_id, etl_task_id, _created_timestamp)
  VALUES (1, NULL, 7, 70, '2023-01-02 03:04:05'), (2, 1, NULL, 71, NULL), (3, 9, NULL, NULL, NULL),
         (4, 5, 1, NULL, NULL), (5, 4, NULL, NULL, NULL), (6, 2, 3, 4, NULL);
INSERT INTO data_manager.event_store
    (event_id, etl_context_id, type, payload, meta, error, _created_timestamp) VALUES
  (1, 1, ':INITIAL', '{"a": 0}', NULL, NULL, '2023-01-02 03:04:05.123456'),
  (2, 2, 'x:INITIAL', 'null', '{"etl_task_id": "mine", "b": 1}', NULL, NULL),
  (3, 1, ':INITIAL', '12345678901234567890.5', 'null', FALSE, NULL),
  (4, 2, 'x:ERROR', NULL, NULL, TRUE, NULL),
  (5, 1, ':FINAL', '""', '[1]', NULL, NULL),
  (6, 6, ':INITIAL', NULL, '[2]', NULL, NULL),
  (7, 77, 'late', NULL, NULL, NULL, NULL);
SELECT setval('data_manager.etl_contexts_etl_context_id_seq', 6),
       setval('data_manager.event_store_event_id_seq', 7);
"""
OLD = """
SELECT event_id, etl_context_id, type, payload, nullif(meta, 'null'), error
  FROM data_manager.event_store ORDER BY 1
"""
NEW = """
SELECT event_id, etl_context_id, type, payload, nullif(meta, 'null'), error
  FROM _data_manager_admin.event_store_prototype WHERE event_id < 100000000 ORDER BY 1
"""
CONTEXTS = """
SELECT context_id, parent_id, root_context_id, status, version FROM _data_manager_admin.etl_context
  WHERE context_id < 1000000 ORDER BY 1
"""


@pytest.fixture
def old(empty_database_url):
    """A connection of the old programs."""
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(TABLES)
        connection.execute(ROWS)
        yield connection


async def round_of(url, **options):
    said = []
    done = await adopt(url, said.append, **options)
    assert isinstance(done, Copied), done
    return done


async def test_all_is_copied_with_its_ids_and_the_old_tables_stay(old, empty_database_url):
    """Orphans, cycles and contexts without a row too; source and task stand in the meta."""
    before = old.execute(OLD).fetchall()

    await round_of(empty_database_url)

    assert old.execute(OLD).fetchall() == before
    copies = old.execute(NEW).fetchall()
    assert copies[0][4] == {"source_id": 7, "etl_task_id": 70}
    assert copies[1][4] == {"etl_task_id": "mine", "b": 1}
    assert copies[2:] == before[2:]
    assert [row[:4] + row[5:] for row in copies] == [row[:4] + row[5:] for row in before]
    assert old.execute(CONTEXTS).fetchall() == [
        (1, None, 1, "DONE", 3), (2, 1, 1, "ERROR", 2), (3, 9, 9, None, 0), (4, 5, 4, None, 0),
        (5, 4, 4, None, 0), (6, 2, 1, "OPEN", 1), (9, None, 9, None, 0), (77, None, 77, "OPEN", 1),
    ]  # fmt: skip
    async with Store.opened(empty_database_url) as store:
        context = await store.context(1)
        assert context.created_at.isoformat().startswith("2023-01-02T03:04:05")
        assert (await store.events(1, limit=1))[0].created_at.microsecond == 123456
        assert (await store.rebuild())[0] == 0  # nothing that the events do not say


async def test_what_is_written_meanwhile_is_followed_until_the_programs_are_off(
    old, empty_database_url
):
    """Also what committed late; new runs of dama have ids of their own."""
    await round_of(empty_database_url)
    with psycopg.connect(empty_database_url) as late:
        late.execute(
            "INSERT INTO data_manager.event_store (etl_context_id, type) VALUES (6, 'slow')"
        )
        old.execute("INSERT INTO data_manager.etl_contexts (parent_context_id) VALUES (1)")
        old.execute(
            "INSERT INTO data_manager.event_store (etl_context_id, type)"
            " VALUES (7, ':INITIAL'), (7, ':FINAL'), (6, ':FINAL')"
        )
        async with Store.opened(empty_database_url) as store:
            (context_id,) = await store.start([Start("a.b", {})])
            await store.append_many([Append(context_id, Event("a.b:FINAL", 1))])
        await round_of(empty_database_url)
        late.commit()

    done = await round_of(empty_database_url, ends=True)

    assert (done.is_ended, done.is_whole) == (True, True)
    assert context_id > 1_000_000
    assert [row[:4] + row[5:] for row in old.execute(NEW).fetchall()] == [
        row[:4] + row[5:] for row in old.execute(OLD).fetchall()
    ]
    async with Store.opened(empty_database_url) as store:
        types = [event.type for event in await store.events(6)]
        assert types == [":INITIAL", ":FINAL", "slow"]
        assert len((await store.log.read(0)).events) == 13
    with pytest.raises(SchemaError, match="are left"):
        await round_of(empty_database_url)


async def test_a_kill_costs_a_batch(old, empty_database_url, monkeypatch):
    """What is there is not copied again."""
    old.execute(
        "INSERT INTO data_manager.event_store (etl_context_id, type)"
        " SELECT 1 + n % 2, 'row' FROM generate_series(1, 300) n"
    )
    monkeypatch.setattr(later, "EVENTS", 40)
    said = 0

    class KilledError(Exception):
        pass

    def tell(_):
        nonlocal said
        said += 1
        if said == 5:
            raise KilledError

    monkeypatch.setattr("dama.store.adoption.progress.SAY_AGAIN_SECONDS", 0)
    with pytest.raises(KilledError):
        await adopt(empty_database_url, tell)
    some = old.execute("SELECT count(*) FROM _data_manager_admin.event_store_prototype").fetchone()

    done = await round_of(empty_database_url, ends=True)

    assert 0 < some[0] < 307
    assert done.is_whole
    versions = old.execute(
        "SELECT version FROM _data_manager_admin.event_store_prototype"
        " WHERE etl_context_id = 1 ORDER BY event_id"
    ).fetchall()
    assert versions == [(n + 1,) for n in range(len(versions))]


async def test_what_the_old_programs_changed_is_seen_at_the_end(old, empty_database_url):
    """Both sides differ, and nothing is said to be ended."""
    await round_of(empty_database_url)
    old.execute("UPDATE data_manager.event_store SET payload = '1' WHERE event_id = 1")

    done = await round_of(empty_database_url, ends=True)

    assert (done.is_ended, done.is_whole) == (True, False)
    old.execute("UPDATE data_manager.event_store SET payload = '{\"a\": 0}' WHERE event_id = 1")
    assert (await round_of(empty_database_url, ends=True)).is_whole


async def test_what_cannot_be_held_is_refused_before_anything_is_made(old, empty_database_url):
    """A row without a type."""
    old.execute("ALTER TABLE data_manager.event_store ALTER COLUMN type DROP NOT NULL")
    old.execute("INSERT INTO data_manager.event_store (etl_context_id) VALUES (1)")

    done = await adopt(empty_database_url, lambda _: None)

    assert isinstance(done, Audit)
    assert done.refused
    row = old.execute("SELECT to_regclass('_data_manager_admin.etl_context')").fetchone()
    assert row == (None,)


async def test_ids_that_dama_uses_already_are_refused(old, empty_database_url):
    """Nothing of dama's own is overwritten."""
    await schema.migrate(empty_database_url, beside_later=True)
    async with Store.opened(empty_database_url) as store:
        await store.start([Start("a.b", {})])

    with pytest.raises(SchemaError, match="ids that the old tables use"):
        await adopt(empty_database_url, lambda _: None)


async def test_keys_that_come_twice_are_kept(old, empty_database_url):
    """In one context, which the index of a new database would refuse."""
    key = '{"idempotency_key": "k"}'
    for _ in range(2):
        old.execute(
            "INSERT INTO data_manager.event_store (etl_context_id, type, meta) VALUES (6, 'x', %s)",
            [key],
        )

    done = await round_of(empty_database_url, ends=True)

    assert done.is_whole


async def test_a_context_that_appears_between_two_looks_keeps_its_parent(
    old, empty_database_url, monkeypatch
):
    """Its events are found before it is."""
    await round_of(empty_database_url)
    monkeypatch.setattr(later, "EVENTS", 2)
    monkeypatch.setattr("dama.store.adoption.progress.SAY_AGAIN_SECONDS", 0)
    written = []

    def tell(what):
        if "rows of events" in what and not written:
            written.append(old.execute(BETWEEN))

    await adopt(empty_database_url, tell)

    assert old.execute(
        "SELECT parent_id, root_context_id, version FROM _data_manager_admin.etl_context"
        " WHERE context_id = 7"
    ).fetchone() == (6, 1, 1)


BETWEEN = """
INSERT INTO data_manager.etl_contexts (etl_context_id, parent_context_id) VALUES (7, 6);
INSERT INTO data_manager.event_store (etl_context_id, type) VALUES (7, ':INITIAL')
"""


async def test_a_parent_with_a_greater_id_hides_no_context(old, empty_database_url, monkeypatch):
    """It is copied with its child; who is between them comes in the next batches, kill or not."""
    old.execute(
        "INSERT INTO data_manager.etl_contexts (etl_context_id, parent_context_id)"
        " SELECT n, CASE WHEN n < 400000 THEN n + 300000 END FROM generate_series(100, 120) n"
    )
    old.execute("INSERT INTO data_manager.etl_contexts (etl_context_id) VALUES (300100), (500000)")
    monkeypatch.setattr(later, "CONTEXTS", 3)
    monkeypatch.setattr("dama.store.adoption.progress.SAY_AGAIN_SECONDS", 0)

    def tell(what):
        if "9 rows of contexts" in what:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await adopt(empty_database_url, tell)

    await round_of(empty_database_url)

    there = {row[0] for row in old.execute(CONTEXTS).fetchall()}
    wanted = old.execute("SELECT etl_context_id FROM data_manager.etl_contexts").fetchall()
    assert {row[0] for row in wanted} <= there
