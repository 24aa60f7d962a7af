"""`dama.testing.run`: a task in a test, on a real database, with stubs, deaths and moved time."""

import asyncio
import os
import subprocess
import sys
from datetime import timedelta

import pytest

from dama import DamaError, RunError, Service, Slice, SyncTask, Task, WaitTimeoutError
from dama.testing import databases, run, run_through_crashes

plays = Service("test_plays")
moved = Slice("test_plays_moved", initial=0)
told: list[str] = []


@moved.reducer
def page_moved(state: int, by: int) -> int:
    """Add."""
    return state + by


def fetch(page: int) -> list[int]:
    """What no test may ask for."""
    raise ConnectionError(f"page {page} of the internet")


def store(rows: list[int]) -> int:
    """What is told to the test."""
    told.append(f"store {rows}")
    return len(rows)


def insert(connection, context: int, rows: list[int]) -> int:
    """SQL of a transactional step."""
    connection.execute("CREATE TABLE IF NOT EXISTS test_rows (context int, n int)")
    for row in rows:
        connection.execute("INSERT INTO test_rows VALUES (%s, %s)", [context, row])
    return len(rows)


def count_rows(connection, context: int) -> int:
    """What the steps of this run left."""
    query = "SELECT count(*) FROM test_rows WHERE context = %s"
    return connection.execute(query, [context]).fetchone()[0]


@plays.task
async def load(task: Task, pages: int = 2) -> int:
    """Fetch and store pages."""
    total = 0
    for page in range(1, pages + 1):
        rows = await task.step(f"fetch {page}", fetch, page)
        total += await task.step(f"store {page}", store, rows)
        await task.dispatch(page_moved(1))
    return total


@plays.task
async def insert_all(task: Task) -> int:
    """Rows, exactly once."""
    await task.step("insert", insert, task.context_id, [1, 2], transactional=True)
    return await task.step("count", count_rows, task.context_id, transactional=True)


@plays.task
async def publish(task: Task, days: int = 3) -> str:
    """Wait for a person."""
    try:
        answer = await task.wait_for("approval", timeout=days * 86400)
    except WaitTimeoutError:
        return "nobody answered"
    return f"{answer} said yes"


@plays.task
async def nightly(task: Task) -> list[object]:
    """Subtasks that wait."""
    first = await task.start(publish)
    await task.sleep(86400)
    return [await first.result(), *await task.map(load, [{"pages": 1}] * 2)]


@plays.task
def blocking(task: SyncTask, n: int) -> int:
    """A def."""
    return task.step("store 1", store, [n]) + task.step("store 2", store, [n, n])


@plays.task(retries=3, backoff=3600)
async def flaky(task: Task) -> int:
    """Fails twice; an hour lies between two attempts."""
    if task.attempt < 3:
        raise OSError(f"attempt {task.attempt}")
    return task.attempt


@plays.task(isolation="process")
async def isolated(task: Task) -> int:
    """Its own process, but in a test the test's."""
    return await task.step("pid", os.getpid)


@plays.task
async def calling(task: Task) -> int:
    """Calls an action."""
    return await task.call("mailer.send", {"to": "ann"})


@plays.task
async def drop(task: Task, table: str) -> None:
    """What cleans up."""
    await task.step("drop", told.append, f"drop {table}")


@plays.task(on_failure=drop, on_cancel=drop)
async def publish_or_drop(task: Task, table: str) -> None:
    """Leaves a table behind."""
    await task.step("create", len, table)
    if table == "cancelled":
        await task.wait_for("nobody")
    raise ValueError("no rows")


@plays.task
async def publish_both(task: Task) -> None:
    """The failure of one cancels the other."""
    await task.map(publish_or_drop, [{"table": "cancelled"}, {"table": "first"}])


program = plays.program("hello", command=["sh", "-c", "echo hi"])


@plays.task
async def mixed(task: Task) -> list[object]:
    """A program as a subtask."""
    return [await task.run(program)]


def pages_of(page: int) -> list[int]:
    """A fake of fetch."""
    return [page] * page


FAKES = {"fetch *": pages_of}


def test_a_task_runs_with_fakes_and_its_events_are_there():
    ran = run(load, {"pages": 2}, stub=FAKES)

    assert ran.result == 3
    assert ran.steps == ["fetch 1", "store 1", "fetch 2", "store 2"]
    assert ran.state(moved) == 2
    assert ran.payloads("store 2:DONE") == [2]
    assert ran.payloads("test_plays_moved/page_moved") == [1, 1]
    ran.assert_events("INITIAL", "STARTED", ..., "store 2:DONE", ..., "FINAL")
    with pytest.raises(AssertionError, match=r"expected INITIAL, FINAL\n     got INITIAL, STARTED"):
        ran.assert_events("INITIAL", "FINAL")


def test_a_process_that_dies_after_an_event_is_followed_by_another():
    told.clear()
    ran = run(load, stub=FAKES, crash_after=["store 1", "fetch 2:DONE"])

    assert (ran.result, ran.deaths) == (3, 2)
    assert told == ["store [1]", "store [2, 2]"]
    assert ran.calls == {"fetch 1": 1, "store 1": 1, "fetch 2": 1, "store 2": 1}
    assert ran.names.count("STARTED") == 3


def test_a_transaction_is_done_once_wherever_the_process_dies(database_url):
    assert run_through_crashes(insert_all).result == 2
    assert run(insert_all, database=database_url, crash_after="insert").result == 2


@pytest.mark.parametrize("task", [load, blocking], ids=["async", "def"])
def test_a_run_may_die_after_each_of_its_events(task):
    params = {"pages": 2} if task is load else {"n": 1}
    assert run_through_crashes(task, params, stub=FAKES).result == 3


def test_a_signal_comes_when_it_is_waited_for_and_time_passes_when_it_is_not():
    assert run(publish, signals={"approval": "ann"}).result == "ann said yes"
    assert run(publish, advance="4d").result == "nobody answered"
    waiting = run(publish, advance="2d")
    assert (waiting.status, waiting.waits) == ("OPEN", ["wait:approval"])
    with pytest.raises(AssertionError, match=r"waits for wait:approval\. Give signals="):
        waiting.result  # noqa: B018 - it raises
    assert run(publish, signals=[("approval", "bob")], crash_after="wait:approval:*").deaths == 1


UNMET = {
    "a step": ({"crash_after": "stor 2"}, "crash_after has 'stor 2'.* Did you mean 'store 2'"),
    "a late step": ({"crash_after": ["store 2", "store 1"]}, "crash_after has 'store 1'"),
    "an event": ({"crash_after": "started"}, "There were STARTED, fetch 1"),
    "a stub": ({"stub": {"stor": len}}, "The stub 'stor' stood in for nothing"),
    "a task": ({"stub": {"test_plays.nightli": len}}, "Did you mean 'test_plays.nightly'"),
    "a signal": ({"signals": {"approval": 1}}, "ended before it waited for 'approval'.* DONE"),
}


@pytest.mark.parametrize(("given", "told"), UNMET.values(), ids=UNMET)
def test_what_a_run_never_met_fails_its_test(given, told):
    """A misspelt name is no proof that a crash does no harm."""
    stub = {**FAKES, **given.get("stub", {})}
    with pytest.raises(AssertionError, match=told):
        run(load, {"pages": 2}, **{**given, "stub": stub})


def test_a_misspelt_stub_is_named_when_the_function_itself_fails():
    """That is how most of them are met: the test reaches the internet."""
    with pytest.raises(
        AssertionError, match=r"'fetch'.* mean 'fetch 1'.* ERROR: page 1 of the int"
    ):
        run(load, stub={"fetch": lambda _: []})


def test_stubs_of_other_scenarios_and_numbers_beyond_the_end_are_no_mistake():
    """A set of stubs serves several tests."""
    others = {"fetch 9": len, "test_plays.nightly": len, "send *": len}
    assert run(load, stub={**FAKES, **others}, crash_after=99).deaths == 0


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"stub": {"fetch": 3}}, "The stub 'fetch' is 3: expected a function"),
        ({"stub": [len]}, "expected functions by names"),
        ({"crash_after": 1.5}, "crash_after has 1.5"),
        ({"crash_after": 0}, "crash_after has 0"),
        ({"signals": "approval"}, "signals is 'approval'"),
        ({"signals": ["approval"]}, "expected payloads by types"),
        ({"advance": "soon"}, "advance is 'soon'"),
        ({"timeout": "soon"}, "timeout is 'soon'"),
    ],
)
def test_arguments_that_cannot_be_are_refused(given, told):
    """Before a database is asked for."""
    with pytest.raises(DamaError, match=told):
        run(load, **given)


def test_subtasks_wait_and_die_with_their_parent():
    ran = run(nightly, stub=FAKES, signals={"approval": "eve"}, advance="1d", crash_after=6)

    assert ran.result == ["eve said yes", 1, 1]
    assert ran.deaths == 1
    assert [row.task for row in ran.tree].count("test_plays.load") == 2


def test_time_that_passed_is_seen_in_the_events():
    ran = run(nightly, stub=FAKES, signals={"approval": "eve"}, advance="1d")
    slept = {event.type.rpartition("/")[2]: event.created_at for event in ran.events}
    assert slept["sleep:DONE"] - slept["sleep:WAITING"] >= timedelta(days=1)


def test_retries_do_not_take_their_time():
    ran = run(flaky)
    assert ran.result == 3
    assert ran.names.count("RETRYING") == 2


def test_a_failure_is_an_error_or_looked_at():
    ran = run(load)
    assert ran.status == "ERROR"
    assert ran.error is not None
    assert ran.error["message"] == "page 1 of the internet"
    with pytest.raises(RunError, match="page 1 of the internet"):
        ran.result  # noqa: B018 - it raises


def test_clean_ups_are_done_and_shown():
    told.clear()
    ran = run(publish_or_drop, {"table": "draft"}, crash_after=["create", "drop"])

    assert ran.status == "ERROR"
    assert [(row.task, row.status) for row in ran.clean_ups] == [("test_plays.drop", "DONE")]
    assert told == ["drop draft"]
    assert ran.deaths == 2
    assert ran.calls["drop"] == 1
    assert run(load, stub=FAKES).clean_ups == []


def test_a_failure_and_the_cancellation_that_it_causes_are_both_cleaned_up_after():
    told.clear()
    both = run(publish_both)
    assert both.status == "ERROR"
    assert sorted(told) == ["drop cancelled", "drop first"]
    assert [row.status for row in both.clean_ups] == ["DONE", "DONE"]


def test_programs_that_the_settings_declare_are_found_by_their_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = tmp_path / "dama.toml"
    settings.write_text('[programs."declared.echo"]\ncommand = ["sh", "-c", "exit 3"]\n')

    @plays.task
    async def calls_declared(task: Task) -> object:
        return await task.run("declared.echo")

    for _ in range(2):  # declared once for all tests of a process
        assert run(calls_declared, stub={"declared.echo": lambda: "fake"}).result == "fake"
    assert run(calls_declared).status == "ERROR"

    settings.write_text('services = ["nowhere"]\ndatabase_url = "${NOT_SET_ANYWHERE}"\n')

    @plays.task
    async def calls_nothing(task: Task) -> object:
        return await task.run("declared.other")

    with pytest.raises(RunError, match=r"no task 'declared\.other'.*NOT_SET_ANYWHERE"):
        _ = run(calls_nothing).result


def test_programs_actions_and_subtasks_have_fakes_by_their_names():
    assert run(calling, stub={"mailer.send": lambda params: len(params["to"])}).result == 3
    assert run(mixed, stub={"test_plays.hello": lambda: {"rows": 3}}).result == [{"rows": 3}]
    assert run(nightly, stub={"test_plays.load": lambda pages: pages}, advance="9d").result == [
        "nobody answered",
        1,
        1,
    ]


def test_a_task_with_a_process_of_its_own_is_called_in_the_process_of_the_test():
    assert run(isolated).result == os.getpid()


async def test_it_runs_beside_the_loop_of_a_test():
    assert run(load, stub=FAKES).result == 3


def test_pytest_brings_fixtures(tmp_path):
    """As an installed plugin: the project's own tests only ask for `dama`."""
    (tmp_path / "test_own.py").write_text(
        "from dama import Service, Task\n"
        "own = Service('own')\n"
        "@own.task\n"
        "async def twice(task: Task, n: int) -> int:\n"
        "    return 2 * await task.step('n', lambda: n)\n"
        "def test_twice(dama):\n"
        "    assert dama.run(twice, {'n': 2}).result == 4\n"
        "    assert dama.run_through_crashes(twice, {'n': 3}).result == 6\n"
        "async def test_url(dama_database_url, dama):\n"
        "    assert dama.database_url == dama_database_url\n"
    )
    options = ["-p", "dama.testing.plugin", "-p", "no:dama", "-o", "asyncio_mode=auto"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *options, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, databases.VARIABLE: databases.server_url()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout + done.stderr


@plays.task
async def half(task: Task, number: int) -> int:
    """Fail with odd numbers."""
    return await task.step("half", lambda: number // 2 if number % 2 == 0 else 1 // 0)


@plays.task
async def collect(task: Task) -> list[bool]:
    """All ends of some subtasks, beside another branch; then something else."""
    async with asyncio.TaskGroup() as group:
        params = [{"number": number} for number in (2, 3, 4)]
        ends = group.create_task(task.map(half, params, on_failure="collect"))
        group.create_task(task.step("beside", lambda: None))
    await task.step("later", lambda: None)
    return [end.ok for end in ends.result()]


def test_collected_ends_are_all_there_in_a_replay_though_one_has_failed():
    ran = run(collect, crash_after="later:DONE")
    assert ran.deaths == 1
    assert ran.result == [True, False, True]
