"""The server's log: one file, kept below a size by who starts the server or asks for it."""

from __future__ import annotations

import os
import shutil
import sys
from datetime import UTC, datetime
from itertools import takewhile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dama.embedded.home import Home

NAME = "postgres.log"
LIMIT = 10_000_000
TAIL = 20_000


class ServerLog:
    """The log of one home."""

    def __init__(self, home: Home) -> None:
        self._home = home

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._home.path / NAME

    @property
    def is_large(self) -> bool:
        """Whether it should be trimmed."""
        return self.path.exists() and self.path.stat().st_size > LIMIT

    def opened(self) -> IO[Any]:
        """The file, for the server to write at its end, wherever that is by then."""
        return self._home.open(NAME, "ab")

    def note(self, text: str) -> None:
        """Write what was done to the server, and who did it, among the server's own lines."""
        now = datetime.now(UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")
        with self.opened() as log:
            log.write(f"{now} UTC [{os.getpid()}] DAMA:  {text} by {_who()}\n".encode())

    def trim(self) -> None:
        """Move what there is to `postgres.log.1`; the server keeps writing into the same file."""
        with self._home.open(f"{NAME}.1", "wb") as kept, self.path.open("rb") as full:
            shutil.copyfileobj(full, kept)
        with self.path.open("r+b") as log:
            log.truncate(0)

    def tail(self, place: int) -> str:
        """What was written since a place, or the last of it."""
        with self.path.open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(place, end - TAIL) if place <= end else 0)
            return log.read().decode(errors="replace")


def _who() -> str:
    """This process; of its command only the verbs, since an argument may be a secret."""
    verbs = takewhile(str.isalpha, sys.argv[1:3])
    command = " ".join([Path(sys.argv[0]).name or "python", *verbs])
    return f"pid {os.getpid()} ({command}), uid {os.getuid()}, child of pid {os.getppid()}"
