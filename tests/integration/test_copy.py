"""Rows into tables: what each kind of source becomes, and which rows a table does not take."""

from __future__ import annotations

import gzip
import uuid
from collections import deque
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from types import SimpleNamespace

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dama import Service, SyncTask, Task
from dama.data import BadRowError, CheckFailedError, check_rows, copy_into
from dama.errors import UsageError
from dama.store.copying import BINARY, UNFIT
from tests.conftest import fresh_database

FLIGHTS = """
CREATE TABLE flights (
  id bigint GENERATED ALWAYS AS IDENTITY, carrier text NOT NULL, delay int CHECK (delay < 1000),
  twice int GENERATED ALWAYS AS (delay * 2) STORED)
"""
DICTS = [{"carrier": "UA", "delay": 2}, {"delay": None, "carrier": "B6"}]
PAIRS = [("UA", 2), ("B6", None)]
CSV = b"carrier,delay\nUA,2\nB6,"


@pytest.fixture(scope="module")
def url(server, template):
    yield from fresh_database(server, template)


@pytest.fixture
def here(url):
    """A transaction, as a step has it; of its rows nothing is left."""
    with psycopg.connect(url) as connection:
        connection.execute(FLIGHTS)
        yield connection
        connection.rollback()


def flights(connection):
    return connection.execute("SELECT carrier, delay FROM flights ORDER BY id").fetchall()


def yielding():
    yield from DICTS


SOURCES = {
    "pairs": lambda _: PAIRS,
    "lists": lambda _: deque([list(row) for row in PAIRS]),
    "mappings": lambda _: DICTS,
    "a function": lambda _: lambda: PAIRS,
    "a generator function": lambda _: yielding,
    "texts": lambda _: [("UA", "2"), ("B6", None)],
    "whole floats": lambda _: [("UA", 2.0), ("B6", None)],
    "a frame": lambda _: pa.Table.from_pylist(DICTS),
    "a function of a frame": lambda _: lambda: pa.Table.from_pylist(DICTS),
    "a function of a reader": lambda _: pa.Table.from_pylist(DICTS).to_reader,
    "csv": lambda path: written(path / "a.csv", b'delay,carrier\r\n2,UA\r\n,"B6"\r\n'),
    "csv with a mark": lambda path: written(
        path / "a.csv", b"\xef\xbb\xbfcarrier,delay\nUA,2\nB6,"
    ),
    "csv.gz": lambda path: written(path / "a.csv.gz", gzip.compress(CSV)),
    "tsv": lambda path: str(written(path / "a.TSV", b"carrier\tdelay\nUA\t2\n\nB6\t\n")),
    "parquet": lambda path: in_parquet(path / "a.parquet"),
}


def written(path, content):
    path.write_bytes(content)
    return path


def in_parquet(path):
    pq.write_table(pa.Table.from_pylist(DICTS), path)
    return path


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("bad_rows", [None, "bad"])
def test_each_kind_of_source_becomes_the_same_rows(here, tmp_path, kind, bad_rows):
    copied = copy_into(here, "flights", SOURCES[kind](tmp_path), bad_rows=bad_rows)

    assert flights(here) == [("UA", 2), ("B6", None)]
    assert (copied.rows, copied.bad, copied.sample) == (2, 0, [])


VALUES = {
    "bool": True,
    "int2": -3,
    "int8": 2**62,
    "float4": 0.5,
    "float8": 1e300,
    "numeric": Decimal("12345678901234567890.5"),
    "numeric(6,2)": 7,
    "text": 'a\tb\\N\n,"ä',
    "varchar(9)": "",
    "bytea": b"\0\xff",
    "date": date(2026, 2, 28),
    "timestamp": datetime(2026, 1, 1, 2, 3),  # noqa: DTZ001 - it has none in the database
    "timestamptz": datetime(2026, 1, 1, tzinfo=UTC),
    "uuid": uuid.UUID(int=5),
    "jsonb": {"a": [1, None]},
    "json": ["a"],
    "int4[]": [1, 2],
    "text[]": ["a,b", None],
    "point": "(1,2)",
    "mood": "fine",
    "positive": 5,
    "public.date": "today",
}


AS_TEXT = {"json": '["a"]', "jsonb": '{"a": [1, null]}'}


@pytest.mark.parametrize("type_", VALUES)
def test_values_come_back_as_they_were(here, type_):
    """In the binary format, or as text where the driver does not know the type."""
    here.execute("CREATE TYPE mood AS ENUM ('fine')")
    here.execute("CREATE TYPE public.date AS ENUM ('today')")
    here.execute("CREATE DOMAIN positive AS int CHECK (value > 0)")
    here.execute(f"CREATE TABLE t (v {type_})")

    copy_into(here, "t", [(VALUES[type_],), (None,)])

    given = AS_TEXT.get(type_, VALUES[type_])
    here.execute(f"CREATE TABLE u AS SELECT %s::{type_} AS w", [given])
    query = "SELECT v::text = w::text FROM t, u WHERE v IS NOT NULL"
    assert here.execute(query).fetchall() == [(True,)]
    assert here.execute("SELECT count(*) FROM t").fetchone() == (2,)


ODD = [
    True, 0, 1, -1, 2**15, 2**31, 2**40, 2**63, 1.5, 1e300, float("nan"), "t", "false", "1", "1.5",
    "x", "", "2026-01-01", "12:00", b"f", bytearray(b"q"), Decimal("1.50"), Decimal("NaN"), (),
    date(2026, 1, 2), datetime(2026, 1, 2, 3, 4), datetime(2026, 1, 2, 3, 4, tzinfo=UTC),  # noqa: DTZ001
    time(1, 2), time(1, 2, tzinfo=UTC), uuid.UUID(int=5), timedelta(1), {"a": 1}, [1],
]  # fmt: skip


@pytest.mark.parametrize("type_", [*BINARY, "float4", "jsonb", "text[]"])
def test_no_value_becomes_another_one(here, type_):
    """Each is what text would be, or refused: the binary format trusts who writes it."""
    here.execute(f"CREATE TABLE t (v {type_})")
    for value in ODD:
        if type_ == "jsonb" and not isinstance(value, str):
            continue  # these are written as JSON
        copied = found(here, lambda value=value: copy_into(here, "t", [(value,)]))
        as_text = found(here, lambda value=value: by_text(here, value))
        assert copied == as_text, value


def by_text(connection, value):
    with connection.cursor().copy("COPY t FROM STDIN") as copy:
        copy.write_row([value])


def found(connection, act):
    """What is in the table then; None where it was refused."""
    try:
        with connection.transaction(force_rollback=True):
            act()
            return connection.execute("SELECT v::text FROM t").fetchone()
    except (BadRowError, psycopg.Error, *UNFIT):
        return None


BAD = [
    ("UA", 1), ("B6", "late"), ("AA", 5000), (None, 2), ("DL",), ("EV", 3, 4), "WN", ("\0", 3),
    {"carrier": "MQ", "dela": 3}, ("HA", 2**40), ("US", 9),
]  # fmt: skip


def test_rows_that_the_table_does_not_take_are_set_apart(here):
    copied = copy_into(here, "flights", BAD, bad_rows="etl_bad", context_id=7)

    assert flights(here) == [("UA", 1), ("US", 9)]
    assert (copied.rows, copied.bad, len(copied.sample)) == (2, 9, 5)
    kept = here.execute("SELECT row_number, row_given, error FROM etl_bad ORDER BY 1").fetchall()
    assert [number for number, _, _ in kept] == list(range(2, 11))
    assert kept[0][1:] == (
        ["B6", "late"], 'invalid input syntax for type integer: "late" (column delay)'
    )  # fmt: skip
    assert [said for _, _, said in kept[3:5]] == [
        "it has 1 values: expected 2", "it has 3 values: expected 2"
    ]  # fmt: skip
    assert kept[7][2] == "it lacks ['delay']"
    assert here.execute("SELECT DISTINCT context_id FROM etl_bad").fetchall() == [(7,)]


def test_without_a_table_for_them_the_first_one_is_named(here):
    rows = [("UA", n) for n in range(1500)]
    with pytest.raises(BadRowError, match=r"flights does not take row 1,001: .*check constraint"):
        copy_into(here, "flights", rows)


def test_a_file_of_csv_is_read_by_rows_only_where_one_is_not_taken(here, tmp_path):
    path = written(tmp_path / "a.csv", CSV + b"\n,\nAA,late\nDL,4\n")
    with pytest.raises(BadRowError, match=r"does not take row 3: .*null value"):
        copy_into(here, "flights", path)
    copied = copy_into(here, "flights", path, bad_rows="bad")
    assert flights(here) == [("UA", 2), ("B6", None), ("DL", 4)]
    assert [each.number for each in copied.sample] == [3, 4]


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"carrier\nUA\nM\xfcnchen\n", "line 3: is not in UTF-8"), (b"", "has no header")],
)
def test_a_file_that_cannot_be_read_is_refused(here, tmp_path, content, said):
    with pytest.raises(UsageError, match=said):
        copy_into(here, "flights", written(tmp_path / "a.csv", content))


def test_many_bad_rows_among_many(here):
    """Also across the chunks in which they are sent."""
    rows = [("UA", 2000 if n % 997 == 0 else n % 999) for n in range(25_000)]
    copied = copy_into(here, "flights", rows, bad_rows="bad")
    assert (copied.rows, copied.bad) == (24_974, 26)
    query = "SELECT array_agg(row_number ORDER BY 1) FROM bad"
    assert here.execute(query).fetchone() == ([n + 1 for n in range(25_000) if n % 997 == 0],)


WRONG = {
    "a generator": (yielding(), "can be read only once"),
    "a reader of Arrow": (pa.table({"carrier": ["UA"]}).to_reader(), "can be read only once"),
    "a number": (5, "expected a list of rows"),
    "a mapping": ({"carrier": "UA"}, "expected a list of rows"),
    "a kind of file": ("rows.xlsx", "of a kind that is not known"),
    "a column": ([{"carier": "UA"}], "no column 'carier' that may be written"),
    "a generated column": ([{"id": 1}], "no column 'id' that may be written"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_source_that_cannot_work_is_refused(here, what):
    source, said = WRONG[what]
    with pytest.raises(UsageError, match=said):
        copy_into(here, "flights", source)


def test_columns_are_given_in_the_order_of_the_values(here):
    copy_into(here, "flights", [(3, "UA")], columns=["delay", "carrier"])
    assert flights(here) == [("UA", 3)]


def test_names_are_those_of_sql(here):
    here.execute('CREATE SCHEMA "E t"; CREATE TABLE "E t"."T;--" ("A b" int)')
    assert copy_into(here, '"E t"."T;--"', [{"A b": 1}]).rows == 1
    with pytest.raises(psycopg.errors.UndefinedTable):
        copy_into(here, "nowhere", [(1,)])


# ------------------------------------------------------------------ checks


class Cases(list):
    """As much of a frame as is asked of it."""

    def head(self, count):
        return Cases(self[:count])

    def to_dict(self, orient):
        assert orient == "records"
        return list(self)


class SchemaErrors(Exception):  # noqa: N818 - its name there
    """As pandera has it."""

    failure_cases = Cases([{"column": "delay", "failure_case": 5000}])


class Frame(Cases):
    """A frame that a schema has found to be well, as pandera marks it; or any other one."""

    def __init__(self, rows, schema):
        super().__init__(rows)
        self.pandera = SimpleNamespace(schema=schema)


class Scalar:
    """As numpy has it."""

    def __init__(self, value):
        self.item = lambda: value


def raising():
    raise SchemaErrors


FOUND = {
    "a query": ("SELECT carrier FROM flights WHERE delay > 500;", 1, [{"carrier": "AA"}]),
    "a query with a remark": ("SELECT FROM flights WHERE delay > 500 -- late", 1, [{}]),
    "a query of nothing": ("SELECT FROM flights WHERE false", 0, []),
    "all well": (lambda: True, 0, []),
    "nothing returned": (lambda: None, 0, []),
    "not well": (lambda: False, 1, []),
    "a number": (lambda: 3, 3, []),
    "a collection": (lambda: [date(2026, 1, 1)] * 9, 9, ["2026-01-01"] * 5),
    "a number of numpy": (lambda: Scalar(2), 2, []),
    "a truth of numpy": (lambda: Scalar(value=True), 0, []),
    "a frame of pandera": (lambda: Frame([1, 2], "a schema"), 0, []),
    "an error of pandera": (raising, 1, [{"column": "delay", "failure_case": 5000}]),
}


@pytest.mark.parametrize("what", FOUND)
def test_a_check_counts_what_is_wrong_and_shows_some(here, what):
    expectation, count, sample = FOUND[what]
    copy_into(here, "flights", [("UA", 1), ("AA", 700)])

    found = check_rows(here, "late", expectation, severity="warn")

    assert (found.count, found.sample) == (count, sample)
    if count:
        with pytest.raises(CheckFailedError, match=f"late: {count} found") as raised:
            check_rows(here, "late", expectation)
        assert raised.value.data == {"count": count, "sample": sample}


@pytest.mark.parametrize("found", [Frame([1], None), "text", 1.5])
def test_what_a_check_returns_is_no_riddle(here, found):
    """A frame may be what is wrong, or what was found to be well."""
    with pytest.raises(UsageError, match="The check returned"):
        check_rows(here, "late", lambda: found)


def test_a_check_has_params(here):
    copy_into(here, "flights", [("UA", 1), ("AA", 700)])
    query = "SELECT FROM flights WHERE delay > %(most)s AND carrier LIKE 'A%%'"
    assert check_rows(here, "late", query, {"most": 5}, severity="warn").count == 1


# ------------------------------------------------------------------ as steps

loads = Service("loads")
mended: list[bool] = []


@loads.task(retries=1, backoff=0)
async def load(task: Task) -> int:
    copied = await task.copy("flights", lambda: [("UA", 1), ("AA", 5000)], bad_rows="flights_bad")
    found = await task.check("bad ones", "SELECT * FROM flights_bad", severity="warn")
    await task.check("mended", lambda: bool(mended) or mended.append(True) or False)
    return copied.rows + found.count


@loads.task
def load_in_thread(task: SyncTask) -> int:
    return task.copy("flights", PAIRS).rows + task.check("none", "SELECT WHERE false").count


def test_as_steps_they_are_done_once_and_their_events_have_the_counts(dama):
    """The second attempt copies nothing again, and checks again what had failed."""
    with psycopg.connect(dama.database_url, autocommit=True) as sql:
        sql.execute(FLIGHTS)
        ran, in_thread = dama.run(load), dama.run(load_in_thread)
        rows = sql.execute("SELECT carrier FROM flights ORDER BY 1").fetchall()

    assert (ran.result, in_thread.result) == (2, 2)
    assert rows == [("B6",), ("UA",), ("UA",)]
    events = {event.type: event.payload for event in ran.events}
    copied = events["loads.load/copy:flights:DONE"]
    assert (copied["rows"], copied["bad"], copied["sample"][0]["row"]) == (1, 1, ["AA", 5000])
    assert events["loads.load/check:bad ones:DONE"]["count"] == 1
    assert events["loads.load/check:mended:FAILED"]["data"] == {"count": 1, "sample": []}
    assert events["loads.load/check:mended:DONE"] == {"count": 0, "sample": []}
