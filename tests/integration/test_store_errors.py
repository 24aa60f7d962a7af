"""The second wall: what an index of the store refuses is an error of the writer, never a bug."""

# ruff: noqa: S608 - the names in the statements are those of this file

import psycopg
import pytest

from dama.domain.errors import InvalidEventError
from dama.domain.event import Event
from dama.store import Start
from dama.store.errors import IdempotencyConflictError, LifeCycleError, VersionConflictError
from dama.store.translation import translate, translate_own

S = "_data_manager_admin"
EVENTS = f"{S}.event_store_prototype"
REPEATED = f"INSERT INTO {EVENTS} (etl_context_id, type, meta, version) VALUES (1, %s, %s, %s)"
LONG = "SELECT string_agg(md5(i::text), '') FROM generate_series(1, %s) i"
LONG_START = f"INSERT INTO {S}.etl_context (task, idempotency_key) VALUES ('a.b', ({LONG}))"
LONG_KEY = (
    f"INSERT INTO {EVENTS} (etl_context_id, type, version, meta)"
    f" VALUES (1, 'y', 9, jsonb_build_object('idempotency_key', ({LONG})))"
)


@pytest.fixture
async def past_the_rules(store, database_url):
    """Write as a restore does, past all rules but those of the indexes."""
    await store.start([Start("a.b", {}, key="k")])
    await store.append(
        1,
        [Event("x", meta={"idempotency_key": "k"}), Event("a.b:FINAL")],
    )

    def write(statement, params=()):
        with psycopg.connect(database_url) as sql:
            sql.execute("SET LOCAL dama.rewrite_history = 'on'")
            sql.execute(statement, params)

    return write


@pytest.mark.parametrize(
    ("statement", "params", "kind"),
    [
        (REPEATED, ["y", '{"idempotency_key": "k"}', 9], IdempotencyConflictError),
        (REPEATED, ["y", None, 2], VersionConflictError),
        (REPEATED, ["a.b:FINAL", None, 9], LifeCycleError),
        (REPEATED, ["a.b:INITIAL", None, 9], LifeCycleError),
        (
            f"INSERT INTO {EVENTS} (event_id, etl_context_id, type, version) VALUES (1, 1, 'y', 9)",
            [],
            VersionConflictError,
        ),
        (
            f"INSERT INTO {S}.etl_context (task, idempotency_key) VALUES ('a.b', 'k')",
            [],
            IdempotencyConflictError,
        ),
        (LONG_START, [200], InvalidEventError),
        (LONG_KEY, [200], InvalidEventError),
    ],
)
async def test_each_index_has_its_error(past_the_rules, statement, params, kind):
    """With a hint that helps, and nothing of the length of the key."""
    with pytest.raises(psycopg.Error) as raised:
        past_the_rules(statement, params)

    for translated in (translate(raised.value), translate_own(raised.value)):
        assert type(translated) is kind, raised.value
        assert translated.hint
        assert len(str(translated)) < 400


@pytest.mark.parametrize("statement", [LONG_START, LONG_KEY])
async def test_a_key_of_any_length_is_refused(past_the_rules, statement):
    """Of a very long one PostgreSQL does not say for which index it is."""
    with pytest.raises(psycopg.Error) as raised:
        past_the_rules(statement, [2000])

    assert isinstance(translate_own(raised.value), InvalidEventError)


async def test_what_an_index_of_others_refuses_stays_theirs(store, database_url):
    """A step that meets a unique index of its own table fails with its own error."""
    with psycopg.connect(database_url) as sql:
        sql.execute("CREATE TEMPORARY TABLE mine_idempotency (a int UNIQUE)")
        sql.execute("INSERT INTO mine_idempotency VALUES (1)")
        with pytest.raises(psycopg.errors.UniqueViolation) as raised:
            sql.execute("INSERT INTO mine_idempotency VALUES (1)")

    assert translate(raised.value) is None
