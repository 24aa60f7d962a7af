"""The lines of a growing file, read with bounded memory whatever a program writes into it."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dama.shapes import as_object

if TYPE_CHECKING:
    from pathlib import Path

CHUNK = 256 * 1024
# Bytes: a payload of 1 MiB and its meta, also where a writer escapes all but ASCII (\u00fc for ü).
LONGEST = 4 * 1024 * 1024
REMEMBERED = 64
STAR = ord("*")
HEX = re.compile("([0-9a-f]{2})*")
UNREADABLE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO)  # gone, a link, a socket
TRUNCATED = (
    "The file {name} was begun again (truncated), as `> /dev/stdout` and `tee /dev/stderr` do:"
    " what was in it before is lost, and some of its events may be. Append to it: `>&2`, `tee -a`."
)


@dataclass(frozen=True)
class Place:
    """How far a file was read.

    Attributes:
        offset: Of the next byte.
        is_within: Whether it lies within a line of which nothing is wanted.
        generation: How often the file was begun again.
        before: The last bytes before the offset, in hexadecimal: where they are others, the file
            was begun again, whatever its size is now.
    """

    offset: int = 0
    is_within: bool = False
    generation: int = 0
    before: str = ""

    @classmethod
    def of(cls, document: object) -> Place:
        """What is on record; the beginning where that is none, and the report comes again."""
        found = as_object(document)
        kinds = {"offset": int, "is_within": bool, "generation": int, "before": str}
        if any(type(value) is not kinds.get(name) for name, value in found.items()):
            return cls()
        place = cls(**found)
        is_place = min(place.offset, place.generation) >= 0 and HEX.fullmatch(place.before)
        return place if is_place else cls()


@dataclass(frozen=True)
class Line:
    """A line that is wanted, or what is wrong with a part of the file.

    Attributes:
        offset: Of its first byte.
        text: Without the mark and the end of the line.
        problem: Why there is no text; empty when there is.
    """

    offset: int
    text: bytes
    problem: str = ""


class LineReader:
    """Reads the lines that begin with a mark.

    Args:
        path: The file.
        mark: How they begin; empty for all lines.
        place: Where to continue.
        is_held: Whether the program has it open, so that another file in its place is none of its.

    Attributes:
        place: Behind the last line that was given.
    """

    def __init__(self, path: Path, mark: bytes, place: Place, *, is_held: bool = True) -> None:
        self._path = path
        self._mark = mark
        self._is_held = is_held
        self._kept = b""  # the beginning of a line that is wanted, and begins at the place
        self._is_told = False
        self._inode: tuple[int, int] | None = None
        self.place: Place = place

    def read(self, *, is_last: bool = False) -> list[Line] | None:
        """The lines of the next part; None at the end of the file.

        Args:
            is_last: Nothing comes any more: a line without its end is one, too.
        """
        chunk, lost = self._chunk(is_last=is_last)
        if lost is not None:
            return [lost]
        if chunk:
            return self._split(chunk)
        kept, self._kept = (self._kept, b"") if is_last else (b"", self._kept)
        if not kept:
            return None
        offset = self.place.offset
        self.place = replace(self.place, offset=offset + len(kept), before=self._before(kept))
        text = kept.removeprefix(self._mark)
        return [Line(offset, text)] if kept.startswith(self._mark) else []

    def look_again(self) -> None:
        """Take the bytes before the place as they are now, after secrets were struck out."""
        if (descriptor := opened(self._path)) is not None:
            try:
                self.place = replace(self.place, before=before(descriptor, self.place.offset))
            finally:
                os.close(descriptor)

    def _chunk(self, *, is_last: bool) -> tuple[bytes, Line | None]:
        """The next bytes; or what happened to them."""
        descriptor = opened(self._path)
        if descriptor is None:
            return b"", self._not_regular(is_last=is_last) if os.path.lexists(self._path) else None
        try:
            found = os.fstat(descriptor)
            inode = (found.st_dev, found.st_ino)
            if not stat.S_ISREG(found.st_mode):
                return b"", self._not_regular(is_last=is_last)
            if self._is_held and not is_last and self._inode not in (None, inode):
                return b"", None  # not what the program writes, which its shim puts back at the end
            self._inode = inode
            return self._chunk_of(descriptor, found.st_size)
        finally:
            os.close(descriptor)

    def _chunk_of(self, descriptor: int, size: int) -> tuple[bytes, Line | None]:
        at = self.place.offset + len(self._kept)
        if size < at or is_other(descriptor, self.place):
            self._kept = b""
            self.place = Place(generation=self.place.generation + 1)
            return b"", Line(0, b"", TRUNCATED.format(name=self._path.name))
        if not self.place.before:
            self.place = replace(self.place, before=before(descriptor, self.place.offset))
        if size == at:
            return b"", None
        begin = _data_at(descriptor, at, size)
        if begin > at:
            self._kept = b""
            self.place = replace(self.place, offset=begin, is_within=True, before="")
            what = f"{begin - at} bytes went beyond the cap before they were read."
            return b"", Line(at, b"", what)
        return os.pread(descriptor, CHUNK, at), None

    def _not_regular(self, *, is_last: bool) -> Line | None:
        if self._is_told or (self._is_held and not is_last):  # its shim puts the log back
            return None
        self._is_told = True
        what = f"{self._path.name} is not a regular file, so nothing is read from it."
        return Line(self.place.offset, b"", what)

    def _split(self, chunk: bytes) -> list[Line]:
        data, place = self._kept + chunk, self.place
        lines = self._lines(data)
        read = data[: self.place.offset - place.offset]
        self.place = replace(self.place, before=self._before(read))
        return lines

    def _before(self, read: bytes) -> str:
        """The last bytes before the place, once these were read."""
        return (bytes.fromhex(self.place.before) + read[-REMEMBERED:])[-REMEMBERED:].hex()

    def _lines(self, data: bytes) -> list[Line]:
        base = self.place.offset
        begin = 0
        if self.place.is_within:
            begin = data.find(b"\n") + 1
            if not begin:
                return self._stop(base + len(data), b"", is_within=True)
        lines: list[Line] = []
        while begin < len(data):
            if data.startswith(self._mark, begin):
                end = data.find(b"\n", begin)
                if end < 0:
                    break
                lines.append(self._line(base + begin, data[begin + len(self._mark) : end]))
                begin = end + 1
            else:
                following = data.find(b"\n" + self._mark, begin)
                if following < 0:
                    begin = max(data.rfind(b"\n") + 1, begin)
                    break
                begin = following + 1
        rest = data[begin:]
        if not rest or self._may_be_wanted(rest):
            return lines + self._keep(base + begin, rest)
        return lines + self._stop(base + len(data), b"", is_within=True)

    def _line(self, offset: int, text: bytes) -> Line:
        if len(text) > LONGEST:
            return _too_long(offset)
        return Line(offset, text)

    def _may_be_wanted(self, rest: bytes) -> bool:
        return rest.startswith(self._mark) or self._mark.startswith(rest)

    def _keep(self, offset: int, rest: bytes) -> list[Line]:
        if len(rest) <= LONGEST:
            return self._stop(offset, rest, is_within=False)
        self._stop(offset + len(rest), b"", is_within=True)
        return [_too_long(offset)]

    def _stop(self, offset: int, kept: bytes, *, is_within: bool) -> list[Line]:
        self._kept = kept
        self.place = replace(self.place, offset=offset, is_within=is_within)
        return []


def opened(path: Path) -> int | None:
    """A descriptor for reading, which waits for nobody; None when there is no such plain file.

    Raises:
        OSError: It cannot be read now.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in UNREADABLE:
            return None
        raise


def before(descriptor: int, at: int) -> str:
    """The last bytes before a place, in hexadecimal."""
    return os.pread(descriptor, min(REMEMBERED, at), max(at - REMEMBERED, 0)).hex()


def is_other(descriptor: int, place: Place) -> bool:
    """Whether what was read is not there any more.

    What the cap has taken reads as zeros, and stars may stand where a secret was struck out.
    """
    found = bytes.fromhex(before(descriptor, place.offset)).lstrip(b"\0")
    known = bytes.fromhex(place.before)
    if not known or known.endswith(found):
        return False
    pairs = zip(reversed(found), reversed(known), strict=False)
    return len(found) > len(known) or any(now not in (then, STAR) for now, then in pairs)


def _too_long(offset: int) -> Line:
    return Line(offset, b"", f"A line of more than {LONGEST:,} bytes was left out.")


def _data_at(descriptor: int, at: int, size: int) -> int:
    """Where the data continues; the oldest bytes of a large log were given back to the disk."""
    try:
        return os.lseek(descriptor, at, os.SEEK_DATA)
    except OSError:  # nothing but a hole, or a file system that knows of none
        return at if not _is_hole(descriptor, at) else size


def _is_hole(descriptor: int, at: int) -> bool:
    try:
        return os.lseek(descriptor, at, os.SEEK_HOLE) == at
    except OSError:
        return False
