"""`@step`: functions that are steps wherever a task calls them, with retries of their own."""

import asyncio
import inspect
import pickle
import pydoc
import re
import time
from functools import partial
from typing import ClassVar

import pytest

import dama
from dama import Retry, Service, SyncTask, Task, step
from dama.errors import InvalidDefinitionError
from dama.testing import run, run_through_crashes

decorated = Service("decorated_steps")
calls: list[object] = []


@step
async def fetch(url: str, *, page: int = 1) -> list[int]:
    """Fetch a page.

    Args:
        url: Of the server.
        page: From 1.
    """
    await asyncio.sleep(0)
    return [len(url), page]


@step(name="store {rows[0]}")
def store(rows: list[int]) -> int:
    """A def, with a name made of its arguments."""
    return sum(rows)


@step(retries=3, backoff="1s", retry_on=OSError)
async def flaky(failures: int) -> int:
    """Fails so often."""
    calls.append(failures)
    if len(calls) <= failures:
        raise OSError(f"try {len(calls)}")
    return len(calls)


@step(retries=2, backoff=0)
def flaky_blocking(failures: int) -> int:
    """The same, of a def."""
    calls.append(failures)
    if len(calls) <= failures:
        raise Retry("429", after="1h")
    return len(calls)


@step(timeout=0.2)
async def hanging() -> None:
    """Never ends by itself."""
    await asyncio.Event().wait()


@step(timeout=1, retries=1, backoff=0)
def hanging_blocking() -> str:
    """Hangs once, in a thread."""
    calls.append("hangs")
    if len(calls) == 1:
        while True:
            time.sleep(0.01)
    return "came back"


@step(retries=1, backoff=0, timeout="1h")
def insert(connection, n: int) -> int:
    """A transaction that fails once."""
    calls.append(n)
    if len(calls) == 1:
        raise OSError("once")
    return connection.execute("SELECT 2 * %s", [n]).fetchone()[0]


@step(retries=5, backoff=0)
async def month(failures: int) -> list[int]:
    """A step with parts, which fails after them."""
    rows = [await fetch("part"), await fetch("other part", page=2)]
    calls.append("month")
    if calls.count("month") <= failures:
        raise OSError("after its parts")
    return [page for _, page in rows]


@decorated.task
async def load(task: Task, pages: int = 2) -> list[int]:
    """Steps side by side, of both kinds."""
    found = await asyncio.gather(*(fetch("url", page=n) for n in range(1, pages + 1)))
    return [await task.step("store", store, rows) for rows in found]


@decorated.task
def load_blocking(task: SyncTask) -> int:
    """A def calls them without await."""
    return store(task.step("fetch", fetch, "url")) + store([5])


@decorated.task
async def patient(task: Task, failures: int) -> int:
    """Relies on the retries of its step."""
    return await flaky(failures)


@decorated.task
def patient_blocking(task: SyncTask, failures: int) -> int:
    """The same, of a def."""
    return flaky_blocking(failures)


@decorated.task
async def with_parts(task: Task, failures: int) -> list[int]:
    """Its step has steps."""
    return await month(failures)


@decorated.task
async def in_time(task: Task) -> str:
    """A step that hangs."""
    try:
        await hanging()
    except TimeoutError as error:
        return str(error)
    return "returned"


@decorated.task
def in_time_blocking(task: SyncTask) -> str:
    """The same in a thread."""
    return hanging_blocking()


@decorated.task
async def in_transaction(task: Task) -> int:
    """The options of a step hold for a transaction as well."""
    return await task.transaction("insert", insert, 21)


@decorated.task
async def wrapped_here(task: Task) -> int:
    """Options for a function of somebody else."""
    return await task.step("abs", step(abs, retries=2), -4)


@decorated.task
async def blocking_in_loop(task: Task) -> int:
    """A def that would block the loop."""
    return store([1])


@decorated.task
async def within_lambdas(task: Task) -> list[list[int]]:
    """A coroutine that a function in a thread only returns, or awaits in a loop of its own."""
    loop = asyncio.get_running_loop()
    return [
        await task.step("returned", lambda: fetch("url")),
        await task.step("awaited", lambda: asyncio.run(fetch("url"))),
        await loop.run_in_executor(None, lambda: asyncio.run(fetch("url"))),
    ]


@decorated.task
def within_lambdas_of_a_def(task: SyncTask) -> list[int]:
    """The same, of a def."""
    return task.step("returned", lambda: fetch("url"))


@decorated.task
def coroutine_in_a_def(task: SyncTask) -> object:
    """It cannot await it."""
    return fetch("url")


@decorated.task
async def forgotten(task: Task) -> None:
    """Without its await."""
    fetch("url")  # pyright: ignore[reportUnusedCoroutine]


@pytest.fixture(autouse=True)
def _no_calls():
    calls.clear()


def test_a_decorated_function_is_a_step_wherever_a_task_calls_it():
    ran = run(load)
    assert ran.result == [4, 5]
    assert ran.steps == ["fetch", "fetch#2", "store", "store#2"]
    assert run_through_crashes(load).result == [4, 5]


def test_in_a_def_it_is_called_without_await():
    ran = run(load_blocking)
    assert ran.result == 9
    assert ran.steps == ["fetch", "store 3", "store 5"]


class Shop:
    """Steps may be methods."""

    tries: ClassVar[list[int]] = []

    @step(retries=2, backoff=0, name="fetch {page}")
    async def fetch(self, page: int) -> int:
        """Fail twice."""
        self.tries.append(page)
        if self.tries.count(page) <= 2:
            raise ConnectionError(f"try {self.tries}")
        return page


@decorated.task
async def of_methods(task: Task) -> list[int]:
    """Called as they are, and by task.step."""
    shop = Shop()
    third = await task.step("third", partial(shop.fetch, 3))
    return [await shop.fetch(1), await task.step("second", shop.fetch, 2), third]


def test_a_coroutine_that_a_function_in_a_thread_returns_is_a_step():
    ran = run(within_lambdas, crash_after="awaited/fetch")
    assert (ran.result, ran.deaths) == ([[3, 1]] * 3, 1)
    assert ran.steps == [
        "returned/fetch", "returned", "awaited/fetch", "awaited", "fetch",
    ]  # fmt: skip
    assert run(within_lambdas_of_a_def).result == [3, 1]


def test_a_method_is_a_step_with_its_options_either_way():
    Shop.tries.clear()
    ran = run(of_methods, crash_after=["fetch 1", "second:FAILED"])

    assert ran.result == [1, 2, 3]
    assert ran.names.count("fetch 1:FAILED") == ran.names.count("second:FAILED") == 2
    assert ran.steps == ["third", "fetch 1", "second"]


async def test_outside_of_a_run_it_is_the_function_itself():
    assert await fetch("url", page=3) == [3, 3]
    assert store([1, 2]) == 3
    assert await load(FakeTask(), 1) == [4]  # pyright: ignore[reportArgumentType]
    assert str(inspect.signature(fetch)) == "(url: str, *, page: int = 1) -> list[int]"
    assert (fetch.__doc__ or "").startswith("Fetch a page.")
    assert fetch.__name__ == "fetch"
    for each in (fetch, load, Shop.fetch):
        assert pickle.loads(pickle.dumps(each)) is each  # noqa: S301 - written here
        shown = pydoc.plain(pydoc.render_doc(each))
        assert f"{each.__name__}({str(inspect.signature(each))[1:]}" in shown
    assert repr([fetch, load]) == "[<step fetch>, <task decorated_steps.load>]"


class FakeTask:
    """What a test may have for a task."""

    async def step(self, _name, function, *args):
        """Call it."""
        return function(*args)


def delays_of(ran, name) -> list[float]:
    """The pauses between tries."""
    return [payload["delay"] for payload in ran.payloads(name)]


def test_a_step_is_tried_again_by_itself_and_each_try_is_told():
    ran = run(patient, {"failures": 3})
    assert ran.result == 4
    assert ran.names == ["INITIAL", "STARTED", *["flaky:FAILED"] * 3, "flaky:DONE", "FINAL"]
    delays = delays_of(ran, "flaky:FAILED")
    assert 0 < delays[0] <= 1 < delays[2] <= 4

    calls.clear()
    ran = run(patient_blocking, {"failures": 1})
    assert (ran.result, delays_of(ran, "flaky_blocking:FAILED")) == (2, [3600])


def test_the_tries_of_a_step_outlive_the_process():
    """A kill between two tries gives it no more of them."""
    ran = run(patient, {"failures": 9}, crash_after=["flaky:FAILED", "flaky:FAILED"])
    assert (ran.status, ran.deaths, len(calls)) == ("ERROR", 2, 4)
    assert ran.error is not None
    assert ran.error["message"] == "try 4"


def test_only_the_errors_that_it_names_are_worth_another_try():
    @decorated.task(name="picky")
    async def picky(task: Task) -> int:
        return await failing()

    assert run(picky).status == "ERROR"
    assert len(calls) == 1


@step(retries=3, backoff=0, retry_on=(OSError,), fail_on=FileNotFoundError)
async def failing() -> int:
    """Raises what it must not be tried again for."""
    calls.append("failing")
    raise FileNotFoundError("gone")


def test_the_parts_of_a_step_are_not_done_again_with_it():
    ran = run(with_parts, {"failures": 2})
    assert ran.result == [1, 2]
    assert ran.calls["month/fetch"] == ran.calls["month/fetch#2"] == 1
    assert calls.count("month") == 3

    calls.clear()
    ran = run(with_parts, {"failures": 1}, crash_after=["month:FAILED", "month:DONE"])
    assert (ran.result, ran.deaths) == ([1, 2], 2)
    assert ran.calls["month/fetch"] == 1


def test_a_step_ends_when_its_time_is_over():
    assert "decorated_steps.in_time/hanging timed out after 0.2 s" in run(in_time).result
    assert run(in_time_blocking).result == "came back"


def test_a_transaction_has_the_options_of_its_step():
    assert run(in_transaction).result == 42
    assert len(calls) == 2


def test_a_function_of_somebody_else_gets_options_where_it_is_used():
    assert run(wrapped_here).result == 4


def test_a_def_is_not_called_in_the_loop_and_a_coroutine_is_awaited():
    error = run(blocking_in_loop).error
    assert error is not None
    assert 'write `await task.step("store", store, ...)`' in error["message"]
    error = run(coroutine_in_a_def).error
    assert error is not None
    assert 'write `task.step("fetch", fetch, ...)`' in error["message"]
    error = run(forgotten).error
    assert error is not None
    assert "fetch(...) was never awaited" in error["message"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"retries": -1}, "retries is -1"),
        ({"timeout": 0}, "timeout of 0"),
        ({"backoff": "soon"}, "backoff is 'soon'"),
        ({"retrys": 3}, "no option 'retrys'.*Did you mean 'retries'"),
        ({"name": "fetch {pages}"}, "names 'pages'"),
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(settings, words):
    with pytest.raises(InvalidDefinitionError) as raised:
        step(**settings)(lambda page: page)
    assert re.search(words, f"{raised.value} {raised.value.hint}")


def test_what_is_no_function_of_a_step_is_refused():
    with pytest.raises(InvalidDefinitionError, match="yields"):
        step(lambda: (yield 1))
    with pytest.raises(InvalidDefinitionError, match="expected a function"):
        step(staticmethod(len))
    with pytest.raises(InvalidDefinitionError, match="is a task"):
        step(load)  # pyright: ignore[reportArgumentType]
    with pytest.raises(InvalidDefinitionError, match="is a step"):
        decorated.task(name="twice")(store)
    assert dama.step is step
