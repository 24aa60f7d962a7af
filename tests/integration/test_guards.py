"""The guards of both tables: what a role that may INSERT cannot forge, whatever it sets."""

# ruff: noqa: S608 - the names in the statements are those of this file

import json

import psycopg
import pytest
from psycopg.rows import dict_row

from dama.domain.event import Event
from dama.store import Start
from tests.cases import case
from tests.conftest import create_role, url_of

SCHEMA = "_data_manager_admin"
EVENTS = f"{SCHEMA}.event_store_prototype"
CONTEXTS = f"{SCHEMA}.etl_context"
PUT = f"INSERT INTO {EVENTS} (etl_context_id, type) VALUES (%s, %s)"


@pytest.fixture(scope="session")
def writer_role(server):
    """A role that can log in and nothing else."""
    create_role(server, "plain_writer")
    return "plain_writer"


@pytest.fixture
def owner(database_url):
    """The owner's session."""
    with psycopg.connect(database_url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
def writer(server, database_url, owner, writer_role):
    """The session of a role with all rights to the rows of the two tables."""
    for table in (EVENTS, CONTEXTS):
        owner.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {writer_role}")
    owner.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {writer_role}")
    owner.execute(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA {SCHEMA} TO {writer_role}")
    owner.execute(f"GRANT EXECUTE ON FUNCTION {SCHEMA}.dispatch TO {writer_role}")
    url = url_of(server, psycopg.conninfo.conninfo_to_dict(database_url)["dbname"], writer_role)
    with psycopg.connect(url, autocommit=True, row_factory=dict_row) as connection:
        yield connection


@pytest.fixture
async def ours(store):
    """A context with a run of ours."""
    (context_id,) = await store.start([Start("a.b", {})])
    return context_id


@pytest.fixture
def old(owner):
    """A context of a program of the first system, with its INITIAL."""
    (row,) = owner.execute(f"INSERT INTO {CONTEXTS} DEFAULT VALUES RETURNING context_id")
    owner.execute(PUT, [row["context_id"], ":INITIAL"])
    return row["context_id"]


def context_of(owner, context_id):
    """The row of a context."""
    return owner.execute(f"SELECT * FROM {CONTEXTS} WHERE context_id = %s", [context_id]).fetchone()


def events_of(owner, context_id):
    """The events of a context in their order."""
    return owner.execute(
        f"SELECT * FROM {EVENTS} WHERE etl_context_id = %s ORDER BY version", [context_id]
    ).fetchall()


def verdict(session, flag, statement, params):
    """The SQLSTATE of a statement in a transaction that has set something first."""
    try:
        with session.transaction(force_rollback=True):
            session.execute(flag)
            session.execute(statement, params)
    except psycopg.Error as error:
        return error.sqlstate
    return "ok"


def consistent(owner, context_id):
    """Whether a context is what its events say."""
    events = events_of(owner, context_id)
    context = context_of(owner, context_id)
    (state,) = owner.execute(f"SELECT status, version FROM {SCHEMA}.state_at(%s)", [context_id])
    return (
        [event["version"] for event in events] == list(range(1, len(events) + 1))
        and (context["status"], context["version"]) == (state["status"], state["version"])
        and context["latest_event_id"] == events[-1]["event_id"]
    )


FLAGS = [
    "SELECT 1",
    "SET dama.appending = 'on'",
    "SET dama.rewrite_history = 'off'",
    "SELECT set_config('dama.appending', '0', true)",
    "CREATE TEMPORARY TABLE etl_context AS SELECT 1 AS context_id; SET search_path = pg_temp",
    # The owner means it with these.
    "SELECT set_config('dama.appending', pg_current_xact_id()::text, false)",
    "SET dama.rewrite_history = 'on'; SET dama.appending = 'on'",
]


@pytest.mark.parametrize(
    ("who", "flag"),
    [("writer", flag) for flag in FLAGS] + [("owner", flag) for flag in FLAGS[:5]],
)
async def test_no_setting_gets_a_row_past_the_guard(request, owner, ours, flag, who):
    """A FINAL at version 5000, an empty type, an unknown context: whatever the session has set.

    The owner, who could disable the triggers too, gets past them by saying so and not by accident.
    """
    session = request.getfixturevalue(who)
    put = f"INSERT INTO {EVENTS} (etl_context_id, type, version) VALUES (%s, %s, %s)"
    for forged in [(ours, "x:FINAL", 5000), (ours, "", None), (999, ":INITIAL", 1)]:
        assert verdict(session, flag, put, forged).startswith("DM")
    end = f"UPDATE {CONTEXTS} SET status = 'DONE' WHERE context_id = %s"
    assert verdict(session, flag, end, [ours]) == "DM007"

    assert context_of(owner, ours)["status"] == "OPEN"
    assert len(events_of(owner, ours)) == 1


async def test_the_flag_of_an_append_does_not_outlive_it(writer, owner, ours):
    """Neither after a dispatch in the same transaction nor after one that failed in a savepoint."""
    final = f"INSERT INTO {EVENTS} (etl_context_id, type, version) VALUES (%s, 'x:FINAL', 3)"
    for session in (writer, owner):
        with session.transaction(force_rollback=True):
            session.execute(f"SELECT {SCHEMA}.dispatch(%s, 'x')", [ours])
            failed = verdict(session, "SELECT 1", f"SELECT {SCHEMA}.dispatch(%s, '')", [ours])
            assert failed == "DM001"
            assert verdict(session, "SELECT 1", final, [ours]) == "DM010"


async def test_what_is_ours_of_an_event_is_given_by_the_guard(writer, owner, old):
    """A writer says what happened; when, in which transaction and at which place is not its own."""
    (row,) = writer.execute(
        f"INSERT INTO {EVENTS} (etl_context_id, type, created_at, xid)"
        " VALUES (%s, 'x', '1999-01-01', '3') RETURNING version, created_at, xid::text,"
        " pg_current_xact_id()::text AS mine",
        [old],
    )

    assert row["version"] == 2
    assert row["created_at"].year > 2000
    assert row["xid"] == row["mine"]


async def test_an_event_of_a_given_transaction_reaches_the_log(writer, store, old):
    """The log is made from the ids of transactions: one of the past would never be looked at."""
    writer.execute(
        f"INSERT INTO {EVENTS} (etl_context_id, type, xid) VALUES (%s, 'late', '3')", [old]
    )

    position = await store.log.position()
    page = await store.log.read(position - 1)

    assert [event.type for event in page.events] == ["late"]


def test_what_is_ours_of_a_context_is_given_by_the_guard(writer, owner, ours):
    """A program gives a context its parent; all else follows from events."""
    (row,) = writer.execute(
        f"INSERT INTO {CONTEXTS} (parent_id, root_context_id, task, status, version, epoch,"
        " initial_event_id, latest_event_id, idempotency_key, created_at, modified_at)"
        " VALUES (%s, 999, 'a.b', 'DONE', 7, 8, 9, 10, 'k', '1999-01-01', '1999-01-01')"
        " RETURNING *",
        [ours],
    )

    assert row["created_at"].year > 2000
    assert row["modified_at"].year > 2000
    kept = {name: row[name] for name in ("parent_id", "root_context_id", "version", "epoch")}
    assert kept == {"parent_id": ours, "root_context_id": ours, "version": 0, "epoch": 0}
    given = ("task", "status", "initial_event_id", "latest_event_id", "idempotency_key")
    assert {row[name] for name in given} == {None}


@pytest.mark.parametrize("table", [EVENTS, CONTEXTS])
def test_an_id_that_no_sequence_has_given_is_refused(writer, old, table):
    """A later append would draw it, and fail for no fault of its own."""
    columns = "event_id, etl_context_id, type" if table == EVENTS else "context_id"
    values = f"100000, {old}, 'x'" if table == EVENTS else "100000"

    with pytest.raises(psycopg.Error) as caught:
        writer.execute(f"INSERT INTO {table} ({columns}) VALUES ({values})")

    assert caught.value.sqlstate == "DM001"


def test_an_id_that_was_drawn_before_is_kept(writer, owner, old):
    """Some libraries draw the id first and insert with it."""
    (row,) = writer.execute(f"SELECT nextval('{SCHEMA}.event_store_prototype_event_id_seq')")

    writer.execute(
        f"INSERT INTO {EVENTS} (event_id, etl_context_id, type) VALUES (%s, %s, 'x')",
        [row["nextval"], old],
    )

    assert events_of(owner, old)[-1]["event_id"] == row["nextval"]
    assert consistent(owner, old)


RESERVED = [
    "x:FINAL", ":FINAL", "x:ERROR", "x:STARTED", "x:ADOPTED", "x:LOST", "x:RETRYING", "x:RESUMED",
    "x:CANCELLED", "x:INITIAL", "a.b/extract:DONE", "a.b/extract:FAILED", "a.b/p:SPAWNED",
    "a.b/p:WAITING", "other.task/s/t:DONE", "a.b/li\nne:DONE",
]  # fmt: skip


async def test_what_only_the_controller_writes_is_refused(writer, owner, ours):
    """By dispatch() and by INSERT, with the epoch of a run and without."""
    for type_ in RESERVED:
        with case(type_):
            for epoch in (None, 0, 1):
                meta = None if epoch is None else json.dumps({"epoch": epoch})
                payload = '{"message": "m"}'
                error = "true" if type_.endswith("ERROR") else None
                with pytest.raises(psycopg.Error) as inserted:
                    writer.execute(
                        f"INSERT INTO {EVENTS} (etl_context_id, type, payload, meta, error)"
                        " VALUES (%s, %s, %s, %s, %s)",
                        [ours, type_, payload, meta, error],
                    )
                with pytest.raises(psycopg.Error) as dispatched:
                    writer.execute(
                        f"SELECT {SCHEMA}.dispatch(%s, %s, %s, %s, %s)",
                        [ours, type_, payload, meta, error],
                    )
                assert dispatched.value.sqlstate == "DM010"
                assert inserted.value.sqlstate in {"DM004", "DM006", "DM010"}

            assert len(events_of(owner, ours)) == 1
            assert context_of(owner, ours)["status"] == "OPEN"


@pytest.mark.parametrize("key", ["FINAL#1", "STARTED#1", "DONE/extract", "SPAWNED/p", "ship/1"])
async def test_the_keys_of_a_run_cannot_be_taken(writer, ours, key):
    """The event of the run itself would be refused for it, or be taken for written."""
    meta = json.dumps({"idempotency_key": key})

    for statement in (
        f"INSERT INTO {EVENTS} (etl_context_id, type, meta) VALUES (%s, 'x', %s)",
        f"SELECT {SCHEMA}.dispatch(%s, 'x', NULL, %s)",
    ):
        with pytest.raises(psycopg.Error) as caught:
            writer.execute(statement, [ours, meta])
        assert caught.value.sqlstate in {"DM001", "DM010"}


async def test_programs_write_events_of_their_own_and_signals(writer, owner, ours):
    """Whatever is not the controller's is welcome in a context with a run."""
    for type_ in ("rows/loaded", "x:PROGRESS", "go", "rows/loaded:DONE"):
        writer.execute(PUT, [ours, type_])
        writer.execute(f"SELECT {SCHEMA}.dispatch(%s, %s)", [ours, type_])

    assert consistent(owner, ours)


@pytest.mark.parametrize("end", [":FINAL", "load:FINAL", "load:CANCELLED"])
def test_a_context_without_a_run_of_ours_ends_itself(writer, owner, old, end):
    """Programs of the first system do; their contexts have no task."""
    writer.execute(PUT, [old, "x:STARTED"])
    writer.execute(f"SELECT {SCHEMA}.dispatch(%s, %s)", [old, end])

    assert context_of(owner, old)["status"] in {"DONE", "CANCELLED"}
    assert consistent(owner, old)


async def test_nobody_makes_a_context_his_own_to_end_it(writer, owner, ours):
    """The task that tells a context of ours is not for others to clear."""
    for assignment in ("task = NULL", "idempotency_key = 'k'", "created_at = now()", "epoch = 9"):
        with pytest.raises(psycopg.Error) as caught:
            writer.execute(f"UPDATE {CONTEXTS} SET {assignment} WHERE context_id = %s", [ours])
        assert caught.value.sqlstate == "DM007"


SKIPPED = [
    ("the id", "(event_id, etl_context_id, type) SELECT event_id, etl_context_id, ':FINAL'"),
    ("the key", "(etl_context_id, type, meta) SELECT etl_context_id, ':FINAL', meta"),
    ("the INITIAL", "(etl_context_id, type) SELECT etl_context_id, ':INITIAL'"),
    ("the place", "(etl_context_id, type, version) SELECT etl_context_id, ':FINAL', version"),
]


@pytest.mark.parametrize("columns", [c for _, c in SKIPPED], ids=[name for name, _ in SKIPPED])
@pytest.mark.parametrize("who", ["writer", "owner"])
def test_a_row_that_is_left_out_changes_nothing(request, owner, old, columns, who):
    """ON CONFLICT DO NOTHING comes after the guard has admitted a row."""
    session = request.getfixturevalue(who)
    meta = '{"idempotency_key": "k"}'
    session.execute(
        f"INSERT INTO {EVENTS} (etl_context_id, type, meta) VALUES (%s, 'x', %s)", [old, meta]
    )
    before = context_of(owner, old)

    session.execute(
        f"INSERT INTO {EVENTS} {columns} FROM {EVENTS} WHERE etl_context_id = %s AND type = 'x'"
        " ON CONFLICT DO NOTHING",
        [old],
    )

    assert context_of(owner, old) == before
    session.execute(PUT, [old, "y"])
    assert [event["type"] for event in events_of(owner, old)] == [":INITIAL", "x", "y"]
    assert consistent(owner, old)


def test_a_row_that_another_trigger_drops_changes_nothing(writer, owner, old):
    """A trigger of the house that comes later may return NULL."""
    owner.execute(
        "CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        f"CREATE TRIGGER zzz_drop BEFORE INSERT ON {EVENTS}"
        " FOR EACH ROW WHEN (NEW.type LIKE '%:FINAL') EXECUTE FUNCTION drop_it()"
    )

    writer.execute(
        f"INSERT INTO {EVENTS} (etl_context_id, type) VALUES (%s, 'x'), (%s, ':FINAL'), (%s, 'y')",
        [old, old, old],
    )

    assert context_of(owner, old)["status"] == "OPEN"
    assert consistent(owner, old)


def test_rows_of_one_statement_follow_one_another(writer, owner, old):
    """Each sees the version after the one before it, and the life cycle holds between them."""
    rows = writer.execute(
        f"INSERT INTO {EVENTS} (etl_context_id, type) SELECT %s, t FROM unnest(%s::text[]) t"
        " RETURNING version",
        [old, ["x", "y", ":FINAL"]],
    ).fetchall()
    (other,) = owner.execute(f"INSERT INTO {CONTEXTS} DEFAULT VALUES RETURNING context_id")
    with pytest.raises(psycopg.Error) as caught:
        writer.execute(
            f"INSERT INTO {EVENTS} (etl_context_id, type) SELECT %s, t FROM unnest(%s::text[]) t",
            [other["context_id"], [":INITIAL", ":FINAL", "after"]],
        )

    assert [row["version"] for row in rows] == [2, 3, 4]
    assert context_of(owner, old)["status"] == "DONE"
    assert consistent(owner, old)
    assert caught.value.sqlstate == "DM006"
    assert context_of(owner, other["context_id"])["version"] == 0


async def test_a_known_key_is_a_typed_conflict_for_an_insert(writer, owner, old, ours):
    """With another body as with the same: nothing is stored, and the first event is named."""
    insert = f"INSERT INTO {EVENTS} (etl_context_id, type, meta) VALUES (%s, %s, %s)"
    for context_id in (old, ours):
        writer.execute(insert, [context_id, "x", '{"idempotency_key": "k"}'])
        for type_ in ("x", "y"):
            with pytest.raises(psycopg.Error, match="idempotency key k") as caught:
                writer.execute(insert, [context_id, type_, '{"idempotency_key": "k"}'])
            assert caught.value.sqlstate == "DM003"
        assert consistent(owner, context_id)


@pytest.mark.parametrize("types", [("x", "x"), ("x", "y"), ("x", "a.b:FINAL"), ("x", "x", "x")])
async def test_a_key_that_comes_twice_in_a_batch_is_a_typed_conflict(owner, ours, types):
    """The database says so itself: a client in any language sees the SQLSTATE."""
    event = {"meta": {"idempotency_key": "k"}}
    batch = [{"context_id": ours, "event": {"type": type_, **event}} for type_ in types]

    with pytest.raises(psycopg.Error) as caught:
        owner.execute(f"SELECT {SCHEMA}.append_events(%s)", [json.dumps(batch)])

    assert caught.value.sqlstate == "DM003"


@pytest.mark.parametrize("type_", ["a.b:FINAL", "a.b:STARTED", "a.b:ERROR"])
async def test_an_end_with_the_key_of_another_event_is_a_typed_conflict(owner, store, ours, type_):
    """The shortcut for the keys of runs is for those keys alone."""
    await store.append(ours, [Event("x", meta={"idempotency_key": "k"})])
    event = {"type": type_, "meta": {"idempotency_key": "k", "epoch": 1}}
    if type_.endswith("ERROR"):
        event |= {"error": True, "payload": {}}

    batch = json.dumps([{"context_id": ours, "event": event}])
    with pytest.raises(psycopg.Error) as caught:
        owner.execute(f"SELECT {SCHEMA}.append_events(%s)", [batch])

    assert caught.value.sqlstate == "DM003"
