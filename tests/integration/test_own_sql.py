"""What the SQL of a transactional step raises is its author's error, as the driver raised it."""

import psycopg
import pytest

from dama import RunError, Service, Task
from dama.testing import run

own = Service("test_own_sql")
PREPARED = """
CREATE TABLE IF NOT EXISTS parent (n int PRIMARY KEY);
CREATE TABLE IF NOT EXISTS child (n int REFERENCES parent DEFERRABLE INITIALLY DEFERRED);
CREATE OR REPLACE FUNCTION divides() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RETURN 1 / NEW.n; END $$;
CREATE TABLE IF NOT EXISTS late (n int);
CREATE CONSTRAINT TRIGGER divides AFTER INSERT ON late DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION divides();
"""
# What a function executes, the class of what it raises, and the server's words.
CASES = [
    ("SELECT 1 / 0", "DivisionByZero", "division by zero"),
    ("SELECT 'three'::int", "InvalidTextRepresentation", "invalid input syntax for type integer"),
    ("SELECT 3000000000::int", "NumericValueOutOfRange", "integer out of range"),
    ("SELECT '2026-13-01'::date", "DatetimeFieldOverflow", "date/time field value out of range"),
    ("INSERT INTO parent VALUES (1), (1)", "UniqueViolation", "duplicate key value"),
    ("INSERT INTO nowhere VALUES (1)", "UndefinedTable", 'relation "nowhere" does not exist'),
    ("INSERT INTO child VALUES (7)", "ForeignKeyViolation", "violates foreign key"),  # at commit
    ("INSERT INTO late VALUES (0)", "DivisionByZero", "division by zero"),  # at commit
    ("DO $$ BEGIN RAISE 'far away' USING ERRCODE = '08001'; END $$", "Sqlclient", "far away"),
    ("DO $$ BEGIN RAISE 'too many' USING ERRCODE = '53300'; END $$", "TooMany", "too many"),
    ("DO $$ BEGIN RAISE 'stale' USING ERRCODE = 'DM004'; END $$", "", "stale"),
    ("DO $$ BEGIN RAISE 'taken' USING ERRCODE = 'DM003'; END $$", "", "taken"),
]


async def elsewhere(connection) -> None:
    """Another server, which is away."""
    await psycopg.AsyncConnection.connect("host=127.0.0.1 port=1 connect_timeout=1")


def zero_byte(connection) -> None:
    """What the driver refuses before it is sent."""
    connection.execute("SELECT %s", ["a\0b"])


@own.task
async def blocking(task: Task, sql: str) -> None:
    """A function in a thread."""
    await task.transaction("do", lambda connection: connection.execute(sql) and None)


@own.task
async def in_loop(task: Task, sql: str) -> None:
    """A coroutine function."""

    async def execute(connection) -> None:
        await connection.execute(sql)

    await task.transaction("do", execute)


@own.task
async def odd(task: Task) -> list[str]:
    """Errors that come from elsewhere, caught by their own classes."""
    found: list[str] = []
    try:
        await task.transaction("elsewhere", elsewhere)
    except psycopg.OperationalError as error:
        found.append(type(error).__name__)
    try:
        await task.transaction("zero", zero_byte)
    except psycopg.DataError as error:
        found.append(str(error))
    return found


@pytest.fixture
def prepared(database_url):
    """A database with the tables of the cases."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(PREPARED)
    return database_url


@pytest.mark.parametrize("task", [blocking, in_loop], ids=lambda task: task.name)
@pytest.mark.parametrize(("sql", "name", "words"), CASES)
def test_the_error_of_a_statement_arrives_as_it_is(prepared, task, sql, name, words):
    ran = run(task, {"sql": sql}, database=prepared)

    with pytest.raises(RunError):
        ran.result  # noqa: B018 - it raises
    assert ran.error["name"].startswith(name)
    assert words in ran.error["message"]


def test_what_another_server_or_the_driver_says_is_caught_by_its_class(prepared):
    ran = run(odd, database=prepared)

    assert ran.result[0] == "OperationalError"
    assert "NUL" in ran.result[1]
