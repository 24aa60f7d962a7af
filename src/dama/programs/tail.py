"""Logs of programs as a person would see them: a progress bar is its last state.

Whatever a program wrote is read in parts, so a log of any size costs no memory. Secrets that stand
in it still are read as stars, also those that two parts share.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dama.domain.secrets import NONE
from dama.programs.regular import open_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dama.domain.secrets import Secrets

PART = 64 * 1024
LONGEST_LINE = 1024 * 1024
TAIL_BYTES = 64 * 1024
LONGEST_SHOWN = 500


def collapsed(line: bytes) -> str:
    """What is left of a line when each carriage return went back to its begin."""
    return line.rstrip(b"\r").rpartition(b"\r")[2].decode(errors="replace")


def tail(path: Path, count: int) -> list[str]:
    """The last lines of a file that are not empty, each cut where it is long."""
    try:
        size = path.stat().st_size
        data = b"".join(read_range(path, max(size - TAIL_BYTES, 0), size))
    except OSError:
        return []
    lines = [collapsed(line)[:LONGEST_SHOWN] for line in data.split(b"\n")]
    return [line for line in lines if line.strip()][-count:]


def lines(path: Path, secrets: Secrets = NONE) -> Iterator[str]:
    """The lines of a file, each in its last state; one beyond 1 MiB comes in parts."""
    rest = b""
    for data in read_range(path, 0, path.stat().st_size, secrets) if path.exists() else ():
        *whole, rest = (rest + data).split(b"\n")
        yield from map(collapsed, whole)
        if len(rest) > LONGEST_LINE:
            yield collapsed(rest)
            rest = b""
    if rest:
        yield collapsed(rest)


def read_range(path: Path, begin: int, end: int, secrets: Secrets = NONE) -> Iterator[bytes]:
    """The bytes of a range, without those that the cap has taken.

    Args:
        path: The file.
        begin: Of the first byte.
        end: Behind the last.
        secrets: What is read as stars.

    Raises:
        OSError: The file cannot be read.
    """
    return (data for _, data in _parts(path, begin, end, secrets))


def _parts(path: Path, begin: int, end: int, secrets: Secrets) -> Iterator[tuple[int, bytes]]:
    """Places in a range and the bytes there; the cap may take some while they are read."""
    with os.fdopen(open_regular(path), "rb") as file:
        at = _begin(file.fileno(), begin)
        while at < end and (data := _masked(file.fileno(), at, min(PART, end - at), secrets)):
            if (left := _begin(file.fileno(), at)) > at:  # these are zeros
                at = left
            else:
                yield at, data
                at += len(data)


def _masked(descriptor: int, at: int, count: int, secrets: Secrets) -> bytes:
    """The bytes at a place; stars for secrets, also for the part of one that goes beyond them."""
    before = min(secrets.longest, at)
    data = os.pread(descriptor, before + count + secrets.longest, at - before)
    return secrets.mask(data)[before : before + count]


def first_byte(path: Path) -> int:
    """Where the log begins: 0 until the cap has taken something."""
    with os.fdopen(open_regular(path), "rb") as file:
        return _begin(file.fileno(), 0)


def _begin(descriptor: int, at: int) -> int:
    """Where a whole line begins, behind what the cap has taken."""
    data = data_at(descriptor, at)
    if data == at:
        return at
    end = os.pread(descriptor, PART, data).find(b"\n")
    return data + end + 1


def data_at(descriptor: int, at: int) -> int:
    """Where the data continues at or after a place; the oldest bytes may be a hole."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError:  # behind the end, or a file system without holes
        return at


def place_of_last_lines(path: Path, count: int) -> int:
    """The offset where the last lines begin."""
    with os.fdopen(open_regular(path), "rb") as file:
        at = size = file.seek(0, os.SEEK_END)
        begin = _begin(file.fileno(), 0)
        wanted = count + 1  # the end of the line before them
        while at > begin:
            part = max(at - PART, begin)
            data = os.pread(file.fileno(), at - part, part)
            if at == size and data and not data.endswith(b"\n"):
                wanted -= 1  # the last one has no end yet
            found = data.count(b"\n")
            if found >= wanted:
                place = len(data)
                for _ in range(wanted):
                    place = data.rindex(b"\n", 0, place)
                return part + place + 1
            wanted -= found
            at = part
        return begin


class Screen:
    """Lines as they come, in parts of any size.

    Args:
        secrets: What is shown as stars, also where it came in several parts.
    """

    def __init__(self, secrets: Secrets = NONE) -> None:
        self._secrets = secrets
        self._kept = b""

    def show(self, data: bytes) -> Iterator[str]:
        """The lines that end in this part."""
        *lines, rest = (self._kept + data).split(b"\n")
        for line in lines:
            yield self._shown(line)
        # Of a progress bar only what follows its last return is of use.
        place = rest.rstrip(b"\r").rfind(b"\r")
        self._kept = rest[place + 1 :]
        if len(self._kept) > LONGEST_LINE:
            masked = self._secrets.mask(self._kept)
            place = max(len(masked) - self._secrets.longest, PART)  # one may have begun behind it
            yield collapsed(masked[:place])
            self._kept = masked[place:]

    def take_back(self) -> int:
        """Forget the last bytes that a secret may begin in; returns how many: show them again."""
        count = min(self._secrets.longest, len(self._kept))
        self._kept = self._kept[: len(self._kept) - count]
        return count

    def rest(self) -> str:
        """The last line, which has no end."""
        kept, self._kept = self._kept, b""
        return self._shown(kept)

    def _shown(self, line: bytes) -> str:
        return collapsed(self._secrets.mask(line))


class Growing:
    """A log that is read while it grows, is trimmed and is begun again.

    Args:
        path: The file.
        at: Where to begin.
        on_gap: Called with a place and the number of bytes there that the cap took before they were
            read.
        secrets: What is shown as stars.
    """

    def __init__(
        self,
        path: Path,
        at: int = 0,
        on_gap: Callable[[int, int], None] | None = None,
        secrets: Secrets = NONE,
    ) -> None:
        self._path = path
        self._at = at
        self._on_gap = on_gap
        self._secrets = secrets
        self._screen = Screen(secrets)

    def news(self) -> Iterator[str]:
        """The lines that have ended since the last look.

        Raises:
            OSError: The file cannot be read.
        """
        size = self._path.stat().st_size
        if size < self._at:
            self._at, self._screen = 0, Screen(self._secrets)
        self._at -= self._screen.take_back()  # they may have been struck out since they were read
        for place, data in _parts(self._path, self._at, size, self._secrets):
            if place > self._at:  # the line that was begun has no end
                if self._on_gap is not None:
                    self._on_gap(self._at, place - self._at)
                self._screen = Screen(self._secrets)
            self._at = place + len(data)
            yield from self._screen.show(data)

    def rest(self) -> str:
        """The last line, which has no end."""
        return self._screen.rest()
