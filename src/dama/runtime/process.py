"""Processes of this host: which is which, although pids are used again."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path

from dama.store.queue import WorkerIdentity


def identity_of_this_process() -> WorkerIdentity:
    """Which process this is."""
    return WorkerIdentity(
        host=platform.node(),
        boot_id=boot_id(),
        pid=os.getpid(),
        pid_started=process_start(os.getpid()) or "",
        version=version("dama-controller"),
    )


def process_start(pid: int) -> str | None:
    """When a process started, in ticks after boot; None when there is none, zombies included."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def boot_id() -> str:
    """Of this host since it was started; empty where it has none."""
    file = Path("/proc/sys/kernel/random/boot_id")
    return file.read_text().strip() if file.exists() else ""
