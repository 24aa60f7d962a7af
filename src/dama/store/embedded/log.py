"""The server's log: one file, kept below a size by who starts the server or asks for it."""

from __future__ import annotations

import shutil
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from dama.store.embedded.home import Home

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

    def trim(self) -> None:
        """Move what there is to `postgres.log.1`; the server goes on writing into the same file."""
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
