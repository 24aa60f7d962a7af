"""A program: a worker starts it or adopts it, follows it, and says how it ended. It outlives them.

The program belongs to its shim (`shim`), what it tells is shipped (`shipping.py`), what it
leaves is read by `leavings.py`, and what its end means is judged by `exit.py`. A worker that claims
a run whose program another one has started adopts it, whatever its state.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama import clock
from dama.beside import off_loop
from dama.definitions.adhoc import adhoc
from dama.domain.exit import LOST, Exit, ExitCodes, judged
from dama.domain.lifecycle import lifecycle
from dama.domain.outcome import Done
from dama.errors import DamaError, UnavailableError
from dama.programs.adoption import surely_end
from dama.programs.environment import secrets_of
from dama.programs.launch import Launch, fitting, launch_of, spawn
from dama.programs.leavings import Leavings
from dama.programs.loading import for_loader
from dama.programs.looking import AGAIN_SECONDS, TRANSIENT, seen
from dama.programs.place import MARK
from dama.programs.process import age_of, is_stopped
from dama.programs.run_directory import State, state_of
from dama.programs.shim.supervisor import TIMED_OUT
from dama.programs.shipping import Shipper
from dama.programs.tail import tail
from dama.run.errors import LostSignal, ProgramError, ProgramLostError
from dama.run.writer import Beginning
from dama.shapes import Json, as_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.definitions.task import TaskDefinition
    from dama.domain.outcome import Outcome
    from dama.programs.programs import Programs
    from dama.programs.run_directory import RunDirectory
    from dama.run.execution import Execution

_log = logging.getLogger("dama.worker")

WAKE_SECONDS = 5.0
SHORTEST_PAUSE = 0.02
LONGEST_PAUSE = 0.25
STDERR_LINES = 20
MOST_STARTS = 3
UNSUPERVISED = (
    "The shim of the program was killed. The program continues, and how it ends is unknown."
)


class ProgramRun:
    """One run of a program.

    Args:
        programs: Those of the worker.
        execution: The run.
        task: What is declared.
        directory: Its files.
        state: What they said when the run was claimed.
    """

    def __init__(
        self,
        programs: Programs,
        execution: Execution,
        task: TaskDefinition[Any],
        directory: RunDirectory,
        state: State,
    ) -> None:
        self._programs = programs
        self._execution = execution
        self._task = task
        self._directory = directory
        self._state = state
        self._codes = task.program.exit_codes if task.program else ExitCodes()
        execution.writer.secrets = secrets_of(
            task, execution.claim.params, directory, execution.registry.inherit
        )
        self._shipper = Shipper(execution, directory)
        self._over = asyncio.Event()
        self._watch = ExitStack()  # the descriptor of the shim that this run has started
        self._starts = 0
        self._wake_at = clock.monotonic()
        self._leavings = Leavings(directory, self._shipper, execution.writer.secrets)

    @property
    def beginning(self) -> Beginning:
        """The event that begins the run."""
        host = {"program_host": self._programs.host, "program_epoch": self._directory.epoch}
        if self._state is State.UNSTARTED:
            return Beginning(meta=host)
        if self._state is State.LOST:
            return Beginning("LOST", {"message": LOST}, host)
        pid = self._directory.known("pid.json").get("pid")
        return Beginning("ADOPTED", {"state": self._state.value, "pid": pid}, host)

    async def perform(self) -> Outcome:
        """Run or adopt the program, until it has ended; return what became of it.

        Raises:
            ProgramError: It did not do its work.
            LostSignal: The run was taken over, or its context has ended.
        """
        await self._execution.writer.is_started()
        if self._state is State.LOST and not self._directory.path.exists():
            raise ProgramLostError(LOST)
        if self._state is State.UNSTARTED:
            await self._start()
        context_id = self._execution.claim.context_id
        self._programs.followed.add(context_id)
        try:
            told = await self._follow()
        except (LostSignal, UnavailableError):
            raise  # others follow it
        except Exception:  # no attempt ends while its program continues: the next would be a second
            await surely_end(self._directory)
            raise
        finally:
            self._watch.close()
            self._programs.followed.discard(context_id)
        await self._shipper.ship_rest()
        await self._shipper.tell_truncated((told or {}).get("truncated"))
        await self._shipper.tell_ended(told or {})
        await self._leavings.ship_artifacts()
        self._execution.writer.facts = {"program": {**(told or {}), "logs": self._leavings.logs()}}
        try:
            return await self._outcome(told)
        finally:
            try:
                if self._execution.writer.secrets:
                    await off_loop(self._shipper.mask_rest)
                self._directory.settle()
            except OSError as error:  # it is settled when somebody looks again
                self._shipper.complain(error)

    async def _start(self) -> None:
        while True:
            try:
                return await self._start_once()
            except DamaError:
                self._directory.settle()
                raise
            except OSError as error:
                if error.errno not in TRANSIENT:
                    self._directory.settle()
                    raise
                self._shipper.complain(error)
                self._starts -= 1
                await clock.sleep(AGAIN_SECONDS)

    async def _start_once(self) -> None:
        self._starts += 1
        if self._starts > MOST_STARTS:
            said = next(iter(tail(self._directory.path / "shim.log", 1)), "nothing")
            raise ProgramError(f"Its shim failed to start {MOST_STARTS} times. It said: {said}")
        self._directory.make()
        lock = self._directory.lock()
        if lock is None:
            return  # somebody else is about to start it
        try:
            self._directory.mark()  # who found it without a lock may have settled it
            if self._directory.state() is not State.HELD or self._directory.read("pid.json"):
                return
            launch, too_long = fitting(await self._launch())
            if too_long:
                what = f"Too long for the environment: {', '.join(too_long)}. See $DAMA_PARAMS."
                await self._shipper.warn("params/warn", what)
            if not await self._bound():
                raise LostSignal
            # Nothing is awaited from here on: the shim has the lock, or there is none.
            if pid := await self._spawn(launch, lock):
                self._wake_at_end_of(pid)
        finally:
            os.close(lock)

    async def _spawn(self, launch: Launch, lock: int) -> int | None:
        """Start the shim; return its pid. None when it has to be tried again."""
        pid = spawn(self._directory, launch, lock)
        self._programs.started(pid)
        return pid

    async def _bound(self) -> bool:
        claim = self._execution.claim
        if claim.program_epoch is not None:
            return True
        worker_id = self._programs.worker_id()
        queue = self._programs.store.queue
        return await queue.bind_program(claim.context_id, worker_id, self._directory.epoch)

    def _wake_at_end_of(self, pid: int) -> None:
        """A program that takes a moment is not waited for any longer than that."""
        try:
            descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):
            return
        loop = asyncio.get_running_loop()

        def ended() -> None:
            self._watch.close()
            self._over.set()

        self._watch.close()  # of a shim that could not start
        self._watch.callback(os.close, descriptor)
        loop.add_reader(descriptor, ended)
        self._watch.callback(loop.remove_reader, descriptor)

    async def _follow(self) -> Mapping[str, Any] | None:
        """Ship what it tells until it has ended; return how, None when nobody knows."""
        pause = SHORTEST_PAUSE
        while True:
            state = state_of(self._directory)
            has_news = await self._ship()
            self._look_in()
            match state:
                case State.ENDED:
                    self._programs.reap()
                    return await seen(self._directory.exit)
                case State.LOST:
                    self._programs.reap()
                    await surely_end(self._directory)
                    return None
                case State.UNSTARTED:
                    await self._start()
                case State.HELD:
                    self._wake_shim()
                case State.UNSUPERVISED if self._is_overdue():
                    await surely_end(self._directory)
                    return {"code": None, "signal": None, "why": TIMED_OUT}
                case State.UNSUPERVISED if self._state is not State.UNSUPERVISED:
                    self._state = state
                    await self._shipper.warn("unsupervised/warn", UNSUPERVISED)
                case _:
                    pass
            pause = SHORTEST_PAUSE if has_news else min(pause * 2, LONGEST_PAUSE)
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._over.wait()
            self._over.clear()

    def _wake_shim(self) -> None:
        """Let a stopped shim continue: it keeps no timeout, and says nothing of the end."""
        if (now := clock.monotonic()) < self._wake_at:
            return
        self._wake_at = now + WAKE_SECONDS
        with suppress(OSError):
            if (shim := self._directory.shim()) is not None and is_stopped(shim):
                context_id = self._execution.claim.context_id
                _log.warning("context %s: its shim was stopped, and continues", context_id)
                os.kill(shim, signal.SIGCONT)

    async def _ship(self) -> bool:
        """Ship what is new; whether there was any."""
        try:
            return await self._shipper.ship()
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - the program runs, whatever its output is
            self._directory.let_in()
            self._shipper.complain(error)
            return False

    def _look_in(self) -> None:
        """Once in a while: what else there is to see."""

    def _is_overdue(self) -> bool:
        with suppress(OSError):  # it is not known now
            born = self._directory.born("pid", "started")
            timeout = self._directory.seconds("timeout")
            return born is not None and timeout > 0 and age_of(born[1]) > timeout
        return False

    async def _launch(self) -> Launch:
        if self._task is adhoc:
            await self._prove()
        protocol = await self._protocol()
        patterns = self._execution.registry.inherit
        return launch_of(self._task, self._execution.claim.params, protocol, patterns)

    async def _prove(self) -> None:
        """Refuse an undeclared command that was not started by right of this worker's user.

        Raises:
            UndeclaredCommandError: It was not.
        """
        claim, store = self._execution.claim, self._programs.store
        meta, start_key = await store.started_how(claim.context_id)
        context = f"context {claim.context_id} of {await store.database.identity()}"
        self._programs.commands.check(claim.params, meta, start_key, context)

    async def _protocol(self) -> dict[str, str]:
        """The variables that dama sets; the files that they name are there."""
        claim, path = self._execution.claim, self._directory.path
        self._directory.write("params.json", dict(claim.params))
        state = await self._programs.store.state(claim.context_id, lifecycle)
        plain = as_object(lifecycle.encode_state(state))
        self._directory.write("state.json", {**plain, "attempt": claim.attempt})
        return {
            "DAMA_CONTEXT_ID": str(claim.context_id),
            "DAMA_EPOCH": str(self._directory.epoch),
            "DAMA_PARAMS": str(path / "params.json"),
            "DAMA_STATE": str(path / "state.json"),
            "DAMA_EVENTS": str(self._directory.events),
            "DAMA_RESULT": str(self._directory.result),
            "DAMA_ARTIFACTS": str(self._directory.artifacts),
            "DAMA_WORKDIR": str(self._execution.work_dir()),
            "TRACEPARENT": await self._execution.traceparent(),
            "PGAPPNAME": self._execution.application_name,
            "PYTHONUNBUFFERED": "1",
            MARK: self._programs.mark,
            **await self._http(),
            **for_loader(self._task, self._execution, self._directory),
        }

    async def _http(self) -> dict[str, str]:
        """Where the gateway is, and a token of this run; nothing when nobody said where."""
        claim, url = self._execution.claim, self._programs.gateway_url
        if url is None:
            return {}
        token = await self._programs.store.tokens.of_run(claim.context_id, self._directory.epoch)
        return {"DAMA_URL": url, "DAMA_TOKEN": token}

    async def _outcome(self, report: Mapping[str, Json] | None) -> Outcome:
        """The outcome of the run.

        Raises:
            ProgramError: The program did not do its work.
        """
        return Done(judged(self._exit(report, await self._leavings.result()), self._codes))

    def _exit(self, report: Mapping[str, Json] | None, result: object = None) -> Exit:
        return Exit(
            self._name(),
            report,
            is_lost=self._state is State.LOST,
            result=result,
            left_out=self._leavings.left_out,
            stderr=[self._clean(line) for line in tail(self._directory.stderr, STDERR_LINES)],
            shim=next(iter(tail(self._directory.path / "shim.log", 1)), ""),
        )

    def _name(self) -> str:
        spec = self._task.program
        if spec is not None and (spec.tap is not None or spec.is_dbt):  # not who started it
            return Path(str(spec.command[0])).name
        with suppress(OSError, LookupError, TypeError):
            return str(self._directory.known("spec.json")["argv"][0])
        return self._task.name

    def _clean(self, text: str) -> str:
        """Without secrets, before a part of one is cut off; and what PostgreSQL cannot keep."""
        return self._execution.writer.secrets.strike(text).replace("\0", "")
