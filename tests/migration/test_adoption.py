"""Adopting a database of the first system: all that is there is said, kept, and works."""

import asyncio
import signal
import subprocess
import threading
import time

import psycopg
import pytest

from dama.domain.event import Event
from dama.domain.lifecycle import lifecycle
from dama.store import Start, Store, schema
from dama.store.adoption.adopt import adopt
from dama.store.adoption.audit import audit
from dama.store.adoption.first import STEPS
from dama.store.errors import LifeCycleError, SchemaError
from dama.store.health import read_health
from tests.conftest import url_of
from tests.migration.first_system import (
    BARE,
    CONTEXTS,
    NEW_EVENT,
    SIX,
    TABLES,
    fill,
    rows,
    run_once,
)
from tests.migration.test_schema import columns

ODD = """
INSERT INTO _data_manager_admin.etl_context (context_id, parent_id) VALUES
  (1, NULL), (2, 1), (3, 77), (4, 5), (5, 4), (6, 5), (7, NULL), (8, 8), (9, NULL);
SELECT setval('_data_manager_admin.etl_context_context_id_seq', 5);
INSERT INTO _data_manager_admin.event_store_prototype
    (event_id, etl_context_id, type, payload, meta, error) VALUES
  (1, 1, ':INITIAL', '0', '{"timestamp": "2022-02-28T23:59:59.123Z"}', NULL),
  (2, 1, ':INITIAL', 'false', '{"timestamp": "2022-02-29T00:00:00Z"}', NULL),
  (3, 1, 'x:FINAL', '""', '{"created_at": 1646370367000}', FALSE),
  (4, 1, 'x:FINAL', NULL, '{"timestamp": "2022-03-04 05:06:07.123456+02"}', FALSE),
  (5, 1, 'late', 'null', 'null', NULL),
  (6, 2, 'x:STEP', NULL, '[1]', NULL),
  (7, 2, 'x:INITIAL', NULL, '"text"', TRUE),
  (8, 2, 'x:ERROR', NULL, NULL, NULL),
  (9, 3, 'x:CANCELLED', NULL, '{"idempotency_key": "k", "epoch": 3}', NULL),
  (10, 3, 'x:CANCELLED', NULL, '{"idempotency_key": "k"}', NULL),
  (11, 3, '', NULL, NULL, NULL),
  (12, 88, ':INITIAL', NULL, NULL, NULL),
  (13, 4, ':INITIAL', (repeat('[', 200) || repeat(']', 200))::jsonb, NULL, NULL),
  (14, 6, ':INITIAL', NULL, NULL, NULL),
  (15, 7, ':INITIAL', NULL, NULL, NULL),
  (16, 7, ':FINAL', '7', NULL, NULL);
"""
IN_THE_LOG = "SELECT event_id FROM _data_manager_admin.event_log ORDER BY position"
# Counted by hand.
WANTED = {
    "context without events": 3,
    "parent without a row": 1,
    "cycle of parents": 3,
    "events without a context": 1,
    "no INITIAL": 1,
    "INITIAL not first": 1,
    "several INITIAL": 1,
    "several FINAL": 1,
    "events after FINAL": 1,
    "type empty or over 1,000 bytes": 1,
    "meta not an object": 2,
    "payload or meta beyond the limits of size, depth or numbers": 1,
    "error without an object": 1,
    "ERROR without error: true": 1,
    "keys in meta that dama uses": 2,
    "types that mean something to dama": 2,
    "types that the life cycle does not know": 3,
    "no time in meta": 13,
    "sequence behind the ids of _data_manager_admin.etl_context": 1,
    "sequence behind the ids of _data_manager_admin.event_store_prototype": 1,
}
STATE = """
SELECT relname, oid, relfilenode FROM pg_class
  WHERE relname IN ('etl_context', 'event_store_prototype') AND relkind = 'r' ORDER BY 1
"""
LATEST = """
SELECT c.context_id, c.status, c.version, c.root_context_id, c.initial_event_id, c.latest_event_id
  FROM _data_manager_admin.etl_context c ORDER BY c.context_id
"""
GAPS = """
SELECT c.context_id FROM _data_manager_admin.etl_context c
  LEFT JOIN _data_manager_admin.event_store_prototype e ON e.etl_context_id = c.context_id
  GROUP BY c.context_id, c.version
  HAVING c.version <> count(e.event_id) OR c.version <> coalesce(max(e.version), 0)
      OR count(DISTINCT e.version) <> count(e.event_id)
"""
PATIENCE = 60.0


def execute(url, text):
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(text)


@pytest.fixture
def odd(empty_database_url):
    """All that an audit knows, in tables that were made by hand."""
    execute(empty_database_url, BARE)
    execute(empty_database_url, ODD)
    return empty_database_url


async def test_an_audit_counts_what_is_odd_and_changes_nothing(odd):
    """Each with examples, and with what is done about it."""
    before = rows(odd, STATE), rows(odd, SIX), rows(odd, CONTEXTS)

    found = await audit(odd)

    assert {each.kind: each.count for each in found.found} == WANTED
    assert all(each.will and len(each.examples) in range(1, 6) for each in found.found)
    assert found.refused == []
    by = {each.kind: each.examples for each in found.found}
    assert by["cycle of parents"] == [4, 5, 8]
    assert by["events without a context"] == [88]
    assert by["no time in meta"][0] == 2  # there was no such day
    assert (found.contexts.rows, found.events.rows) == (9, 16)
    assert (rows(odd, STATE), rows(odd, SIX), rows(odd, CONTEXTS)) == before
    assert rows(odd, "SELECT to_regclass('_data_manager_admin.adoption')") == [(None,)]


async def test_odd_history_is_kept_and_can_be_read(odd):
    """Nothing is rewritten, nothing is lost, and every context can be shown."""
    before = rows(odd, SIX)
    contexts = rows(odd, CONTEXTS)

    done = await adopt(odd, lambda _: None)

    assert done.before == done.after
    assert rows(odd, SIX) == before
    assert [row for row in rows(odd, CONTEXTS) if row[0] not in {77, 88}] == contexts
    assert rows(odd, GAPS) == []
    assert {row[0]: row[1:] for row in rows(odd, LATEST)} == {
        1: ("OPEN", 5, 1, 1, 5),
        2: ("ERROR", 3, 1, 6, 8),
        3: ("OPEN", 3, 77, 9, 11),
        4: ("OPEN", 1, 4, 13, 13),
        5: (None, 0, 4, None, None),
        6: ("OPEN", 1, 4, 14, 14),
        7: ("DONE", 2, 7, 15, 16),
        8: (None, 0, 8, None, None),
        9: (None, 0, 9, None, None),
        77: (None, 0, 77, None, None),
        88: ("OPEN", 1, 88, 12, 12),
    }
    async with Store.opened(odd) as store:
        assert await store.differences() == []
        for context in (1, 2, 3, 4, 5, 6, 7, 8, 9, 77, 88):
            assert len(await store.events(context)) == (await store.context(context)).version
            await asyncio.wait_for(store.tree(context), PATIENCE)
            await store.state(context, lifecycle)
        times = [event.created_at.isoformat() for event in await store.events(1)]
        assert await store.log.position() == 16
        assert len((await store.log.read()).events) == 16
        (new,) = await store.start([Start("a.b", {})])
        assert new > 88
        await store.append(1, [Event("more")])
        with pytest.raises(LifeCycleError):
            await store.append(7, [Event("more")])
    assert times == [
        "2022-02-28T23:59:59.123000+00:00",
        "1970-01-01T00:00:00+00:00",
        "2022-03-04T05:06:07+00:00",
        "2022-03-04T03:06:07.123456+00:00",
        "1970-01-01T00:00:00+00:00",
    ]


async def test_the_tables_stay_and_become_those_of_a_new_installation(
    empty_database_url, database_url
):
    """In place: the same relations, the same columns in front, no reference that deletes."""
    fill(empty_database_url, contexts=50, events=6)
    before = rows(empty_database_url, STATE), rows(empty_database_url, SIX)

    await adopt(empty_database_url, lambda _: None)

    assert (rows(empty_database_url, STATE), rows(empty_database_url, SIX)) == before
    integers = ("context_id", "parent_id", "event_id", "etl_context_id")
    wanted = [
        (*row[:3], "integer" if row[1] in integers and is_first(row) else row[3], row[4])
        for row in columns(database_url)
    ]
    assert columns(empty_database_url) == wanted
    assert rows(empty_database_url, INDEXES) == rows(database_url, INDEXES)
    assert rows(empty_database_url, CONSTRAINTS) == rows(database_url, CONSTRAINTS)
    assert rows(empty_database_url, OPTIONS) == rows(database_url, OPTIONS)
    assert rows(empty_database_url, LEFT_OVER) == [(0,)]
    assert await schema.migrate(empty_database_url) == []


def is_first(row):
    """Whether a column is one of the two tables, or of their copies in the archive."""
    names = {"etl_context", "event_store_prototype", "archived_context", "archived_event"}
    return row[0] in names and row[2] <= 2


INDEXES = """
SELECT indexname, indexdef FROM pg_indexes
  WHERE schemaname = '_data_manager_admin' AND tablename IN ('etl_context', 'event_store_prototype')
  ORDER BY 1
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, convalidated, pg_get_constraintdef(oid) FROM pg_constraint
  WHERE conrelid IN ('_data_manager_admin.etl_context'::regclass,
                     '_data_manager_admin.event_store_prototype'::regclass) AND contype <> 'n'
  ORDER BY 1, 2
"""
OPTIONS = """
SELECT relname, (SELECT array_agg(o ORDER BY o) FROM unnest(reloptions) o) FROM pg_class
  WHERE relname IN ('etl_context', 'event_store_prototype') AND relkind = 'r' ORDER BY 1
"""
LEFT_OVER = """
SELECT count(*) FROM pg_class
  WHERE relname LIKE 'adoption_%' AND relkind IN ('r', 'i') AND relname <> 'adoption_pkey'
"""
ARCHIVE = "SELECT * FROM _data_manager_admin.archive_trees('1 day', false, 0, 9)"


async def test_all_of_dama_works_on_what_was_adopted(empty_database_url):
    """Trees, states, the archive and back, durable subscriptions, appends by old and new ways."""
    fill(empty_database_url, contexts=20, events=5)
    with psycopg.connect(empty_database_url, autocommit=True) as old:
        (open_one,) = old.execute(
            "INSERT INTO _data_manager_admin.etl_context DEFAULT VALUES RETURNING context_id"
        ).fetchone()
        old.execute(NEW_EVENT, [open_one, "etl.old:INITIAL", "{}", None, None])
        await adopt(empty_database_url, lambda _: None)
        old.execute(NEW_EVENT, [open_one, "etl.old:STEP", "{}", None, None])
        with pytest.raises(psycopg.Error, match="has ended with its FINAL"):
            old.execute(NEW_EVENT, [3, "late", None, None, None])
        with pytest.raises(psycopg.Error, match="history is never changed"):
            old.execute("DELETE FROM _data_manager_admin.etl_context")
        finished = run_once(old, parent=open_one)
    async with Store.opened(empty_database_url) as store:
        tree = await store.tree(1)
        state = await store.state(3, lifecycle)
        ended = await store.context(finished)
        await store.append(open_one, [Event(":FINAL", 1)])
        moved = rows(
            empty_database_url,
            "SELECT * FROM _data_manager_admin.archive_trees('1 day', false, 0, 9)",
        )
    assert [row.context_id for row in tree] == [1, 2, 3, 4, 5]
    assert (state.status, state.params, state.result) == ("DONE", {"step": 1}, {"step": 5})
    assert (ended.status, ended.version, ended.root_context_id) == ("DONE", 5, open_one)
    assert moved[0][:2] == (20, 100)


class OldProgram(threading.Thread):
    """Inserts with the statements of the first system, without a pause, and times each."""

    def __init__(self, url):
        super().__init__()
        self.url = url
        self.longest = 0.0
        self.contexts = []
        self.failure = None
        self.is_over = threading.Event()

    def run(self):
        try:
            with psycopg.connect(self.url, autocommit=True) as connection:
                while not self.is_over.is_set():
                    begun = time.monotonic()
                    self.contexts.append(run_once(connection))
                    self.longest = max(self.longest, time.monotonic() - begun)
        except psycopg.Error as error:
            self.failure = error

    def write_more(self):
        """Wait until it has written some more."""
        wanted = len(self.contexts) + 3
        deadline = time.monotonic() + PATIENCE
        while len(self.contexts) < wanted and self.failure is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def __enter__(self):
        self.start()
        while not self.contexts and self.failure is None:
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self.is_over.set()
        self.join()


async def test_old_programs_continue_during_and_after(empty_database_url):
    """Every event that they wrote is there once, in its order; none waited for long."""
    fill(empty_database_url, contexts=2000, events=5)
    with OldProgram(empty_database_url) as first, OldProgram(empty_database_url) as second:
        done = await adopt(empty_database_url, lambda _: None)
        await asyncio.to_thread(first.write_more)

    assert (first.failure, second.failure) == (None, None)
    assert done.before == done.after
    assert max(first.longest, second.longest) < 5  # 0.1 where nothing else is at work
    assert rows(empty_database_url, GAPS) == []
    ids = first.contexts + second.contexts
    found = rows(
        empty_database_url,
        "SELECT context_id, status, version, root_context_id = context_id"
        " FROM _data_manager_admin.etl_context WHERE context_id > 2000 ORDER BY 1",
    )
    assert found == [(each, "DONE", 5, True) for each in sorted(ids)]
    async with Store.opened(empty_database_url) as store:
        assert await store.differences() == []
        assert await store.log.position() == 10_000 + 5 * len(ids)
    order = [event for (event,) in rows(empty_database_url, IN_THE_LOG)]
    assert order[:10_000] == list(range(1, 10_001))
    assert sorted(order) == [row[0] for row in rows(empty_database_url, SIX)]


def killed_at(environment, words):
    """Adopt in a process of its own, and kill it with -9 when it says these words."""
    command = ["dama", "db", "adopt"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    ) as dama:
        said = []
        for line in dama.stderr:
            said.append(line)
            if words in line:
                dama.send_signal(signal.SIGKILL)
    return said, dama.returncode


async def test_it_continues_after_kill_at_each_step(empty_database_url, forked):
    """In the same database, from step to step; an old program writes all the while."""
    environment = forked.environ(DAMA_DATABASE_URL=empty_database_url)
    fill(empty_database_url, contexts=200, events=5)
    before = rows(empty_database_url, SIX)
    with OldProgram(empty_database_url) as old:
        for _, words, _ in STEPS:
            said, code = await asyncio.to_thread(killed_at, environment, words)
            assert code == -signal.SIGKILL, said
        done = await adopt(empty_database_url, lambda _: None)

    assert old.failure is None
    assert done.before == done.after
    assert rows(empty_database_url, SIX)[: len(before)] == before
    assert rows(empty_database_url, GAPS) == []
    assert rows(empty_database_url, LEFT_OVER) == [(0,)]
    again = await adopt(empty_database_url, lambda _: None)
    assert again.is_done
    assert await schema.migrate(empty_database_url) == []


REFUSED = {
    "no type": ("INSERT INTO {e} (etl_context_id) VALUES (1)", "event without a type"),
    "no context": ("INSERT INTO {e} (type) VALUES ('a')", "event without a context id"),
    "an id twice": ("INSERT INTO {c} (context_id) VALUES (7), (7)", "id that comes twice"),
    "an event twice": (
        "INSERT INTO {e} (event_id, etl_context_id, type) VALUES (7, 1, 'a'), (7, 1, 'a')",
        "id that comes twice",
    ),
}
OTHER_SHAPES = {
    "a further column": ("ALTER TABLE {e} ADD COLUMN version int", "further: version"),
    "a column less": ("ALTER TABLE {e} DROP COLUMN meta", "missing: meta"),
    "another type": ("ALTER TABLE {e} ALTER COLUMN payload TYPE text", "payload text"),
    "one table": ("DROP TABLE {e}", "event_store_prototype is missing"),
    "no sequence": (
        "DROP SEQUENCE _data_manager_admin.etl_context_context_id_seq CASCADE",
        "etl_context_context_id_seq is missing",
    ),
    "a rule": ("CREATE RULE kept AS ON UPDATE TO {e} DO INSTEAD NOTHING", "has rules.*: kept"),
    "row level security": ("ALTER TABLE {e} ENABLE ROW LEVEL SECURITY", "row level security"),
}
NAMES = {
    "e": "_data_manager_admin.event_store_prototype",
    "c": "_data_manager_admin.etl_context",
}


@pytest.mark.parametrize(("made", "said"), REFUSED.values(), ids=REFUSED)
async def test_what_no_table_can_hold_is_refused_before_anything_changes(
    empty_database_url, made, said
):
    """Rows without an id, a context or a type, and ids that are not unique."""
    execute(empty_database_url, BARE)
    execute(empty_database_url, made.format(**NAMES))

    found = await adopt(empty_database_url, lambda _: None)

    assert [each.kind for each in found.refused] == [said]
    assert rows(empty_database_url, "SELECT to_regclass('_data_manager_admin.adoption')") == [
        (None,)
    ]


@pytest.mark.parametrize(("made", "said"), OTHER_SHAPES.values(), ids=OTHER_SHAPES)
async def test_other_tables_are_refused_with_what_differs(empty_database_url, made, said):
    """Only what the first system made is adopted."""
    execute(empty_database_url, TABLES)
    execute(empty_database_url, made.format(**NAMES))

    for act in (lambda: audit(empty_database_url), lambda: adopt(empty_database_url, print)):
        with pytest.raises(SchemaError, match=said):
            await act()


APPEND_ONLY = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'history is append only'; END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON {e} FOR EACH ROW EXECUTE FUNCTION refuse();
CREATE TRIGGER of_payload BEFORE UPDATE OF payload ON {e} FOR EACH ROW EXECUTE FUNCTION refuse();
"""


async def test_a_trigger_that_refuses_updates_is_flagged_and_stops_it_until_it_is_disabled(
    empty_database_url,
):
    """What is half done says how it continues."""
    fill(empty_database_url, contexts=2, events=2)
    execute(empty_database_url, APPEND_ONLY.format(**NAMES))
    found = {each.kind: each for each in (await audit(empty_database_url)).found}
    assert found[f"triggers on UPDATE of {NAMES['e']}"].examples == ["append_only"]
    assert found[f"triggers of {NAMES['e']}"].examples == ["of_payload"]

    with pytest.raises(SchemaError, match="history is append only"):
        await adopt(empty_database_url, lambda _: None)
    with pytest.raises(SchemaError, match="half adopted"):
        await schema.status(empty_database_url)
    execute(empty_database_url, "ALTER TABLE {e} DISABLE TRIGGER append_only".format(**NAMES))
    done = await adopt(empty_database_url, lambda _: None)

    assert done.before == done.after


async def test_a_superuser_adopts_for_the_owner(server, empty_database_url):
    """All that is made belongs to the owner of the tables: the guards know it by that."""
    fill(empty_database_url, contexts=5, events=3)
    name = psycopg.conninfo.conninfo_to_dict(empty_database_url)["dbname"]

    await adopt(url_of(server, name, "dama"), lambda _: None)

    owners = rows(
        empty_database_url,
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class"
        " WHERE relnamespace = '_data_manager_admin'::regnamespace",
    )
    assert owners == [("plain_owner",)]
    async with Store.opened(url_of(server, name, "dama")) as store:
        await store.append((await store.start([Start("a.b", {})]))[0], [Event("noted")])


async def test_nothing_to_adopt_is_said(empty_database_url, database_url):
    """In an empty database, and in one of ours."""
    for url in (empty_database_url, database_url):
        with pytest.raises(SchemaError, match="nothing to adopt"):
            await adopt(url, lambda _: None)


async def test_two_adoptions_at_once_are_one(empty_database_url):
    """The other one is refused and says so."""
    fill(empty_database_url, contexts=200, events=5)

    done = await asyncio.gather(
        *(adopt(empty_database_url, lambda _: None) for _ in range(2)), return_exceptions=True
    )

    assert sum(isinstance(each, SchemaError) for each in done) == 1
    assert rows(empty_database_url, GAPS) == []


async def test_ids_that_come_to_their_end_are_said(empty_database_url):
    """Integers end at 2^31, and that takes years: said from 80 % on."""
    execute(empty_database_url, TABLES)
    for share, wanted in ((0.79, 0), (0.81, 1)):
        last = int(share * 2**31)
        execute(
            empty_database_url,
            f"SELECT setval('_data_manager_admin.event_store_prototype_event_id_seq', {last})",
        )
        found = (await audit(empty_database_url)).found
        assert len([each for each in found if "of the ids" in each.kind]) == wanted


async def test_the_doctor_warns_before_integers_end(empty_database_url):
    """Of an adopted database; new ones have bigint."""
    fill(empty_database_url, contexts=5, events=3)
    await adopt(empty_database_url, lambda _: None)
    async with Store.opened(empty_database_url) as store:
        before = (await read_health(store.database)).full_sequences
        execute(
            empty_database_url,
            "SELECT setval('_data_manager_admin.event_store_prototype_event_id_seq', 1800000000)",
        )
        (full,) = (await read_health(store.database)).full_sequences

    assert before == []
    assert full["sequence"] == "event_store_prototype_event_id_seq"
    assert 0.83 < full["used"] < 0.84
