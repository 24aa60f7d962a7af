"""Processes of this host: which is which, although pids are used again."""

from __future__ import annotations

import os
import re
import sys
import time
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from dama.programs.packed import EARLIER, NAME
from dama.programs.shim.family import lives, ticks_ahead

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

# Of a process that is gone, or another user's; without a free descriptor nothing is known of any.
UNSEEN = (FileNotFoundError, ProcessLookupError, PermissionError)

_ticks_ahead = cache(ticks_ahead)  # of this process, for good


def pid_namespace() -> str:
    """Where the pid of this process means something; empty where there is but one."""
    with suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def process_start(pid: int) -> str | None:
    """When a process started, in ticks after boot; None when there is none, zombies included.

    The ticks are those of the host, whatever a time namespace adds to them.

    Raises:
        OSError: It cannot be seen now, as without a free descriptor: that is no sign of its end.
    """
    fields = _stat(pid)
    return fields[19] if lives(fields) else None


def is_stopped(pid: int) -> bool:
    """Whether a process waits for SIGCONT."""
    return _stat(pid)[:1] == ["T"]


def age_of(started: str) -> float:
    """Seconds since a process started, whatever was done to the clock of the host."""
    ticks = os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - (int(started) + _ticks_ahead()) / ticks


def boot_id() -> str:
    """Of this host since it was started; empty where it has none."""
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.exists() else ""


def members_of(folder: Path) -> set[int]:
    """The processes of the run that has this folder, also when the folder is gone.

    They know where its events go, are in the session that its shim began, or descend from one that
    is; a shim holds the lock. What hides from all of this is known to a living shim alone.
    """
    mark = os.fsencode(folder / "events")
    stats = {pid: stat for pid in _pids() if lives(stat := _stat(pid))}
    roots = {
        pid for pid in stats if _variable(pid, b"DAMA_EVENTS") == mark or _is_shim(pid, folder)
    }
    return _below(roots, stats)


def shims_of(folder: Path) -> set[int]:
    """The shim of a run, also when its folder is gone."""
    return {pid for pid in _pids() if _is_shim(pid, folder)}


def runs_below(folder: Path) -> set[Path]:
    """The folders of runs whose shims or programs live, also when somebody removed them all."""
    inside = os.fsencode(folder) + b"/"
    found: set[Path] = set()
    for pid in _pids():
        with suppress(*UNSEEN):
            *_, copy, run, _ = [b"", b"", *Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
            if copy not in [run + b"/" + name.encode() for name in (NAME, EARLIER)]:
                run = _variable(pid, b"DAMA_EVENTS").removesuffix(b"/events")
            if run.startswith(inside) and re.fullmatch(rb"\d+/\d+", run[len(inside) :]):
                found.add(Path(os.fsdecode(run)))
    return found


def values_of(name: bytes) -> Iterator[bytes]:
    """What the processes of this user, in this file system, have under a name.

    They were started with it, or keep it in memory (`in_memory`), which takes longer to find.
    """
    for look in (_variable, _in_memory):
        for pid in _pids():
            with suppress(*UNSEEN):
                process = Path("/proc", str(pid))
                if process.stat().st_uid != os.geteuid() or not (value := look(pid, name)):
                    continue
                if (process / "root").samefile("/"):  # else a container's, which has other homes
                    yield value


@contextmanager
def in_memory(name: str, value: str) -> Generator[None]:
    """Let others find a value under a name in this process, which is on no disk."""
    if sys.platform != "linux":
        yield
        return
    with os.fdopen(os.memfd_create(name), "wb", buffering=0) as file:
        file.write(os.fsencode(value))
        yield


def session_of(leader: int, since: str) -> set[int]:
    """What is in the session of a program, and below it, and did not begin before the program."""
    stats = {pid: stat for pid in _pids() if lives(stat := _stat(pid))}
    inside = {
        pid
        for pid, stat in stats.items()
        if leader > 1 and int(stat[3]) == leader and int(stat[19]) >= int(since)
    }
    return _below(inside, stats)


def _below(roots: set[int], stats: Mapping[int, list[str]]) -> set[int]:
    found, front = set(roots), list(roots)
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(int(stat[1]), []).append(pid)
    while front:
        below = [pid for pid in children.get(front.pop(), ()) if pid not in found]
        found.update(below)
        front += below
    return found


def _pids() -> list[int]:
    proc = Path("/proc")
    names = [entry.name for entry in proc.iterdir()] if proc.is_dir() else []
    return [int(name) for name in names if name.isdigit() and int(name) > 1]


def _stat(pid: int) -> list[str]:
    with suppress(FileNotFoundError, ProcessLookupError, IndexError):
        # Of bytes: the name of a process is any 15 of them.
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        stat = text.rpartition(")")[2].split()
        stat[19] = str(int(stat[19]) - _ticks_ahead())
        return stat
    return []


def _variable(pid: int, name: bytes) -> bytes:
    """What a process was started with; empty when that is nothing, or another user's."""
    with suppress(*UNSEEN):
        _, _, rest = (b"\0" + Path(f"/proc/{pid}/environ").read_bytes()).partition(
            b"\0" + name + b"="
        )
        return rest.partition(b"\0")[0]
    return b""


def _in_memory(pid: int, name: bytes) -> bytes:
    """What a process keeps in memory under a name; empty when that is nothing."""
    link, folder = b"/memfd:%b (deleted)" % name, b"/proc/%d/fd/" % pid
    with suppress(*UNSEEN):
        for entry in os.listdir(folder):  # noqa: PTH208 - there are many
            with suppress(*UNSEEN):  # it was closed meanwhile
                if os.readlink(folder + entry) == link:  # noqa: PTH115 - as above
                    return Path(os.fsdecode(folder + entry)).read_bytes()
    return b""


def _is_shim(pid: int, folder: Path) -> bool:
    with suppress(*UNSEEN):
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        for name in (NAME, EARLIER):
            if command.endswith(b"\0%b\0%b\0" % (os.fsencode(folder / name), os.fsencode(folder))):
                return True  # wherever its folder is by now
        if Path(f"/proc/{pid}/cwd").readlink().name.removesuffix(" (deleted)") != folder.name:
            return False
        lock = str(folder / "lock")
        links = [str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()]
        return any(link.removesuffix(" (deleted)") == lock for link in links)
    return False
