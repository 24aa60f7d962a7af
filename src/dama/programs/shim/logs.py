"""The logs of the program: its output and its errors, no larger than their cap."""

from __future__ import annotations

import os
import sys

from .files import LOG, private, restore, say

TYPE_CHECKING = False  # as in typing, which takes memory
if TYPE_CHECKING:
    from ctypes import CDLL

NAMES = ("stdout", "stderr")
KEEP_SIZE_PUNCH_HOLE = 3
TRIM_BYTES = 1 << 20


def libc() -> CDLL | None:
    """The C library, for what Python has no call for; None where it is not Linux."""
    if sys.platform != "linux":
        return None
    import ctypes

    library = ctypes.CDLL(None)
    library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return library


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

    def trim(self) -> None:
        """Give the disk back what is older than the cap; the places of the rest do not change.

        Whole blocks only: of a part of one the kernel would leave zeros.
        """
        for number, descriptor in enumerate(self.descriptors):
            stat = os.fstat(descriptor)
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
