"""What a process knows of the batch job that it is in: how much time that has left."""

from __future__ import annotations

import logging
import re
import subprocess
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE_SECONDS = 20.0

_log = logging.getLogger("dama.worker")


def time_left(environ: Mapping[str, str]) -> float | None:
    """The seconds that are left of the job that this process is in.

    Args:
        environ: Its variables: DAMA_JOB_END_TIME or SLURM_JOB_END_TIME, in seconds since 1970.

    Returns:
        None for no limit, outside of a job, and where nobody can say.
    """
    if end := environ.get("DAMA_JOB_END_TIME") or environ.get("SLURM_JOB_END_TIME"):
        return max(float(end) - time.time(), 0.0) if end.isdecimal() else None
    job = environ.get("SLURM_JOB_ID")
    return None if job is None else _asked(job)


def _asked(job: str) -> float | None:
    command = ["squeue", "--noheader", "--job", job, "--format", "%L"]
    try:
        asked = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=PATIENCE_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        _log.warning(
            "nobody says how long job %s of Slurm may take (--time-limit does): %s", job, error
        )
        return None
    return seconds_of(asked.stdout.strip())


def seconds_of(text: str) -> float | None:
    """A time as Slurm writes it, D-HH:MM:SS or less of that; None for no limit."""
    if not re.fullmatch(r"(\d+-)?(\d+:)?(\d+:)?\d+", text):
        return None
    days, _, rest = text.rpartition("-")
    seconds = 0
    for part in rest.split(":"):
        seconds = seconds * 60 + int(part)
    return float(int(days or 0) * 86400 + seconds)
