"""The files of the run: what is written is there as a whole, and where it is looked for."""

from __future__ import annotations

import errno
import json
import os
from stat import S_IRWXU

CHUNK = 65536
LOG = os.O_WRONLY | os.O_APPEND | os.O_CREAT
# How file systems without an fsync of folders (shared folders of virtual machines) refuse one.
NO_FSYNC = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF)


def write_json(name: str, document: object) -> None:
    """Write a file as a whole or not at all, durably."""
    clear(f"{name}.new")
    with open(f"{name}.new", "x", opener=private) as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    take_place(f"{name}.new", name)
    folder = os.open(".", os.O_RDONLY)
    try:
        os.fsync(folder)
    except OSError as problem:
        if problem.errno not in NO_FSYNC:
            raise
    finally:
        os.close(folder)


def clear(path: str) -> None:
    """Remove what a program has put there: a FIFO would be waited for, a link written behind."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except (IsADirectoryError, PermissionError):  # the latter as macOS says it
        put_aside(path)


def take_place(new: str, name: str) -> None:
    """Give a file its name, whatever a program has put there."""
    try:
        os.rename(new, name)
    except IsADirectoryError:
        put_aside(name)
        os.rename(new, name)


def put_aside(path: str) -> None:
    """Let something have another name: what is in a folder is not removed."""
    other = f"{path}.other"
    while os.path.lexists(other):  # a folder of this name would be in the way for good
        other += ".other"
    os.rename(path, other)


def private(path: str, flags: int) -> int:
    """Open for nobody else."""
    return os.open(path, flags, 0o600)


def say(text: str) -> None:
    """For the log of the shim, which may be on a full disk."""
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:
        pass


def is_away(folder: str) -> bool:
    """Whether somebody removed, moved or replaced the folder of the run."""
    try:
        return not os.path.samestat(os.stat(folder), os.stat("."))
    except FileNotFoundError:
        return True


def let_in(folder: str) -> bool:
    """Give the shim its folder back, if the program has closed it (`chmod 000`); whether it had."""
    try:
        if os.stat(folder).st_mode & S_IRWXU != S_IRWXU:
            os.chmod(folder, S_IRWXU)
            return True
    except OSError:
        pass
    return False


def come_back(folder: str) -> None:
    """Be where the files of the run are looked for."""
    umask = os.umask(0o077)
    os.makedirs(folder, exist_ok=True)
    os.umask(umask)
    os.chdir(folder)


def restore(name: str, log: int) -> None:
    """Put a log where it is looked for, all or nothing, if somebody removed or replaced it."""
    try:
        if os.path.samestat(os.lstat(name), os.fstat(log)):
            return
        put_aside(name)
    except FileNotFoundError:
        pass
    new = f"{name}.new"
    clear(new)
    if not linked(log, new):
        copied(log, new)
    os.rename(new, name)
    say(f"{name} or its folder was removed while the program ran, and is there again")


def linked(log: int, new: str) -> bool:
    """Give a log that has a name elsewhere a second one; what is struck out of it is so in both."""
    folder = os.open("/proc/self/fd", os.O_RDONLY)
    try:
        os.link(str(log), new, src_dir_fd=folder)  # by a folder, else it would link the link
    except OSError:  # it has no name any more, or is on another disk
        return False
    finally:
        os.close(folder)
    return True


def copied(log: int, new: str) -> None:
    """Write a log again, and continue with that; what the cap has taken stays a hole."""
    reader = os.open(f"/proc/self/fd/{log}", os.O_RDONLY)
    copy = private(new, LOG)
    try:
        try:
            os.ftruncate(copy, os.lseek(reader, 0, os.SEEK_DATA))
        except OSError:  # it is empty, or this file system knows of no holes
            os.lseek(reader, 0, os.SEEK_SET)
        while data := os.read(reader, CHUNK):
            while data:
                data = data[os.write(copy, data) :]
        os.dup2(copy, log, inheritable=False)
    finally:
        os.close(copy)
        os.close(reader)
