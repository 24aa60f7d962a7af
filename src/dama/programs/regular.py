"""Regular files: what else a program puts in their place is neither waited for nor read."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

PART = 256 * 1024


def open_regular(path: Path) -> int:
    """A descriptor for reading.

    Raises:
        OSError: There is no regular file, or it cannot be read now.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise _not_regular(path)


def read_regular(path: Path, limit: int) -> bytes:
    """What is in a file.

    Raises:
        OSError: There is no regular file, or it cannot be read now.
        ValueError: It has more bytes than the limit.
    """
    descriptor = open_regular(path)
    text = bytearray()
    try:
        size = os.fstat(descriptor).st_size
        while part := os.read(descriptor, min(limit + 1 - len(text), PART)):
            text += part
    except BlockingIOError:  # as /proc/kmsg, which calls itself regular and waits for more
        raise _not_regular(path) from None
    finally:
        os.close(descriptor)
    if len(text) > limit:
        raise ValueError(f"It has {size:,} bytes, and {limit:,} are kept.")
    return bytes(text)


def _not_regular(path: Path) -> OSError:
    return OSError(errno.EINVAL, "It is not a regular file", str(path))
