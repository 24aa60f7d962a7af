"""Programs: a worker starts them, follows them, and says how they ended. They outlive it.

The program belongs to its shim (`shim.py`), what it tells is shipped (`shipping.py`). A worker
that claims a run whose program another one has started adopts it, whatever became of it.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import stat
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from dama import clock
from dama.definitions.adhoc import adhoc
from dama.definitions.errors import UnknownTaskError
from dama.definitions.options import TaskOptions
from dama.definitions.program import ExitCodes, ProgramSpec
from dama.definitions.service import TaskDefinition
from dama.domain.errors import InvalidEventError
from dama.domain.event import Event, check_event
from dama.domain.exact import decode
from dama.domain.lifecycle import lifecycle
from dama.domain.outcome import Done
from dama.errors import DamaError, UnavailableError
from dama.programs.adoption import end, stop_bound_elsewhere
from dama.programs.environment import secrets_of
from dama.programs.fork_server import ForkServer
from dama.programs.launch import Launch, fitting, launch_of, spawn
from dama.programs.masking import Mask
from dama.programs.process import age_of
from dama.programs.run_directory import RunDirectories, RunDirectory, State
from dama.programs.shim import TIMED_OUT
from dama.programs.shipping import BATCH, Shipper
from dama.programs.tail import tail
from dama.run.commands import Commands
from dama.run.errors import LostSignal, ProgramError, ProgramLostError
from dama.run.execution import Beginning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from dama.definitions.registry import Registry
    from dama.domain.outcome import Outcome
    from dama.run.execution import Execution
    from dama.store import Append, Claim, Store

_log = logging.getLogger("dama.worker")

SHORTEST_PAUSE = 0.02
LONGEST_PAUSE = 0.25
LARGEST_RESULT = 1024 * 1024
MOST_ARTIFACTS = 10_000
AGAIN_SECONDS = 1.0
# Of a host that is short of something for now: no verdict on a program.
TRANSIENT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN)
STDERR_LINES = 20
MOST_STARTS = 3


async def directories_of(store: Store, home: Path) -> RunDirectories:
    """Where the programs of a database are on this host."""
    return RunDirectories(home / "runs" / await store.database.identity())


class Programs:
    """The programs of one worker.

    Args:
        store: Where their contexts are.
        registry: The tasks that it knows.
        home: The folder of dama's files.
        host: This place: host, user and DAMA_HOME.
        worker_id: Gives the worker's id, as it is now.
        gateway_url: Where programs reach the gateway; None when they are not told.

    Attributes:
        commands: The right of its user to run undeclared commands.
        fork_server: Starts the tasks that have a process of their own.
        directories: Where the programs are on this host.
        followed: The contexts whose programs go on without the worker.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry,
        home: Path,
        host: str,
        worker_id: Callable[[], int],
        gateway_url: str | None = None,
    ) -> None:
        self.commands = Commands(home)
        self.store = store
        self._registry = registry
        self.gateway_url = gateway_url
        self.fork_server = ForkServer(registry)
        self.host = host
        self.worker_id = worker_id
        self._home = home
        self.directories = RunDirectories(home)
        self._children: set[int] = set()
        self.followed: set[int] = set()
        self._look = asyncio.Event()
        self._look.set()

    async def find_directories(self) -> None:
        """Find out which database it is; before anything else."""
        self.directories = await directories_of(self.store, self._home)

    def task_of(self, claim: Claim) -> TaskDefinition[Any]:
        """The task of a run; what was stored of it when it was started and nobody declares it now.

        Raises:
            UnknownTaskError: There is none, and nothing was started.
        """
        try:
            return self._registry.task(claim.task)
        except UnknownTaskError:
            if claim.program_epoch is None:
                raise
        return undeclared(claim, self.directories.of(claim.context_id, claim.program_epoch))

    def find(
        self, execution: Execution, task: TaskDefinition[Any], *, isolated: bool = False
    ) -> ProgramRun | None:
        """The program of a run; None for a function, unless it is to have its own process."""
        claim = execution.claim
        is_isolated = task.program is None and task is not adhoc
        wants_one = isolated or task.options.isolation is not None
        if is_isolated and not wants_one and claim.program_epoch is None:
            return None
        epoch = claim.program_epoch or claim.epoch
        directory = self.directories.of(claim.context_id, epoch)
        state = State.UNSTARTED
        if claim.program_epoch is not None:
            state = _state_of(directory)
        if not is_isolated:
            return ProgramRun(self, execution, task, directory, state)
        from dama.programs.isolated import IsolatedRun  # noqa: PLC0415 - a kind of ProgramRun

        return IsolatedRun(self, execution, task, directory, state)

    def look(self) -> None:
        """Some context was cancelled or taken over: its program may have to end."""
        self._look.set()

    async def end_always(self) -> None:
        """End the programs of this host that no context wants any more, whenever there may be."""
        while True:
            await self._look.wait()
            self._look.clear()
            try:
                await stop_bound_elsewhere(self.store, self.directories, self.host)
            except Exception as error:  # noqa: BLE001 - nothing else would look again
                _log.warning("programs that nobody wants are not ended yet: %s", error)
                await clock.sleep(1.0)
                self._look.set()
            self.reap()

    def started(self, pid: int) -> None:
        """A shim is a child of this process."""
        self._children.add(pid)

    def reap(self) -> None:
        """Let the kernel forget the shims that have ended."""
        for pid in list(self._children):
            with suppress(ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    continue
            self._children.discard(pid)


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
        execution.secrets = secrets_of(
            task, execution.claim.params, directory, execution.registry.inherit
        )
        self._shipper = Shipper(execution, directory)
        self._over = asyncio.Event()
        self._starts = 0
        self._left_out: dict[str, str] = {}

    @property
    def beginning(self) -> Beginning:
        """The event that begins the run."""
        host = {"program_host": self._programs.host, "program_epoch": self._directory.epoch}
        if self._state is State.UNSTARTED:
            return Beginning(meta=host)
        if self._state is State.LOST:
            return Beginning("LOST", {"message": LOST}, host)
        pid = (self._directory.read("pid.json") or {}).get("pid")
        return Beginning("ADOPTED", {"state": self._state.value, "pid": pid}, host)

    async def perform(self) -> Outcome:
        """Run or adopt the program, until it has ended; give what became of it.

        Raises:
            ProgramError: It did not do its work.
            LostSignal: The run was taken over, or its context has ended.
        """
        await self._execution.is_started()
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
        except Exception:  # no attempt ends while its program goes on: the next would be a second
            await end(self._directory)
            raise
        finally:
            self._programs.followed.discard(context_id)
        await self._shipper.ship_rest()
        await self._ship_artifacts()
        self._note(told)
        try:
            return await self._outcome(told)
        finally:
            self._mask()
            self._directory.settle()

    async def _start(self) -> None:
        while True:
            try:
                return await self._start_once()
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
            raise ProgramError(f"Its shim could not begin, {MOST_STARTS} times. It said: {said}")
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
        except DamaError:
            self._directory.settle()
            raise
        finally:
            os.close(lock)

    async def _spawn(self, launch: Launch, lock: int) -> int | None:
        """Start the shim; give its pid. None when it has to be tried again."""
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
            loop.remove_reader(descriptor)
            os.close(descriptor)
            self._over.set()

        loop.add_reader(descriptor, ended)

    async def _follow(self) -> Mapping[str, Any] | None:
        """Ship what it tells until it has ended; give how, None when nobody knows."""
        pause = SHORTEST_PAUSE
        while True:
            state = _state_of(self._directory)
            has_news = await self._ship()
            self._look_in()
            match state:
                case State.ENDED:
                    self._programs.reap()
                    return self._directory.exit()
                case State.LOST:
                    self._programs.reap()
                    await end(self._directory)
                    return None
                case State.UNSTARTED:
                    await self._start()
                case State.UNSUPERVISED if self._is_overdue():
                    await end(self._directory)
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

    async def _ship(self) -> bool:
        """Ship what is new; whether there was any."""
        try:
            return await self._shipper.ship()
        except UnavailableError:
            raise
        except Exception as error:  # noqa: BLE001 - the program runs, whatever its output is
            self._shipper.complain(error)
            return False

    def _mask(self) -> None:
        """Strike secrets out of all that it left."""
        for file in self._directory.written:
            Mask(file, self._execution.secrets).apply()

    def _look_in(self) -> None:
        """Once in a while: what else there is to see."""

    def _is_overdue(self) -> bool:
        timeout: float | None = (self._directory.read("spec.json") or {}).get("timeout")
        started: str | None = (self._directory.read("pid.json") or {}).get("started")
        return started is not None and bool(timeout) and age_of(started) > timeout

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
        """The variables that dama gives; the files that they name are there."""
        claim, path = self._execution.claim, self._directory.path
        self._directory.write("params.json", dict(claim.params))
        state = await self._programs.store.state(claim.context_id, lifecycle)
        plain = cast("dict[str, Any]", lifecycle.encode_state(state))
        self._directory.write("state.json", plain | {"attempt": claim.attempt})
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
            **await self._http(),
        }

    async def _http(self) -> dict[str, str]:
        """Where the gateway is, and a token of this run; nothing when nobody said where."""
        claim, url = self._execution.claim, self._programs.gateway_url
        if url is None:
            return {}
        token = await self._programs.store.tokens.of_run(claim.context_id, self._directory.epoch)
        return {"DAMA_URL": url, "DAMA_TOKEN": token}

    async def _ship_artifacts(self) -> None:
        """Each file that it left and did not tell of itself."""
        found = await asyncio.to_thread(self._artifacts)
        strike = self._execution.secrets.strike
        seen: Counter[str] = Counter()
        items: list[Append] = []
        for name, size in found[:MOST_ARTIFACTS]:
            described, key = _described(name, size), _artifact_key(name)
            if strike(name) != name:  # the bytes of the name would tell it
                described, key = _described(strike(name), size), _artifact_key(strike(name))
            seen[key] += 1
            key += f"#{seen[key]}" if seen[key] > 1 else ""
            items.append(self._shipper.item(":ARTIFACT", described, key))
        for place in range(0, len(items), BATCH):
            await self._shipper.append(items[place : place + BATCH])
        if rest := len(found) - len(items):
            self._left_out["artifacts"] = (
                f"{rest} of {len(found)} files in {self._directory.artifacts} have no event"
            )

    def _artifacts(self) -> list[tuple[str, int]]:
        folder, strike = self._directory.artifacts, self._execution.secrets.strike
        found: list[tuple[str, int]] = []
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            told = {strike(name), strike(str(path))} & self._shipper.artifacts
            if path.is_file() and not path.is_symlink() and not told:
                found.append((name, path.stat().st_size))
        return found

    async def _result(self) -> object:
        """What it left as its result; None when it left none that can be used, which is told."""
        try:
            text = await asyncio.to_thread(_read_result, self._directory.result)
            if not text.strip():
                return None
            result: object = decode(text)
            check_event(Event("result", result))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, InvalidEventError) as error:
            why = f"{error} It is in {self._directory.result}."
            self._left_out["result"] = why
            await self._shipper.warn("result/warn", f"The result of the program is left out: {why}")
            return None
        return result

    def _note(self, told: Mapping[str, Any] | None) -> None:
        """What the last event says of the run besides its result."""
        sizes = {
            name: _size(path)
            for name, path in (
                ("stdout", self._directory.stdout),
                ("stderr", self._directory.stderr),
            )
        }
        facts = {**(told or {}), "logs": {"path": str(self._directory.path), **sizes}}
        self._execution.facts = {"program": facts}

    async def _outcome(self, told: Mapping[str, Any] | None) -> Outcome:
        """What becomes of the run.

        Raises:
            ProgramError: The program did not do its work.
        """
        return Done(self._judged(told, await self._result()))

    def _judged(self, told: Mapping[str, Any] | None, result: object) -> object:
        """The result of a program that did its work.

        Raises:
            ProgramError: It did not.
        """
        if self._state is State.LOST:
            raise ProgramLostError(LOST, self._how({}))
        if told is None:
            if result is not None:
                return result
            raise ProgramLostError(UNKNOWN, self._how({}))
        code: int | None = told["code"]
        if told["why"] == "" and "error" not in told and code in self._codes.done:
            if result is not None and not self._left_out:
                return result
            if isinstance(result, dict):
                return {**cast("dict[str, Any]", result), "left_out": self._left_out}
            if result is not None:
                return {"result": result, "left_out": self._left_out}
            return {"exit_code": code, **({"left_out": self._left_out} if self._left_out else {})}
        raise ProgramError(self._complaint(told), self._how(told), is_final=self._is_final(told))

    def _is_final(self, told: Mapping[str, Any]) -> bool:
        code = told["code"]
        if told["why"] or code is None:
            return False
        codes = self._codes
        return code in codes.fail or (codes.retry is not None and code not in codes.retry)

    def _complaint(self, told: Mapping[str, Any]) -> str:
        program = self._name()
        if told["why"] == TIMED_OUT:
            return f"{program} took longer than its time-out allows, and was ended."
        if told["why"]:
            return f"{program} was told to end."
        if "error" in told:
            return f"{program} could not be started: {told['error']}"
        last = next(iter(tail(self._directory.stderr, 1)), "")
        words = f"{program} was killed by signal {told['signal']}"
        if told["signal"] is None:
            words = f"{program} ended with exit code {told['code']}"
        return f"{words}: {self._clean(last)[:300]}" if last else f"{words}."

    def _name(self) -> str:
        with suppress(OSError):
            return (self._directory.read("spec.json") or {}).get("argv", [self._task.name])[0]
        return self._task.name

    def _how(self, told: Mapping[str, Any]) -> dict[str, Any]:
        lines = [self._clean(line) for line in tail(self._directory.stderr, STDERR_LINES)]
        known = {"exit_code": told.get("code"), "signal": told.get("signal"), "stderr": lines}
        return {name: value for name, value in known.items() if value not in (None, [])}

    def _clean(self, text: str) -> str:
        """Without secrets, before a part of one is cut off; and what PostgreSQL can not keep."""
        return self._execution.secrets.strike(text).replace("\0", "")


def undeclared(claim: Claim, directory: RunDirectory) -> TaskDefinition[Any]:
    """A task that is not declared any more; there is no further attempt, which nobody could start.

    Args:
        claim: Of a run whose program was started.
        directory: Its files.
    """
    service, _, name = claim.task.partition(".")
    is_program = not (directory.path / "claim.json").exists()
    spec = directory.read("spec.json") or {}
    codes = ExitCodes(done=frozenset(spec.get("done", (0,))))
    program = ProgramSpec((), exit_codes=codes, place="not declared any more")
    options = TaskOptions(isolation=None if is_program else "process")
    return TaskDefinition(service, name, _no_function, options, program if is_program else None)


async def _no_function(_: object) -> None:
    """A task that is only brought to its end."""


def _state_of(directory: RunDirectory) -> State:
    """What is the case; where that cannot be seen now, somebody is presumed to hold the run."""
    try:
        return directory.state()
    except OSError as error:
        _log.debug("%s cannot be looked at for now: %s", directory.path, error)
        return State.HELD


def _read_result(path: Path) -> bytes:
    """A result of bounded size, of a regular file; nothing is waited for.

    Raises:
        ValueError: It is none.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ValueError("It is not a regular file.")
        text = file.read(LARGEST_RESULT + 1)
    if len(text) > LARGEST_RESULT:
        raise ValueError(f"It has {found.st_size:,} bytes, and {LARGEST_RESULT:,} are kept.")
    return text


def _described(name: str, size: int) -> dict[str, Any]:
    """An artifact; a name that is not UTF-8 is shown with replacements, and its bytes are kept."""
    raw = os.fsencode(name)
    try:
        return {"path": raw.decode(), "bytes": size}
    except UnicodeDecodeError:
        return {"path": raw.decode(errors="replace"), "bytes": size, "path_hex": raw.hex()}


def _artifact_key(name: str) -> str:
    raw = os.fsencode(name)
    shown = raw.decode(errors="replace")
    return f"artifact/{shown}" if shown == name else f"artifact/{shown}/{raw.hex()}"


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


UNSUPERVISED = (
    "The shim of the program was killed. The program goes on, and how it ends is unknown."
)
LOST = "The program and its shim are gone, and nobody knows how it ended."
UNKNOWN = "The shim of the program was killed, so nobody knows how it ended, and it left no result."
