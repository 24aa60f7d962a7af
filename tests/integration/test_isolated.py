"""Tasks with a process of their own: recorded as those in the worker, and they outlive it."""

import asyncio
import os
import signal

import pytest

from dama import Service
from dama.definitions.registry import Registry
from dama.domain.exact import Digits
from dama.programs.isolated import IsolatedRun
from dama.programs.process import process_start
from dama.worker.worker import Worker
from tests.cases import case
from tests.integration import isolated_jobs as jobs
from tests.integration.programs import Bench, until


class Isolated(Bench):
    """Isolated runs."""

    async def performed(self, task, *, worker=None, **params):
        """Run it to its end; how it ended."""
        context_id = await self.start(task, **params)
        async with self.worker(**(worker or {})):
            return await self.ended(context_id)

    async def kinds(self, context_id):
        """The types of its events."""
        events = await self.store.events(context_id)
        return [event.type.rpartition(":")[2] for event in events]


@pytest.fixture
def bench(store):
    return Isolated(store, Registry([jobs.jobs]))


async def test_a_blocking_task_has_the_main_thread_of_a_process(bench):
    """So it may use signals, and what it prints is in the log of its run."""
    context_id = await bench.start(jobs.where)
    async with bench.worker():
        directory = await bench.running(context_id)
        outcome = await bench.ended(context_id)
    assert outcome.result["is_main"]
    assert outcome.result["pid"] != os.getpid()
    assert outcome.result["context"] == str(context_id)
    assert directory.stdout.read_text() == "printed by isolated.where\n"


async def test_an_async_task_has_a_loop_in_its_process(bench):
    outcome = await bench.performed(jobs.looping)
    assert outcome.result != os.getpid()


async def test_a_later_attempt_goes_on_from_the_last_step(bench, tmp_path):
    outcome = await bench.performed(jobs.twice, folder=str(tmp_path))
    assert outcome.result == [7, 2]
    assert (tmp_path / "counted").read_text() == "x"


async def test_an_error_is_told_as_it_was_raised(bench):
    """With the stack of its process; whether it is worth another attempt depends on its class."""
    context_id = await bench.start(jobs.wrong)
    async with bench.worker():
        outcome = await bench.ended(context_id)
    assert (outcome.error["name"], outcome.error["message"]) == ("ValueError", "it is wrong")
    assert "isolated_jobs.py" in outcome.error["stack"]
    assert "RETRYING" not in await bench.kinds(context_id)


async def test_params_and_results_keep_their_digits_on_the_way(bench):
    """They go through files, to the process and back."""
    values = [Digits("0.12345678901234567890"), 1e23, 10**30, 2.5, {"a": ["\u2028", None]}]
    contexts = [await bench.start(jobs.echo, value=value) for value in values]
    async with bench.worker():
        for value, context_id in zip(values, contexts, strict=True):
            with case(value):
                outcome = await bench.ended(context_id)
                assert (outcome.result, str(outcome.result)) == (value, str(value))


async def test_what_json_does_not_have_fails_the_run_and_is_no_null(bench):
    outcome = await bench.performed(jobs.not_a_number)

    assert outcome.status == "ERROR"
    assert "result.rows[0].price is nan" in outcome.error["message"]


@pytest.mark.parametrize("park_after", [60.0, 0.0])
async def test_who_waits_for_subtasks_holds_no_slot(bench, park_after):
    """With a worker of one slot they would wait for each other forever; parked or not."""
    settings = {"slots": 1, "park_after": park_after}
    outcome = await bench.performed(jobs.squares, worker=settings, count=3)
    assert outcome.result == [0, 1, 4]


async def test_a_crash_ends_the_run_and_nothing_else(bench):
    """The worker goes on; and an exit is no result."""
    crashed = await bench.start(jobs.crash)
    left = await bench.start(jobs.leave)
    async with bench.worker():
        crash, exit_ = await bench.ended(crashed), await bench.ended(left)
    assert crash.error["message"] == "isolated.crash was killed by signal 11."
    assert exit_.error["message"] == "isolated.leave ended with exit code 3."


async def test_very_deep_recursion_ends_the_run(bench):
    """With a RecursionError, or the end of the process when Python is not asked to stop."""
    limits = (1000, 20_000, 300_000)
    cases = [(task, limit) for task in (jobs.deep, jobs.deep_loop) for limit in limits]
    contexts = [await bench.start(task, limit=limit) for task, limit in cases]
    async with bench.worker():
        for of, context_id in zip(cases, contexts, strict=True):
            with case(*of):
                assert (await bench.ended(context_id)).status == "ERROR"


async def test_what_a_task_raises_itself_is_its_outcome(bench):
    contexts = [await bench.start(task) for task in (jobs.cancels, jobs.interrupts)]
    async with bench.worker():
        names = [(await bench.ended(context_id)).error["name"] for context_id in contexts]
    assert all(name in {"CancelledError", "KeyboardInterrupt"} for name in names)


async def test_a_pool_of_processes_ends_no_run(bench):
    """Its forks have the handlers of the loop no more."""
    outcome = await bench.performed(jobs.pools)
    assert outcome.result == [1, 2]


async def test_one_that_was_bound_and_not_started_is_started_by_the_next_workers(
    bench, monkeypatch, tmp_path
):
    """Its events have the epoch that the queue knows as its own, whoever adopts it afterwards."""
    context_id = await bench.start(jobs.patient, folder=str(tmp_path))

    bound = asyncio.Event()

    async def stuck(self, launch, lock):
        bound.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(IsolatedRun, "_spawn", stuck)
        async with bench.worker(), asyncio.timeout(30):
            await bound.wait()
    async with bench.worker():
        directory = await bench.running(context_id)
    async with bench.worker():
        for number in range(3):
            (tmp_path / f"go{number}").touch()
        outcome = await bench.ended(context_id)
    assert directory.epoch == 1
    assert outcome.status == "DONE"


async def test_a_time_out_ends_the_process(bench):
    context_id = await bench.start(jobs.slow)
    async with bench.worker():
        directory = await bench.running(context_id)
        outcome = await bench.ended(context_id)
    assert outcome.error["name"] == "TimeoutError"
    assert directory.pid() is None


async def test_cancelling_ends_the_process_after_its_cleaning(bench, tmp_path):
    """Of a blocking task and of one with a loop."""
    async with bench.worker():
        for task in (jobs.tidy, jobs.tidy_loop):
            with case(task):
                folder = tmp_path / task.name
                folder.mkdir()
                context_id = await bench.start(task, folder=str(folder))
                await until((folder / "begun").exists)
                directory = await bench.running(context_id)
                await bench.store.cancel([context_id], "not wanted", {})
                await until(lambda d=directory: d.pid() is None and d.shim() is None)
                assert (folder / "cleaned").exists()


async def test_it_outlives_its_worker_and_goes_on_with_its_steps(bench, tmp_path):
    """The next worker adopts it: the same process, and steps that were done meanwhile are kept."""
    context_id = await bench.start(jobs.patient, folder=str(tmp_path))
    async with bench.worker():
        directory = await bench.running(context_id)
        pid = directory.pid()
    (tmp_path / "go0").touch()
    async with asyncio.timeout(30):
        while "DONE" not in await bench.kinds(context_id):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.01)
    async with bench.worker():
        async with asyncio.timeout(30):
            while "ADOPTED" not in await bench.kinds(context_id):  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)
        (tmp_path / "go1").touch()
        (tmp_path / "go2").touch()
        outcome = await bench.ended(context_id)
    assert outcome.result == [pid, pid, pid]
    kinds = await bench.kinds(context_id)
    assert kinds == ["INITIAL", "STARTED", "DONE", "ADOPTED", "DONE", "DONE", "FINAL"]


async def test_one_that_became_a_program_meanwhile_ends_with_its_own_result(bench, tmp_path):
    """The new release has a program of its name: what runs is what was started."""
    context_id = await bench.start(jobs.patient, folder=str(tmp_path))
    async with bench.worker():
        pid = (await bench.running(context_id)).pid()
    service = Service("isolated")
    service.declare("patient", {"command": ["false"]}, place="test", base=tmp_path)
    released = Isolated(bench.store, Registry([service]))
    async with released.worker():
        for number in range(3):
            (tmp_path / f"go{number}").touch()
        assert (await released.ended(context_id)).result == [pid, pid, pid]


async def test_its_outcome_is_known_though_its_shim_was_killed(bench, tmp_path):
    context_id = await bench.start(jobs.patient, folder=str(tmp_path))
    async with bench.worker():
        directory = await bench.running(context_id)
        os.kill(directory.shim(), signal.SIGKILL)
        async with asyncio.timeout(30):
            while "WARN" not in await bench.kinds(context_id):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        for number in range(3):
            (tmp_path / f"go{number}").touch()
        outcome = await bench.ended(context_id)
    assert outcome.status == "DONE"


async def test_what_ended_while_nobody_looked_is_not_done_again(bench, tmp_path):
    """Its outcome is on record, though its worker and its shim were killed before it ended."""
    context_id = await bench.start(jobs.patient, folder=str(tmp_path))
    async with bench.worker():
        directory = await bench.running(context_id)
        pid = directory.pid()
    os.kill(directory.shim(), signal.SIGKILL)
    for number in range(3):
        (tmp_path / f"go{number}").touch()
    await until(lambda: process_start(pid) is None)
    async with bench.worker():
        outcome = await bench.ended(context_id)
    assert outcome.result == [pid, pid, pid]


async def test_the_fork_server_ends_with_its_worker(bench):
    worker = Worker(bench.store, bench.registry)
    async with worker.working():
        await bench.ended(await bench.start(jobs.looping))
        process = worker._programs.fork_server._process
        assert process_start(process.pid)
    assert process_start(process.pid) is None


async def test_a_killed_fork_server_is_started_anew(bench):
    worker = Worker(bench.store, bench.registry)
    async with worker.working():
        await bench.ended(await bench.start(jobs.looping))
        worker._programs.fork_server._process.kill()
        worker._programs.fork_server._process.wait()
        outcome = await bench.ended(await bench.start(jobs.looping))
    assert outcome.status == "DONE"


async def test_a_task_that_no_module_has_is_refused_with_a_way_out(bench):
    """Its process could not find it."""
    hidden = Service("hidden")

    @hidden.task(isolation="process")
    def inner(task) -> None:
        """Nobody finds it."""

    bench.registry.add(hidden)
    outcome = await bench.performed(inner)
    assert "hidden.inner" in outcome.error["message"]
    assert "top level of a module" in outcome.error["message"]


async def test_a_fork_server_that_hangs_keeps_no_worker_from_stopping(bench):
    """A module that waits while it is imported, or a server that is stopped."""
    worker = Worker(bench.store, bench.registry)
    async with worker.working():
        await bench.ended(await bench.start(jobs.looping))
        process = worker._programs.fork_server._process
        process.send_signal(signal.SIGSTOP)
    assert process_start(process.pid) is None
