"""A transaction of a task is committed with its event or not at all, whatever its function does."""

import psycopg
import pytest

from dama import Service, SyncTask, Task

ledger = Service("ledger")
SECOND = "INSERT INTO ledger VALUES ('second')"


def insert(connection):
    connection.execute("INSERT INTO ledger VALUES ('first')")


def in_a_block(connection):
    """As the first of all, the driver would take it for the transaction itself."""
    with connection.transaction():
        insert(connection)


def in_a_block_that_fails(connection):
    insert(connection)
    try:
        with connection.transaction():
            connection.execute("SELECT 1 / 0")
    except psycopg.errors.DivisionByZero:
        connection.execute(SECOND)


def by_commit(connection):
    insert(connection)
    connection.commit()


def by_rollback(connection):
    insert(connection)
    connection.rollback()


def by_a_block_of_the_connection(connection):
    with connection:
        insert(connection)


def by_autocommit(connection):
    connection.autocommit = True
    insert(connection)


def by_closing(connection):
    insert(connection)
    connection.close()


def by_closing_it_in_a_failure(connection):
    try:
        connection.execute("SELECT 1 / 0")
    finally:
        connection.close()


def by_sql(connection):
    connection.execute("ROLLBACK")


def by_sql_and_more(connection):
    connection.execute("ROLLBACK")
    connection.execute(SECOND)


def fails_after(function):
    def both(connection):
        function(connection)
        raise LookupError("after it")

    return both


async def in_a_block_async(connection):
    async with connection.transaction():
        await connection.execute("INSERT INTO ledger VALUES ('first')")


async def by_commit_async(connection):
    await connection.execute("INSERT INTO ledger VALUES ('first')")
    await connection.commit()


async def by_closing_async(connection):
    await connection.execute("INSERT INTO ledger VALUES ('first')")
    await connection.close()


async def by_sql_async(connection):
    await connection.execute("ROLLBACK")
    await connection.execute(SECOND)


ENDED = "TransactionEndedError"
CASES = [
    (in_a_block, None, ["first"]),
    (in_a_block_that_fails, None, ["first", "second"]),
    (fails_after(in_a_block), "LookupError", []),
    (by_commit, "ProgrammingError", []),
    (by_rollback, "ProgrammingError", []),
    (by_a_block_of_the_connection, "ProgrammingError", []),
    (by_autocommit, "ProgrammingError", []),
    (by_closing, ENDED, []),
    (by_closing_it_in_a_failure, ENDED, []),
    (by_sql, ENDED, []),
    (by_sql_and_more, ENDED, []),
    (in_a_block_async, None, ["first"]),
    (by_commit_async, "ProgrammingError", []),
    (by_closing_async, ENDED, []),
    (by_sql_async, ENDED, []),
]
called = {}


@ledger.task(retries=1, backoff=0)
async def write(task: Task) -> None:
    """Do it in a transaction of a function of the loop."""
    await task.transaction("write", called["function"])


@ledger.task
def write_blocking(task: SyncTask) -> None:
    """The same in a thread."""
    task.transaction("write", called["function"])


@pytest.mark.parametrize("task", [write, write_blocking])
def test_rows_are_there_if_and_only_if_the_step_is_done(task, dama):
    with psycopg.connect(dama.database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE ledger (line text)")
        for function, error, expected in CASES:
            called["function"] = function
            ran = dama.run(task)

            kind = ran.error["name"] if ran.error else None
            rows = [line for (line,) in connection.execute("TABLE ledger")]
            assert (function.__name__, kind, rows) == (function.__name__, error, expected)
            assert ("write" in ran.steps) == (error is None)
            connection.execute("TRUNCATE ledger")
