"""Regular files: what else a program puts in their place is neither waited for nor read."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def open_regular(path: Path) -> int:
    """A descriptor for reading.

    Raises:
        OSError: There is no regular file, or it cannot be read now.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "It is not a regular file", str(path))


def read_regular(path: Path, limit: int) -> bytes:
    """What is in a file.

    Raises:
        OSError: There is no regular file, or it cannot be read now.
        ValueError: It has more bytes than the limit.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        size = os.fstat(file.fileno()).st_size
        text = file.read(limit + 1)
    if len(text) > limit:
        raise ValueError(f"It has {size:,} bytes, and {limit:,} are kept.")
    return text
