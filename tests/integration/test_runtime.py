"""Runs: steps are done once, subtasks are started once, and a failure reaches whoever waits."""

import asyncio
import threading
import time

import psycopg
import pytest

from dama import Service, Slice, SubtaskError, SyncTask, Task
from dama.definitions.registry import Registry
from dama.domain.event import Event
from dama.run.subtasks import Endings
from dama.store import Start, Store
from dama.store.queue_rows import Renewal
from dama.worker.worker import Worker

work = Service("work")
calls: list[str] = []


class Stage:
    """Where a run stands still until the test lets it go; new for each test and its loop."""

    def __init__(self):
        self.holding = asyncio.Event()
        self.gate = asyncio.Event()
        self.stopped = asyncio.Event()


stages: list[Stage] = []

seen = Slice("test_seen", initial=0)


@seen.reducer
def noticed(state: int, by: int) -> int:
    """Add."""
    return state + by


def noted(name):
    """A step that leaves a trace in this process, not in the database."""
    calls.append(name)
    return name


def inserted(connection, n):
    """A step's SQL."""
    connection.execute("CREATE TABLE IF NOT EXISTS loaded (n int)")
    connection.execute("INSERT INTO loaded VALUES (%s)", [n])
    return n


def inserted_and_broken(connection, n):
    """SQL that is taken back."""
    inserted(connection, n)
    raise ValueError("after the insert")


@work.task
async def stepped(task: Task, *, hold: bool = False) -> list[str]:
    """Two steps of one name, and a wait between them that a test may use to kill."""
    first = await task.step("note", noted, "first")
    await task.dispatch(noticed(1))
    if hold:
        calls.append("holding")
        stages[-1].holding.set()
        await stages[-1].gate.wait()
    return [first, await task.step("note", noted, "second")]


@work.task
async def loading(task: Task, n: int = 1, *, broken: bool = False) -> int:
    """A transactional step."""
    step = inserted_and_broken if broken else inserted
    return await task.step("insert", step, n, transactional=True)


@work.task
async def doubled(task: Task, n: int) -> int:
    """A subtask."""
    if n < 0:
        raise ValueError(f"{n} is negative")
    return 2 * n


@work.task
async def summed(task: Task, numbers: list[int]) -> int:
    """A parent."""
    return sum(await task.map(doubled, [{"n": n} for n in numbers]))


@work.task
async def nested(task: Task, numbers: list[int]) -> int:
    """A parent of a parent."""
    return await task.run(summed, {"numbers": numbers})


@work.task
def blocking(task: SyncTask, n: int) -> int:
    """A def, in a thread."""
    return task.run(doubled, {"n": task.step("note", noted, n)})


@work.task
async def caught(task: Task) -> str:
    """A parent that continues."""
    try:
        await task.run(doubled, {"n": -1})
    except SubtaskError as error:
        return error.data["message"]
    return "no error"


@work.task(retries=2, backoff=0.01)
async def flaky(task: Task) -> int:
    """Fails twice."""
    if task.attempt < 3:
        raise OSError(f"attempt {task.attempt}")
    return task.attempt


@work.task(retries=3, backoff=0)
async def flaky_at_once(task: Task) -> int:
    """Fails three times."""
    if task.attempt < 4:
        raise OSError(f"attempt {task.attempt}")
    return task.attempt


@work.task(timeout=0.05)
async def slow(task: Task) -> None:
    """Takes too long."""
    await asyncio.Event().wait()


@work.task
async def counted(task: Task) -> int:
    """Reads its own state."""
    await task.dispatch(noticed(2))
    await task.dispatch(noticed(3))
    return await task.state(seen)


@pytest.fixture(autouse=True)
def nothing_called():
    """Each test begins with an empty trace and a closed gate."""
    calls.clear()
    stages.append(Stage())


def worker(store, **options):
    """A worker that knows these tasks."""
    return Worker(store, Registry([work]), **options)


async def started(store, task, **params):
    """Queue a task."""
    definition = work.tasks[task]
    (context,) = await store.start([Start(definition.name, definition.encode_params(params))])
    return context


async def ended(store, context):
    """Its outcome, as soon as there is one."""
    endings = Endings(store, lambda: None)
    async with asyncio.timeout(60):
        found = await endings.wait([context], fail_fast=False)
    return found[context]


async def run(store, task, **params):
    """Queue a task, work until it has ended, give its outcome."""
    context = await started(store, task, **params)
    async with worker(store).working():
        return context, await ended(store, context)


async def types(store, context):
    """The types of the events of a context."""
    return [event.type.removeprefix("work.") for event in await store.events(context)]


async def held():
    """Wait until a run waits at the gate."""
    async with asyncio.timeout(60):
        await stages[-1].holding.wait()
    stages[-1].holding.clear()


async def test_a_run_is_told_by_its_events(store):
    """From INITIAL to FINAL; a step's name that comes again has a number."""
    context, outcome = await run(store, "stepped")

    assert outcome.result == ["first", "second"]
    assert await types(store, context) == [
        "stepped:INITIAL",
        "stepped:STARTED",
        "stepped/note:DONE",
        "test_seen/noticed",
        "stepped/note#2:DONE",
        "stepped:FINAL",
    ]


async def test_a_done_step_is_not_done_again_after_a_crash(store):
    """A later run gets its result from its event, and sends no event twice."""
    context = await started(store, "stepped", hold=True)
    async with worker(store).working():
        await held()

    stages[-1].gate.set()
    async with worker(store).working():
        outcome = await ended(store, context)

    assert outcome.result == ["first", "second"]
    assert calls == ["first", "holding", "holding", "second"]
    assert (await types(store, context)).count("test_seen/noticed") == 1
    assert (await types(store, context)).count("stepped:STARTED") == 2


async def test_a_transactional_step_commits_its_rows_with_its_event(store, database_url):
    """Both are there."""
    context, _ = await run(store, "loading", n=7)

    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT n FROM loaded").fetchall() == [(7,)]
    assert "loading/insert:DONE" in await types(store, context)


async def test_a_transactional_step_that_fails_leaves_nothing(store, database_url):
    """Neither rows nor a DONE, but who failed and why."""
    context, outcome = await run(store, "loading", broken=True)

    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT to_regclass('loaded')").fetchall() == [(None,)]
    assert outcome.status == "ERROR"
    assert outcome.error["message"] == "after the insert"
    assert (await types(store, context))[-2:] == ["loading/insert:FAILED", "loading:ERROR"]


async def test_a_map_gives_the_results_in_the_order_of_its_params(store):
    """Each subtask is a context below the parent's."""
    context, outcome = await run(store, "summed", numbers=[1, 2, 3])

    assert outcome.result == 12
    tree = await store.tree(context)
    assert [row.parent_id for row in tree] == [None, context, context, context]


async def test_finished_subtasks_are_not_started_again(store):
    """The parent that failed is resumed, finds them in its events, and waits for the failed one."""
    context, outcome = await run(store, "summed", numbers=[1, -2])
    assert outcome.status == "ERROR"

    await store.resume(context, {})
    async with worker(store).working():
        await ended(store, context)

    tree = await store.tree(context)
    assert [row.status for row in tree] == ["ERROR", "DONE", "ERROR"]
    assert (await types(store, tree[1].context_id)).count("doubled:STARTED") == 1
    assert (await types(store, tree[2].context_id)).count("doubled:STARTED") == 2


async def test_a_waiting_parent_holds_no_slot(store):
    """With a single slot a tree of three generations would stand still otherwise."""
    context = await started(store, "nested", numbers=[1, 2, 3])

    async with worker(store, slots=1).working():
        outcome = await ended(store, context)

    assert outcome.result == 12


async def test_a_parent_that_waits_for_long_leaves_memory(store):
    """It is queued again when its subtasks have ended, and gets their results."""
    context = await started(store, "nested", numbers=[1, 2, 3])

    async with worker(store, park_after=0).working():
        outcome = await ended(store, context)

    assert outcome.result == 12
    starts = (await types(store, context)).count("nested:STARTED")
    assert starts == 2
    assert len(await store.tree(context)) == 5


async def test_a_renewal_says_nothing_of_a_run_that_began_after_it_was_asked(store):
    """A context may park, be queued and be claimed again before the answer: that run goes on."""
    context = await started(store, "stepped", hold=True)

    async with worker(store).working() as running:
        await held()
        told = Renewal([context], work=False, next_due=None, next_firing=None)
        running._learn(told, 0)
        stages[-1].gate.set()
        assert (await ended(store, context)).status == "DONE"

    assert (await types(store, context)).count("stepped:STARTED") == 1


async def test_a_def_runs_in_a_thread_with_the_same_methods(store):
    """Without await."""
    _, outcome = await run(store, "blocking", n=4)

    assert outcome.result == 8


async def test_a_failed_subtask_reaches_its_parent_as_an_exception(store):
    """A parent that does not catch it fails with it; one that catches it continues."""
    _, outcome = await run(store, "summed", numbers=[1, -2])
    assert outcome.status == "ERROR"
    assert "-2 is negative" in outcome.error["message"]

    _, outcome = await run(store, "caught")
    assert outcome.result == "-1 is negative"


async def test_an_attempt_that_fails_is_followed_by_another(store):
    """As often as the task allows; the context stays open meanwhile."""
    context, outcome = await run(store, "flaky")

    assert outcome.result == 3
    kinds = [type_.rpartition(":")[2] for type_ in await types(store, context)]
    assert kinds == ["INITIAL", *["STARTED", "RETRYING"] * 2, "STARTED", "FINAL"]


async def test_a_worker_is_not_idle_while_an_attempt_follows_at_once(store):
    """`dama worker --until-idle` would end and leave it queued."""
    context = await started(store, "flaky_at_once")
    async with worker(store).working() as working:
        async with asyncio.timeout(60):
            await working.idle()
        row = await store.context(context)

    assert row.status == "DONE"


async def test_a_task_that_takes_too_long_fails(store):
    """Its timeout is per attempt."""
    _, outcome = await run(store, "slow")

    assert outcome.status == "ERROR"
    assert outcome.error["name"] == "TimeoutError"


async def test_a_task_reads_its_own_state(store):
    """As of now, its own events included."""
    _, outcome = await run(store, "counted")

    assert outcome.result == 5


@work.task
async def sleeping(task: Task, seconds: float) -> str:
    """A durable sleep."""
    await task.sleep(seconds)
    return "awake"


@work.task
async def approved(task: Task, count: int = 1, within: float | None = None) -> list[object]:
    """Waits for people."""
    return [await task.wait_for("approval", within) for _ in range(count)]


async def waits(store, context):
    """Until the run is parked: no worker has it, no memory, no slot."""
    async with asyncio.timeout(60):
        while (run := (await store.context(context)).run) is None or run.state != "waiting":  # noqa: ASYNC110 - the database shows it, nobody tells
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("park_after", [0, 60])
async def test_a_sleep_ends_in_memory_or_out_of_it(store, park_after):
    """Its time counts from when it was first reached."""
    context = await started(store, "sleeping", seconds=0.3)

    async with worker(store, park_after=park_after).working():
        outcome = await ended(store, context)

    assert outcome.result == "awake"
    starts = (await types(store, context)).count("sleeping:STARTED")
    assert starts == (1 if park_after else 2)


@pytest.mark.parametrize("park_after", [0, 60])
async def test_a_signal_ends_a_wait_and_an_early_one_is_not_lost(store, park_after):
    """Each ends one wait, in the order in which they came."""
    context = await started(store, "approved", count=2)
    await store.append(context, [Event("approval", "early")])

    async with worker(store, park_after=park_after).working():
        if not park_after:
            await waits(store, context)
        await store.append(context, [Event("approval", "late")])
        outcome = await ended(store, context)

    assert outcome.result == ["early", "late"]


@pytest.mark.parametrize("park_after", [0, 60])
async def test_a_wait_without_a_signal_ends_with_its_time_out(store, park_after):
    """The task may catch it."""
    context = await started(store, "approved", within=0.2)

    async with worker(store, park_after=park_after).working():
        outcome = await ended(store, context)

    assert outcome.error["name"] == "WaitTimeoutError"


async def nothing():
    """Stands for what a test does while a run waits."""


meanwhile = [nothing]


@work.task
async def approved_meanwhile(task: Task, kind: str) -> object:
    """Waits for people; something happens, and another wait begins."""

    async def others() -> None:
        await task.sleep(0)
        await meanwhile[0]()
        if kind == "subtask":
            await task.run(sleeping, {"seconds": 600.0})
        await task.sleep(600)

    waits = [asyncio.ensure_future(task.wait_for("approval")), asyncio.ensure_future(others())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        return [await wait for wait in waits if wait.done()]
    finally:
        for wait in waits:
            wait.cancel()


@pytest.mark.parametrize("kind", ["sleep", "subtask"])
@pytest.mark.parametrize("parked", [False, True])
async def test_a_signal_ends_its_wait_whatever_other_waits_look_at(store, kind, parked):
    """A wait that begins just after the signal parks the run, but not past the signal."""
    context = await started(store, "approved_meanwhile", kind=kind)

    async def approve():
        if parked:
            await store.append(context, [Event("another", None)])
        else:
            await store.append(context, [Event("approval", "yes")])

    meanwhile[0] = approve
    async with worker(store, park_after=0.2).working():
        if parked:
            await waits(store, context)
            await store.append(context, [Event("approval", "yes")])
        outcome = await ended(store, context)

    assert outcome.result == ["yes"]


@work.task
async def holding_parent(task: Task) -> None:
    """A parent of a run that stands still."""
    await task.run(standing)


@work.task
async def standing(task: Task) -> None:
    """Stands still until it is stopped."""
    stages[-1].holding.set()
    try:
        await stages[-1].gate.wait()
    finally:
        stages[-1].stopped.set()


async def stopped():
    """Wait until the run that stood still was stopped."""
    async with asyncio.timeout(60):
        await stages[-1].stopped.wait()


@work.task
async def forging(task: Task, type_: str) -> None:
    """Tries to write what only the controller writes."""
    await task.dispatch(type_)


@pytest.mark.parametrize("type_", ["work.forging:FINAL", "work.forging/note:DONE"])
async def test_a_task_can_not_write_its_own_life_cycle(store, type_):
    """A later run would believe that the step was done."""
    _, outcome = await run(store, "forging", type_=type_)

    assert outcome.error["name"] == "TaskUsageError"


async def test_a_task_that_no_worker_knows_stays_queued(store):
    """Until one comes that does; workers of other services leave it alone."""
    (context,) = await store.start([Start("work.later", {})])
    async with worker(store).working():
        await run(store, "flaky")
    assert (await store.context(context)).run.state == "queued"

    other = Service("work")

    @other.task
    async def later(task: Task) -> int:
        return 1

    async with Worker(store, Registry([other])).working():
        outcome = await ended(store, context)

    assert outcome.result == 1


@work.task
async def blocking_loop(task: Task, seconds: float) -> int:
    """Forgets to await."""
    time.sleep(seconds)  # noqa: ASYNC251 - that is the point
    return task.attempt


async def test_a_task_that_blocks_the_loop_does_not_lose_the_lease(store):
    """Another worker leaves it alone: the lease is kept by a thread."""
    context = await started(store, "blocking_loop", seconds=5)
    other = threading.Thread(
        target=asyncio.run, args=[work_beside(store.database.conninfo, context)]
    )

    async with worker(store).working():
        other.start()
        outcome = await ended(store, context)
    await asyncio.to_thread(other.join)

    assert outcome.result == 1
    assert (await types(store, context)).count("blocking_loop:STARTED") == 1


async def work_beside(conninfo, context):
    """A second worker, in a loop of its own."""
    async with Store.opened(conninfo) as store, worker(store).working():
        await ended(store, context)


async def test_a_cancelled_tree_ends_at_once(store):
    """What runs is stopped, what is queued or waits never runs, and no subtask is left."""
    context = await started(store, "holding_parent")
    async with worker(store).working():
        await held()
        cancelled = await store.cancel([context], "enough", {"user": "me"})
        outcome = await ended(store, context)
        await stopped()

    assert outcome.status == "CANCELLED"
    tree = await store.tree(context)
    assert [row.context_id for row in tree] == sorted(cancelled)
    assert {(row.status, row.run) for row in tree} == {("CANCELLED", None)}


async def test_a_stale_run_writes_nothing(store):
    """It was presumed dead; another run has the context, and ends it."""
    context = await started(store, "stepped", hold=True)
    async with worker(store).working() as first:
        await held()
        await store.queue.release([first.id])
        async with worker(store).working():
            await held()
            stages[-1].gate.set()
            outcome = await ended(store, context)

    assert outcome.status == "DONE"
    events = await store.events(context)
    assert [e.meta["epoch"] for e in events if e.type.endswith("note#2:DONE")] == [2]


async def test_a_task_that_passes_its_deadline_is_stopped_with_its_subtasks(store):
    """In the middle of an attempt; no further attempt follows."""
    definition = work.tasks["holding_parent"]
    (context,) = await store.start([Start(definition.name, {}, deadline=0.5)])
    async with worker(store).working():
        outcome = await ended(store, context)
        async with asyncio.timeout(60):
            await stages[-1].stopped.wait()

    assert outcome.error["name"] == "DeadlineError"
    assert [row.status for row in await store.tree(context)] == ["ERROR", "CANCELLED"]
