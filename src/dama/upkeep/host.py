"""The host: what it would do to programs, and what became of some of them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dama.programs.run_directory import RunDirectories, State, state_of

if TYPE_CHECKING:
    from collections.abc import Iterable

ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Unit:
    """The unit of systemd that a process belongs to.

    Attributes:
        name: Such as `dama-worker.service`.
        is_user: Whether it is one of a user's own systemd.
    """

    name: str
    is_user: bool = False


def unit_of(cgroup: str) -> Unit | None:
    """The unit that `/proc/PID/cgroup` names; None for a process that is in no service."""
    for line in cgroup.splitlines():
        parts = line.rpartition(":")[2].split("/")
        if parts[-1].endswith(".service") and not parts[-1].startswith("user@"):
            return Unit(parts[-1], any(part.startswith("user@") for part in parts[:-1]))
    return None


def units_of(pids: Iterable[int]) -> set[Unit]:
    """The units of some processes."""
    found: set[Unit] = set()
    for pid in pids:
        try:
            unit = unit_of(Path(f"/proc/{pid}/cgroup").read_text())
        except OSError:
            continue
        if unit is not None:
            found.add(unit)
    return found


def kill_mode(unit: Unit) -> str | None:
    """What systemd ends with a unit; None when it does not tell."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        return None
    user = ["--user"] if unit.is_user else []
    try:
        answer = subprocess.run(
            [systemctl, *user, "show", "--property=KillMode", "--value", unit.name],
            capture_output=True,
            text=True,
            timeout=ANSWER_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None


def adrift(directories: RunDirectories) -> list[tuple[int, str]]:
    """The contexts whose programs nobody supervises or whose end nobody knows, with their state."""
    return [
        (run.context_id, state.value)
        for run in directories.open()
        if (state := state_of(run)) in (State.UNSUPERVISED, State.LOST)
    ]
