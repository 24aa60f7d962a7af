"""The append function: what it keeps and refuses; old programs meet the same rules."""

import asyncio
import json

import psycopg
import pytest

from dama.domain.errors import InvalidEventError
from dama.domain.event import ABSENT, Event
from dama.run.group_commit import GroupCommit
from dama.store import Append, Start
from dama.store.errors import (
    IdempotencyConflictError,
    LifeCycleError,
    StaleEpochError,
    UnknownContextError,
    VersionConflictError,
)
from tests.cases import case
from tests.conftest import create_role, url_of

PAYLOADS = [ABSENT, None, 0, False, "", [], {"a": [1, None, "ü"]}, 2**70, 1.5]


@pytest.fixture
async def context(store):
    """A context with its INITIAL."""
    (context_id,) = await store.start([Start("a.b", {"year": 2013})])
    return context_id


@pytest.fixture
def sql(database_url):
    """What an old program has: a connection and SQL."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_a_payload_comes_back_as_it_was(store, context, payload):
    """Absent, null, 0, false, "" and [] are six different things."""
    await store.append(context, [Event("x", payload)])

    (event,) = await store.events(context, after_version=1)

    assert event.payload == payload
    assert type(event.payload) is type(payload)


async def test_an_event_that_was_read_can_be_appended_elsewhere(store, context):
    """What the store adds to an event, its id and its place, does not go along."""
    (other,) = await store.start([Start("a.b", {})])
    await store.append(context, [Event("rows/loaded", {"rows": 7}, meta={"by": "me"})])
    read = (await store.events(context))[-1]

    await store.append(other, [read])

    copy = (await store.events(other))[-1]
    assert (copy.type, copy.payload, copy.meta) == (read.type, read.payload, read.meta)
    assert copy.event_id != read.event_id


async def test_versions_are_dense_and_ids_come_in_the_order_given(store, context):
    """A batch may hold several contexts."""
    (other,) = await store.start([Start("a.b", {})])
    items = [Append(other, Event("1")), Append(context, Event("2")), Append(other, Event("3"))]

    appended = await store.append_many(items)

    assert [a.version for a in appended] == [2, 2, 3]
    assert [e.type for e in await store.events(other, after_version=1)] == ["1", "3"]
    assert (await store.context(other)).version == 3


async def test_a_batch_is_all_or_nothing(store, context):
    """The good event before the bad one is not kept."""
    with pytest.raises(LifeCycleError):
        await store.append(context, [Event("good"), Event(":INITIAL")])

    assert (await store.context(context)).version == 1


async def test_nothing_follows_a_final(store, context):
    """With a bare suffix too."""
    await store.append(context, [Event(":FINAL", 7)])

    with pytest.raises(LifeCycleError, match="ended"):
        await store.append(context, [Event("late")])


async def test_an_error_is_left_by_any_later_event(store, context):
    """ERROR, then OPEN again: a retry."""
    await store.append(context, [Event("a.b:ERROR", {"message": "no"}, True)])  # noqa: FBT003
    assert (await store.context(context)).status == "ERROR"

    await store.append(context, [Event("again")])

    assert (await store.context(context)).status == "OPEN"


async def test_a_cancelled_context_is_reopened_by_resumed_only(store, context):
    """What comes late from a cancelled run is refused."""
    await store.append(context, [Event("a.b:CANCELLED")])

    with pytest.raises(LifeCycleError, match="cancelled"):
        await store.append(context, [Event("late")])
    await store.append(context, [Event("a.b:RESUMED")])

    assert (await store.context(context)).status == "OPEN"


async def test_an_unknown_context_is_named(store):
    """Its id is in the message."""
    with pytest.raises(UnknownContextError, match="999"):
        await store.append(999, [Event("x")])


async def test_the_expected_version_must_be_the_one_that_is_there(store, context):
    """Whoever decided on older events must decide again."""
    with pytest.raises(VersionConflictError, match="at version 1, not 0"):
        await store.append(context, [Event("x")], expected=0)

    assert await store.append(context, [Event("x")], expected=1)


async def test_a_key_that_was_used_gives_the_first_event(store, context):
    """Even after the FINAL, so that a FINAL whose answer was lost can be sent again."""
    final = Event(":FINAL", 7, meta={"idempotency_key": "k"})
    first = await store.append_many([Append(context, final)])

    second = await store.append_many([Append(context, final)])

    assert second[0].event_id == first[0].event_id
    assert (first[0].is_new, second[0].is_new) == (True, False)


@pytest.mark.parametrize("known_first", [True, False])
async def test_a_batch_changes_only_the_contexts_of_its_new_events(
    store, sql, context, known_first
):
    """What was appended already may be the first or the last of two contexts."""
    (other,) = await store.start([Start("a.b", {})])
    known, fresh = (context, other) if known_first else (other, context)
    sent = Event("x", meta={"idempotency_key": "k"})
    await store.append(known, [sent])
    for each in (known, fresh):
        sql.execute(
            "UPDATE _data_manager_admin.run_queue SET state = 'waiting', wake_types = '{y}'"
            " WHERE context_id = %s",
            [each],
        )

    await store.append_many([Append(known, sent), Append(fresh, Event("y"))])

    versions = [(await store.context(each)).version for each in (known, fresh)]
    states = sql.execute(
        "SELECT q.state FROM _data_manager_admin.run_queue q ORDER BY q.context_id = %s", [fresh]
    ).fetchall()
    assert versions == [2, 2]
    assert states == [("waiting",), ("queued",)]


async def test_a_key_with_another_body_is_refused(store, context):
    """It is not the same event."""
    await store.append(context, [Event("x", 1, meta={"idempotency_key": "k"})])

    with pytest.raises(IdempotencyConflictError):
        await store.append(context, [Event("x", 2, meta={"idempotency_key": "k"})])


async def test_a_later_run_fences_the_earlier_ones(store, context):
    """STARTED raises the epoch; what an earlier run writes then is refused."""
    await store.append(context, [Event("a.b:STARTED", meta={"epoch": 1})])
    await store.append(context, [Event("a.b:STARTED", meta={"epoch": 2})])

    for stale in (Event("x", meta={"epoch": 1}), Event("a.b:STARTED", meta={"epoch": 1})):
        with pytest.raises(StaleEpochError, match="stale"):
            await store.append(context, [stale])
    assert await store.append(context, [Event("x", meta={"epoch": 2})])


async def test_checks_come_in_their_order(store, context):
    """A key that is known wins over an epoch that is stale; that over a version, and so on."""
    await store.append(context, [Event("a.b:STARTED", meta={"epoch": 2})])
    known = Event("x", meta={"epoch": 2, "idempotency_key": "k"})
    await store.append(context, [known])
    await store.append(context, [Event("a.b:STARTED", meta={"epoch": 3})])

    assert await store.append(context, [known], expected=0)
    with pytest.raises(StaleEpochError):
        await store.append(context, [Event(":INITIAL", meta={"epoch": 1})], expected=0)
    with pytest.raises(VersionConflictError):
        await store.append(context, [Event(":INITIAL", meta={"epoch": 3})], expected=0)


async def test_the_database_refuses_what_is_no_event(sql, context):
    """Programs of other languages do not pass through Python's checks."""
    for event in [
        "{}",
        "null",
        '{"type": 1}',
        '{"type": ""}',
        "[]",
        '"A"',
        '{"type": "A", "extra": 1}',
        '{"type": "A", "meta": []}',
        '{"type": "A", "error": true}',
        '{"type": "A", "error": 1}',
        '{"type": "A:ERROR"}',
        '{"type": "A", "error": "true"}',
    ]:
        with case(event):
            batch = f'[{{"context_id": {context}, "event": {event}}}]'

            with pytest.raises(psycopg.Error) as caught:
                sql.execute("SELECT * FROM _data_manager_admin.append_events(%s::jsonb)", [batch])

            assert caught.value.sqlstate == "DM001"


async def test_python_refuses_before_it_asks_the_database(store, context):
    """With the path to what is wrong."""
    with pytest.raises(InvalidEventError, match=r"payload\.at"):
        await store.append(context, [Event("x", {"at": object()})])


async def test_an_old_program_inserts_directly_and_meets_the_same_rules(sql, store):
    """Its rows get a version, its context a status."""
    insert = (
        "INSERT INTO _data_manager_admin.event_store_prototype"
        " (etl_context_id, type, payload, meta, error) VALUES (%s, %s, %s, NULL, %s)"
    )
    ((context,),) = sql.execute(
        "INSERT INTO _data_manager_admin.etl_context (parent_id) VALUES (NULL) RETURNING context_id"
    ).fetchall()

    with pytest.raises(psycopg.Error, match="first event"):
        sql.execute(insert, [context, "x", None, False])
    sql.execute(insert, [context, ":INITIAL", json.dumps({"year": 2013}), False])
    with pytest.raises(psycopg.Error, match="second one"):
        sql.execute(insert, [context, ":INITIAL", None, False])
    sql.execute(insert, [context, ":FINAL", None, False])
    with pytest.raises(psycopg.Error) as caught:
        sql.execute(insert, [context, "late", None, False])

    assert caught.value.sqlstate == "DM006"
    row = await store.context(context)
    assert (row.status, row.version, row.root_context_id) == ("DONE", 2, context)


@pytest.mark.parametrize(
    "statement",
    ["UPDATE _data_manager_admin.event_store_prototype SET type = 'x'",
     "DELETE FROM _data_manager_admin.event_store_prototype",
     "TRUNCATE _data_manager_admin.event_store_prototype",
     "DELETE FROM _data_manager_admin.etl_context",
     "UPDATE _data_manager_admin.etl_context SET parent_id = 1",
     "UPDATE _data_manager_admin.etl_context SET status = 'DONE'",
     "UPDATE _data_manager_admin.etl_context SET version = version + 1, epoch = 7",
     "UPDATE _data_manager_admin.etl_context SET latest_event_id = NULL"],
)  # fmt: skip
async def test_history_is_never_changed(sql, context, statement):
    """Nobody may, but the owner in a migration that says so."""
    with pytest.raises(psycopg.Error) as caught:
        sql.execute(statement)
    assert caught.value.sqlstate == "DM007"

    if "TRUNCATE" not in statement and "etl_context" not in statement:
        with sql.transaction():
            sql.execute("SET LOCAL dama.rewrite_history = 'on'")
            sql.execute(statement)


async def test_dispatch_is_the_short_form_for_psql(sql, context):
    """One event, and what is not given is absent."""
    ((event_id,),) = sql.execute(
        "SELECT _data_manager_admin.dispatch(%s, 'rows/loaded', '{\"rows\": 7}')", [context]
    ).fetchall()

    ((status, version, latest),) = sql.execute(
        "SELECT status, version, latest_type FROM _data_manager_admin.state_at(%s, %s)",
        [context, event_id],
    ).fetchall()

    assert (status, version, latest) == ("OPEN", 2, "rows/loaded")


async def test_a_start_with_a_known_key_gives_the_first_context(store):
    """With other params it is refused."""
    first = await store.start([Start("a.b", {"n": 1}, key="nightly")])

    assert await store.start([Start("a.b", {"n": 1}, key="nightly")]) == first
    with pytest.raises(IdempotencyConflictError):
        await store.start([Start("a.b", {"n": 2}, key="nightly")])


@pytest.mark.parametrize(
    ("columns", "values", "state"),
    [
        ("type, meta", ["x", "[]"], "DM001"),
        ("type, error", ["x", True], "DM001"),
        ("type", ["a.b:ERROR"], "DM001"),
        ("type, meta", ["x", '{"epoch": 7}'], "DM004"),
    ],
)
async def test_a_direct_insert_is_refused_by_the_same_rules(sql, context, columns, values, state):
    """Old programs do not know the append function, but its SQLSTATEs."""
    marks = ", ".join(["%s"] * len(values))
    statement = (
        "INSERT INTO _data_manager_admin.event_store_prototype"  # noqa: S608 - names of this file
        f" (etl_context_id, {columns}) VALUES (%s, {marks})"
    )

    with pytest.raises(psycopg.Error) as caught:
        sql.execute(statement, [context, *values])
    assert caught.value.sqlstate == state

    with pytest.raises(psycopg.Error) as caught:
        sql.execute(statement, [999, *values])
    assert caught.value.sqlstate == ("DM001" if state == "DM001" else "DM002")


@pytest.mark.parametrize(
    ("type_", "version", "state"),
    [
        ("x", 2, None),
        ("x", 3, "DM005"),  # a gap
        ("x", 1, "DM005"),
        ("x", 0, "DM005"),
        ("again:INITIAL", 2, "DM006"),
        ("x:ERROR", 2, "DM001"),
    ],
)
async def test_a_version_in_a_direct_insert_evades_no_rule(
    sql, store, context, type_, version, state
):
    """It is taken for the version that the writer expects to give, not for one that was checked."""
    sqlstate = None

    try:
        sql.execute(
            "INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, version)"
            " VALUES (%s, %s, %s)",
            [context, type_, version],
        )
    except psycopg.Error as error:
        sqlstate = error.sqlstate

    assert sqlstate == state
    assert (await store.context(context)).version == len(await store.events(context))


async def test_nothing_follows_a_final_by_a_version_either(sql, store, context):
    """The status is looked at whoever gives the version."""
    await store.append(context, [Event(":FINAL")])

    with pytest.raises(psycopg.Error) as caught:
        sql.execute(
            "INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, version)"
            " VALUES (%s, 'late', 3)",
            [context],
        )

    assert caught.value.sqlstate == "DM006"


async def test_the_owner_may_restore_history_as_it_was(sql, context):
    """With its versions; a migration or a restore says so."""
    restore = (
        "INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, version)"
        " VALUES (%s, 'from:FINAL', 9)"
    )

    with sql.transaction():
        sql.execute("SET LOCAL dama.rewrite_history = 'on'")
        sql.execute(restore, [context])

    with pytest.raises(psycopg.Error):
        sql.execute(restore, [context])


async def test_an_old_program_may_still_update_what_is_its_own(sql, context):
    """Only what follows from events is closed: columns of its own are none of our business."""
    sql.execute("ALTER TABLE _data_manager_admin.etl_context ADD COLUMN source text")

    sql.execute("UPDATE _data_manager_admin.etl_context SET source = 'faa'")

    ((source,),) = sql.execute("SELECT source FROM _data_manager_admin.etl_context").fetchall()
    assert source == "faa"


async def test_only_the_owner_may_rewrite_history(server, sql, database_url, context):
    """The setting alone opens nothing for a role that was merely granted the tables."""
    truncate = "TRUNCATE _data_manager_admin.event_store_prototype"
    with sql.transaction(force_rollback=True):
        sql.execute("SET LOCAL dama.rewrite_history = 'on'")
        sql.execute(truncate)
    create_role(server, "dama_stranger")
    sql.execute("GRANT USAGE ON SCHEMA _data_manager_admin TO dama_stranger")
    sql.execute("GRANT ALL ON ALL TABLES IN SCHEMA _data_manager_admin TO dama_stranger")
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(url_of(server, name, "dama_stranger")) as stranger:
        stranger.execute("SET LOCAL dama.rewrite_history = 'on'")
        with pytest.raises(psycopg.Error) as caught:
            stranger.execute(truncate)

    assert caught.value.sqlstate == "DM007"


@pytest.mark.parametrize(
    "meta", [{"epoch": "one"}, {"epoch": -1}, {"epoch": None}, {"idempotency_key": None},
             {"idempotency_key": ""}, {"idempotency_key": 7}],
)  # fmt: skip
async def test_what_the_store_reads_in_meta_must_be_of_its_kind(store, sql, context, meta):
    """In Python and in SQL alike."""
    with pytest.raises(InvalidEventError, match="meta"):
        await store.append(context, [Event("x", meta=meta)])

    batch = json.dumps([{"context_id": context, "event": {"type": "x", "meta": meta}}])
    with pytest.raises(psycopg.Error) as caught:
        sql.execute("SELECT * FROM _data_manager_admin.append_events(%s::jsonb)", [batch])
    assert caught.value.sqlstate == "DM001"


async def test_one_key_twice_in_a_batch_is_refused(store, context):
    """As events and as starts; sent one by one, the second gets the first event."""
    keyed = Event("x", meta={"idempotency_key": "k"})

    with pytest.raises(IdempotencyConflictError):
        await store.append(context, [keyed, keyed])
    with pytest.raises(IdempotencyConflictError, match="twice"):
        await store.start([Start("a.b", {"n": n}, key="k") for n in (1, 2)])


async def test_callers_with_one_key_in_one_group_commit_get_the_first_event(store, context):
    """A refusal concerns only those who sent it."""
    commits = GroupCommit(store)
    keyed = Append(context, Event("x", meta={"idempotency_key": "k"}))

    answers = await asyncio.gather(
        *(commits.submit([item]) for item in (keyed, keyed, Append(context, Event("y"))))
    )

    assert answers[0][0].event_id == answers[1][0].event_id
    assert answers[2][0].is_new


async def test_a_context_that_an_event_opened_again_can_be_resumed(store, context):
    """Any event reopens an ERROR; without a run it would stay open forever."""
    await store.append(context, [Event("a.b:ERROR", {"message": "no"}, True)])  # noqa: FBT003
    await store.append(context, [Event("remark")])

    assert await store.resume(context, {}) == [context]
    assert (await store.context(context)).run.state == "queued"
