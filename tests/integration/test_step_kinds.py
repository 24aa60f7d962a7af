"""Steps as a task writes them: functions, transactions, subtasks by name."""

import pytest

from dama import Retry, RunError, Service, SyncTask, Task
from dama.testing import run, run_through_crashes

kinds = Service("step_kinds")


def doubled(connection, n: int) -> int:
    """SQL, and an argument after the connection."""
    return connection.execute("SELECT 2 * %s", [n]).fetchone()[0]


async def tripled(connection, *, n: int) -> int:
    """The same, of a coroutine."""
    cursor = await connection.execute("SELECT 3 * %s", [n])
    return (await cursor.fetchone())[0]


@kinds.task
async def in_transactions(task: Task, n: int) -> list[int]:
    """Both kinds of functions."""
    old = await task.step("doubled", doubled, n, transactional=True)
    return [
        old,
        await task.transaction("doubled", doubled, n),
        await task.transaction("t", tripled, n=n),
    ]


@kinds.task
def in_transactions_of_a_thread(task: SyncTask, n: int) -> list[int]:
    """The same, of a def."""
    return [task.transaction("doubled", doubled, n), task.step("abs", abs, -n)]


@kinds.task
async def late_in_transaction(task: Task) -> int:
    """A def that returns a coroutine."""
    return await task.transaction("t", lambda connection: tripled(connection, n=1))


@kinds.task
def late_in_transaction_of_a_thread(task: SyncTask) -> int:
    """The same, of a def."""
    return task.transaction("t", lambda connection: tripled(connection, n=1))


@kinds.task
async def by_name(task: Task, name: str) -> int:
    """A subtask that this module need not import."""
    started = await task.start("step_kinds.in_transactions", {"n": 1})
    return len(await task.run(name, {"n": 5})) + len(await started.result())


@kinds.task
def by_name_of_a_thread(task: SyncTask) -> int:
    """The same, of a def."""
    started = task.start("step_kinds.in_transactions", {"n": 1})
    return len(task.run("step_kinds.in_transactions", {"n": 2})) + len(started.result())


def throttled(attempt: int) -> int:
    """An API that says when to come again."""
    if attempt == 1:
        raise Retry("429", after="90m")
    return attempt


@kinds.task(retries=2, retry_on=OSError)
async def patient(task: Task) -> int:
    """Tries again when the API says so, not after its own backoff."""
    return await task.step("ask", throttled, task.attempt)


@kinds.task
async def impatient(task: Task) -> int:
    """Has no retries."""
    return await task.step("ask", throttled, task.attempt)


def test_who_asks_to_be_tried_again_says_when():
    """It is one of the task's retries, whatever else those are for."""
    ran = run(patient)
    assert ran.result == 2
    (retrying,) = ran.payloads("RETRYING")
    assert isinstance(retrying, dict)
    assert (retrying["name"], retrying["delay"]) == ("Retry", 5400)
    assert run(impatient).status == "ERROR"


def test_a_transaction_gets_a_connection_first_and_survives_any_death():
    assert run_through_crashes(in_transactions, {"n": 5}).result == [10, 10, 15]
    assert run(in_transactions_of_a_thread, {"n": 4}).result == [8, 4]


@pytest.mark.parametrize("task", [late_in_transaction, late_in_transaction_of_a_thread])
def test_a_transaction_does_not_await_what_its_def_returns(task):
    """The connection would be another kind than the coroutine wants, and gone."""
    error = run(task).error
    assert error is not None
    assert "The function of the transaction t returned coroutine: it is a `def`" in error["message"]


def test_a_subtask_is_named_where_its_definition_is_not_at_hand():
    assert run(by_name, {"name": "step_kinds.in_transactions"}).result == 6
    assert run(by_name_of_a_thread).result == 6


def test_a_name_that_nobody_has_fails_with_the_nearest():
    ran = run(by_name, {"name": "step_kinds.in_transaction"})
    with pytest.raises(RunError, match=r"There is no task 'step_kinds\.in_transaction'"):
        ran.result  # noqa: B018 - it raises
    assert ran.error is not None
    assert ran.error["name"] == "UnknownTaskError"
