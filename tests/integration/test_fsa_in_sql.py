"""The vectors of Flux Standard Actions through the function that programs in SQL call."""

import psycopg
import pytest

from dama.domain.errors import InvalidEventError
from dama.domain.event import parse_event
from tests.cases import case

APPEND = """
SELECT event_id FROM _data_manager_admin.append_events(
  jsonb_build_array(jsonb_build_object('context_id', %s::bigint, 'event', %s::text::jsonb)))
"""
READ = """
SELECT payload::text, meta::text, error FROM _data_manager_admin.event_store_prototype
  WHERE event_id = %s
"""
# An event as JSON, and what its row has: payload, meta (both as text) and error.
KEPT = {
    '{"type": "A"}': (None, None, None),
    '{"type": "A", "payload": null}': ("null", None, None),
    '{"type": "A", "payload": "x"}': ('"x"', None, None),
    '{"type": "A", "payload": 0}': ("0", None, None),
    '{"type": "A", "payload": false}': ("false", None, None),
    '{"type": "A", "payload": ""}': ('""', None, None),
    '{"type": "A", "payload": []}': ("[]", None, None),
    '{"type": "A", "payload": {}}': ("{}", None, None),
    '{"type": "A", "payload": 1180591620717411303424}': ("1180591620717411303424", None, None),
    '{"type": "A", "meta": {}}': (None, "{}", None),
    '{"type": "A", "meta": {"user": "u"}}': (None, '{"user": "u"}', None),
    '{"type": "A", "meta": null}': (None, None, None),
    '{"type": "A", "error": false}': (None, None, False),
    '{"type": "A", "error": null}': (None, None, None),
    '{"type": "A", "error": true, "payload": {"message": "m"}}': ('{"message": "m"}', None, True),
    '{"type": "A:ERROR", "error": true, "payload": {"message": "m"}}': (
        '{"message": "m"}', None, True,
    ),
}  # fmt: skip
# What is no event of this store, and what the refusal must name.
REFUSED = {
    "{}": "type must be a string, got none",
    "null": "an event must be an object, got null",
    "[]": "an event must be an object, got array",
    '"A"': "an event must be an object, got string",
    "1": "an event must be an object, got number",
    '{"type": null}': "type must be a string, got null",
    '{"type": 1}': "type must be a string, got number",
    '{"type": true}': "type must be a string, got boolean",
    '{"type": ""}': "not empty",
    '{"type": "A", "extra": 1}': "extra",
    '{"type": "A", "meta": 1}': "meta must be an object, got number",
    '{"type": "A", "meta": "m"}': "meta must be an object, got string",
    '{"type": "A", "meta": []}': "meta must be an object, got array",
    '{"type": "A", "error": true}': "got no payload",
    '{"type": "A", "error": true, "payload": null}': "got null",
    '{"type": "A", "error": true, "payload": "m"}': "got string",
    '{"type": "A", "error": true, "payload": []}': "got array",
    '{"type": "A", "error": "true"}': "error must be true, false or absent, got string",
    '{"type": "A", "error": 1}': "error must be true, false or absent, got number",
    '{"type": "A:ERROR"}': "must have error: true",
    '{"type": "A:ERROR", "error": false}': "must have error: true",
    '{"type": ":ERROR", "payload": {"message": "m"}}': "must have error: true",
}


@pytest.fixture
def sql(database_url):
    """A program without Python: a connection and SQL."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def context(sql):
    """A context with its INITIAL."""
    ((context_id,),) = sql.execute(
        "INSERT INTO _data_manager_admin.etl_context (task) VALUES ('a.b') RETURNING context_id"
    ).fetchall()
    sql.execute(APPEND, [context_id, '{"type": ":INITIAL"}'])
    return context_id


@pytest.mark.parametrize(("event", "row"), KEPT.items())
def test_an_action_is_kept_as_it_is(sql, context, event, row):
    """Absent is SQL NULL and null is JSON null: neither may become the other."""
    ((event_id,),) = sql.execute(APPEND, [context, event]).fetchall()

    assert sql.execute(READ, [event_id]).fetchone() == row


def test_what_is_no_action_is_refused_and_nothing_is_kept(sql, context):
    """The flaw is named, and the SQLSTATE is the same for every language."""
    for event, words in REFUSED.items():
        with case(event, words):
            with pytest.raises(psycopg.Error) as caught:
                sql.execute(APPEND, [context, event])

            assert caught.value.sqlstate == "DM001"
            assert words in caught.value.diag.message_primary
            assert count(sql) == 1


def test_python_and_the_database_judge_alike(sql):
    """Two rule books that differ would be two contracts."""
    for event in [*KEPT, *REFUSED]:
        with case(event):
            ((refusal,),) = sql.execute(
                "SELECT _data_manager_admin.fsa_refusal(%s::text::jsonb)", [event]
            ).fetchall()
            ((value,),) = sql.execute("SELECT %s::text::jsonb", [event]).fetchall()

            if refusal is None:
                parse_event(value)
            else:
                with pytest.raises(InvalidEventError):
                    parse_event(value)


@pytest.mark.parametrize(
    "event", ['{"type": "A", "payload": "\\u0000"}', '{"type": "A", "payload": NaN}']
)
def test_what_jsonb_can_not_hold_never_reaches_the_store(sql, context, event):
    """It fails as a value, before any rule is asked."""
    with pytest.raises(psycopg.DataError):
        sql.execute(APPEND, [context, event])

    assert count(sql) == 1


def test_an_event_with_error_true_leaves_the_status_alone_unless_its_type_is_error(sql, context):
    """A step failed; the context has not."""
    failed = '{"type": "step", "error": true, "payload": {"message": "m"}}'
    statuses = []
    for event in (failed, failed.replace("step", "a.b:ERROR")):
        sql.execute(APPEND, [context, event])
        statuses += sql.execute("SELECT status FROM _data_manager_admin.etl_context").fetchone()

    assert statuses == ["OPEN", "ERROR"]


def count(sql):
    """How many events there are."""
    return sql.execute(
        "SELECT count(*)::int FROM _data_manager_admin.event_store_prototype"
    ).fetchone()[0]
