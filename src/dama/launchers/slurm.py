"""Slurm: jobs by sbatch, arrays of them, and one squeue for all.

Accounting is not needed: a job that slurmctld has forgotten is one of which nothing is known, and
what the payload wrote to the database decides.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from typing import TYPE_CHECKING

from dama.launchers.asking import ask, exit_of, last_line
from dama.launchers.launcher import AwayError, Key, RefusedError, Sighting, State, Why
from dama.launchers.ranges import ranges
from dama.launchers.script import jobs_of, log_of, script_of, tail_of, write_env_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dama.launchers.launcher import Job, LauncherSettings

MOST_ELEMENTS = 1000  # MaxArraySize is 1001 where nobody has changed it
MOST_IDS = 200  # of one scancel
# Each with its width; what is longer is cut off.
FIELDS = "JobArrayID:40|,Name:80|,State:20|,Reason:60|,NodeList:60|,exit_code:16"
PENDING = {"PENDING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "CONFIGURING", "RESV_DEL_HOLD"}
RUNNING = {"RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "STAGE_OUT", "SIGNALING", "RESIZING"}
ENDS: Mapping[str, Why] = {
    "NODE_FAIL": "lost",
    "BOOT_FAIL": "lost",
    "PREEMPTED": "lost",
    "REVOKED": "lost",
    "OUT_OF_MEMORY": "memory",
    "TIMEOUT": "time",
    "DEADLINE": "time",
    "CANCELLED": "cancelled",
}
# What sbatch says when it is slurmctld that is not there. The rest is a refusal.
AWAY = re.compile(
    r"unable to contact|socket timed out|connection (refused|timed out|reset)|in standby"
    r"|transport endpoint|temporarily|zero bytes|communication|slurm_persist|try again|retry"
    r"|could not establish|configuration source",
    re.IGNORECASE,
)


class Slurm:
    """The launcher of kind slurm.

    Args:
        settings: Of the launcher.
        prefix: What the names of its jobs begin with.
    """

    group = MOST_ELEMENTS
    keeps = 0.0

    def __init__(self, settings: LauncherSettings, prefix: str) -> None:
        self._settings = settings
        self._prefix = prefix

    async def prepare(self, conninfo: str) -> None:
        """Write the file of the secrets; see `Launcher`."""
        await asyncio.to_thread(write_env_file, self._settings, conninfo)

    async def submit(self, job: Job) -> Mapping[int, str]:
        """Submit an array, also for a single run; see `Launcher`."""
        if job.resources.image is not None:
            raise RefusedError("Slurm has no images: leave image out of the task's resources.")
        script = script_of(job, self._settings, head=self._head(job), index="$SLURM_ARRAY_TASK_ID")
        code, out, err = await self._ask("sbatch", "--parsable", text=script)
        number = out.strip().partition(";")[0]
        if code == 0 and number.isdecimal():
            return {each.element: f"{number}_{each.element}" for each in job.elements}
        said = last_line(err) or f"sbatch ended with {code} and printed {out.strip()!r}"
        raise AwayError(said) if code == 0 or AWAY.search(err) else RefusedError(said)

    async def look(self) -> Mapping[Key, Sighting]:
        """Ask squeue for all jobs of this user, ended ones included; see `Launcher`."""
        code, out, err = await self._ask(
            "squeue", "--noheader", "--me", "--array", "--states=all", f"--Format={FIELDS}"
        )
        if code:
            raise AwayError(last_line(err) or f"squeue ended with {code}")
        found: dict[Key, Sighting] = {}
        for key, sighting in self._read(out):
            known = found.get(key)
            if known is None or _rank(sighting) > _rank(known):
                found[key] = sighting
        return found

    async def cancel(self, native_ids: Sequence[str]) -> None:
        """Cancel jobs; see `Launcher`."""
        for first in range(0, len(native_ids), MOST_IDS):
            code, _, err = await self._ask("scancel", *native_ids[first : first + MOST_IDS])
            if code and AWAY.search(err):
                raise AwayError(last_line(err))

    async def log(self, key: Key, native_id: str) -> str:  # noqa: ARG002 - the file has another name
        """What the job printed, if its files are seen from here; see `Launcher`."""
        return tail_of(log_of(self._settings, key))

    def _head(self, job: Job) -> str:
        needs = job.resources
        options = {
            "--job-name": job.name,
            "--array": ranges([each.element for each in job.elements]),
            "--output": f"{jobs_of(self._settings)}/{job.name}-%a.log",
            "--chdir": "/",
            "--export": "NIL",
            "--cpus-per-task": needs.cpus,
            "--mem": None if needs.megabytes is None else f"{needs.megabytes}M",
            "--gpus": needs.gpus,
            "--time": needs.minutes,
        }
        given = [f"{name}={value}" for name, value in options.items() if value is not None]
        given += ["--no-requeue", *self._settings.options]
        return "".join(f"#SBATCH {shlex.quote(option)}\n" for option in given)

    async def _ask(self, *command: str, text: str = "") -> tuple[int, str, str]:
        return await ask(command, timeout=self._settings.timeout, text=text)

    def _read(self, text: str) -> Iterator[tuple[Key, Sighting]]:
        for line in text.splitlines():
            native_id, name, state, reason, node, code = map(str.strip, line.split("|"))
            job, _, element = native_id.rpartition("_")
            if job and element.isdecimal() and name.startswith(f"{self._prefix}-"):
                yield Key(name, int(element)), _sighting(native_id, state, reason, node, code)


def _sighting(native_id: str, state: str, reason: str, node: str, code: str) -> Sighting:
    reason = "" if reason in ("None", "(null)") else reason
    node = "" if node in ("n/a", "(null)") else node
    what: State = "pending" if state in PENDING else "running" if state in RUNNING else "ended"
    if what != "ended":
        return Sighting(what, native_id, reason, node)
    exit_code, signal = exit_of(code)
    why = ENDS.get(state, "exit")
    said = state if reason in ("", state) else f"{state}, {reason}"
    return Sighting(what, native_id, said, node, why, exit_code, signal)


def _rank(sighting: Sighting) -> int:
    """Of two jobs with one name the one that may still do something counts."""
    return ("ended", "pending", "running").index(sighting.state)
