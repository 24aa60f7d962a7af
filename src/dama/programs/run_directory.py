"""The directory of a run: all that is known of a program outside the database.

While the worker or the database is away its files are the spool, and the program continues. Whoever
holds the lock owns the run: the worker takes it before the shim is there and hands it over, so
there is no moment in which a program starts and nobody holds it.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from stat import S_IRWXU
from typing import TYPE_CHECKING, Any

from dama.config.private_file import PRIVATE_FILE, make_private, private
from dama.domain.exact import decode_stored, encode
from dama.programs.process import boot_id, members_of, process_start
from dama.programs.regular import read_regular
from dama.programs.shim.files import clear, take_place
from dama.run.errors import ProgramError
from dama.shapes import is_dict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_log = logging.getLogger("dama.worker")

NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)
IN_ITS_PLACE = (errno.EINVAL, errno.ELOOP, errno.ENXIO)  # a FIFO, device, link or socket
LARGEST_FILE = 64 * 1024 * 1024
OPEN = "open"
WORK = "work"


class State(Enum):
    """What the files and the processes of a run say; the first that fits."""

    ENDED = "ended"  # it is on record how
    HELD = "held"  # its shim lives, or is about to
    UNSUPERVISED = "unsupervised"  # its shim was killed, the program lives
    LOST = "lost"  # both are gone, and nobody knows how it ended
    UNSTARTED = "unstarted"  # there never was a process


@dataclass(frozen=True)
class RunDirectory:
    """The files of one program.

    Attributes:
        path: The folder, named for the epoch that started it, in one named for its context.
    """

    path: Path
    # What was read once of files that do not change: somebody may remove or move the folder.
    _known: dict[str, dict[str, Any]] = field(
        default_factory=dict[str, "dict[str, Any]"], init=False, repr=False, compare=False
    )

    @property
    def context_id(self) -> int:
        """Whose run it is."""
        return int(self.path.parent.name)

    @property
    def epoch(self) -> int:
        """The one that started it; later ones adopted it."""
        return int(self.path.name)

    @property
    def stdout(self) -> Path:
        """What the program printed."""
        return self.path / "stdout"

    @property
    def stderr(self) -> Path:
        """What it complained of."""
        return self.path / "stderr"

    @property
    def events(self) -> Path:
        """Where it appends events."""
        return self.path / "events"

    @property
    def result(self) -> Path:
        """Where it may leave its result."""
        return self.path / "result"

    @property
    def artifacts(self) -> Path:
        """Where it may leave what it made."""
        return self.path / "artifacts"

    @property
    def written(self) -> tuple[Path, ...]:
        """What the program writes; the logs first, which people read meanwhile."""
        return self.stdout, self.stderr, self.events, self.result

    @property
    def waiting(self) -> Path:
        """There while a task in Python waits, and needs no slot."""
        return self.path / "waiting"

    def make(self) -> None:
        """Create it, for nobody else to read."""
        make_private(self.artifacts)
        for file in (self.path / "lock", self.events, self.stdout, self.stderr):
            file.touch(PRIVATE_FILE)
        self.mark()

    def let_in(self) -> None:
        """Give its user back the folder that a program has closed (`chmod 000`)."""
        with suppress(OSError):
            if self.path.stat().st_mode & S_IRWXU != S_IRWXU:
                self.path.chmod(S_IRWXU)

    def mark(self) -> None:
        """Something is to be done for it, until it is settled."""
        make_private(self._mark.parent)
        self._mark.touch(PRIVATE_FILE)

    def is_open(self) -> bool:
        """Whether something is to be done for it."""
        return self._mark.exists()

    def settle(self) -> None:
        """Nothing is to be done for it any more; the files stay, for who reads its logs."""
        self._mark.unlink(missing_ok=True)

    @property
    def _mark(self) -> Path:
        return self.path.parents[1] / OPEN / f"{self.context_id}.{self.epoch}"

    def lock(self) -> int | None:
        """Own the run; None when somebody does. Closing the descriptor lets go.

        Raises:
            ProgramError: The file system has no locks.
        """
        descriptor = private(f"{self.path}/lock", os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            if isinstance(error, BlockingIOError):
                return None
            if error.errno in NO_LOCKS:
                raise ProgramError(
                    f"{self.path} cannot be locked with flock ({error.strerror}), and DAMA_HOME "
                    "needs a file system with locks.",
                    hint="Put DAMA_HOME on a local disk, or mount it with locks.",
                ) from error
            raise
        return descriptor

    def is_held(self) -> bool:
        """Whether somebody owns the run; who asks does not get into anybody's way for long."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, *IN_ITS_PLACE):
                return False
            raise
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def exit(self) -> Mapping[str, Any] | None:
        """How the program ended; None when that is not on record."""
        return self.read("exit.json") or None

    def outcome(self) -> Mapping[str, Any] | None:
        """What became of a task in Python; None when it did not come to that."""
        return self.read("outcome.json")

    def pid(self) -> int | None:
        """The program's, while it lives; nobody who got its number later."""
        return self._living("pid", "started")

    def environment(self) -> dict[str, str]:
        """The variables that the program was started with, while it lives; empty elsewhere.

        Raises:
            OSError: They cannot be seen now.
        """
        pid = self.pid()
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            data = Path(f"/proc/{pid}/environ").read_bytes() if pid else b""
            pairs = (entry.partition(b"=") for entry in data.split(b"\0") if b"=" in entry)
            return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs}
        return {}

    def shim(self) -> int | None:
        """The shim's pid, while it lives."""
        return self._living("shim", "shim_started")

    def born(self, name: str, started: str) -> tuple[int, str] | None:
        """A process on record and its start; None for one that this boot of the host never had."""
        known = self.known("pid.json")
        pid: object = known.get(name)
        since: object = known.get(started)
        if not isinstance(pid, int) or not isinstance(since, str) or pid <= 1:
            return None
        is_of_this_boot = since.isdecimal() and known.get("boot_id") == boot_id()
        return (pid, since) if is_of_this_boot else None

    def is_of_another_boot(self) -> bool:
        """Whether its program was started on another machine, or before this one began."""
        return self.known("pid.json").get("boot_id", boot_id()) != boot_id()

    def _living(self, name: str, started: str) -> int | None:
        if (found := self.born(name, started)) is None:
            return None
        pid, since = found
        return pid if process_start(pid) == since else None

    def seconds(self, name: str, default: float = 0.0) -> float:
        """A number of what its shim was told."""
        value: object = self.known("spec.json").get(name)
        return float(value) if isinstance(value, int | float) else default

    def state(self) -> State:
        """What is the case now; changes nothing.

        Raises:
            OSError: It cannot be seen now, which says nothing of the program.
        """
        if self.is_held() or self.shim() is not None:  # whatever a program wrote as its exit
            return State.HELD
        if self.exit() is not None:
            return State.ENDED
        if (self.path / "lock").exists():
            return self._state_without_shim()
        if members_of(self.path):  # somebody removed the folder, which ends no program
            return State.HELD
        return State.LOST if self.exit() is None else State.ENDED

    def _state_without_shim(self) -> State:
        if self.pid() is not None:
            return State.UNSUPERVISED
        if not self.known("pid.json"):
            return State.UNSTARTED
        return State.LOST if self.outcome() is None else State.ENDED

    def known(self, name: str) -> dict[str, Any]:
        """A file of it that does not change once it is there, also when it was removed since.

        Raises:
            OSError: It cannot be read now.
        """
        if name not in self._known and (found := self.read(name)) is not None:
            self._known[name] = found
        return self._known.get(name, {})

    def read(self, name: str) -> dict[str, Any] | None:
        """A file of it; None when it is not there, not whole, or what a program put in its place.

        Raises:
            OSError: It cannot be read now.
        """
        try:
            found: object = decode_stored(read_regular(self.path / name, LARGEST_FILE).decode())
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
            return None
        except OSError as error:
            if error.errno in IN_ITS_PLACE:
                return None
            raise
        return found if is_dict(found) else None

    def write(self, name: str, document: object) -> None:
        """Write a file of it as a whole or not at all."""
        new = f"{self.path / name}.new"
        clear(new)
        with open(new, "xb", opener=private) as file:
            file.write(encode(document))  # programs read it, with tools of text, too
        take_place(new, f"{self.path / name}")
        self._known.pop(name, None)


def state_of(directory: RunDirectory) -> State:
    """What is the case; where that cannot be seen now, somebody is presumed to hold the run."""
    try:
        return directory.state()
    except OSError as error:
        _log.debug("%s cannot be looked at for now: %s", directory.path, error)
        return State.HELD


@dataclass(frozen=True)
class RunDirectories:
    """The directories of the runs of one database on this host.

    Attributes:
        path: The folder; named for the database, since two of them may have the same contexts.
    """

    path: Path

    def of(self, context_id: int, epoch: int) -> RunDirectory:
        """The one of a run, which need not be there."""
        return RunDirectory(self.path / str(context_id) / str(epoch))

    def of_context(self, context_id: int) -> list[RunDirectory]:
        """Those of a context, the oldest run first."""
        with suppress(FileNotFoundError):
            names = [path.name for path in (self.path / str(context_id)).iterdir()]
            epochs = sorted(int(name) for name in names if name.isdecimal())
            return [self.of(context_id, epoch) for epoch in epochs]
        return []

    def work(self, root: int) -> Path:
        """The working folder of a tree, which need not be there."""
        return self.path / WORK / str(root)

    def open(self) -> Iterator[RunDirectory]:
        """Those that are not settled."""
        with suppress(FileNotFoundError):
            for mark in sorted((self.path / OPEN).iterdir()):
                context_id, _, epoch = mark.name.partition(".")
                if context_id.isdecimal() and epoch.isdecimal():  # else it is somebody else's
                    yield self.of(int(context_id), int(epoch))
