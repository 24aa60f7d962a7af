"""The postmaster: the first process of a server, as its pid file tells of it.

A pid file outlives a server that was killed, and its pid may by then be a zombie's or another
program's. So a pid counts only when it is a living `postgres` of this very data folder.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

PID_FILE = "postmaster.pid"
LINES = 8  # pid, data, start, port, socket folder, address, shared memory, state
NO_PID = str(2**22 + 1)  # above the highest that Linux gives


@dataclass(frozen=True)
class Postmaster:
    """A living server.

    Attributes:
        pid: Of its first process.
        started_at: When it started.
        socket_folder: Where it listens, whatever the environment of who asks.
        port: The number in the name of its socket.
        ready: Whether it takes connections: not while it recovers, nor when its socket was removed.
    """

    pid: int
    started_at: datetime
    socket_folder: Path
    port: int
    ready: bool


def find_postmaster(data: Path) -> Postmaster | None:
    """The living server of a data folder; None when there is none."""
    lines = _lines(data)
    if not lines or not lines[0].isdigit() or not _serves(int(lines[0]), data):
        return None
    pid, _, started, port, folder, _, _, state = (lines + [""] * LINES)[:LINES]
    socket = Path(folder, f".s.PGSQL.{port}")
    return Postmaster(
        int(pid),
        datetime.fromtimestamp(int(started or 0), UTC),
        Path(folder),
        int(port or 0),
        # A socket below /tmp or the runtime folder may be cleared away under a living server.
        state.strip() == "ready" and os.path.exists(socket),  # noqa: PTH110 - never raises
    )


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


def _serves_by_ps(pid: int, data: Path) -> bool:
    shown = subprocess.run(  # noqa: S603 - a fixed program with a number
        ["/bin/ps", "-ww", "-o", "stat=,command=", "-p", str(pid)],
        capture_output=True, text=True, errors="replace", check=False,
    ).stdout  # fmt: skip
    return not shown.startswith("Z") and "postgres -D" in shown and str(data) in shown


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False
