"""What the loader of a tap makes of the messages that it writes: each kind, and each oddity."""

import json
import os
import resource
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from dama.data import BadRowError
from dama.domain.secrets import Secrets
from dama.errors import DamaError
from dama.store.database import Database
from dama.store.errors import StaleEpochError
from dama.store.tap_state import TapOvertakenError
from dama.store.tap_tables import TableRefusedError
from dama.taps import source
from dama.taps.columns import name_for, type_of
from dama.taps.loader import Loader, Order
from dama.taps.messages import TapError
from dama.taps.process import Process
from dama.taps.source import TapFailedError
from tests.conftest import fresh_database
from tests.integration.programs import wait_until

ID = {"id": {"type": "integer"}}


@pytest.fixture(scope="module")
def url(server, template):
    yield from fresh_database(server, template)


class Shop:
    """A database, and a tap that writes what a test says."""

    def __init__(self, url, folder, number):
        self.connection = psycopg.connect(url, autocommit=True)
        self.schema, self.folder, self.url = f"shop{number}", folder, url
        self.task = f"shop.n{number}"
        start = {"task": self.task, "event": {"type": f"{self.task}:INITIAL", "payload": {}}}
        self.context_id = self.rows(
            "SELECT context_id FROM _data_manager_admin.start_contexts(%s)", json.dumps([start])
        )[0][0]

    def rows(self, query, *values):
        return self.connection.execute(query, values or None).fetchall()

    def table(self, name="orders", order="1", schema=None):
        query = SQL("SELECT * FROM {} ORDER BY {}").format(
            Identifier(schema or self.schema, name), SQL(order)
        )
        return self.connection.execute(query).fetchall()

    def types(self, name="orders"):
        return dict(
            self.rows(
                "SELECT column_name::text, data_type::text FROM information_schema.columns"
                " WHERE table_schema = %s AND table_name = %s",
                self.schema, name,
            )
        )  # fmt: skip

    def states(self):
        return [
            payload
            for (payload,) in self.rows(
                "SELECT payload FROM _data_manager_admin.event_store_prototype"
                " WHERE etl_context_id = %s AND type = 'singer:STATE' ORDER BY version",
                self.context_id,
            )
        ]

    def loader(self, script, *, epoch=0, secrets=(), **more):
        order = Order(
            self.task, self.context_id, epoch, ["sh", "-c", script, *more.pop("argv", ())],
            self.schema, "", **more,
        )  # fmt: skip
        folder = self.folder
        return Loader(order, Database(self.url), {}, Secrets(secrets), folder, folder / "events")

    def load(self, *messages, code=0, **more):
        """What a tap writes, as messages or as lines, and how it ends."""
        return self.loader(f"cat {self.lines(*messages)}; exit {code}", **more).load()

    def lines(self, *messages):
        """A file of them."""
        file = self.folder / f"messages{len(list(self.folder.iterdir()))}"
        lines = [m if isinstance(m, str) else json.dumps(m) for m in messages]
        file.write_text("".join(f"{line}\n" for line in lines))
        return file


@pytest.fixture
def shop(url, tmp_path, request):
    shop = Shop(url, tmp_path, abs(hash(request.node.name)) % 10**8)
    yield shop
    shop.connection.close()


def schema(properties, keys=(), stream="orders"):
    return {
        "type": "SCHEMA", "stream": stream, "key_properties": [*keys],
        "schema": {"type": "object", "properties": properties},
    }  # fmt: skip


def record(stream="orders", version=None, **values):
    message = {"type": "RECORD", "stream": stream, "record": values}
    return message if version is None else {**message, "version": version}


def state(value):
    return {"type": "STATE", "value": value}


TYPES = [
    ({"type": "integer"}, "bigint"),
    ({"type": ["null", "integer"]}, "bigint"),
    ({"type": "integer", "maximum": 2**64 - 1}, "numeric"),
    ({"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, "bigint"),
    ({"type": "number", "multipleOf": 0.01}, "numeric"),
    ({"type": ["integer", "number"]}, "numeric"),
    ({"type": "boolean"}, "boolean"),
    ({"type": "string"}, "text"),
    ({"type": ["string", "null"], "format": "date-time"}, "timestamptz"),
    ({"type": "string", "format": "date"}, "date"),
    ({"type": "string", "format": "time"}, "time"),
    ({"type": "string", "format": "email"}, "text"),
    ({"type": ["string", "integer"]}, "text"),
    ({"type": ["boolean", "integer"]}, "jsonb"),
    ({"type": "object", "properties": {}}, "jsonb"),
    ({"type": ["array", "string"]}, "jsonb"),
    ({}, "jsonb"),
    (True, "jsonb"),
    ({"type": "null"}, "text"),
    ({"enum": ["a", "b", None]}, "text"),
    ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}, "timestamptz"),
    ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": ["string"]}]}, "text"),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "numeric"),
]


@pytest.mark.parametrize(("given", "wanted"), TYPES)
def test_a_property_becomes_the_narrowest_type_that_holds_what_its_schema_allows(given, wanted):
    assert type_of(given) == wanted


def test_names_need_no_quotes():
    assert [name_for(n) for n in ("Order Id", "a.b-c", "2fa", "é", "x" * 63)] == [
        "order_id", "a_b_c", "_2fa", "_", "x" * 63,
    ]  # fmt: skip
    assert len(name_for("x" * 64)) == 63
    assert name_for("x" * 64) != name_for("x" * 65)


def test_rows_are_appended_without_a_key_and_merged_with_one(shop):
    """Of records with one key the last one counts, within a run and over runs."""
    both = {**ID, "name": {"type": "string"}}
    messages = [
        schema(both, ["id"]), schema(both, stream="log"),
        record(id=1, name="a"), record(id=2, name="b"), record(id=1, name="c"),
        record("log", id=1, name="a"), record("log", id=1, name="a"), state({"at": 1}),
    ]  # fmt: skip
    assert shop.load(*messages)["rows"] == {"log": 2, "orders": 3}
    assert shop.table() == [(1, "c"), (2, "b")]
    shop.load(*messages[:2], record(id=2, name=None), record("log", id=9, name=None))
    assert shop.table() == [(1, "c"), (2, None)]
    assert shop.table("log") == [(1, "a"), (1, "a"), (9, None)]


def test_values_are_what_the_tap_extracted(shop):
    """Exact numbers, times of any zone, nested objects, texts as they are."""
    properties = {
        **ID, "amount": {"type": "number"}, "at": {"type": "string", "format": "date-time"},
        "day": {"type": "string", "format": "date"}, "some": {"type": ["string", "integer"]},
        "lines": {"type": "array"}, "paid": {"type": "boolean"}, "large": {"type": "number"},
    }  # fmt: skip
    shop.connection.execute("SET TimeZone = 'UTC'")
    shop.load(
        schema(properties, ["id"]),
        '{"type": "RECORD", "stream": "orders", "record": {"id": 9223372036854775807,'
        ' "amount": 0.1000000000000000000001, "at": "2020-07-01T12:00:00+02:00",'
        ' "day": "2020-02-29", "some": 7, "lines": [{"p": 1.10, "n": null}, "x"], "paid": false,'
        ' "large": 123456789012345678901234567890}}',
        '{"type": "RECORD", "stream": "orders", "record": {"id": 1.0, "amount": NaN,'
        ' "at": "2020-07-01T12:00:00", "some": "\\t\\\\N", "lines": "text", "paid": true}}',
    )
    first, second = shop.table(order="id")
    assert second[1] == Decimal("0.1000000000000000000001")
    assert [str(value) for value in second[2:4]] == ["2020-07-01 10:00:00+00:00", "2020-02-29"]
    assert second[4:] == ("7", [{"p": 1.1, "n": None}, "x"], False, 123456789012345678901234567890)
    assert str(first[1]) == "NaN"
    assert str(first[2]) == "2020-07-01 12:00:00+00:00"
    assert first[3:] == (None, "\t\\N", "text", True, None)


def test_characters_that_postgresql_cannot_hold_are_replaced_and_counted(shop):
    properties = {**ID, "name": {"type": "string"}, "more": {"type": "object"}}
    result = shop.load(
        schema(properties, ["id"]),
        record(id=1, name="a\0b", more={"x\0": ["\0"]}),
        record(id=2, name="\ud800!", more={}),
        record(id=3, name="\\u0000 as text", more=None),
        state({"cursor": "\0"}),
    )
    assert shop.table() == [
        (1, "a\ufffdb", {"x\ufffd": ["\ufffd"]}),
        (2, "\ufffd!", {}),
        (3, "\\u0000 as text", None),
    ]
    assert result["characters"] == {"orders": 2}
    assert shop.states()[-1]["state"] == {"cursor": "\ufffd"}
    warned = (shop.folder / "events").read_text()
    assert "2 records of orders had NUL characters" in warned


def test_a_new_property_becomes_a_column_and_a_wider_type_a_wider_column(shop):
    shop.load(
        schema({**ID, "n": {"type": "integer"}, "d": {"type": "string", "format": "date"}}, ["id"]),
        record(id=1, n=5, d="2020-01-31"),
        schema(
            {
                **ID, "n": {"type": "number"}, "d": {"type": "string", "format": "date-time"},
                "name": {"type": "string"},
            },
            ["id"],
        ),
        record(id=2, n=0.5, d="2020-01-31T01:00:00Z", name="x"),
    )  # fmt: skip
    assert shop.types() == {
        "id": "bigint", "n": "numeric", "d": "timestamp with time zone", "name": "text",
    }  # fmt: skip
    # Narrower again, and fewer: the columns stay, and hold it.
    shop.load(schema({**ID, "n": {"type": "integer"}}, ["id"]), record(id=3, n=7))
    assert [row[1] for row in shop.table()] == [Decimal(5), Decimal("0.5"), Decimal(7)]
    shop.load(schema({**ID, "n": {"type": ["string", "number"]}}, ["id"]), record(id=4, n="many"))
    assert [row[1] for row in shop.table()] == ["5", "0.5", "7", "many"]
    assert str(shop.table()[0][2]).startswith("2020-01-31 00:00:00")


REFUSED = {
    "another type": (
        [schema({**ID, "n": {"type": "boolean"}}, ["id"])],
        TableRefusedError,
        r"orders\.n is bigint, and the tap's schema now has boolean",
    ),
    "another key": (
        [schema({**ID, "n": {"type": "integer"}}, ["n"])],
        TableRefusedError,
        r"orders has no unique index on \(n\), the key",
    ),
    "a key that is no property": ([schema(ID, ["nr"])], TapError, "SCHEMA has no 'nr'"),
    "two properties of one name": (
        [schema({"a b": {}, "a_b": {}})], TapError, "'a b' and 'a_b'.*the column a_b",
    ),
    "two streams of one name": (
        [schema(ID, stream="A"), schema(ID, stream="a")], TapError, "'A' and 'a'.* the table",
    ),
    "no properties": ([schema({})], TapError, "has no properties"),
    "a record before its schema": ([record(id=1)], TapError, "'orders' before its SCHEMA"),
    "a version before its schema": (
        [{"type": "ACTIVATE_VERSION", "stream": "x", "version": 1}], TapError, "without its SCHEMA",
    ),
    "a value of another type": (
        [schema({**ID, "n": {"type": "integer"}}, ["id"]), record(id=1, n=2), record(id=2, n="x")],
        BadRowError,
        r"does not take row 2: invalid input syntax for type bigint: \"x\" \(column n\)",
    ),
    "no key": (
        [schema(ID, ["id"]), record(id=7), record(id=None)], BadRowError, "row 2: it has no id",
    ),
    "a record that is none": (
        [schema(ID), '{"type": "RECORD", "stream": "orders", "record": [1]}'],
        TapError, "RECORD of orders is not an object",
    ),
    "a batch": (['{"type": "BATCH", "stream": "orders"}'], TapError, "'BATCH'"),
    "what is no message": (["Extracting orders ..."], TapError, "not a Singer message: Extracting"),
    "what is no message, as JSON": (["[1]"], TapError, "not a Singer message"),
    "half a message": (['{"type": "RECORD", "str'], TapError, "not a Singer message"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_loaded_is_refused_and_nothing_of_it_is_there(shop, name):
    """What came before is there to its last state, and the message says what to do."""
    shop.load(schema({**ID, "n": {"type": "integer"}}, ["id"]), record(id=1, n=1), state(1))
    messages, error, words = REFUSED[name]
    with pytest.raises(error, match=words) as raised:
        shop.load(*messages)
    assert raised.value.is_final or isinstance(raised.value, BadRowError)
    assert shop.table() == [(1, 1)]
    assert [each["state"] for each in shop.states()] == [1]


def test_a_column_that_a_view_has_is_not_changed_behind_its_back(shop):
    shop.load(schema({**ID, "n": {"type": "integer"}}, ["id"]))
    shop.connection.execute(
        SQL("CREATE VIEW {} AS SELECT n FROM {}").format(
            Identifier(shop.schema, "v"), Identifier(shop.schema, "orders")
        )
    )
    with pytest.raises(TableRefusedError, match="used by a view") as raised:
        shop.load(schema({**ID, "n": {"type": "string"}}, ["id"]))
    assert f'ALTER TABLE "{shop.schema}"."orders" ALTER COLUMN "n" TYPE text' in raised.value.hint


def test_records_that_do_not_fit_are_set_apart_where_a_table_is_named_for_them(shop):
    bad = f"public.bad_{shop.schema}"
    result = shop.load(
        schema({**ID, "n": {"type": "integer"}}, ["id"]),
        record(id=1, n=1), record(id=2, n="x"), record(n=3), record(id=4, n=4, other=1), state(1),
        bad_rows=bad,
    )  # fmt: skip
    assert shop.table() == [(1, 1), (4, 4)]
    assert result["rows"] == {"orders": 2}
    assert result["bad"] == {"orders": 2}
    assert result["properties"] == {"orders": 1}
    kept = sorted(shop.table(f"bad_{shop.schema}", schema="public"), key=lambda row: row[1])
    assert [row[:2] for row in kept] == [(shop.context_id, 2), (shop.context_id, 3)]
    assert kept[1][3] == "it has no id, which is the key"


def test_an_activated_version_replaces_all_others(shop):
    """With its rows in one commit: a full table is never seen half replaced."""
    versioned = [schema(ID, stream="log"), schema(ID, ["id"])]
    shop.load(*versioned, record(id=1), record("log", id=1))  # of no version
    shop.load(
        *versioned,
        *(record(s, version=7, id=n) for n in (2, 3) for s in ("orders", "log")),
        *({"type": "ACTIVATE_VERSION", "stream": s, "version": 7} for s in ("orders", "log")),
    )
    assert shop.table() == shop.table("log") == [(2, 7), (3, 7)]
    shop.load(*versioned, record(version=8, id=3), record("log", version=8, id=3))
    assert shop.table() == [(2, 7), (3, 8)]  # not activated yet
    shop.load(*versioned, {"type": "ACTIVATE_VERSION", "stream": "orders", "version": 8})
    assert shop.table() == [(3, 8)]


def test_a_tap_that_fails_has_loaded_all_up_to_its_last_state_and_nothing_behind_it(shop):
    messages = [schema(ID), record(id=1), state({"at": 1}), record(id=2), state({"at": 2})]
    assert shop.loader("true").load()["commits"] == 0
    for code, script in ((3, "exit code 3"), (0, None)):
        if script:
            with pytest.raises(TapFailedError, match=script) as raised:
                shop.load(*messages, record(id=3), code=code)
            assert not raised.value.is_final
            assert raised.value.ended == code
            assert shop.table() == [(1,), (2,)]
    script = 'cat "$2" > "$0"'
    seen = shop.folder / "seen"
    shop.loader(script, argv=[str(seen)]).load()
    assert json.loads(seen.read_text()) == {"at": 2}
    with pytest.raises(TapFailedError, match="killed by signal 9"):
        shop.loader("kill -9 $$").load()


@pytest.mark.parametrize("most", [1, 3, 10])
def test_memory_is_bounded_whether_states_come_or_not(shop, monkeypatch, most):
    """Where none comes, what was read is in a transaction that a state, or the end, commits."""
    monkeypatch.setattr(source, "MOST", most)
    records = [record(id=n) for n in range(20)]
    with pytest.raises(TapFailedError):
        shop.load(schema(ID), *records, code=1)
    assert not shop.rows("SELECT to_regclass(%s)::text", f"{shop.schema}.orders")[0][0]
    shop.load(schema(ID), *records[:7], state(7), *records[7:])
    assert shop.table() == [(n,) for n in range(20)]
    assert {each["state"] for each in shop.states()} == {7}
    with pytest.raises(TapFailedError):
        shop.load(schema(ID), *records[:7], state(8), *records[7:], code=1)
    assert len(shop.table()) == 27


def test_rows_are_committed_while_the_tap_waits_for_more(shop, monkeypatch):
    """A tap may be silent for an hour: what it has extracted is there all the same."""
    monkeypatch.setattr(source, "FIRST_PAUSE", 0.0)
    gate, lines = shop.folder / "gate", shop.lines(schema(ID), record(id=1), state(1))
    loader = shop.loader(f"cat {lines}; while [ ! -e {gate} ]; do sleep 0.02; done")
    with ThreadPoolExecutor() as pool:
        loading = pool.submit(loader.load)
        wait_until(shop.states)
        assert shop.table() == [(1,)]
        assert not loading.done()
        gate.touch()
        assert loading.result()["rows"] == {"orders": 1}


def test_of_two_runs_at_once_one_is_refused_as_a_whole(shop):
    """It began at a state that is not the last one any more."""
    gate, ready = shop.folder / "gate", shop.folder / "ready"
    lines = shop.lines(schema(ID), record(id=1), state(1))
    loader = shop.loader(f"touch {ready}; while [ ! -e {gate} ]; do sleep 0.02; done; cat {lines}")
    with ThreadPoolExecutor() as pool:
        loading = pool.submit(loader.load)
        wait_until(ready.exists)
        shop.load(schema(ID), record(id=1), state(1))
        gate.touch()
        with pytest.raises(TapOvertakenError, match="Another run of"):
            loading.result()
    assert shop.table() == [(1,)]


# Two streams, one with a key and one without; dies by itself at a place that differs each time.
MORTAL = """
import json, os, random, sys
tries, total = sys.argv[1], 3000
args = dict(zip(sys.argv[2::2], sys.argv[3::2]))
begin = json.load(open(args["--state"]))["next"] if "--state" in args else 0
open(tries, "a").write("x")
number = os.path.getsize(tries)
dies = random.Random(number).randrange(begin, begin + total // 15) if number <= 20 else None
properties = {"id": {"type": "integer"}, "at": {"type": "string", "format": "date-time"}}
out = sys.stdout
for stream, keys in (("orders", ["id"]), ("log", [])):
    message = {"type": "SCHEMA", "stream": stream, "key_properties": keys}
    print(json.dumps({**message, "schema": {"properties": properties}}))
for n in range(begin, total):
    if n == dies:
        out.flush()
        os.kill(os.getpid(), 9)
    row = {"id": n % 700, "at": f"2020-01-01T00:{n % 60:02}:00Z"}
    print(json.dumps({"type": "RECORD", "stream": "orders", "record": row}))
    print(json.dumps({"type": "RECORD", "stream": "log", "record": {**row, "id": n}}))
    if n % 10 == 9:
        print(json.dumps({"type": "STATE", "value": {"next": n + 1}}))
"""


def test_a_tap_that_is_killed_20_times_loads_the_same_bytes_as_one_that_is_not(shop):
    """Whatever it had written, half a line included: exactly once."""

    def dumped():
        parts = []
        for table in ("orders", "log"):
            query = SQL("COPY (SELECT * FROM {} ORDER BY id, at) TO STDOUT").format(
                Identifier(shop.schema, table)
            )
            with shop.connection.cursor().copy(query) as copy:
                parts += [bytes(part) for part in copy]
        return b"".join(parts)

    tries = shop.folder / "tries"
    script = 'exec "$0" -I -S -c "$@"'
    loader = shop.loader(script, argv=[sys.executable, MORTAL, str(tries)])
    for _ in range(20):
        with pytest.raises(TapFailedError, match="signal 9"):
            loader.load()
    loader.load()
    killed = dumped()
    assert len(shop.states()) > 5
    shop.rows("DELETE FROM _data_manager_admin.tap_state WHERE task = %s RETURNING 1", shop.task)
    for table in ("orders", "log"):
        name = Identifier(shop.schema, table)
        shop.connection.execute(SQL("TRUNCATE {}").format(name))
    assert shop.loader(script, argv=[sys.executable, MORTAL, str(tries)]).load()["rows"] == {
        "log": 3000, "orders": 3000,
    }  # fmt: skip
    assert killed == dumped()
    assert killed.count(b"\n") == 3700


# Two batches, each with what does not fit; the second one waits for the gate.
BATCHES = """
case "$*" in *--state*) ;; *) cat "$1"; while [ ! -e "$3" ]; do sleep 0.02; done ;; esac
cat "$2"
"""


def test_what_does_not_fit_is_counted_once_though_the_database_went_away(shop):
    """Its connection is cut within the second commit: the tap is started again behind the first."""
    properties = schema({**ID, "note": {"type": "string"}}, ["id"])
    odd = [record(id="?"), record(note="no key"), record(id=1, note="a\0b"), record(id=2, more=1)]
    first, second = (shop.lines(properties, *odd, state(number)) for number in (1, 2))
    gate = shop.folder / "gate"
    arguments = [*map(str, (first, second, gate))]
    loader = shop.loader(BATCHES, argv=["tap", *arguments], bad_rows=f"{shop.schema}.bad")
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
    )
    name = f"dama:{shop.context_id}:0"
    with ThreadPoolExecutor() as pool:
        loading = pool.submit(loader.load)
        wait_until(shop.states)
        table = Identifier(shop.schema, "orders")
        with shop.connection.transaction():
            shop.connection.execute(SQL("LOCK {}").format(table))
            gate.touch()
            with psycopg.connect(shop.url, autocommit=True) as other:
                wait_until(lambda: other.execute(waiting, [name]).fetchall())
                pid = other.execute(waiting, [name]).fetchone()
                other.execute("SELECT pg_terminate_backend(%s)", pid)
        result = loading.result()
    assert result["rows"] == {"orders": 4}
    assert {kind: result[kind] for kind in ("bad", "characters", "properties")} == {
        "bad": {"orders": 4}, "characters": {"orders": 2}, "properties": {"orders": 2},
    }  # fmt: skip
    assert len(shop.table("bad")) == 4


def test_a_run_that_was_taken_over_loads_nothing(shop):
    shop.load(schema(ID), record(id=1), state(1))
    started = {"type": f"{shop.task}:STARTED", "meta": {"epoch": 2}}
    shop.rows(
        "SELECT * FROM _data_manager_admin.append_events(%s)",
        json.dumps([{"context_id": shop.context_id, "event": started}]),
    )
    with pytest.raises((StaleEpochError, DamaError)):
        shop.load(schema(ID), record(id=2), state(2), epoch=1)
    assert shop.table() == [(1,)]
    assert [each["state"] for each in shop.states()] == [1]


def test_no_event_tells_a_secret_that_a_state_has(shop):
    shop.load(schema(ID), state({"token": "hunter2hunter2"}), secrets=["hunter2hunter2"])
    assert shop.states() == [{"rows": {}, "state": {"token": "***"}}]
    seen = shop.folder / "seen"
    shop.loader('cat "$2" > "$0"', argv=[str(seen)]).load()
    assert json.loads(seen.read_text()) == {"token": "hunter2hunter2"}


def test_a_tap_that_is_not_installed_is_said(shop):
    loader = shop.loader("")
    order = Order(shop.task, shop.context_id, 0, ["tap-that-is-not-there"], shop.schema, "")
    loader._order = order
    with pytest.raises(TapError, match="tap-that-is-not-there cannot be started: No such file"):
        loader.load()


def test_a_tap_is_read_by_who_has_a_thousand_files_open(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = [os.open(os.devnull, os.O_RDONLY) for _ in range(1024)]
    try:
        tap = Process(["echo", "{}"], tmp_path, config=None, catalog=None, values={}, state=None)
        wait_until(lambda: tap.lines(1) is None, "the end of the tap")
        tap.end()
    finally:
        for descriptor in files:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
