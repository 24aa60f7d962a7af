"""The shim: the small process that owns one external run. It is a program of its own.

`python -I -S -B shim.py DIRECTORY`, in a copy of this file inside the run's directory, so that a
deploy never changes the code under a running program. Standard library only, and little of it.

It gets the lock of the directory, held, as descriptor 3 and the program's environment on standard
input, so that no secret is written to a disk. It starts the program in a session of its own with
its output straight to files, and owns its timeout and the kill ladder: TERM to its group, a grace,
KILL to all that descends from it. What outlives the main process, such as the filter behind its
output, has some seconds to end by itself. `exit.json` comes when nothing is left.
SIGTERM tells it to end the program. It knows nothing of the database; see `dama.programs.program`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import select
import signal
import sys
import time

TYPE_CHECKING = False  # as in typing, which takes memory
if TYPE_CHECKING:
    from collections.abc import Callable
    from ctypes import CDLL
    from types import FrameType
    from typing import Any

LOCK = 3
PR_SET_CHILD_SUBREAPER = 36
LOOK_SECONDS = 1.0
KILL_SECONDS, SLOWEST_KILL = 0.02, 0.5
LINGER_SECONDS = 5.0
DRAIN_SECONDS = 0.02
PATIENCE_SECONDS = 30.0  # for what is killed and does not go: it hangs in the kernel
OOM_SCORE = 500  # the kernel takes the program before its shim
CHUNK = 65536
LOG = os.O_WRONLY | os.O_APPEND | os.O_CREAT
KEEP_SIZE_PUNCH_HOLE = 3
TRIM_BYTES = 1 << 20
LARGEST_BACKLOG = 1 << 20
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
TIMED_OUT = "timed out"
# Of a disk or a host that somebody has to see to, and will: how a program ended is kept till then.
UNWRITABLE = (
    errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOENT,
    errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.ESTALE, errno.EEXIST,
    errno.ENOTDIR, errno.ELOOP,
)  # fmt: skip
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
BLOCK = 512  # of getrusage, whatever the file system has
NOT_FOUND, NOT_STARTED = 127, 126


def write_json(name: str, document: object) -> None:
    """Write a file as a whole or not at all, durably."""
    with open(f"{name}.new", "w", opener=private) as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())
    os.rename(f"{name}.new", name)
    folder = os.open(".", os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def private(path: str, flags: int) -> int:
    """Open for nobody else."""
    return os.open(path, flags, 0o600)


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


def family() -> dict[int, list[int]]:
    """The children of every process, where the kernel does not list them by parent."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
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


def libc() -> CDLL | None:
    """The C library, for what Python has no call for; None where it is not Linux."""
    if sys.platform != "linux":
        return None
    import ctypes

    library = ctypes.CDLL(None)
    library.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
    return library


def usage() -> dict[str, float]:
    """Of the program and all that descended from it; `max_rss` is that of the largest of them."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "user": round(used.ru_utime, 3),
        "system": round(used.ru_stime, 3),
        "max_rss": used.ru_maxrss * RSS_UNIT,
        "bytes_read": used.ru_inblock * BLOCK,
        "bytes_written": used.ru_oublock * BLOCK,
    }


def woken(_number: int, _frame: FrameType | None) -> None:
    """Look again: without a handler of its own the signal would wake nobody."""


class Shim:
    """One run.

    Args:
        spec: What to start; see `dama.programs.run_directory`.
        environment: Of the program.
    """

    def __init__(self, spec: dict[str, Any], environment: dict[str, str]) -> None:
        self.library = libc()
        if self.library is not None:
            self.library.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.spec = spec
        self.environment = environment
        self.pid = 0
        self.master = self.slave = -1
        self.status: int | None = None
        self.why = ""
        self.kill_at: float | None = None
        self.killed = False
        self.pause = KILL_SECONDS
        self.lingers_until: float | None = None
        self.backlog = b""
        self.is_full = False
        self.ended: dict[int, int] = {}
        self.give_up_at = 0.0
        self.trimmed = [0, 0]
        self.end_at = time.monotonic() + (spec.get("timeout") or float("inf"))
        self.started_at = time.time()
        self.logs = [private(name, LOG) for name in ("stdout", "stderr")]
        reader, self.waker = os.pipe()
        os.set_blocking(self.waker, False)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        self.poll = select.poll()
        self.poll.register(reader, select.POLLIN)
        signal.signal(signal.SIGCHLD, woken)
        signal.signal(signal.SIGTERM, self.cancel)
        for number in IGNORED:
            signal.signal(number, signal.SIG_IGN)

    def start(self) -> str:
        """Start the program behind a gate that opens when its pid is on record; give the error."""
        gate, opener = os.pipe()
        errors, report = os.pipe()
        if self.spec.get("pty"):
            self.open_terminal()
        while not self.fork(gate, opener, report):  # a limit of the user or the cgroup
            time.sleep(LOOK_SECONDS)
            self.keep_times(time.monotonic())
            if self.why:
                return "it was ended before there was room for its process"
        os.close(gate)
        os.close(report)
        if self.slave >= 0:
            os.setpgid(self.pid, self.pid)
            os.tcsetpgrp(self.slave, self.pid)
        write_json(
            "pid.json",
            {
                "pid": self.pid,
                "started": start_of(self.pid),
                "boot_id": boot_id(),
                "epoch": self.spec["epoch"],
                "shim": os.getpid(),
                "shim_started": start_of(os.getpid()),
            },
        )
        try:
            os.write(opener, b"!")
        except BrokenPipeError:  # it was ended before it began
            pass
        os.close(opener)
        with os.fdopen(errors) as file:
            return file.read()

    def fork(self, gate: int, opener: int, report: int) -> bool:
        """Fork; whether the kernel had room for one more process."""
        # The child must not take a signal with the handlers of the shim: it would be lost.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        try:
            self.pid = os.fork()
            if self.pid == 0:
                self.become(gate, opener, report)
        except OSError as problem:
            if problem.errno not in (errno.EAGAIN, errno.ENOMEM):
                raise
            say(f"the program cannot be started for now: {problem.strerror}")
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        return self.pid > 0

    def open_terminal(self) -> None:
        """Lead the session of the terminal, so that the end of the main process hangs up nobody.

        The filter behind its output would be killed, and what it has still to write lost.
        """
        import termios

        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)

    def become(self, gate: int, opener: int, report: int) -> None:
        """In the child: become the program, or say why not."""
        code = NOT_STARTED
        try:
            signal.set_wakeup_fd(-1)
            default_signals()
            if self.slave < 0:  # else the shim makes it a group in the session of the terminal
                os.setsid()
            os.close(opener)
            if os.read(gate, 1) != b"!":  # the shim is gone, and nobody knows of this process
                os._exit(NOT_STARTED)
            self.take_files()
            self.take_limits()
            self.enter(self.spec["cwd"])
            self.execute(self.spec["argv"], report)
        except FileNotFoundError as error:
            code = NOT_FOUND
            os.write(report, f"{error.strerror}: {error.filename or self.spec['argv'][0]}".encode())
        except BaseException as error:  # noqa: BLE001 - nobody else can say it
            os.write(report, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(code)

    def enter(self, folder: str) -> None:
        """Change to the folder that it is started in."""
        try:
            os.chdir(folder)
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "its folder is missing", folder) from None

    def execute(self, argv: list[str], _report: int) -> None:
        """Become the program; a script that names no interpreter is one for sh, as in a shell.

        Args:
            argv: The program and its arguments.
            _report: Where the shim hears why it could not; closed when it could.
        """
        refused: OSError | None = None
        missing = ""
        for path in found_by(argv[0], self.environment.get("PATH", os.defpath)):
            try:
                os.execve(path, argv, self.environment)
            except (FileNotFoundError, NotADirectoryError):
                missing = missing or missing_for(path)
            except PermissionError as error:  # another folder may have one that can be started
                refused = PermissionError(error.errno, forbidden(path, str(error.strerror)), path)
            except OSError as error:
                if error.errno != errno.ENOEXEC:
                    raise
                os.execve("/bin/sh", ["/bin/sh", path, *argv[1:]], self.environment)
        words = missing or os.strerror(errno.ENOENT)
        raise refused or FileNotFoundError(errno.ENOENT, words, argv[0])

    def take_files(self) -> None:
        """Standard input, output and error."""
        null = os.open(os.devnull, os.O_RDONLY)
        outputs = [self.slave] * 2 if self.slave >= 0 else self.logs
        for number, descriptor in enumerate([null, *outputs]):
            os.dup2(descriptor, number)

    def take_limits(self) -> None:
        """Niceness, memory, descriptors, and its place in the kernel's list."""
        if self.spec.get("files"):  # the worker has raised its own; select() knows 1,024
            hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.spec["files"], hard))
        if self.spec.get("nice"):
            os.nice(self.spec["nice"])
        if self.spec.get("memory"):
            resource.setrlimit(resource.RLIMIT_AS, (self.spec["memory"],) * 2)
        try:
            with open("/proc/self/oom_score_adj", "r+") as file:
                score = int(file.read())
                file.seek(0)
                file.write(str(min(score + OOM_SCORE, 1000)))
        except OSError:
            pass

    def watch(self) -> None:
        """Until the program has ended and nothing of it is left."""
        if self.master >= 0:
            self.poll.register(self.master, select.POLLIN)
        look_at = 0.0
        while not self.is_over():
            now = time.monotonic()
            self.keep_times(now)
            if now >= look_at:
                self.trim()
                self.flush()
                look_at = now + LOOK_SECONDS
            until = min(look_at, self.end_at, self.kill_at or self.lingers_until or look_at)
            for descriptor, _ in self.poll.poll(max(until - now, 0) * 1000 + 1):
                self.read(descriptor)
        self.drain()
        self.trim()

    def keep_times(self, now: float) -> None:
        """The timeout, and the next step of the ladder."""
        if now >= self.end_at:
            self.end(TIMED_OUT)
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_all()
            self.kill_at = now + self.pause
            self.pause = min(self.pause * 2, SLOWEST_KILL)

    def drain(self) -> None:
        """Write what the terminal still holds, when nobody is there any more who writes to it."""
        if self.slave >= 0:
            os.close(self.slave)
        while self.master >= 0 or self.backlog:
            if self.backlog:
                time.sleep(DRAIN_SECONDS)
                self.flush()
            if self.master >= 0:
                self.read(self.master)

    def is_over(self) -> bool:
        """Take in what has ended; whether nothing is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return True
            if pid == 0:
                break
            if pid == self.pid:
                self.status = status
        if self.status is not None and all(map(is_database, lister()(os.getpid()))):
            return True  # a child that is no part of the program
        if self.status is not None and self.kill_at is None:
            self.linger()  # it went and left others behind
        if is_hung := self.killed and time.monotonic() > self.give_up_at:
            say(f"{sorted(descendants())} cannot be ended: they hang in the kernel")
        return is_hung

    def linger(self) -> None:
        """Let what outlives the main process end by itself, as a filter does at its end of input.

        By hand and in cron it would: to end it at once would cut off what it has still to write.
        """
        now = time.monotonic()
        until = self.lingers_until or now + self.spec.get("linger", LINGER_SECONDS)
        self.lingers_until = until
        if now >= until:
            say(f"{sorted(descendants())} outlived the program, and are ended")
            self.end("")

    def cancel(self, _number: int, _frame: FrameType | None) -> None:
        """Somebody wants the program to end."""
        self.end("cancelled")

    def end(self, why: str) -> None:
        """Begin the ladder, once: TERM to all that descends from the program, then a grace."""
        self.end_at = float("inf")
        if self.status is None and not self.why:
            self.why = why
        if self.kill_at is None:
            self.kill_at = time.monotonic() + self.spec["grace"]
            for pid in descendants():  # each once: a second TERM would disturb its tidying up
                self.ended[pid] = signal.SIGTERM
                send(pid, signal.SIGTERM)
                send(pid, signal.SIGCONT)
            if self.pid not in self.ended:
                self.tell_group(signal.SIGTERM)

    def tell_group(self, number: int) -> None:
        """Signal the program's group, while its number is its own."""
        if self.status is None and self.pid > 1:
            try:
                os.killpg(self.pid, number)
            except OSError:
                pass

    def kill_all(self) -> None:
        """KILL to all that descends from it; stopped first, so that none starts another."""
        if not self.killed:
            self.killed = True
            self.give_up_at = time.monotonic() + self.spec.get("patience", PATIENCE_SECONDS)
        known: set[int] = set()
        while found := descendants() - known:
            for pid in found:
                send(pid, signal.SIGSTOP)
            known |= found
        self.tell_group(signal.SIGKILL)
        for pid in known:
            self.ended[pid] = signal.SIGKILL
            send(pid, signal.SIGKILL)

    def read(self, descriptor: int) -> None:
        """A signal came, or the terminal has output."""
        try:
            data = os.read(descriptor, CHUNK)
        except OSError:  # how a terminal says that nobody has it open
            data = b""
        if descriptor != self.master:
            return
        if data:
            self.backlog += data
            self.flush()
        else:
            self.poll.unregister(self.master)
            os.close(self.master)
            self.master = -1

    def flush(self) -> None:
        """Write what came from the terminal; on a full disk it waits here, and then the program."""
        is_full = False
        try:
            while self.backlog:
                self.backlog = self.backlog[os.write(self.logs[0], self.backlog) :]
        except OSError as problem:
            is_full = True
            if not self.is_full:
                say(f"the log cannot be written: {problem.strerror}")
            if problem.errno == errno.EFBIG:  # by `ulimit -f`: nothing makes room for it
                self.backlog = b""
        self.is_full = is_full
        if self.master >= 0:  # the program waits, too, when there is no place for what it writes
            wanted = select.POLLIN if len(self.backlog) < LARGEST_BACKLOG else 0
            self.poll.register(self.master, wanted)

    def trim(self) -> None:
        """Give the disk back what is older than the cap; the places of the rest do not change.

        Whole blocks only: of a part of one the kernel would leave zeros.
        """
        for number, descriptor in enumerate(self.logs):
            stat = os.fstat(descriptor)
            excess = stat.st_size - self.spec["log_cap"]
            if excess < self.trimmed[number]:  # it was truncated
                self.trimmed[number] = max(excess, 0)
            if excess < self.trimmed[number] + TRIM_BYTES or self.library is None:
                continue
            self.trimmed[number] = excess
            length = excess - excess % max(stat.st_blksize, 4096)
            if self.library.fallocate(descriptor, KEEP_SIZE_PUNCH_HOLE, 0, length) < 0:
                self.trimmed[number] = 1 << 62
                say("this file system keeps all of a log, whatever the cap is")

    def lingered(self) -> float:
        """Seconds that others outlived the main process."""
        linger = self.spec.get("linger", LINGER_SECONDS)
        begun = (self.lingers_until or 0.0) - linger
        return time.monotonic() - begun if self.lingers_until is not None else 0.0

    def report(self, error: str) -> dict[str, Any]:
        """How it ended."""
        status = self.status
        document: dict[str, Any] = {
            "code": None if status is None or os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
            "signal": None if status is None or os.WIFEXITED(status) else os.WTERMSIG(status),
            "why": self.why,
            "told": len(self.ended),
            "killed": sum(number == signal.SIGKILL for number in self.ended.values()),
            "left": len(descendants()),
            "lingered": round(self.lingered(), 3),
            "started_at": self.started_at,
            "ended_at": time.time(),
            "usage": usage(),
        }
        if error:
            document["error"] = error
        return document


def say(text: str) -> None:
    """For the log of the shim, which may be on a full disk."""
    try:
        os.write(2, f"{text}\n".encode())
    except OSError:
        pass


def close_others() -> None:
    """All descriptors but the first; the limit may be lower than some, which came before it."""
    try:
        end = max(map(int, os.listdir("/dev/fd"))) + 1
    except OSError:
        end = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    os.closerange(LOCK + 1, end)


def default_signals() -> None:
    """None ignored or blocked, whatever the starter of the worker did with them."""
    for number in signal.valid_signals():
        try:
            signal.signal(number, signal.SIG_DFL)
        except (OSError, ValueError):  # KILL and STOP
            pass
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


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


def is_away(folder: str) -> bool:
    """Whether somebody removed, moved or replaced the folder of the run."""
    try:
        return not os.path.samestat(os.stat(folder), os.stat("."))
    except FileNotFoundError:
        return True


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
        os.rename(name, f"{name}.other")
    except FileNotFoundError:
        pass
    new = f"{name}.new"
    if os.path.lexists(new):
        os.unlink(new)
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


def own(make: Callable[[dict[str, Any]], Shim]) -> int:
    """Own the run of the current folder, from its start to its end."""
    folder = os.getcwd()
    with open("spec.json") as file:
        shim = make(json.load(file))
    error = shim.start()
    shim.watch()
    report = shim.report(error)
    while True:  # a full disk is no reason to forget how it ended
        try:
            if is_away(folder):
                come_back(folder)
            for name, log in zip(("stdout", "stderr"), shim.logs, strict=True):
                restore(name, log)
            write_json("exit.json", report)
            if not is_away(folder):  # else it was moved a moment ago
                return 0
        except OSError as problem:
            if problem.errno not in UNWRITABLE:
                raise
            time.sleep(LOOK_SECONDS)


def main() -> int:
    """Run what the directory says."""
    os.chdir(sys.argv[1])
    close_others()
    default_signals()
    os.set_inheritable(LOCK, False)  # noqa: FBT003 - it takes no names
    fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(0, closefd=False) as file:
        text = file.read()
    if not text.endswith("\n"):
        return 1  # the worker died while it told; nobody has started anything
    return own(lambda spec: Shim(spec, json.loads(text)))


if __name__ == "__main__":
    sys.exit(main())
