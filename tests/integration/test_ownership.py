"""A run always has an owner and an end, whatever its task raises and whatever goes wrong."""

import asyncio
import json
import sys
import threading
import time
from contextlib import suppress

import psycopg
import pytest

from dama import Service, SyncTask, Task
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.domain.lifecycle import lifecycle
from dama.run.subtasks import Endings
from dama.store import Start
from dama.store.errors import LifeCycleError
from dama.worker.worker import Worker
from tests.cases import case

odd = Service("odd")
gates: list[threading.Event] = []
traces: list[str] = []


class UnspeakableError(Exception):
    """Its text cannot be made."""

    def __str__(self):
        raise RuntimeError("no words")


def never():
    """The end of an iterator, which a future cannot carry."""
    return next(iter(()))


def quits():
    sys.exit(3)


def interrupts():
    raise KeyboardInterrupt


def closes():
    raise GeneratorExit


def cancels():
    raise asyncio.CancelledError


def starves():
    raise MemoryError


def digs():
    return digs() + 1


def mumbles():
    raise UnspeakableError


def writes_surrogates():
    raise ValueError("a lone \ud800 and a zero \0")


BREAKS = {
    function.__name__: function
    for function in (
        never, quits, interrupts, closes, cancels, starves, digs, mumbles, writes_surrogates
    )
}  # fmt: skip
RESULTS = {"zero": "a\0b", "surrogate": "a\ud800b", "huge": 10**5000}


@odd.task
async def in_loop(task: Task, how: str) -> None:
    """Break in the loop."""
    BREAKS[how]()


@odd.task
def in_thread(task: SyncTask, how: str) -> None:
    """Break in a thread."""
    BREAKS[how]()


@odd.task
async def in_step(task: Task, how: str) -> None:
    """Break in a step, in a thread."""
    await task.step("break", BREAKS[how])


@odd.task
async def in_async_step(task: Task, how: str) -> None:
    """Break in a step, in the loop, beside another one."""

    async def broken():
        BREAKS[how]()

    await asyncio.gather(task.step("break", broken), task.step("other", int))


@odd.task
async def in_transaction(task: Task, how: str) -> None:
    """Break in a transactional step, in a thread."""
    await task.step("break", lambda _: BREAKS[how](), transactional=True)


@odd.task
def in_step_of_thread(task: SyncTask, how: str) -> None:
    """Break in a step of a def."""
    task.step("break", BREAKS[how])


@odd.task
async def in_own_task(task: Task, how: str) -> None:
    """Break in an asyncio task of its own."""

    async def broken():
        BREAKS[how]()

    await asyncio.create_task(broken())


@odd.task
async def returns(task: Task, what: str) -> object:
    """Return what the database does not take."""
    return RESULTS[what]


odd_timed = Service("timed")


@odd_timed.task(retries=1, backoff=0.01, timeout=1)
def stubborn(task: SyncTask) -> int:
    """Sleep in C, past the timeout, where nothing reaches it."""
    traces.append(f"in {task.attempt}")
    try:
        if task.attempt == 1:
            time.sleep(3)
    finally:
        traces.append(f"out {task.attempt}")
    return task.attempt


@odd_timed.task(timeout=0.3)
def spinning(task: SyncTask) -> None:
    """Never leave Python, and swallow what an application would."""
    while True:
        with suppress(Exception):
            sum(range(1000))


@odd_timed.task(timeout=0.3)
def asking(task: SyncTask) -> None:
    """Wait for what never comes."""
    task.wait_for("never")


@odd_timed.task
def holding(task: SyncTask) -> None:
    """Keep a lock, busy in Python."""

    def lock(connection):
        connection.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")
        gates[-1].set()
        while True:
            sum(range(1000))

    task.step("lock", lock, transactional=True)


@pytest.fixture(autouse=True)
def fresh():
    traces.clear()
    gates.append(threading.Event())


def worker(store, **options):
    return Worker(store, Registry([odd, odd_timed]), **options)


async def started(store, task, **params):
    (context,) = await store.start([Start(task.name, params)])
    return context


async def ended(store, context):
    async with asyncio.timeout(40):
        return (await Endings(store, lambda: None).wait([context], fail_fast=False))[context]


async def run(store, task, **params):
    context = await started(store, task, **params)
    async with worker(store).working():
        return await ended(store, context)


@pytest.mark.parametrize(
    "task",
    [in_loop, in_thread, in_step, in_async_step, in_transaction, in_step_of_thread, in_own_task],
    ids=lambda task: task.name,
)
async def test_whatever_a_task_raises_is_the_outcome_of_that_run_alone(store, task):
    """Others continue in the same worker, and nothing of it stays in the queue."""
    contexts = []
    async with worker(store).working():
        for how in BREAKS:
            with case(how):
                contexts.append(await started(store, task, how=how))
                outcome = await ended(store, contexts[-1])
                assert outcome.status == "ERROR"
                assert outcome.error["message"]
                other = await started(store, in_step, how="starves")
                assert (await ended(store, other)).status == "ERROR"
    for context in contexts:
        assert (await store.context(context)).run is None


@pytest.mark.parametrize("what", RESULTS)
async def test_a_result_that_cannot_be_kept_fails_its_run(store, what):
    outcome = await run(store, returns, what=what)
    assert outcome.status == "ERROR"
    assert outcome.error["message"]


async def test_params_that_python_cannot_read_fail_their_run_alone(store, database_url):
    """They were written past every check; what is queued behind them is claimed with them."""
    digits = "9" * 5000
    item = {"task": odd.name + ".in_step", "event": {"type": "odd.in_step:INITIAL", "payload": 0}}
    batch = json.dumps([item]).replace('"payload": 0', f'"payload": {digits}')
    with psycopg.connect(database_url, autocommit=True) as connection:
        try:
            ((poisoned,),) = connection.execute(
                "SELECT context_id FROM _data_manager_admin.start_contexts(%s::jsonb)", [batch]
            ).fetchall()
        except psycopg.Error:
            pytest.skip("the database refuses such numbers now")
    other = await started(store, in_step, how="starves")
    async with worker(store).working():
        assert (await ended(store, other)).status == "ERROR"
        outcome = await ended(store, poisoned)
    assert outcome.error["name"] == "UnreadableParamsError"


async def test_no_retry_begins_beside_a_thread_that_timed_out(store):
    """The thread cannot be reached in C; the next attempt waits for its end."""
    context = await started(store, stubborn)
    async with worker(store).working():
        outcome = await ended(store, context)
    assert outcome.result == 2
    assert traces == ["in 1", "out 1", "in 2", "out 2"]


async def test_a_time_out_says_what_and_how_long_and_ends_the_thread(store):
    """Even one that never leaves Python and catches every Exception."""
    before = threading.active_count()
    outcome = await run(store, spinning)
    assert outcome.error["name"] == "TimeoutError"
    assert outcome.error["message"] == "timed.spinning timed out after 0.3 s and was stopped."
    async with asyncio.timeout(60):
        while threading.active_count() > before + 2:  # noqa: ASYNC110 - threads set no event
            await asyncio.sleep(0.05)


async def test_a_thread_that_waits_for_its_task_is_told_of_the_time_out(store):
    context = await started(store, asking)
    async with worker(store).working() as working:
        assert (await ended(store, context)).error["name"] == "TimeoutError"
        async with asyncio.timeout(60):
            while working.running:  # noqa: ASYNC110 - it sets no event
                await asyncio.sleep(0.05)


async def test_a_cancelled_transaction_lets_go_of_its_locks_though_its_thread_is_busy(
    store, database_url
):
    """No statement runs that could be cancelled; the server sees its client gone."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE held (n int)")
        context = await started(store, holding)
        async with worker(store).working():
            await asyncio.to_thread(gates[-1].wait, 20)
            await store.cancel([context], "enough", {})
            connection.execute("SET lock_timeout = '10s'")
            await asyncio.to_thread(connection.execute, "SELECT * FROM held")


@odd.task
async def patient(task: Task) -> int:
    """Do steps that the database is needed for."""
    for number in range(5):
        await task.step(f"part{number}", lambda: time.sleep(0.05))
    return await task.run(small)


@odd.task
async def small(task: Task) -> int:
    """A subtask."""
    await task.sleep(0.05)
    return 42


@odd.task(retries=3, backoff=0.01)
async def failing(task: Task) -> int:
    """Fail at first."""
    if task.attempt < 3:
        raise ValueError("not yet")
    return task.attempt


@pytest.mark.parametrize("end", ["pg_cancel_backend", "pg_terminate_backend"])
async def test_statements_that_are_cancelled_all_the_time_stop_no_run(store, database_url, end):
    """At any moment: claim, begin, step, settle, park, retry, hand back."""
    stop = threading.Event()

    def storm():
        with psycopg.connect(database_url, autocommit=True, application_name="storm") as connection:
            while not stop.wait(0.01):
                connection.execute(
                    f"SELECT {end}(pid) FROM pg_stat_activity "  # noqa: S608 - one of two names
                    "WHERE datname = current_database() AND pid <> pg_backend_pid() "
                    "AND state = 'active' AND application_name <> 'storm'"
                )

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        contexts = []
        for task in (patient, failing) * 5:
            while True:
                try:
                    contexts.append(await started(store, task))
                    break
                except Exception:  # noqa: BLE001 - the storm hits the test itself, too
                    await asyncio.sleep(0.01)
        async with worker(store, park_after=0.02).working():
            await asyncio.sleep(3)
            stop.set()
            outcomes = [await ended(store, context) for context in contexts]
    finally:
        stop.set()
        thread.join()
    errors = [outcome.error for outcome in outcomes if outcome.status != "DONE"]
    assert errors == []


@pytest.mark.parametrize("limit", ["statement_timeout", "lock_timeout"])
async def test_a_commit_that_is_timed_out_again_and_again_fails_its_run(store, database_url, limit):
    """An operator sees why, as soon as anything can be written."""
    context = await started(store, small)
    with psycopg.connect(database_url, autocommit=True) as admin:
        name = admin.execute("SELECT current_database()").fetchone()[0]
        admin.execute(f"ALTER DATABASE {name} SET {limit} = '200ms'")
        async with worker(store).working():
            with psycopg.connect(database_url) as holder:
                holder.execute(
                    "SELECT FROM _data_manager_admin.etl_context WHERE context_id = %s FOR UPDATE",
                    [context],
                )
                await asyncio.sleep(2)
            outcome = await ended(store, context)
    assert outcome.status in {"DONE", "ERROR"}
    assert (await store.context(context)).run is None


async def test_a_function_that_is_missing_for_seconds_ends_no_claiming(store, database_url):
    """As during a migration; doctor and metrics see it meanwhile."""
    rename = "ALTER FUNCTION _data_manager_admin.{} RENAME TO {}"
    with psycopg.connect(database_url, autocommit=True) as admin:
        async with worker(store).working():
            admin.execute(rename.format("claim_runs", "away"))
            context = await started(store, small)
            async with asyncio.timeout(60):
                while not [w for w in await store.queue.workers() if w.trouble]:  # noqa: ASYNC110 - the database shows it
                    await asyncio.sleep(0.05)
            (row,) = await store.queue.workers()
            assert "claiming runs" in row.trouble
            admin.execute(rename.format("away", "claim_runs"))
            assert (await ended(store, context)).result == 42
            async with asyncio.timeout(60):
                while [w for w in await store.queue.workers() if w.trouble]:  # noqa: ASYNC110 - as above
                    await asyncio.sleep(0.05)


async def test_a_run_that_is_held_and_not_executed_is_handed_back(store, database_url):
    """Whatever dropped it, such as a claim whose answer was lost."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        async with worker(store).working() as working:
            (context,) = await store.start([Start(small.name, {}, delay=3600)])
            admin.execute(
                "UPDATE _data_manager_admin.run_queue SET state = 'running', due_at = NULL, "
                "worker_id = %s, epoch = epoch + 1 WHERE context_id = %s",
                [working.id, context],
            )
            assert (await ended(store, context)).result == 42


async def test_a_run_that_is_stopped_before_its_first_step_is_not_held_forever(store):
    """As when it is taken away in the moment in which it is claimed: its task never begins."""
    context = await started(store, small)
    working = worker(store)
    begin, begun = working._begin, []

    def begin_and_stop(claim):
        begin(claim)
        if not begun:
            working._drop([claim.context_id])
        begun.append(claim.epoch)

    working._claiming._begin = begin_and_stop
    async with working.working():
        assert (await ended(store, context)).result == 42
        assert len(begun) == 2
        await working.idle()


async def test_a_late_event_does_not_reopen_a_run_that_failed(store, database_url):
    """It would be open with nobody to end it; who resumes it first loses nothing."""
    context = await started(store, in_loop, how="starves")
    async with worker(store).working():
        await ended(store, context)
        with pytest.raises(LifeCycleError, match="has failed"):
            await store.append(context, [Event("go")])
        with (
            psycopg.connect(database_url, autocommit=True) as connection,
            pytest.raises(psycopg.Error, match="has failed"),
        ):
            connection.execute(
                "INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type) "
                "VALUES (%s, 'go')",
                [context],
            )
        assert (await store.context(context)).status == "ERROR"


INSERT = "INSERT INTO _data_manager_admin.event_store_prototype (etl_context_id, type, meta) VALUES"


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT _data_manager_admin.dispatch(%s, 'go')",
        f"{INSERT} (%s, 'go', NULL)",
        f"{INSERT} (%s, 'go', '{{}}') ON CONFLICT DO NOTHING",
        f"""{INSERT} (%s, 'go', '{{"epoch": 1}}')""",
    ],
)
async def test_a_late_event_does_not_reopen_what_failed_before_it_ever_began(
    store, database_url, statement
):
    """No worker took it in time, so no run has raised its epoch; it is not an old program's."""
    (context,) = await store.start([Start(small.name, {}, expires=0.01)])
    async with Worker(store, Registry([])).working():
        await ended(store, context)
    with pytest.raises(LifeCycleError, match="has failed"):
        await store.append(context, [Event("go")])
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as sql:
        with pytest.raises(psycopg.Error, match="has failed"):
            await sql.execute(statement, [context])
    assert (await store.context(context)).status == "ERROR"
    await store.resume(context, {})
    async with worker(store).working():
        assert (await ended(store, context)).status == "DONE"


async def test_a_snapshot_ahead_of_its_context_is_none(store, database_url):
    """As after a restore of the events alone."""
    context = await started(store, small)
    before = await store.state(context, lifecycle)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO _data_manager_admin.slice_snapshot "
            "(context_id, slice, slice_version, version, state) VALUES (%s, %s, %s, 99, %s)",
            [context, lifecycle.name, lifecycle.version, '{"status": "DONE"}'],
        )
    assert await store.state(context, lifecycle) == before


async def test_a_run_that_is_cancelled_and_resumed_at_once_is_performed_once(store):
    """The worker has it again before it hears that the earlier one was cancelled."""
    service, begun, ended = Service("twice"), asyncio.Semaphore(0), asyncio.Semaphore(0)

    @service.task
    async def waits(task: Task) -> None:
        begun.release()
        try:
            await asyncio.Event().wait()
        finally:
            ended.release()

    (context,) = await store.start([Start("twice.waits", {})])
    async with asyncio.timeout(30), Worker(store, Registry((service,))).working():
        for _ in range(5):
            await begun.acquire()
            await store.cancel([context], "no", {})
            await store.resume(context, {})
            await ended.acquire()
        await begun.acquire()
        assert begun.locked()
        assert ended.locked()
