"""The logs of the program: its output and its errors, no larger than their cap.

The program, or whoever frees a disk, can truncate them. To know that afterwards, each has a block
on the disk far behind its end, which a truncation frees (docs/decisions/0043). It changes neither
the size of a log nor what is read from it.
"""

from __future__ import annotations

import fcntl
import os
import sys

from .files import LOG, private, restore, say

TYPE_CHECKING = False  # as in typing, which takes memory
if TYPE_CHECKING:
    from collections.abc import Callable
    from ctypes import CDLL

NAMES = ("stdout", "stderr")
KEEP_SIZE, KEEP_SIZE_PUNCH_HOLE = 1, 3
TRIM_BYTES = 1 << 20
RESERVED_AT = (1 << 40) + (1 << 30)
EXTENTS = 0xC020660B  # FS_IOC_FIEMAP
TMPFS = 0x01021994
PAGE, BLOCK = 4096, 512


def libc() -> CDLL | None:
    """The C library, for what Python has no call for; None where it is not Linux."""
    if sys.platform != "linux":
        return None
    import ctypes

    library = ctypes.CDLL(None)
    library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return library


def is_tmpfs(descriptor: int, library: CDLL) -> bool:
    """Whether a file is in memory."""
    import ctypes

    found = (ctypes.c_long * 32)()
    return library.fstatfs(descriptor, found) == 0 and found[0] == TMPFS


def is_reserved(descriptor: int) -> bool:
    """Whether a file has its block behind the end.

    Raises:
        OSError: This file system does not say what is behind the end.
    """
    asked = RESERVED_AT.to_bytes(8, sys.byteorder) + (1).to_bytes(8, sys.byteorder) + bytes(16)
    answer = fcntl.ioctl(descriptor, EXTENTS, asked)
    return int.from_bytes(answer[20:24], sys.byteorder) > 0


def has_more(descriptor: int) -> bool:
    """Whether a file in memory has more pages than its data take."""
    begin = end = pages = 0
    try:
        while True:
            begin = os.lseek(descriptor, end, os.SEEK_DATA)
            end = os.lseek(descriptor, begin, os.SEEK_HOLE)
            pages += -(-end // PAGE) - begin // PAGE
    except OSError:  # behind the last of it
        return os.fstat(descriptor).st_blocks * BLOCK > pages * PAGE


class Logs:
    """Both of them, open for appending.

    Args:
        cap: Bytes that are kept of each.
        library: Gives the rest back to the disk.
    """

    def __init__(self, cap: int, library: CDLL | None) -> None:
        self.descriptors = [private(name, LOG) for name in NAMES]
        self._cap = cap
        self._library = library
        self._trimmed = [0, 0]
        self._reserved = {
            descriptor: look
            for descriptor in self.descriptors
            if (look := self._reserve(descriptor)) is not None
        }

    def _reserve(self, descriptor: int) -> Callable[[int], bool] | None:
        """Give a log its block; return what tells whether it is there, None where nothing can."""
        if self._library is None:
            return None
        look = has_more if is_tmpfs(descriptor, self._library) else is_reserved
        try:
            look(descriptor)  # asked first: who does not answer may take the rest for data
            self._library.fallocate(descriptor, KEEP_SIZE, RESERVED_AT, 1)
            return look if look(descriptor) else None
        except OSError:
            return None

    def sizes(self) -> list[int]:
        """How long they are; nothing of a disk that is gone."""
        try:
            return [os.fstat(descriptor).st_size for descriptor in self.descriptors]
        except OSError:
            return []

    def truncated(self) -> list[str]:
        """The logs that somebody truncated, as far as the file system can tell."""
        found: list[str] = []
        for name, descriptor in zip(NAMES, self.descriptors, strict=True):
            try:
                if descriptor in self._reserved and not self._reserved[descriptor](descriptor):
                    found.append(name)
                    say(f"{name} was truncated while the program ran")
            except OSError:  # of a disk that failed meanwhile
                pass
        return found

    def release(self) -> None:
        """Give the blocks back, when nobody writes any more."""
        for descriptor in self._reserved:
            try:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size)
            except OSError:
                pass
        self._reserved.clear()

    def trim(self) -> None:
        """Give the disk back what is older than the cap; the places of the rest do not change.

        Whole blocks only: of a part of one the kernel would leave zeros.
        """
        for number, descriptor in enumerate(self.descriptors):
            try:
                stat = os.fstat(descriptor)
            except OSError:  # of a disk that is gone, as a server of files may be
                continue
            excess = stat.st_size - self._cap
            if excess < self._trimmed[number]:  # it was truncated
                self._trimmed[number] = max(excess, 0)
            if excess < self._trimmed[number] + TRIM_BYTES or self._library is None:
                continue
            self._trimmed[number] = excess
            length = excess - excess % max(stat.st_blksize, 4096)
            if self._library.fallocate(descriptor, KEEP_SIZE_PUNCH_HOLE, 0, length) < 0:
                self._trimmed[number] = 1 << 62
                say("this file system keeps all of a log, whatever the cap is")

    def restore(self) -> None:
        """Put them where they are looked for."""
        for name, log in zip(NAMES, self.descriptors, strict=True):
            restore(name, log)
