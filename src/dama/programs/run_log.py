"""Run logs: what functions write to the standard log, as lines in the files of their runs.

A handler at the root of the log takes each record that was made within a run, and appends it where
the output of a program would be. What dama itself says of a run is the log of the worker.
"""

from __future__ import annotations

import logging
import os
import threading
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from typing_extensions import override

from dama.config.private_file import PRIVATE_FILE, make_private, private
from dama.definitions.program import LOG_CAP
from dama.errors import DamaError
from dama.programs.shim.logs import KEEP_SIZE_PUNCH_HOLE, TRIM_BYTES, libc
from dama.telemetry import TaskLines

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from dama.domain.secrets import Secrets
    from dama.programs.run_directory import RunDirectory

LONGEST = 64 * 1024
BLOCK = 4096

_log = logging.getLogger("dama.worker")
_current: ContextVar[RunLog | None] = ContextVar("dama_run_log", default=None)


class RunLog:
    """The log of one run; its files are made with its first line.

    Args:
        directory: Its files.
        secrets: Returns what is struck out; called with the first line.
        cap: So many bytes are kept, the newest.
    """

    def __init__(
        self, directory: RunDirectory, secrets: Callable[[], Sequence[Secrets]], cap: int = LOG_CAP
    ) -> None:
        self._directory = directory
        self._read_secrets = secrets
        self._secrets: Sequence[Secrets] = ()
        self._cap = cap
        self._mutex = threading.Lock()  # no thread writes to a descriptor that was closed meanwhile
        self._trimmed = 0
        self._file = self._lock = -1
        self._is_over = False
        self._is_full = False

    def write(self, line: str) -> None:
        """Append a line; one that has no place on the disk is left out, and the run continues."""
        with self._mutex:
            if self._is_over:
                return
            try:
                self._append(line)
                self._trim()
            except (OSError, DamaError) as problem:
                if not self._is_full:
                    self._is_full = True
                    where = self._directory.path
                    _log.warning("the log in %s cannot be written: %s", where, problem)

    def close(self) -> None:
        """The run is over; what its threads still say is left out."""
        with self._mutex:
            self._is_over = True
            for descriptor in (self._file, self._lock):
                if descriptor >= 0:
                    os.close(descriptor)
            self._file = self._lock = -1

    def _append(self, line: str) -> None:
        if self._file < 0:
            self._open()
        data = self._shown(line)
        written = os.write(self._file, data)
        if written < len(data):  # the disk is full; the next line begins a line of its own
            os.ftruncate(self._file, os.fstat(self._file).st_size - written)

    def _shown(self, line: str) -> bytes:
        for secrets in self._secrets:
            line = secrets.strike(line)
        if len(line) > LONGEST:
            line = f"{line[:LONGEST]} ... {len(line) - LONGEST:,} characters more"
        return f"{line}\n".encode(errors="backslashreplace")

    def _open(self) -> None:
        self._secrets = self._read_secrets()
        make_private(self._directory.path)
        if self._lock < 0:  # held while it runs, so that who follows it knows
            lock = self._directory.lock()
            self._lock = -1 if lock is None else lock
        self._directory.stderr.touch(PRIVATE_FILE)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW
        self._file = private(str(self._directory.stdout), flags)

    def _trim(self) -> None:
        """Give the disk back what is older than the cap, as the shim does for programs."""
        excess = os.fstat(self._file).st_size - self._cap
        if excess < self._trimmed + min(TRIM_BYTES, self._cap):
            return
        library = libc()
        length = excess - excess % BLOCK
        if library is None or library.fallocate(self._file, KEEP_SIZE_PUNCH_HOLE, 0, length) < 0:
            self._is_over = True  # what is older cannot go, so what is newer does not come
            _log.warning("the log in %s is full, and ends here", self._directory.path)
        self._trimmed = excess


@contextmanager
def logged(log: RunLog) -> Generator[None]:
    """What is logged in this block, and in what it begins, goes to the log of a run."""
    token = _current.set(log)
    try:
        yield
    finally:
        _current.reset(token)
        log.close()


class RunLogHandler(logging.Handler):
    """Writes each record to the log of the run that it was made in."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; one of no run, where nobody else shows it, as Python does by itself."""
        log = _current.get()
        if log is not None and record.name.partition(".")[0] != "dama":
            log.write(self.format(record))
        elif logging.root.handlers == [self]:
            last = logging.lastResort
            if last is not None and record.levelno >= last.level:
                last.handle(record)


def log_to_runs(level: int | None = None) -> None:
    """Take what functions log into the files of their runs, from now on.

    Args:
        level: Only from this one on; by default what the project has configured, else INFO.
    """
    root = logging.getLogger()
    if level is not None or not root.handlers:
        root.setLevel(logging.INFO if level is None else level)
    for other in [each for each in root.handlers if isinstance(each, RunLogHandler)]:
        root.removeHandler(other)
    handler = RunLogHandler(logging.NOTSET if level is None else level)
    handler.setFormatter(TaskLines())
    root.addHandler(handler)


def level_of_runs() -> int:
    """From which level on runs are logged in this process; INFO where nobody has said it."""
    root = logging.getLogger()
    if any(isinstance(each, RunLogHandler) for each in root.handlers):
        return root.level
    return logging.INFO
