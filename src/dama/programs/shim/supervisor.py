"""The supervisor: the shim as a process, from the start of the program until nothing of it is left.

`python -I -S -B -X utf8 -c START FILE DIRECTORY`, where the file is a copy of this package.

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

from .family import boot_id, descendants, filters, is_database, lister, send, start_of
from .files import CHUNK, come_back, is_away, let_in, say, write_json
from .logs import Logs, libc
from .starting import close_from, default_signals, enter, execute, take_limits

TYPE_CHECKING = False  # as in typing, which takes memory
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

    from .terminal import Terminal

LOCK = 3
PR_SET_CHILD_SUBREAPER = 36
LOOK_SECONDS = 1.0
KILL_SECONDS, SLOWEST_KILL = 0.02, 0.5
LINGER_SECONDS = 5.0
MOST_LINGERS = 60  # for filters that are at work: one that never ends is ended
PATIENCE_SECONDS = 30.0  # for what is killed and does not go: it hangs in the kernel
IGNORED = (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ)
TIMED_OUT = "timed out"
RSS_UNIT = 1 if sys.platform == "darwin" else 1024
BLOCK = 512  # of getrusage, whatever the file system has
NOT_FOUND, NOT_STARTED = 127, 126


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
        for number in IGNORED:  # the first, since a limit of the size of files is told by one
            signal.signal(number, signal.SIG_IGN)
        library = libc()
        if library is not None:
            library.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.spec = spec
        self.environment = environment
        self.pid = 0
        self.terminal: Terminal | None = None
        self.status: int | None = None
        self.why = ""
        self.kill_at: float | None = None
        self.killed = False
        self.pause = KILL_SECONDS
        self.lingers_since = 0.0
        self.lingers_until: float | None = None
        self.work: object = None  # what filters had to read and had written, when it was looked at
        self.ended: dict[int, int] = {}
        self.give_up_at = 0.0
        self.end_at = time.monotonic() + (spec.get("timeout") or float("inf"))
        self.started_at = time.time()
        self.logs = Logs(spec["log_cap"], library)
        reader, self.waker = os.pipe()
        os.set_blocking(self.waker, False)
        signal.set_wakeup_fd(self.waker, warn_on_full_buffer=False)
        self.poll = select.poll()
        self.poll.register(reader, select.POLLIN)
        signal.signal(signal.SIGCHLD, woken)
        signal.signal(signal.SIGTERM, self.cancel)

    def start(self) -> str:
        """Start the program behind a gate that opens when its pid is on record; give the error."""
        gate, opener = os.pipe()
        errors, report = os.pipe()
        if self.spec.get("pty"):
            from .terminal import Terminal

            self.terminal = Terminal(self.poll, self.logs.descriptors[0])
        while not self.fork(gate, opener, report):  # a limit of the user or the cgroup
            time.sleep(LOOK_SECONDS)
            self.keep_times(time.monotonic())
            if self.why:
                return "it was ended before there was room for its process"
        os.close(gate)
        os.close(report)
        if self.terminal is not None:
            self.terminal.lead(self.pid)
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

    def become(self, gate: int, opener: int, report: int) -> None:
        """In the child: become the program, or say why not."""
        code = NOT_STARTED
        try:
            signal.set_wakeup_fd(-1)
            default_signals()
            if self.terminal is None:  # else it is a group in the session of the shim
                os.setsid()
            os.close(opener)
            if os.read(gate, 1) != b"!":  # the shim is gone, and nobody knows of this process
                os._exit(NOT_STARTED)
            self.take_files()
            take_limits(self.spec)
            enter(self.spec["cwd"])
            self.execute(self.spec["argv"], report)
        except FileNotFoundError as error:
            code = NOT_FOUND
            os.write(report, f"{error.strerror}: {error.filename or self.spec['argv'][0]}".encode())
        except (PermissionError, NotADirectoryError) as error:
            os.write(report, f"{error.strerror}: {error.filename or self.spec['argv'][0]}".encode())
        except BaseException as error:  # noqa: BLE001 - nobody else can say it
            os.write(report, f"{type(error).__name__}: {error}".encode())
        finally:
            os._exit(code)

    def execute(self, argv: list[str], _report: int) -> None:
        """Become the program.

        Args:
            argv: The program and its arguments.
            _report: Where the shim hears why it could not; closed when it could.
        """
        execute(argv, self.environment)

    def take_files(self) -> None:
        """Standard input, output and error."""
        null = os.open(os.devnull, os.O_RDONLY)
        terminal, files = self.terminal, self.logs.descriptors
        outputs = [terminal.slave] * 2 if terminal is not None else files
        for number, descriptor in enumerate([null, *outputs]):
            os.dup2(descriptor, number)

    def watch(self) -> None:
        """Until the program has ended and nothing of it is left."""
        if self.terminal is not None:
            self.terminal.watch()
        look_at = 0.0
        while not self.is_over():
            now = time.monotonic()
            self.keep_times(now)
            if now >= look_at:
                self.logs.trim()
                if self.terminal is not None:
                    self.terminal.flush()
                look_at = now + LOOK_SECONDS
            until = min(look_at, self.end_at, self.kill_at or self.lingers_until or look_at)
            for descriptor, _ in self.poll.poll(max(until - now, 0) * 1000 + 1):
                self.read(descriptor)
        if self.terminal is not None:
            self.terminal.drain()
        self.logs.trim()

    def keep_times(self, now: float) -> None:
        """The timeout, and the next step of the ladder."""
        if now >= self.end_at:
            self.end(TIMED_OUT)
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_all()
            self.kill_at = now + self.pause
            self.pause = min(self.pause * 2, SLOWEST_KILL)

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
        # There is one: where none is listed, it cannot be seen now.
        children = lister()(os.getpid()) if self.status is not None else []
        if children and all(map(is_database, children)):
            return True  # it is no part of the program
        if self.status is not None and self.kill_at is None:
            self.linger()  # it went and left others behind
        if is_hung := self.killed and time.monotonic() > self.give_up_at:
            say(f"{sorted(descendants())} cannot be ended: they hang in the kernel")
        return is_hung

    def linger(self) -> None:
        """Let what outlives the main process end by itself, as a filter does at its end of input.

        By hand and in cron it would: to end it at once would cut off what it has still to write.
        A filter that is at work has more time: it has still to write what the program wrote.
        """
        now, seconds = time.monotonic(), self.spec.get("linger", LINGER_SECONDS)
        if self.lingers_until is None:
            self.lingers_since, self.lingers_until = now, now + seconds
            self.is_working()
        elif now < self.lingers_until:
            pass
        elif now < self.lingers_since + MOST_LINGERS * seconds and self.is_working():
            self.lingers_until = now + seconds
        else:
            say(f"{sorted(descendants())} outlived the program, and are ended")
            self.end("")

    def is_working(self) -> bool:
        """Whether a filter has read or written something since this was asked, or computes."""
        found = filters()
        unread = {pid: count for pid, (count, _) in found.items()}
        before, self.work = self.work, (unread, self.logs.sizes())
        return bool(found) and (before != self.work or any(busy for _, busy in found.values()))

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
        if self.terminal is not None and descriptor == self.terminal.master:
            self.terminal.read()
        else:
            os.read(descriptor, CHUNK)

    def lingered(self) -> float:
        """Seconds that others outlived the main process."""
        return time.monotonic() - self.lingers_since if self.lingers_until is not None else 0.0

    def report(self, error: str) -> dict[str, Any]:
        """How it ended."""
        status, left = self.status, len(descendants())
        document: dict[str, Any] = {
            "code": None if status is None or os.WIFSIGNALED(status) else os.WEXITSTATUS(status),
            "signal": None if status is None or os.WIFEXITED(status) else os.WTERMSIG(status),
            "why": self.why,
            "told": len(self.ended),
            "killed": sum(number == signal.SIGKILL for number in self.ended.values()),
            "left": left,
            "lingered": round(self.lingered(), 3),
            "started_at": self.started_at,
            "ended_at": time.time(),
            "usage": usage(),
        }
        if error:
            document["error"] = error
        if truncated := self.logs.truncated():
            document["truncated"] = truncated
        if not left:
            self.logs.release()
        return document


def own_run(make: Callable[[dict[str, Any]], Shim]) -> int:
    """Own the run of the current folder, from its start to its end."""
    folder = os.getcwd()
    with open("spec.json") as file:
        shim = make(json.load(file))
    error = shim.start()
    shim.watch()
    report = shim.report(error)
    said = ""
    while True:  # a disk that is full or gone is no reason to forget how it ended
        try:
            if is_away(folder):
                come_back(folder)
            shim.logs.restore()
            write_json("exit.json", report)
            if not is_away(folder):  # else it was moved a moment ago
                return 0
        except OSError as problem:
            if is_new := said != str(problem):
                said = str(problem)
                say(f"the report of the end cannot be written for now: {said}")
            # Where a file system knows no modes, letting in changes nothing.
            if not (let_in(folder) and is_new):
                time.sleep(LOOK_SECONDS)


def main() -> int:
    """Run what the directory says."""
    os.chdir(sys.argv[-1])
    close_from(LOCK + 1)
    default_signals()
    os.set_inheritable(LOCK, False)  # noqa: FBT003 - it takes no names
    fcntl.flock(LOCK, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with open(0, closefd=False) as file:
        text = file.read()
    if not text.endswith("\n"):
        return 1  # the worker died while it told; nobody has started anything
    return own_run(lambda spec: Shim(spec, json.loads(text)))
