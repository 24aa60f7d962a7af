"""The place of a worker: a host, a user and a DAMA_HOME, whatever somebody does to its files.

What one place runs is no other's to judge, and its next worker continues with it. So it stays the
same one though a disk was full when its number was drawn, and though its home was removed, or
replaced by a link to where it was moved: the processes that it started know its mark.
"""

from __future__ import annotations

import hashlib
import os
import platform
import secrets
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from dama.config.private_file import write_private
from dama.programs.process import boot_id, pid_namespace, process_start, values_of
from dama.store.queue_rows import WorkerIdentity

JOBS = "jobs"  # the folder of a home that has the homes of batch jobs
JOB = "job:"  # how the place of one begins: nobody waits for it to come back
MARK = "DAMA_PLACE"  # the variable that has the mark


def identity_of_this_process(home: Path, mark: str) -> WorkerIdentity:
    """Which process this is, and of which place: what one place runs is no other's to judge."""
    return WorkerIdentity(
        host=platform.node(),
        boot_id=boot_id(),
        pid=os.getpid(),
        pid_started=process_start(os.getpid()) or "",
        version=version("dama-controller"),
        place=place_of(home, mark),
        pid_namespace=pid_namespace(),
    )


def place_of(home: Path, mark: str | None = None) -> str:
    """Which place a DAMA_HOME is, for the user of this process; the same after another boot.

    Containers may agree in name, user and path: the home has a number of its own. A home that
    several hosts mount is a place on each. The home of a job is gone when the job is.

    Args:
        home: The folder.
        mark: Its mark; by default what is known of it.
    """
    machine = _text(Path("/etc/machine-id"))
    number, _, path = (mark_of(home) if mark is None else mark).partition(":")
    parts = (platform.node(), machine, str(os.geteuid()), path, number)
    digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
    is_of_job = home.parent.name == JOBS
    return f"{JOB if is_of_job else ''}{platform.node()}/{digest}"


def mark_of(home: Path) -> str:
    """The number and the path of a home, as what runs there knows them; without it as they are."""
    here = home.resolve()
    for value in values_of(MARK.encode()):
        mark = os.fsdecode(value)
        _, _, path = mark.partition(":")
        if Path(path).resolve() == here:
            return mark
    return f"{_text(home / 'place')}:{here}"


def keep_mark(home: Path, mark: str = "") -> str:
    """Write the number of a home where there is none; return the mark with the one that is there.

    There is none at first, on a full disk, and after somebody has freed one.
    """
    number, _, path = (mark or mark_of(home)).partition(":")
    file = home / "place"
    with suppress(OSError):  # it is written when there is room
        if not _text(file):
            drawn = number or secrets.token_hex(8)
            write_private(file, drawn.encode(), replace=file.exists())
    return f"{number or _text(file)}:{path}"


def _text(path: Path) -> str:
    with suppress(OSError, ValueError):
        return path.read_text().strip()
    return ""
