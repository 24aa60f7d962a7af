"""The script of a job: it starts the worker of one run, and has no secret in it."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING

from dama.config.private_file import write_private
from dama.programs.place import JOBS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dama.launchers.launcher import Job, Key, LauncherSettings

SCRIPT = """\
#!/bin/bash
{head}\
set -euo pipefail
umask 077
{setup}\
set -a; . {env_file}; set +a
places=({places})
place=${{places[{index}]}}
# A home of its own: what this job leaves behind is no other worker's.
export DAMA_HOME={jobs}/{name}-"{index}"
mkdir -p "$DAMA_HOME"
cd {project}
exec {dama} perform "${{place%:*}}" --epoch "${{place#*:}}" --launcher {launcher}
"""
LOG_TAIL = 4000
# Of the process that launches: what a worker elsewhere has to know too.
PASSED_ON = ("DAMA_PROFILE", "DAMA_LOG", "DAMA_BROKER_URL", "DAMA_NAMESPACE")


def script_of(job: Job, settings: LauncherSettings, *, head: str, index: str) -> str:
    """The script of a job.

    Args:
        job: The job.
        settings: Of the launcher.
        head: Lines for the engine, each with its end.
        index: How the shell says which element it is.
    """
    places = [""] * (max(each.element for each in job.elements) + 1)
    for each in job.elements:
        places[each.element] = f"{each.context_id}:{each.epoch}"
    return SCRIPT.format(
        head=head,
        setup=f"{settings.setup.rstrip()}\n" if settings.setup else "",
        env_file=shlex.quote(str(env_file_of(settings))),
        places=" ".join(shlex.quote(place) for place in places),
        index=index,
        jobs=shlex.quote(str(jobs_of(settings))),
        name=job.name,
        project=shlex.quote(str(settings.project)),
        dama=shlex.quote(settings.dama),
        launcher=shlex.quote(settings.name),
    )


def jobs_of(settings: LauncherSettings) -> Path:
    """The folder of the homes and logs of the jobs."""
    return settings.files / JOBS


def env_file_of(settings: LauncherSettings) -> Path:
    """The file of the secrets, as the nodes see it."""
    return settings.env_file or settings.files / "launchers" / f"{settings.name}.env"


def write_env_file(settings: LauncherSettings, conninfo: str) -> None:
    """Write the secrets for the nodes, for nobody else to read, unless the settings name a file."""
    jobs_of(settings).mkdir(parents=True, exist_ok=True)
    if settings.env_file is None:
        values = {"DAMA_DATABASE_URL": conninfo, **_passed_on(os.environ)}
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in values.items()]
        write_private(env_file_of(settings), "".join(lines).encode(), replace=True)


def log_of(settings: LauncherSettings, key: Key) -> Path:
    """Where a job prints what dama does not keep."""
    return jobs_of(settings) / f"{key.name}-{key.element}.log"


def tail_of(path: Path) -> str:
    """The end of a file; empty when it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(max(path.stat().st_size - LOG_TAIL, 0))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def _passed_on(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[name] for name in PASSED_ON if environ.get(name)}
