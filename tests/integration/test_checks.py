"""`check`: new code of a task against what its runs have recorded, without doing anything."""

from __future__ import annotations

import asyncio

import pytest

from dama import Service, SyncTask, Task
from dama.app import App
from dama.definitions.registry import Registry
from dama.operations import checks, contexts, tasks
from dama.operations.checks import UncheckedError

done: list[str] = []


def one() -> int:
    done.append("one")
    return 1


def two(n: int) -> int:
    done.append("two")
    return n + 1


def other(n: int) -> int:
    done.append("other")
    return n * 10


def text() -> str:
    done.append("text")
    return "a"


def service(body, name="work", **params):
    """The service `jobs` with one task and a child, whose code is `body`."""
    made = Service("jobs")

    @made.task
    async def child(task: Task, n: int) -> int:
        return await task.step("half", two, n)

    body.child = child
    body.__name__ = name
    made.task(**params)(body)
    return made


async def recorded(task: Task, n: int = 1) -> int:
    """The code that ran."""
    first = await task.step("one", one)
    children = await task.map(recorded.child, [{"n": k} for k in range(2)])
    second = await task.step("two", two, first)
    if n == 2:
        await task.wait_for("go")
    return second + sum(children)


def fitting(change):
    """A version of the code with one change, by its name."""

    async def changed(task: Task, n: int = 1) -> int:
        if change == "new first":
            await task.step("zero", one)
        first = await task.step("one", text if change == "another function" else one)
        given = [{"n": k + (change == "other params")} for k in range(2)]
        children = await task.map(changed.child, given)
        if change == "reordered":
            await task.step("late", one)
        second = (
            2
            if change == "missing"
            else await task.step("two", two, 7 if change == "other arguments" else first)
        )
        if n == 2:
            await task.wait_for("go")
        if change == "new last":
            await task.step("three", two, second)
        if change == "raises":
            raise LookupError("new")
        return second + sum(children) + (change == "another result")

    return changed


@pytest.fixture
async def ran(store, tmp_path):
    """A database with a run that is done and one that waits; gives an app maker."""
    app = App(store, Registry([service(recorded)]), tmp_path)
    ids = [await tasks.start(app, "jobs.work", {"n": n}) for n in (1, 2)]
    async with app.working():
        async for _ in contexts.follow(app, ids[0]):
            pass
        async for event in contexts.follow(app, ids[1]):
            if event.type.endswith(":WAITING"):
                break
    done.clear()
    return lambda body, **params: App(store, Registry([service(body, **params)]), tmp_path), ids


@pytest.mark.parametrize("change", ["", "new last"])
async def test_code_that_fits_is_silent(ran, change):
    """The same code, and a step after all that is recorded; nothing is done, nothing written."""
    app_of, ids = ran
    app = app_of(fitting(change))
    before = [(await contexts.events(app, each)).events for each in ids]
    report = await checks.check(app, "jobs.work")
    assert (report.misfits, report.checked, report.still_open) == ([], 2, 1)
    assert done == []
    assert [(await contexts.events(app, each)).events for each in ids] == before


@pytest.mark.parametrize(
    ("change", "kind", "recorded_part", "found_part"),
    [
        ("new first", "diverged", "one", "zero"),
        ("another function", "diverged", "test_checks:one", "test_checks:text"),
        ("other params", "diverged", "jobs.child", "jobs.child"),
        ("reordered", "diverged", "two", "late"),
        ("missing", "diverged", "two", ""),
        ("other arguments", "diverged", "two", "two"),
    ],
)
async def test_code_that_does_not_fit_is_named(ran, change, kind, recorded_part, found_part):
    """Both sides of it, in each run that would replay; and no function of a step is called."""
    app_of, ids = ran
    report = await checks.check(app_of(fitting(change)), "jobs.work")
    assert sorted(each.context_id for each in report.misfits) == ids
    for misfit in report.misfits:
        assert misfit.kind == kind
        assert recorded_part in misfit.recorded
        assert found_part in misfit.found
    assert done == []


@pytest.mark.parametrize(
    ("change", "kind", "found"), [("raises", "raised", "new"), ("another result", "returned", "6")]
)
async def test_another_end_of_a_run_that_is_done_is_told(ran, change, kind, found):
    """One that waits has not come so far."""
    app_of, ids = ran
    report = await checks.check(app_of(fitting(change)), "jobs.work")
    (misfit,) = report.misfits
    assert (misfit.context_id, misfit.kind) == (ids[0], kind)
    assert found in misfit.found


async def test_params_that_no_longer_validate_are_told(ran):
    """The message is that of the validation."""

    async def narrower(task: Task, n: str) -> int:
        return 0

    app_of, _ = ran
    report = await checks.check(app_of(narrower), "jobs.work")
    assert {each.kind for each in report.misfits} == {"raised"}
    assert all("n" in each.found for each in report.misfits)


async def test_functions_without_async_are_checked_too(store, tmp_path):
    """They run in a thread, as in a worker."""
    made = Service("plain")

    @made.task
    def work(task: SyncTask) -> int:
        return task.step("two", two, task.step("one", one))

    app = App(store, Registry([made]), tmp_path)
    context_id = await tasks.start(app, "plain.work", {})
    async with app.working():
        async for _ in contexts.follow(app, context_id):
            pass
    done.clear()
    assert (await checks.check(app, "plain.work")).misfits == []

    changed = Service("plain")

    @changed.task(name="work")
    def changed_work(task: SyncTask) -> int:
        return task.step("one", two, 4)

    app = App(store, Registry([changed]), tmp_path)
    (misfit,) = (await checks.check(app, "plain.work")).misfits
    assert misfit.kind == "diverged"
    assert done == []


async def test_code_that_never_ends_is_told(ran):
    """It must come to the end of a record in its time."""

    async def endless(task: Task, n: int = 1) -> int:
        await task.step("one", one)
        await asyncio.Event().wait()
        return 0

    app_of, ids = ran
    report = await checks.check(app_of(endless), "jobs.work", seconds=1.0)
    assert {each.kind for each in report.misfits} <= {"stuck", "diverged"}
    assert sorted(each.context_id for each in report.misfits) == ids


async def test_what_cannot_be_checked_is_refused(ran):
    """A task without runs, and a command that nobody declared: it is started again."""
    app_of, _ = ran
    with pytest.raises(UncheckedError, match="no runs"):
        await checks.check(app_of(fitting(""), name="unheard"), "jobs.unheard")
    with pytest.raises(UncheckedError, match=r"programs\.run is a program"):
        await checks.check(app_of(fitting("")), "programs.run")


async def test_a_failed_run_is_checked_up_to_its_failure(store, tmp_path):
    """It would be resumed with this code."""
    made = Service("fails")

    @made.task
    async def work(task: Task) -> int:
        await task.step("one", one)
        raise ValueError("no")

    app = App(store, Registry([made]), tmp_path)
    context_id = await tasks.start(app, "fails.work", {})
    async with app.working():
        async for _ in contexts.follow(app, context_id):
            pass
    assert (await contexts.outcome(app, context_id)).status == "ERROR"
    assert (await checks.check(app, "fails.work")).misfits == []
