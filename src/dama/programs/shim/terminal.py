"""The terminal of a program with `pty`: its output goes to a log, whatever the disk does."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import termios
import time

from .files import CHUNK, say

DRAIN_SECONDS = 0.02
LARGEST_BACKLOG = 1 << 20


class Terminal:
    """A terminal, and what came from it and is not written yet.

    The shim leads its session, so that the end of the main process hangs up nobody: the filter
    behind its output would be killed, and what it has still to write lost.

    Args:
        poll: Where it is waited for.
        log: Where its output goes.
    """

    def __init__(self, poll: select.poll, log: int) -> None:
        self.master, self.slave = os.openpty()
        os.set_blocking(self.master, False)
        fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0)
        self.poll = poll
        self.log = log
        self.backlog = b""
        self.is_full = False

    def lead(self, pid: int) -> None:
        """Have a process and its group in the foreground."""
        os.setpgid(pid, pid)
        os.tcsetpgrp(self.slave, pid)

    def watch(self) -> None:
        """Wait for its output as well; the program waits when there is no place for that."""
        if self.master >= 0:
            wanted = select.POLLIN if len(self.backlog) < LARGEST_BACKLOG else 0
            self.poll.register(self.master, wanted)

    def read(self) -> None:
        """Take what was written to it."""
        try:
            data = os.read(self.master, CHUNK)
        except OSError:  # how a terminal says that nobody has it open
            data = b""
        if data:
            self.backlog += data
            self.flush()
        else:
            self.poll.unregister(self.master)
            os.close(self.master)
            self.master = -1

    def flush(self) -> None:
        """Write it; on a full disk it waits here."""
        is_full = False
        try:
            while self.backlog:
                self.backlog = self.backlog[os.write(self.log, self.backlog) :]
        except OSError as problem:
            is_full = True
            if not self.is_full:
                say(f"the log cannot be written: {problem.strerror}")
            if problem.errno == errno.EFBIG:  # by `ulimit -f`: nothing makes room for it
                self.backlog = b""
        self.is_full = is_full
        self.watch()

    def drain(self) -> None:
        """Write what it still holds, when nobody is there any more who writes to it."""
        os.close(self.slave)
        while self.master >= 0 or self.backlog:
            if self.backlog:
                time.sleep(DRAIN_SECONDS)
                self.flush()
            if self.master >= 0:
                self.read()
