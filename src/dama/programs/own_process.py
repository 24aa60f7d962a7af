"""A run in a process of its own: forked with the services loaded, under a shim like a program.

It executes its task as a worker would, with a connection of its own when it needs one, and leaves
its outcome in a file. Whoever is the worker by then writes how the run has ended.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, cast

from typing_extensions import override

from dama.config.private_file import PRIVATE_FILE, make_private, private
from dama.contained import contain_tasks, settled
from dama.domain.exact import reader
from dama.domain.outcome import Done, Failed, Interrupted, Outcome, Retry, Waiting
from dama.programs.reported import report_of
from dama.programs.run_directory import RunDirectory
from dama.programs.shim.files import LOG, clear
from dama.programs.shim.supervisor import LOOK_SECONDS, Shim, own_run
from dama.run.body import call_body, end_body
from dama.run.execution import Execution
from dama.run.group_commit import GroupCommit
from dama.run.outcomes import outcome_of
from dama.run.subtasks import Endings
from dama.run.sync_task import SyncTask
from dama.signals import on_signals
from dama.store.database import Database
from dama.store.rows import Claim
from dama.store.store import Store
from dama.telemetry import TaskLines

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
    from types import FrameType

    from dama.definitions.registry import Registry
    from dama.definitions.task import TaskDefinition

THREADS = 100
AT_ONCE = datetime.fromtimestamp(0, UTC)
TERMINATED = 128 + signal.SIGTERM


def own(request: Mapping[str, Any], registry: Registry, lock: int) -> NoReturn:
    """Be the shim of a run; ends the process.

    Args:
        request: `task`, `directory` and `environment` of the run; `conninfo`, `is_pooled`,
            `park_after` and `work_dir` of the worker.
        registry: The services.
        lock: Of the directory.
    """
    code = 1
    try:
        os.setsid()
        null = os.open(os.devnull, os.O_RDONLY)
        log = private(f"{request['directory']}/shim.log", LOG)
        for number, descriptor in enumerate((null, log, log)):
            os.dup2(descriptor, number)
        os.chdir(request["directory"])
        code = own_run(lambda spec: OwnShim(spec, request, registry, lock))
    except BaseException:
        logging.exception("the shim has failed")  # noqa: LOG015 - of a process that has no other
    finally:
        os._exit(code)


class OwnShim(Shim):
    """The shim of a run that needs no program, since it is a fork of this process."""

    def __init__(
        self,
        spec: dict[str, Any],
        request: Mapping[str, Any],
        registry: Registry,
        lock: int,
    ) -> None:
        super().__init__(spec, request["environment"])
        self.request = request
        self.registry = registry
        self.lock = lock

    @override
    def execute(self, argv: list[str], report: int) -> None:
        """Execute the run, in the child; ends the process."""
        os.close(report)
        os.close(self.lock)
        os.environ.clear()
        os.environ.update(self.environment)
        code = 1
        try:
            code = perform(self.request, self.registry)
        except BaseException:
            logging.exception("%s cannot be executed", self.request["task"])  # noqa: LOG015 - as above
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)


_claim = reader(Claim)


def perform(request: Mapping[str, Any], registry: Registry) -> int:
    """Execute a run, and leave its outcome; return the exit code."""
    for stream in (sys.stdout, sys.stderr):
        cast("Any", stream).reconfigure(line_buffering=True)
    _log_to_output(request["log_level"])
    directory = RunDirectory(Path(request["directory"]))
    claim = _claim((directory.path / "claim.json").read_text())
    task = registry.task(claim.task)
    perform_it = _in_loop if task.is_async else _beside_loop
    try:
        outcome = perform_it(task, lambda: _opened(request, registry, claim, directory))
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except asyncio.CancelledError:
        return TERMINATED
    _leave_outcome(directory, report_of(outcome, Ending.failed_with))
    return 0


def _log_to_output(level: int) -> None:
    """All that this process logs is of its run, and belongs to what it prints."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setLevel(level)
    handler.setFormatter(TaskLines())
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(level)


def _leave_outcome(directory: RunDirectory, report: Mapping[str, Any]) -> None:
    """Write it as soon as there is room: what was done is done, whatever became of the disk."""
    while True:
        try:
            make_private(directory.path)
            directory.write("outcome.json", report)
        except OSError:
            time.sleep(LOOK_SECONDS)
        else:
            return


@asynccontextmanager
async def _opened(
    request: Mapping[str, Any], registry: Registry, claim: Claim, directory: RunDirectory
) -> AsyncGenerator[Execution]:
    name = f"dama:{claim.context_id}:{claim.epoch}"
    async with Database.joined(
        request["conninfo"], name, is_pooled=request["is_pooled"]
    ) as database:
        store = Store(database)
        endings = Endings(store, lambda: None, park_after=request["park_after"])
        execution = Execution(
            claim,
            store=store,
            commits=GroupCommit(store),
            endings=endings,
            registry=registry,
            pool=ThreadPoolExecutor(THREADS, thread_name_prefix="dama"),
            on_waiting=Flag(store, endings, directory).count,
            work_dir=Path(request["work_dir"]),
        )
        if claim.epoch > 1:
            await execution.remember()
        try:
            yield execution
        finally:
            await store.hints.close()


class Ending:
    """What this process was told by a signal. What a task raises itself is its outcome instead.

    Attributes:
        to_end: To end.
        failed_with: The keys of the steps that its error came from.
    """

    to_end = False
    failed_with: ClassVar[list[str]] = []

    @staticmethod
    def leave() -> None:
        """The run takes no more asks, once there is one."""


class Flag:
    """Says that the run waits, so that its worker gives its slot to another; and then listens."""

    def __init__(self, store: Store, endings: Endings, directory: RunDirectory) -> None:
        self._store = store
        self._endings = endings
        self._directory = directory
        self._listening: asyncio.Task[None] | None = None

    def count(self, change: int) -> None:
        """The run begins (1) or ceases (-1) to wait."""
        if change > 0:
            with suppress(OSError):  # its folder is gone, or its disk full: it keeps its slot
                self._directory.waiting.touch(PRIVATE_FILE)
            self._listening = asyncio.create_task(self._store.hints.listen(self._endings.ended))
        else:
            with suppress(OSError):
                clear(str(self._directory.waiting))
            if self._listening is not None:
                self._listening.cancel()


def _in_loop(task: TaskDefinition[Any], opened: Callable[[], Any]) -> Outcome:
    """An `async def`: SIGTERM cancels it."""

    async def perform_it() -> Outcome:
        contain_tasks(asyncio.get_running_loop())
        this = cast("asyncio.Task[Any]", asyncio.current_task())

        def end() -> None:
            Ending.to_end = True
            Ending.leave()
            this.cancel()

        on_signals((signal.SIGTERM,), end)
        async with opened() as execution:
            Ending.leave = execution.leave
            try:
                return Done(await call_body(task, execution))
            except BaseException as error:  # noqa: BLE001 - whatever a task raises is its outcome
                return after(task, execution, error)

    return asyncio.run(perform_it())


def _beside_loop(task: TaskDefinition[Any], opened: Callable[[], Any]) -> Outcome:
    """A `def`: it has the main thread, as programs do; SIGTERM raises SystemExit in it."""
    signal.signal(signal.SIGTERM, _terminate)
    loop = asyncio.new_event_loop()
    contain_tasks(loop)  # an exit in it would leave the main thread waiting forever
    threading.Thread(target=loop.run_forever, name="dama loop", daemon=True).start()

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, loop).result()

    opening = opened()  # kept: what is closed with it is needed to the end
    execution = run(opening.__aenter__())
    Ending.leave = execution.leave
    try:
        with execution.branches.body(is_threaded=True):
            arguments = task.arguments(execution.claim.params)
            value = task.function(SyncTask(execution), **arguments)
            value = run(settled(value))
        run(end_body(execution))
        return Done(task.encode_result(value))
    except BaseException as error:  # noqa: BLE001 - whatever a task raises is its outcome
        return after(task, execution, error)


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    Ending.to_end = True
    Ending.leave()
    raise SystemExit(TERMINATED)


def after(task: TaskDefinition[Any], execution: Execution, error: BaseException) -> Outcome:
    """The outcome of a run that raised.

    Raises:
        CancelledError: It was told to end.
        SystemExit: It ends its process itself.
    """
    outcome = outcome_of(task, execution, error)
    match outcome:
        case Interrupted():  # a later run continues when the database is back
            return Waiting(awaited=[], on_failure=False, until=AT_ONCE, types=[], seen=0)
        case Failed() | Retry() if Ending.to_end:
            raise asyncio.CancelledError from error
        case Failed(SystemExit() as exit_) | Retry(SystemExit() as exit_):
            raise exit_
        case Failed() | Retry():
            Ending.failed_with = execution.writer.steps_of(outcome.error)
        case _:
            pass
    return outcome
