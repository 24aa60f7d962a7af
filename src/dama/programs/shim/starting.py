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
    except NotADirectoryError:
        raise NotADirectoryError(errno.ENOTDIR, "its folder is a file", folder) from None
    except PermissionError:
        words = "its folder may not be entered by the user of the worker"
        raise PermissionError(errno.EACCES, words, folder) from None


def execute(argv: list[str], environment: dict[str, str]) -> None:
    """Become the program; a script that names no interpreter is one for sh, as in a shell."""
    refused: OSError | None = None
    missing = ""
    search = environment.get("PATH", os.defpath)
    for path in found_by(argv[0], search):
        if words := not_found_by_env(path, search):
            missing = missing or words
            continue
        try:
            os.execve(path, argv, environment)
        except (FileNotFoundError, NotADirectoryError):
            missing = missing or missing_for(path)
        except PermissionError as error:  # another folder may have one that can be started
            refused = PermissionError(error.errno, forbidden(path, str(error.strerror)), path)
        except OSError as error:
            if error.errno != errno.ENOEXEC:
                raise
            if words := no_script(path):
                raise OSError(errno.ENOEXEC, words, path) from None
            os.execve("/bin/sh", ["/bin/sh", path, *argv[1:]], environment)
    words = missing or absent(argv[0], search)
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


def absent(name: str, search: str) -> str:
    """Why nothing of a name is found, and what may have been meant."""
    if "/" in name:
        return os.strerror(errno.ENOENT)
    words = f"it is not in PATH ({search})"
    return f"{words}; for the file beside it write ./{name}" if os.path.isfile(name) else words


def missing_for(path: str) -> str:
    """What a file that is there needs to be started and does not find; empty when it is not there.

    The kernel says only that something does not exist, as if it were the file itself.
    """
    first = beginning(path)
    if first is None:
        return (
            f"it is a link to {os.readlink(path)}, which is missing" if os.path.islink(path) else ""
        )
    if not first.startswith(b"#!"):
        return "the file is there, but not the loader it was built for"
    words, line = interpreter(first)
    name = words[0] if words else ""
    if line.endswith(b"\r"):
        return of_other_systems(name)
    return f"the file is there, but its interpreter {name} is missing"


def not_found_by_env(path: str, search: str) -> str:
    """Why `#!/usr/bin/env NAME` finds no interpreter, of which env tells only the log."""
    words, line = interpreter(beginning(path) or b"")
    if not words or os.path.basename(words[0]) != "env" or not os.path.exists(words[0]):
        return ""
    # Other options of env may name a PATH of their own.
    named = [word for word in words[1:] if word not in {"-S", "--split-string"}]
    if not named or named[0].startswith("-") or "=" in named[0]:
        return ""
    if any(os.access(each, os.X_OK) for each in found_by(named[0], search)):
        return of_other_systems(named[0]) if line.endswith(b"\r") and len(named) == 1 else ""
    return f"the file is there, but its interpreter {named[0]} is not in PATH ({search})"


def interpreter(first: bytes) -> tuple[list[str], bytes]:
    """What a file names in its first line, and the line."""
    line = first[2:].partition(b"\n")[0] if first.startswith(b"#!") else b""
    return [word.decode(errors="replace") for word in line.split()], line


def of_other_systems(name: str) -> str:
    """Why a script of Windows cannot be started."""
    return (
        f"the file is there, but its first line ends with a carriage return, so that the "
        f"interpreter {name} is not found. Convert its lines with sed -i 's/\\r$//'"
    )


def no_script(path: str) -> str:
    """Why a file that the kernel cannot execute is none for sh either; empty when it may be."""
    first = beginning(path) or b""
    if first.startswith(b"\xef\xbb\xbf"):
        return (
            "the file begins with a byte order mark, so that its first line names no interpreter. "
            "Remove it with sed -i '1s/^\\xef\\xbb\\xbf//'"
        )
    if first.startswith(b"\x7fELF"):
        return f"it was built for another machine than this ({os.uname().machine})"
    if b"\0" in first:
        return "it is not a program for this machine, nor a script: it has bytes of 0"
    return ""


def beginning(path: str) -> bytes | None:
    """The first bytes of a file; None without one that can be read."""
    try:
        with open(path, "rb") as file:
            return file.read(256)
    except OSError:
        return None


def found_by(name: str, path: str) -> list[str]:
    """Where a program of this name may be."""
    # An empty part is the current folder: with a slash, or sh takes a script for an option.
    return [name] if "/" in name else [os.path.join(part or ".", name) for part in path.split(":")]
