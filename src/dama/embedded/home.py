"""The home: the folder that holds one server's data, log and locks.

All that is made in it belongs to its owner, also when root works in the home of somebody else. Two
locks are kept in it. `lock` is held by who starts or stops the server. `data/server.lock`, the
fence, is inherited by the server and all of its processes: the kernel lets go of it when the last
one has ended, so whoever holds it knows that nobody else uses the data, whatever a pid file says
and whichever PID namespace the server lives in. It is among the data, so that what removes the
lock of a living server has removed its data as well.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from dama.config.private_file import make_private, private
from dama.embedded.errors import SlowStartError, home_error

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

LOCK = "lock"
DATA = "data"
FENCE = f"{DATA}/server.lock"
POLL_SECONDS = 0.01


class Home:
    """A folder that is used by one user, in any number of processes.

    Args:
        path: Absolute; made when it is not there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def owner(self) -> int:
        """The uid that it belongs to."""
        return self.path.stat().st_uid

    @contextmanager
    def locked(self) -> Generator[None]:
        """Be the only one who starts or stops the server; waits for who is before.

        Raises:
            UnwritableHomeError: The folder cannot be made or written, now or in the block.
            DiskFullError: There is no room, now or in the block.
        """
        try:
            make_private(self.path)
            with self.open(LOCK, "a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise home_error(self.path, error) from error

    @contextmanager
    def fenced(self, seconds: float) -> Generator[int]:
        """Hold the fence; returns the descriptor for the server to inherit.

        Waits for the last processes of a server that was killed.

        Raises:
            SlowStartError: They have not ended after `seconds`.
        """
        deadline = time.monotonic() + seconds
        with self.open(FENCE, "a") as fence:
            while not _try_lock(fence, fcntl.LOCK_EX):
                if time.monotonic() > deadline:
                    raise SlowStartError(
                        f"Processes of a former server still use {self.path / DATA}.",
                        f"Find them with: fuser {self.path / FENCE}",
                    )
                time.sleep(POLL_SECONDS)
            yield fence.fileno()

    def is_fenced(self) -> bool:
        """Whether a process of a server is alive, be it in another PID namespace."""
        if not (self.path / FENCE).exists():
            return False
        with self.open(FENCE, "a") as fence:
            return not _try_lock(fence, fcntl.LOCK_SH)

    def open(self, name: str, mode: str) -> IO[Any]:
        """Open a file of the home; a new one belongs to the home's owner."""
        file = open(self.path / name, mode, opener=private)  # noqa: SIM115 - its caller closes it
        if os.getuid() == 0 and self.owner != 0:
            os.fchown(file.fileno(), self.owner, -1)
        return file


def _try_lock(file: IO[Any], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
