"""The postmaster: the first process of a server, as its pid file tells of it.

A pid file outlives a server that was killed, and its pid may by then be a zombie's or another
program's. So a pid counts only when it is a living `postgres` of this very data folder. Nor does a
pid that is not here tell that the server is dead: it may live in another PID namespace, such as
that of a container. Then it counts when somebody holds its fence and takes connections.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PID_FILE = "postmaster.pid"
LINES = 8  # pid, data, start, port, socket folder, address, shared memory, state
NO_PID = str(2**22 + 1)  # above the highest that Linux gives


@dataclass(frozen=True)
class Postmaster:
    """A living server.

    Attributes:
        pid: Of its first process, in the PID namespace that it lives in.
        is_here: Whether that is ours as well: else no signal of ours reaches it.
        started_at: When it started.
        socket_folder: Where it listens, as it was named when it started; empty before it listens.
        is_open: Whether it takes connections: not while it recovers.
        is_stripped: Whether its programs were removed: it cannot load a library any more.
    """

    pid: int
    is_here: bool
    started_at: datetime
    socket_folder: str
    is_open: bool
    is_stripped: bool = False


def find_postmaster(data: Path, lives_elsewhere: Callable[[], bool]) -> Postmaster | None:
    """The living server of a data folder; None when there is none.

    Args:
        data: Its folder.
        lives_elsewhere: Asked when its pid is not here.
    """
    lines = _lines(data)
    if not lines or not lines[0].isdigit():
        return None
    is_here = _serves(int(lines[0]), data)
    if not is_here and not lives_elsewhere():
        return None
    pid, _, started, _, folder, _, _, state = (lines + [""] * LINES)[:LINES]
    started_at = datetime.fromtimestamp(int(started or 0), UTC)
    is_open = state.strip() in ("ready", "standby")
    is_stripped = is_here and _is_stripped(int(pid))
    return Postmaster(int(pid), is_here, started_at, folder, is_open, is_stripped)


def disown(data: Path, lock: Path) -> None:
    """Where the pid of a dead server is a zombie's or another program's, say that it is dead.

    PostgreSQL believes any pid that answers. The other lines stay: by them it finds out whether
    processes of the dead server still use the data.

    Args:
        data: Its folder; the caller knows that no server of it lives.
        lock: The lock file of its socket, which names the same pid.
    """
    if lines := _lines(data):
        text = "\n".join([NO_PID, *lines[1:]]) + "\n"
        (data / PID_FILE).write_bytes(os.fsencode(text))
    lock.unlink(missing_ok=True)


def _lines(data: Path) -> list[str]:
    try:
        return os.fsdecode((data / PID_FILE).read_bytes()).splitlines()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _serves(pid: int, data: Path) -> bool:
    process = Path("/proc", str(pid))
    if not Path("/proc/self/stat").exists():
        return _serves_by_ps(pid, data)
    try:
        name, _, rest = process.joinpath("stat").read_text(errors="replace").rpartition(")")
        words = process.joinpath("cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    if rest.split()[0] in "ZX" or name.partition("(")[2] != "postgres" or b"-D" not in words:
        return False
    named = Path(os.fsdecode(words[words.index(b"-D") + 1]))
    # Its working folder finds it after a move; another user's may be hidden from us.
    return _is_same(named, data) or _is_same(process / "cwd", data)


def _is_stripped(pid: int) -> bool:
    """Whether its program is no longer where it was started from, seen from where it lives."""
    process = Path("/proc", str(pid))
    try:
        program = process.joinpath("cmdline").read_bytes().partition(b"\0")[0]
        if not program.startswith(b"/"):
            return False
        os.stat(os.fsencode(process / "root") + program)  # noqa: PTH116 - a name in any bytes
    except (FileNotFoundError, NotADirectoryError):
        return process.exists()
    except OSError:  # another user's: it is not known
        return False
    return False


def _serves_by_ps(pid: int, data: Path) -> bool:
    shown = subprocess.run(
        ["/bin/ps", "-ww", "-o", "stat=,command=", "-p", str(pid)],
        capture_output=True, text=True, errors="replace", check=False,
    ).stdout  # fmt: skip
    return not shown.startswith("Z") and "postgres -D" in shown and str(data) in shown


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
