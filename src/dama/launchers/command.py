"""An engine by four commands of the user: for PBS, LSF, HTCondor, Nomad and what else there is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from dama.launchers.asking import ask, exit_of, last_line
from dama.launchers.launcher import AwayError, Key, RefusedError, Sighting, State, Why
from dama.launchers.script import log_of, script_of, tail_of, write_env_file

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.launchers.launcher import Job, LauncherSettings

# What the states of an engine may mean.
STATES = ("pending", "running", "done", "failed", "lost", "memory", "time", "cancelled")
STATE_OF: Mapping[str, State] = {"pending": "pending", "running": "running"}
WHY_OF: Mapping[str, Why] = {
    "lost": "lost",
    "memory": "memory",
    "time": "time",
    "cancelled": "cancelled",
}
# What submit ends with where the engine will never take the job; all else is no answer.
REFUSED = 65
COLUMNS = 6


class Command:
    """The launcher of kind command.

    The script comes to `submit` on standard input; in its environment are DAMA_JOB, the name, and
    DAMA_JOB_LOG, where its output belongs. An exit code of 65 says that the engine refuses it.

    Args:
        settings: Of the launcher.
        prefix: What the names of its jobs begin with.
    """

    group = 1
    keeps = 0.0

    def __init__(self, settings: LauncherSettings, prefix: str) -> None:
        self._settings = settings
        self._prefix = prefix

    async def prepare(self, conninfo: str) -> None:
        """Write the file of the secrets; see `Launcher`."""
        await asyncio.to_thread(write_env_file, self._settings, conninfo)

    async def submit(self, job: Job) -> Mapping[int, str]:
        """Submit the script of a job; see `Launcher`."""
        settings = self._settings
        element = job.elements[0].element
        script = script_of(job, settings, head=self._head(), index=str(element))
        needs = job.resources
        environ = {
            "DAMA_JOB": job.name,
            "DAMA_JOB_LOG": str(log_of(settings, Key(job.name, element))),
            "DAMA_JOB_CPUS": str(needs.cpus or ""),
            "DAMA_JOB_MEMORY_MB": str(needs.megabytes or ""),
            "DAMA_JOB_GPUS": str(needs.gpus or ""),
            "DAMA_JOB_MINUTES": str(needs.minutes or ""),
            "DAMA_JOB_IMAGE": needs.image or "",
        }
        code, out, err = await ask(
            settings.submit, timeout=settings.timeout, text=script, environ=environ
        )
        said = last_line(err) or f"{settings.submit[0]} ended with {code}"
        if code == REFUSED:
            raise RefusedError(said)
        if code or not (native_id := last_line(out)):
            raise AwayError(said)
        return {element: native_id}

    async def look(self) -> Mapping[Key, Sighting]:
        """Read the list of jobs; see `Launcher`."""
        listing = self._settings.list
        code, out, err = await ask(listing, timeout=self._settings.timeout)
        if code:
            raise AwayError(last_line(err) or f"{listing[0]} ended with {code}")
        found: dict[Key, Sighting] = {}
        for line in out.splitlines():
            parts = [part.strip() for part in line.split("|")]
            parts += [""] * (COLUMNS - len(parts))
            native_id, name, state, reason, node, code_text = parts[:COLUMNS]
            if name.startswith(f"{self._prefix}-"):
                sighting = self._sighting(native_id, state, reason, node, code_text)
                if found.get(Key(name, 0), sighting).state in ("ended", sighting.state):
                    found[Key(name, 0)] = sighting
        return found

    async def cancel(self, native_ids: Sequence[str]) -> None:
        """Cancel jobs; see `Launcher`."""
        await ask([*self._settings.cancel, *native_ids], timeout=self._settings.timeout)

    async def log(self, key: Key, native_id: str) -> str:
        """What the job printed; see `Launcher`."""
        if not self._settings.log:
            return tail_of(log_of(self._settings, key))
        _, out, _ = await ask([*self._settings.log, native_id], timeout=self._settings.timeout)
        return out

    def _head(self) -> str:
        return "".join(f"{option}\n" for option in self._settings.options)

    def _sighting(self, native_id: str, state: str, reason: str, node: str, code: str) -> Sighting:
        meaning = (self._settings.states or {}).get(state, state.lower())
        # A word that nobody explained says that the job is there, and not that it has ended.
        what: State = "pending" if meaning not in STATES else STATE_OF.get(meaning, "ended")
        is_told = what != "ended" and meaning in STATES
        said = ("" if reason == "None" else reason) or ("" if is_told else state)
        return Sighting(what, native_id, said, node, WHY_OF.get(meaning, "exit"), *exit_of(code))
