"""The family of the program: all processes that descend from it, however they hide."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import sys
from stat import S_ISFIFO
from termios import FIONREAD

TYPE_CHECKING = False  # as in typing, which takes memory
if TYPE_CHECKING:
    from collections.abc import Callable


def stat_of(pid: int) -> list[str]:
    """State, parent and so on of a process; empty when there is none."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as file:  # a name is any 15 bytes
            return file.read().rpartition(")")[2].split()
    except OSError:
        return []


def lives(stat: list[str]) -> bool:
    """Whether a process is there: without its first thread, too, as long as it has others."""
    return bool(stat) and (stat[0] not in "ZX" or int(stat[17]) > 1)


def start_of(pid: int) -> str:
    """When a process started, in ticks after boot as the host counts; empty when it is gone."""
    stat = stat_of(pid)
    return str(int(stat[19]) - ticks_ahead()) if stat else ""


def ticks_ahead() -> int:
    """By what the clock since boot is ahead of the host's, in a time namespace."""
    try:
        with open("/proc/self/timens_offsets") as file:
            return int(file.read().split()[4]) * os.sysconf("SC_CLK_TCK")
    except (OSError, IndexError):
        return 0


def boot_id() -> str:
    """Of the host; empty where it has none."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def descendants() -> set[int]:
    """All below this process, whatever their session; the shim inherits those without a parent.

    But for the embedded database, which may have been started by a command of the program.
    """
    children = lister()
    found: set[int] = set()
    front = [os.getpid()]
    while front:
        below = [pid for pid in children(front.pop()) if pid not in found and not is_database(pid)]
        front += below
        found.update(below)
    return {pid for pid in found if is_alive(pid)}


def is_alive(pid: int) -> bool:
    """Whether a process is there, also one that /proc hides (hidepid)."""
    if stat := stat_of(pid):
        return lives(stat)
    try:
        os.kill(pid, 0)
    except OSError as problem:
        return problem.errno == errno.EPERM
    return True


def lister() -> Callable[[int], list[int]]:
    """What lists the children of a process; of one moment where the kernel does not."""
    if os.path.exists(f"/proc/self/task/{os.getpid()}/children"):
        return children_of
    known = family()
    return lambda pid: known.get(pid, [])


def children_of(pid: int) -> list[int]:
    """The children of all threads of a process: a few reads, however many processes there are."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += map(int, file.read().split())
    except OSError:  # it is gone, and its children are below somebody else
        pass
    return found


def is_database(pid: int) -> bool:
    """Whether a process is the PostgreSQL of the home that this run's directory is in."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
        if os.path.basename(words[0]) != b"postgres" or words[1] != b"-D":
            return False
        return os.getcwdb().startswith(os.path.realpath(os.path.dirname(words[2])) + b"/")
    except (OSError, IndexError):
        return False


def filters() -> dict[int, tuple[int, bool]]:
    """Processes whose standard input is a pipe that nobody can write to any more.

    For each of them: how many bytes it has not read yet, and whether it runs or waits for a disk.
    """
    found: dict[int, tuple[int, bool]] = {}
    for pid in descendants():
        try:
            descriptor = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
        except OSError:  # closed, a socket, or another user's
            continue
        try:
            if S_ISFIFO(os.fstat(descriptor).st_mode) and not has_writer(descriptor):
                unread = fcntl.ioctl(descriptor, FIONREAD, bytes(4))
                is_busy = stat_of(pid)[:1] in (["R"], ["D"])
                found[pid] = int.from_bytes(unread, sys.byteorder), is_busy
        except OSError:
            pass
        finally:
            os.close(descriptor)
    return found


def has_writer(reader: int) -> bool:
    """Whether somebody may still write to a pipe."""
    poll = select.poll()
    poll.register(reader, 0)
    return not any(events & select.POLLHUP for _, events in poll.poll(0))


def family() -> dict[int, list[int]]:
    """The children of every process, where the kernel does not list them by parent."""
    children: dict[int, list[int]] = {}
    try:
        names = os.listdir("/proc")
    except OSError:  # there is none, or no descriptor is free
        names = []
    for name in names:
        if name.isdigit() and (stat := stat_of(int(name))):
            children.setdefault(int(stat[1]), []).append(int(name))
    return children


def send(pid: int, number: int) -> None:
    """Signal one process, which may be gone."""
    if pid > 1:
        try:
            os.kill(pid, number)
        except OSError:
            pass
