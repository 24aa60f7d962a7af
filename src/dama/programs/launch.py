"""Launching: from what is declared of a program to a shim that runs it."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any

from dama.config.private_file import private
from dama.definitions.command import WORK_DIR
from dama.domain.exit import ExitCodes
from dama.programs.environment import inherited, passed_on, secret_names, secrets_of_files
from dama.programs.packed import NAME, START, packed_shim
from dama.programs.place import MARK
from dama.programs.shim.files import LOG
from dama.programs.shim.supervisor import LOCK
from dama.run.errors import ProgramError

if TYPE_CHECKING:
    from dama.definitions.task import TaskDefinition
    from dama.programs.run_directory import RunDirectory

LONGEST_STRING = 128 * 1024  # with its NUL, MAX_ARG_STRLEN of Linux
PARAM = "DAMA_PARAM_"
LOADER = (sys.executable, "-P", "-m", "dama.taps")  # what a tap is started by
DBT = (sys.executable, "-P", "-m", "dama.dbt")  # and dbt
SOFT_LIMIT = "DAMA_SOFT_LIMIT"  # of open files; not passed on, as nothing of DAMA_ is
_SIGNALS = [number for number in signal.valid_signals() if number not in (9, 19)]


@dataclass(frozen=True)
class Launch:
    """What a shim is told.

    Attributes:
        argv: The program and its arguments.
        environment: Of the program; never written to a file.
        cwd: Where it is started.
        timeout: Seconds that it may take; None for no limit.
        grace: Seconds between TERM and KILL.
        linger: Seconds that what outlives its main process has to end by itself; a filter that is
            at work has up to 60 times that.
        log_cap: Bytes that are kept of each log.
        pty: Whether its output goes to a terminal.
        nice: Added to the niceness.
        memory: Bytes of address space of each process.
        exit_codes: What they mean, for whoever ends the run.
        secrets: The names of the variables that are secrets, also those of its files, for whoever
            reads its logs.
        env_files: The files whose variables are.
    """

    argv: Sequence[str]
    environment: Mapping[str, str]
    cwd: str
    timeout: float | None = None
    grace: float = 10.0
    linger: float = 5.0
    log_cap: int = 256 * 1024 * 1024
    pty: bool = False
    nice: int | None = None
    memory: int | None = None
    exit_codes: ExitCodes = field(default_factory=ExitCodes)
    secrets: Sequence[str] = ()
    env_files: Sequence[str] = ()

    def spec(self, epoch: int) -> dict[str, Any]:
        """What the shim reads; nothing in it is secret."""
        return {
            "argv": list(self.argv),
            "cwd": self.cwd,
            "epoch": epoch,
            "timeout": self.timeout,
            "grace": self.grace,
            "linger": self.linger,
            "files": soft_limit(),
            "log_cap": self.log_cap,
            "pty": self.pty,
            "nice": self.nice,
            "memory": self.memory,
            "done": sorted(self.exit_codes.done),
            "secrets": list(self.secrets),
            "env_files": list(self.env_files),
        }


def launch_of(
    task: TaskDefinition[Any],
    params: Mapping[str, Any],
    protocol: Mapping[str, str],
    patterns: Sequence[str] = (),
) -> Launch:
    """What is declared of a program, for these params.

    Its environment is what it inherits of the worker's, then what is declared, then the protocol:
    the later ones win.

    Args:
        task: A program.
        params: As they are stored.
        protocol: The variables that dama sets.
        patterns: What all programs of the project inherit besides.

    Raises:
        ProgramError: A secret is not in the environment of the worker.
        ProgramEnvironmentError: A file of variables cannot be read.
    """
    spec = task.program
    work_dir = protocol["DAMA_WORKDIR"]
    if spec is None:
        return _undeclared(task, params, protocol, patterns)
    values = {WORK_DIR: work_dir} | {k: v for k, v in params.items() if v is not None}
    base = inherited(os.environ, (*patterns, *spec.inherit))
    declared = spec.environment(values)
    argv = spec.argv(values) if spec.tap is None else [*LOADER, task.name]
    if spec.is_dbt:
        argv = [*DBT, *argv]
    return Launch(
        argv,
        {**base, **declared, **passed_on(spec.secrets, declared), **protocol},
        spec.cwd or work_dir,
        task.options.timeout,
        grace=spec.grace,
        linger=spec.linger,
        log_cap=spec.log_cap,
        pty=spec.pty,
        nice=spec.nice,
        memory=spec.memory,
        exit_codes=spec.exit_codes,
        # Also those of its files, which may be gone when it has ended.
        secrets=sorted({*secret_names(task, params, patterns), *secrets_of_files(spec, params)}),
        env_files=spec.files(values),
    )


def fitting(launch: Launch) -> tuple[Launch, list[str]]:
    """What the kernel takes: one argument or variable has at most 128 KiB.

    Returns:
        The launch without the variables of params that are longer, and the names of these; the
        program finds the params in the file $DAMA_PARAMS.

    Raises:
        ProgramError: An argument or another variable is longer, so nothing can be started.
    """
    for place, part in enumerate(launch.argv):
        if (size := len(os.fsencode(part))) >= LONGEST_STRING:
            raise ProgramError(
                f"Argument {place} of the command has {size:,} bytes; "
                f"the kernel takes fewer than {LONGEST_STRING:,}.",
                hint="Let the program read the param from the file $DAMA_PARAMS.",
                is_final=True,
            )
    long = [
        name
        for name, value in launch.environment.items()
        if len(os.fsencode(f"{name}={value}")) >= LONGEST_STRING
    ]
    if others := [name for name in long if not name.startswith(PARAM)]:
        raise ProgramError(
            f"The variable {others[0]} is too long: "
            f"the kernel takes fewer than {LONGEST_STRING:,} bytes.",
            hint="Put it into a file.",
            is_final=True,
        )
    kept = {name: value for name, value in launch.environment.items() if name not in long}
    return replace(launch, environment=kept), long


def raise_soft_limit() -> None:
    """Let this process open as many files as it may; programs get the limit that it had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        os.environ.setdefault(SOFT_LIMIT, str(soft))
        with suppress(OSError, ValueError):  # macOS has a limit below the one that it names
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def soft_limit() -> int:
    """How many files a program may open: what this process could before it raised its own."""
    return int(os.environ.get(SOFT_LIMIT) or resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def spawn(directory: RunDirectory, launch: Launch, lock: int) -> int:
    """Start the shim, which owns the lock from now on; return its pid.

    It is not waited for here, and must be: it is a child of this process.
    """
    directory.write("spec.json", launch.spec(directory.epoch))
    copy = directory.path / NAME
    with open(copy, "wb", opener=private) as file:
        file.write(packed_shim())
    with _in_memory() as environment:
        environment.write(json.dumps(dict(launch.environment)).encode() + b"\n")
        environment.flush()
        environment.seek(0)
        log = private(f"{directory.path}/shim.log", LOG)
        try:
            # -X utf8: arguments are bytes, whatever the locale of the worker is.
            flags = ["-I", "-S", "-B", "-X", "utf8", "-c", START]
            return os.posix_spawn(
                sys.executable,
                [sys.executable, *flags, str(copy), str(directory.path)],
                {MARK: launch.environment.get(MARK, "")},
                file_actions=[  # the lock last: its place may be that of one of the others
                    (os.POSIX_SPAWN_DUP2, environment.fileno(), 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                    (os.POSIX_SPAWN_DUP2, lock, LOCK),
                ],
                setsid=True,
                setsigmask=(),
                setsigdef=_SIGNALS,
            )
        finally:
            os.close(log)


def _in_memory() -> IO[bytes]:
    """A file without a name that is on no disk, so that no disk can be full, or keep it."""
    if sys.platform == "linux":
        return os.fdopen(os.memfd_create("environment"), "w+b")
    return tempfile.TemporaryFile()


def _undeclared(
    task: TaskDefinition[Any],
    params: Mapping[str, Any],
    protocol: Mapping[str, str],
    patterns: Sequence[str],
) -> Launch:
    """The launch of a command from a command line, whose params say all of it."""
    base = inherited(os.environ, (*patterns, *(params.get("inherit") or ())))
    environment: dict[str, str] = {**base, **(params.get("env") or {}), **protocol}
    cwd = params.get("cwd") or protocol["DAMA_WORKDIR"]
    names = secret_names(task, params, patterns)
    return Launch(params["command"], environment, cwd, task.options.timeout, secrets=names)
