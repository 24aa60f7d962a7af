"""The performance of a run: from its claim until it has ended, waits, or is queued again.

Nothing that a task raises and nothing that goes wrong here lets a run drop: its worker would keep
renewing the lease of a run that nobody executes. Whatever is unforeseen hands the run back to the
queue, said in the log. Only two things end a performance early: the worker was told that the run is
another's, or it stops. Both are said by `stop`, since a CancelledError alone may be the task's own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from dama import clock
from dama.definitions.registry import Registry
from dama.domain.circle import who_waits
from dama.domain.outcome import Done, Failed, Interrupted, Outcome, Retry, Waiting
from dama.duty import in_words
from dama.errors import DamaError
from dama.programs.environment import secrets_of
from dama.programs.finding import program_of, says_nothing, task_of
from dama.programs.programs import Programs
from dama.programs.run_log import RunLog, logged
from dama.run.body import call_body
from dama.run.errors import LostSignal, ParkSignal, ProgramError
from dama.run.execution import Execution
from dama.run.outcomes import outcome_of
from dama.run.patience import until_answered
from dama.run.secrets import secrets_of_worker
from dama.run.starts import without_removed
from dama.run.writer import STARTED
from dama.spans import is_collecting, span
from dama.store import Claim
from dama.store.errors import CircleError
from dama.store.queue import RunQueue
from dama.telemetry import about
from dama.worker.poison import PoisonError, is_poison, is_suspect

if TYPE_CHECKING:
    from dama.definitions.task import TaskDefinition
    from dama.domain.secrets import Secrets
    from dama.programs.program import ProgramRun

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
MOST_INTERRUPTIONS = 20
THREAD_GRACE = 5.0
# By the kind of the event that begins a run, with the number of the attempt.
_BEGINNINGS = {
    "STARTED": "starts, attempt {}",
    "ADOPTED": "continues, attempt {}: its process was taken over",
    "LOST": "is lost, attempt {}: its process is gone",
}

_log = logging.getLogger("dama.worker")


class UnreadableParamsError(DamaError):
    """The params of a run cannot be read."""

    code = "UNREADABLE_PARAMS"

    def __init__(self, claim: Claim) -> None:
        super().__init__(
            f"The params of context {claim.context_id} cannot be read: {claim.flaw}.",
            "They were written past every check. Start the task again with others.",
        )


@dataclass(frozen=True)
class Crew:
    """What all performances of one worker share.

    Attributes:
        queue: Where runs go back to.
        registry: The tasks.
        programs: Runs that have a process.
        execution: Makes the execution of a claim.
        worker_id: Returns the worker's id, as it is now.
        worker: `host:pid`.
        meta: The meta of a beginning.
        on_settling: Called with 1 and -1 around the end of a run, for which it needs no slot.
        on_due: Called when a run is due sooner than was known.
        interruptions: How often runs were handed back without having had a proper attempt.
    """

    queue: RunQueue
    registry: Registry
    programs: Programs
    execution: Callable[[Claim], Execution]
    worker_id: Callable[[], int]
    worker: str
    meta: Callable[[Claim], Mapping[str, Any]]
    on_settling: Callable[[int], None]
    on_due: Callable[[], None]
    interruptions: Counter[int] = field(default_factory=Counter[int])


class Performance:
    """One run of one worker.

    Args:
        crew: What it has in common with others.
        claim: The run.

    Attributes:
        has_parked: The run waits without a worker; what is left here is no longer the run.
    """

    def __init__(self, crew: Crew, claim: Claim) -> None:
        self.has_parked = False
        self._crew = crew
        self._claim = claim
        self._is_told = False
        self._execution: Execution | None = None
        self._name = f"context {claim.context_id}"
        self._begun = clock.monotonic()
        self._worker_id = crew.worker_id()

    def stop(self) -> None:
        """The next cancellation comes from the worker: the run is another's, or the worker ends."""
        self._is_told = True
        if self._execution is not None:
            self._execution.leave()

    async def run(self) -> None:
        """Perform it.

        Raises:
            CancelledError: As it was told.
        """
        claim = self._claim
        about(context_id=claim.context_id, epoch=claim.epoch, task=claim.task)
        execution: Execution | None = None
        try:
            execution = self._execution = self._crew.execution(claim)
            await self._perform(execution)
        except LostSignal:
            _log.warning("%s was taken over by another run, or has ended", self._name)
        except BaseException as error:
            if self._is_told:
                self._tell("was stopped: it was cancelled, or its worker ends")
                raise
            _log.exception("%s is handed back: %s", self._name, in_words(error))
            await self._hand_back()
        finally:
            if execution is not None:
                await self._leave(execution)

    async def _perform(self, execution: Execution) -> None:
        outcome = await self._outcome(execution)
        if isinstance(outcome, Interrupted):
            _log.warning("%s is handed back: %s", self._name, in_words(outcome.error))
            execution.close()
            await self._hand_back()
            return
        self._crew.on_settling(1)
        try:
            await self._settle(execution, outcome)
        finally:
            self._crew.on_settling(-1)
        self._crew.interruptions.pop(self._claim.context_id, None)

    async def _outcome(self, execution: Execution) -> Outcome:
        claim, crew = self._claim, self._crew
        program: ProgramRun | None = None
        flaw: Exception | None = UnreadableParamsError(claim) if claim.flaw else None
        beginning, datasets = STARTED, dict[str, list[str]]()
        try:
            task = task_of(crew.programs, claim)
            datasets = task.options.datasets
            if flaw is None:
                execution.claim = await until_answered(
                    lambda: without_removed(task, claim, crew.programs.store), self._name
                )
            program = None if flaw or is_poison(claim, task) else self._program(execution, task)
            beginning = program.beginning if program else STARTED
        except Exception as error:
            if isinstance(error, OSError) and says_nothing(claim, error):
                raise  # it is handed back
            flaw = flaw or error  # the run fails with it, once it has begun
        meta = {**crew.meta(claim), **datasets}
        await execution.writer.begin(crew.worker, meta, beginning)
        self._tell(_BEGINNINGS[beginning.kind].format(claim.attempt))
        if flaw is not None:
            return Failed(flaw)
        own = await execution.traceparent() if is_collecting() else None
        facts = {"context_id": claim.context_id, "epoch": claim.epoch}
        with span(claim.task, own=own, **facts) as collected:
            outcome = await self._attempt(execution, task_of(crew.programs, claim), program)
            if isinstance(outcome, Failed | Retry):
                collected.fail(cast("Exception", outcome.error))
        return outcome

    def _program(self, execution: Execution, task: TaskDefinition[Any]) -> ProgramRun | None:
        suspect = is_suspect(self._claim, task)
        if suspect:
            _log.warning("%s gets a process of its own: its workers died", self._name)
        return program_of(self._crew.programs, execution, task, isolated=suspect)

    async def _attempt(
        self, execution: Execution, task: TaskDefinition[Any], program: ProgramRun | None
    ) -> Outcome:
        claim = self._claim
        if is_poison(claim, task):
            return Failed(PoisonError(claim))
        try:
            if claim.epoch > 1:
                await execution.remember()
            if program:
                return await program.perform()
            with logged(self._log(task)):
                return Done(await _called(task, execution))
        except BaseException as raised:
            if self._is_told and not isinstance(raised, ParkSignal | LostSignal):
                raise asyncio.CancelledError from raised
            error = raised  # whatever a task raises is its outcome
        outcome = self._after(task, execution, error)
        if isinstance(outcome, Failed | Retry):
            await self._end_threads(execution, outcome)
        return outcome

    def _log(self, task: TaskDefinition[Any]) -> RunLog:
        claim, programs = self._claim, self._crew.programs

        def secrets() -> list[Secrets]:
            own = secrets_of(task, claim.params, patterns=programs.registry.inherit)
            return [own, secrets_of_worker(programs.store.database.conninfo)]

        return RunLog(programs.directories.of(claim.context_id, claim.epoch), secrets)

    def _after(
        self, task: TaskDefinition[Any], execution: Execution, error: BaseException
    ) -> Outcome:
        claim = self._claim
        if isinstance(error, ProgramError) and is_suspect(claim, task):
            return Failed(PoisonError(claim, str(error)))
        count = self._crew.interruptions[claim.context_id]
        return outcome_of(task, execution, error, may_interrupt=count < MOST_INTERRUPTIONS)

    async def _end_threads(self, execution: Execution, outcome: Failed | Retry) -> None:
        """Let no other attempt begin beside a thread of this one."""
        if await execution.threads.end(THREAD_GRACE):
            return
        where = execution.threads.where()
        if isinstance(outcome, Failed):
            _log.warning("%s failed, and its thread does not stop: %s", self._name, where)
            return
        message = f"The attempt is over, and the next one waits for its thread, which is {where}."
        _log.warning("%s: %s", self._name, message)
        key = f"LOG/thread#{self._claim.epoch}"
        await execution.writer.write(":LOG", {"message": message, "level": "warning"}, key=key)
        await execution.threads.end()

    async def _settle(self, execution: Execution, outcome: Outcome) -> None:
        context_id, queue = self._claim.context_id, self._crew.queue
        match outcome:
            case Done(result):
                await self._finish(execution, result)
            case Failed(error):
                await self._fail(execution, error)
            case Retry(error, delay):
                if not execution.is_retrying:
                    await execution.writer.will_retry(error, delay)
                why = execution.writer.secrets.strike(in_words(error))
                self._tell(f"will be tried again in {delay:.1f} s: {why}")
                epoch = self._claim.epoch
                await until_answered(
                    lambda: queue.retry(context_id, self._worker_id, delay, epoch), self._name
                )
                self._crew.on_due()
            case Waiting() as waiting:
                execution.close()
                self._tell("waits, and holds no slot")
                self.has_parked = True  # from the commit on, which comes before the answer
                parked = await until_answered(
                    lambda: queue.park(context_id, self._worker_id, waiting), self._name
                )
                self._crew.on_due()
                if parked and waiting.awaited:
                    await self._refuse_circle(execution)
            case _:
                raise LostSignal

    async def _refuse_circle(self, execution: Execution) -> None:
        """Let a run fail whose wait has just closed a circle: nobody in it could ever continue.

        Looked at after it waits: of two that begin to at the same moment the later one sees it.
        """
        circle = await until_answered(
            lambda: self._crew.queue.circle(self._claim.context_id), self._name
        )
        if circle:
            error = CircleError.of(self._claim.context_id, who_waits(circle))
            _log.warning("%s", error)
            await execution.writer.fail_parked(error)

    async def _finish(self, execution: Execution, result: object) -> None:
        try:
            await execution.writer.finish(result)
        except Exception as error:  # noqa: BLE001 - what the database does not take is a failure
            _log.warning("%s: its result was refused: %s", self._name, in_words(error))
            await self._fail(execution, error)
        else:
            self._tell(f"is done after {clock.monotonic() - self._begun:.1f} s")

    async def _fail(self, execution: Execution, error: BaseException) -> None:
        await execution.writer.fail(error)
        self._tell(f"failed: {execution.writer.secrets.strike(in_words(error))}")

    def _tell(self, what: str) -> None:
        """Say in the log of the worker what happens to the run."""
        _log.info("%s: %s %s", self._name, self._claim.task, what)

    async def _hand_back(self) -> None:
        """Queue the run again, until that is known."""
        interruptions = self._crew.interruptions
        interruptions[self._claim.context_id] += 1
        doubled = 2 ** min(interruptions[self._claim.context_id] - 1, 10)
        delay = min(FIRST_PAUSE * doubled, LONGEST_PAUSE)
        only = [self._claim.context_id]
        while True:
            try:
                await self._crew.queue.hand_back(self._worker_id, only=only, delay=delay)
            except Exception as error:  # noqa: BLE001 - nobody else would do it
                _log.error("%s is not handed back yet: %s", self._name, in_words(error))
                await clock.sleep(delay)
            else:
                self._crew.on_due()
                return

    async def _leave(self, execution: Execution) -> None:
        """Whatever still continues in the attempt is told to stop, and its transactions end."""
        execution.close()
        if execution.threads.are_busy:
            await execution.threads.end(THREAD_GRACE)


async def _called(task: TaskDefinition[Any], execution: Execution) -> object:
    """The result of a function.

    Raises:
        TimeoutError: It took longer than it may.
    """
    limit = task.options.timeout
    timer = asyncio.timeout(limit)
    try:
        async with timer:
            execution.deadline = timer.when()
            return await call_body(task, execution)
    except TimeoutError as error:
        if not timer.expired():
            raise
        execution.close_threads()
        raise TimeoutError(f"{task.name} timed out after {limit:g} s and was stopped.") from error
