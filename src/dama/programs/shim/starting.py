"""Starting: how a child of the shim becomes the program, and why it cannot."""

from __future__ import annotations

import errno
import os
import resource
import signal

TYPE_CHECKING = False  # as in typing, which takes memory
if TYPE_CHECKING:
    from typing import Any

OOM_SCORE = 500  # the kernel takes the program before its shim


def close_from(first: int) -> None:
    """Close all descriptors from one on; the limit may be lower than some that came before it."""
    try:
        end = max(map(int, os.listdir("/dev/fd"))) + 1
    except OSError:
        end = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    os.closerange(first, end)


def default_signals() -> None:
    """None ignored or blocked, whatever the starter of the worker did with them."""
    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):  # KILL and STOP
            pass
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def enter(folder: str) -> None:
    """Change to the folder that it is started in."""
    try:
        os.chdir(folder)
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "its folder is missing", folder) from None


def execute(argv: list[str], environment: dict[str, str]) -> None:
    """Become the program; a script that names no interpreter is one for sh, as in a shell."""
    refused: OSError | None = None
    missing = ""
    for path in found_by(argv[0], environment.get("PATH", os.defpath)):
        try:
            os.execve(path, argv, environment)
        except (FileNotFoundError, NotADirectoryError):
            missing = missing or missing_for(path)
        except PermissionError as error:  # another folder may have one that can be started
            refused = PermissionError(error.errno, forbidden(path, str(error.strerror)), path)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            os.execve("/bin/sh", ["/bin/sh", path, *argv[1:]], environment)
    words = missing or os.strerror(errno.ENOENT)
    raise refused or FileNotFoundError(errno.ENOENT, words, argv[0])


def take_limits(spec: dict[str, Any]) -> None:
    """Niceness, memory, descriptors, and its place in the kernel's list."""
    if spec.get("files"):  # the worker has raised its own; select() knows 1,024
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (spec["files"], hard))
    if spec.get("nice"):
        os.nice(spec["nice"])
    if spec.get("memory"):
        resource.setrlimit(resource.RLIMIT_AS, (spec["memory"],) * 2)
    try:
        with open("/proc/self/oom_score_adj", "r+") as file:
            score = int(file.read())
            file.seek(0)
            file.write(str(min(score + OOM_SCORE, 1000)))
    except OSError:
        pass


def forbidden(path: str, words: str) -> str:
    """Why a file may not be started, as far as can be told."""
    if os.path.isdir(path):
        return f"{words}, for it is a folder"
    if not os.access(path, os.X_OK):
        return f"{words}, for the file is not executable (chmod +x makes it so)"
    return f"{words}; it may be its interpreter that is not executable, or its file system"


def missing_for(path: str) -> str:
    """What a file that is there needs to be started and does not find; empty when it is not there.

    The kernel says only that something does not exist, as if it were the file itself.
    """
    try:
        with open(path, "rb") as file:
            first = file.read(256)
    except OSError:
        return ""
    if not first.startswith(b"#!"):
        return "the file is there, but not the loader it was built for"
    line = first[2:].partition(b"\n")[0]
    words = line.split()
    name = words[0].decode(errors="replace") if words else ""
    if line.endswith(b"\r"):
        return (
            f"the file is there, but its first line ends with a carriage return, so that the "
            f"interpreter {name} is not found. Convert its lines with sed -i 's/\\r$//'"
        )
    return f"the file is there, but its interpreter {name} is missing"


def found_by(name: str, path: str) -> list[str]:
    """Where a program of this name may be."""
    return [name] if "/" in name else [os.path.join(part, name) for part in path.split(":")]
