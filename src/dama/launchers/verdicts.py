"""Verdicts: what the end of a job means for its run, where the run's own worker has not said."""

from __future__ import annotations

import re
import signal
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from dama.launchers.launcher import Sighting
    from dama.shapes import Json
    from dama.store.placements import Placement

# Without cgroups nothing but the log tells it.
OUT_OF_MEMORY = re.compile(r"oom.?kill|out of memory|exceeded.* memory limit", re.IGNORECASE)
MOST_LOG = 2000


class Verdict(NamedTuple):
    """What is to be done with a run.

    Attributes:
        failed: It has failed for good; else it is queued again.
        facts: What the event says.
    """

    failed: bool
    facts: dict[str, Json]


def verdict(
    placement: Placement, seen: Sighting, launcher: str, log: str, *, more_memory: bool = False
) -> Verdict:
    """Judge the end of a job.

    Args:
        placement: Of its run.
        seen: What the engine says.
        launcher: The name of the launcher.
        log: The end of what the job printed.
        more_memory: Whether it is placed again where it had too little memory.
    """
    why = "memory" if seen.signal == signal.SIGKILL and OUT_OF_MEMORY.search(log) else seen.why
    if why == "cancelled" and _never_began(placement, seen):
        why = "lost"
    job = f"The job {seen.native_id} of the launcher {launcher}"
    where = f" on {seen.node}" if seen.node else ""
    text, code = {
        "lost": (f"{job} was lost{where}: {seen.reason}.", "PLACE_LOST"),
        "memory": (f"{job} ran out of memory{where}: {seen.reason}.", "OUT_OF_MEMORY"),
        "time": (f"{job} came to its time limit{where}: {seen.reason}.", "TIME_LIMIT"),
        "cancelled": (f"{job} was cancelled there, not by dama: {seen.reason}.", "CANCELLED_THERE"),
        "exit": (f"{job} ended{where} {_how(placement, seen)}.", "PLACE_LOST"),
    }[why]
    facts = {
        "message": text,
        "code": code,
        "launcher": launcher,
        "job": seen.native_id,
        "epoch": placement.epoch,
        "reason": seen.reason or None,
        "node": seen.node or None,
        "exit_code": seen.exit_code,
        "signal": seen.signal or None,
        "log": log[-MOST_LOG:].strip() or None,
    }
    return Verdict(
        why in ("time", "cancelled") or (why == "memory" and not more_memory),
        {name: value for name, value in facts.items() if value is not None},
    )


def overdue(placement: Placement, seen: Sighting, launcher: str, seconds: float) -> Verdict:
    """What it means that a job has been pending for longer than its run may wait."""
    message = (
        f"The job {seen.native_id} of the launcher {launcher} has been pending for more than "
        f"{seconds:g} s: {seen.reason or 'no reason was given'}."
    )
    facts = {"message": message, "code": "PENDING_TIMEOUT", "launcher": launcher}
    more = {"job": seen.native_id, "epoch": placement.epoch, "reason": seen.reason}
    return Verdict(failed=True, facts={**facts, **more})


def refusal(launcher: str, why: str) -> Verdict:
    """What it means that an engine will never take a job."""
    message = f"The launcher {launcher} refused the job: {why}"
    return Verdict(
        failed=True, facts={"message": message, "code": "ENGINE_REFUSED", "launcher": launcher}
    )


def _never_began(placement: Placement, seen: Sighting) -> bool:
    """Whether the engine gave a job up that it had sent to a node: nobody has cancelled it there.

    Slurm does so when a node says that it has a job of that number already, since slurmctld was
    killed and gives numbers again. A job that somebody cancels on a node ends by a signal.
    """
    is_whole = not seen.signal and not seen.exit_code
    return placement.run == "placed" and bool(seen.node) and is_whole


def _how(placement: Placement, seen: Sighting) -> str:
    if seen.signal:
        end = f"by signal {seen.signal}"
    elif seen.exit_code:
        end = f"with exit code {seen.exit_code}"
    else:
        end = f"({seen.reason})"
    never = "before its worker took the run" if placement.run == "placed" else "under its worker"
    return f"{end}, {never}"
