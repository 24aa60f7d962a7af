"""Private files: what dama writes is for its user only, whatever the umask of the starter is.

The umask of the process stays as it is: programs and tasks inherit it, and their files have the
modes that their user expects.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from dama.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path


PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600
# What file systems without hard links say, such as those of some network shares.
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
# How file systems refuse an fsync of a folder, such as shared folders of virtual machines.
NO_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)


def make_private(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for nobody else."""
    if not folder.is_dir():
        make_private(folder.parent)
        folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def private(path: str, flags: int) -> int:
    """Open a file, for nobody else when it is new: the `opener` of `open`."""
    return os.open(path, flags | os.O_CLOEXEC, PRIVATE_FILE)


class PrivateFileError(UsageError):
    """A file that must be private is not: somebody else may have read it or put it there."""

    code = "PRIVATE_FILE"


def read_private(path: Path) -> bytes | None:
    """Read a private file; None when it is not there.

    Raises:
        PrivateFileError: It is a link, belongs to another user, or others may read or write it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PrivateFileError(
            f"{path} cannot be read: {error.strerror}.", "Move it away; a new one is made."
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise PrivateFileError(f"{path} is not a file.", "Move it away; a new one is made.")
        if found.st_uid != os.geteuid():
            raise PrivateFileError(
                f"{path} belongs to the user {found.st_uid}, not to {os.geteuid()}, who reads it.",
                "Give each user a DAMA_HOME of their own.",
            )
        if found.st_mode & 0o077:
            raise PrivateFileError(
                f"{path} has the mode {stat.S_IMODE(found.st_mode):04o}: others may know it.",
                "Remove it, so that a new one is made; 0600 is expected.",
            )
        return file.read()


def write_private(path: Path, content: bytes, *, replace: bool) -> bool:
    """Write a private file as a whole; False when one is there and is not to be replaced."""
    make_private(path.parent)
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask is
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        if replace:
            fresh.replace(path)
            return True
        try:
            path.hardlink_to(fresh)  # never over another one, and never half of it
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            return _written_here(path, content)
        return True
    finally:
        with suppress(FileNotFoundError):
            fresh.unlink()


def _written_here(path: Path, content: bytes) -> bool:
    """Where a file has one name only, who reads it at this moment may see it empty."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(content)
    return True


def keep_on_disk(path: Path) -> None:
    """Let what was written of a file, or renamed in a folder, outlast a loss of power.

    A file system that has no such thing for folders keeps them in its own way.

    Raises:
        OSError: The disk does not take it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FSYNC or not path.is_dir():
            raise
    finally:
        os.close(descriptor)
