"""The environment of programs, and which values in it are secrets.

A program gets little of the worker's environment: what every program needs, what is declared in
`inherit`, and its `secrets`. Connection strings and passwords of the worker are its own: no pattern
passes them on, only their full name does.
"""

from __future__ import annotations

import os
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama.config.env_file import read_variables
from dama.definitions.adhoc import adhoc
from dama.definitions.command import WORK_DIR
from dama.definitions.inherit import ONLY_BY_NAME
from dama.domain.secrets import NONE, Secrets
from dama.errors import DamaError
from dama.programs.looking import TRANSIENT
from dama.run.errors import ProgramError
from dama.shapes import is_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dama.definitions.program import ProgramSpec
    from dama.definitions.task import TaskDefinition
    from dama.programs.run_directory import RunDirectory

ALWAYS = ("PATH", "HOME", "LANG", "LC_*", "TZ", "TMPDIR", "USER", "LOGNAME", "SHELL", "DAMA_HOME")
# Secrets of the worker that the loader of a tap has, and might tell by mistake.
OF_LOADER = {"DAMA_TAP_DATABASE", "DAMA_DATABASE_URL", "PGPASSWORD"}
# Of files of variables: what says where and how, and is told to people all the time.
NOT_SECRET = (
    *ALWAYS, "LANGUAGE", "TERM", "PWD", "PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER",
    "PGSERVICE", "PGSSLMODE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY", "PGCHANNELBINDING",
    "PGCONNECT_TIMEOUT", "PGTARGETSESSIONATTRS", "PGAPPNAME", "PGOPTIONS", "PGPASSFILE",
    "PGCLIENTENCODING", "PGTZ", "PGDATESTYLE", "PYTHONUNBUFFERED", "PYTHONPATH",
)  # fmt: skip


def inherited(environ: Mapping[str, str], patterns: Iterable[str] = ()) -> dict[str, str]:
    """What a program gets of the worker's environment.

    Args:
        environ: That of the worker.
        patterns: Further names, or beginnings of names with a `*` behind them.
    """
    wanted = (*ALWAYS, *patterns)
    kept = {
        name: value
        for name, value in environ.items()
        if name in wanted or (not _is_own(name) and any(fnmatchcase(name, p) for p in wanted))
    }
    return _with_commands(kept)


def inherited_by_python(environ: Mapping[str, str]) -> dict[str, str]:
    """What a task in Python with a process of its own gets: all but what belongs to another run.

    It is code of the worker, which has read all of this when it loaded the services.
    """
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith("DAMA_") or name in ("DAMA_HOME", "DAMA_DATABASE_URL")
    }
    return _with_commands(kept)


def passed_on(names: Sequence[str], declared: Mapping[str, str]) -> dict[str, str]:
    """The secrets of a program, from the environment of the worker, else from its env_files.

    Args:
        names: Of the secrets.
        declared: The variables of its `env` and `env_files`.

    Raises:
        ProgramError: One is missing; another attempt would not find it either.
    """
    known = {**declared, **os.environ}
    if missing := [name for name in names if name not in known]:
        raise ProgramError(
            f"The worker has no {', '.join(missing)} in its environment to pass on, and no file of "
            "env_files has it.",
            hint="Set it where the worker is started, and start the worker again.",
            is_final=True,
        )
    return {name: known[name] for name in names}


def secrets_of(
    task: TaskDefinition[Any],
    params: Mapping[str, Any],
    directory: RunDirectory | None = None,
    patterns: Sequence[str] = (),
) -> Secrets:
    """The values that must not leave a run of a program.

    They are read again each time and kept in memory only: from the worker's environment, the files
    of variables, and the environment of the program while it lives, which has the values that it
    was started with.

    Args:
        task: What is declared.
        params: As they are stored.
        directory: Its files.
        patterns: What all programs of the project inherit besides.

    Raises:
        OSError: What it was started with cannot be seen now.
    """
    spec = task.program
    files = secrets_of_files(spec, params) if spec is not None and spec.env_files else {}
    names, read = _as_started(directory) if directory is not None else ([], {})
    # Those that it was started with stay secrets, whatever a new release declares.
    return _secrets([*secret_names(task, params, patterns), *names], {**read, **files}, directory)


def secret_names(
    task: TaskDefinition[Any], params: Mapping[str, Any], patterns: Sequence[str] = ()
) -> list[str]:
    """The variables that a run of a program gets as secrets, besides those of its env_files."""
    spec = task.program
    named = {*(spec.secrets if spec else ()), *ONLY_BY_NAME.intersection(patterns)}
    if spec is not None:
        named |= ONLY_BY_NAME.intersection(spec.inherit)
        named |= OF_LOADER if spec.tap is not None else set()
    elif task is adhoc:
        named |= ONLY_BY_NAME.intersection(params.get("inherit") or ())
    return sorted(named)


def secrets_left(directory: RunDirectory) -> Secrets:
    """What may stand in the files of a program still, for who knows no more of it than these.

    Until it is settled no worker has read all that it wrote. Found are the values that this process
    has, those of its files of variables, and while it lives those that it was started with.

    Raises:
        OSError: They cannot be read now, so nobody may be shown its files.
    """
    if not directory.is_open():
        return NONE
    return _secrets(*_as_started(directory), directory)


def _as_started(directory: RunDirectory) -> tuple[list[str], dict[str, str]]:
    """The names of the secrets that a program was started with, and the variables of its files."""
    known = directory.known("spec.json")
    files: dict[str, str] = {}
    for path in _strings(known.get("env_files")):
        try:
            files |= _secret_ones(read_variables(Path(path)))
        except (OSError, ValueError) as error:
            if getattr(error, "errno", None) in TRANSIENT:
                raise
    return _strings(known.get("secrets")), files


def _strings(found: object) -> list[str]:
    return [each for each in found if isinstance(each, str)] if is_list(found) else []


def _secrets(
    named: Iterable[str], files: Mapping[str, str], directory: RunDirectory | None
) -> Secrets:
    names = {*named, *files}
    living = directory.environment() if directory is not None and names else {}
    values = [os.environ[name] for name in named if name in os.environ]
    values += [*files.values(), *(living[name] for name in names if name in living)]
    return Secrets(values) if values else NONE


def secrets_of_files(spec: ProgramSpec, params: Mapping[str, Any]) -> dict[str, str]:
    """The variables of the files of a program that are secrets, and their values."""
    given = {name: value for name, value in params.items() if value is not None}
    try:
        found = spec.file_variables({WORK_DIR: "", **given})
    except DamaError:  # the run says so itself; where it ran, nobody can read the file any more
        return {}
    return _secret_ones(found)


def _secret_ones(variables: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in variables.items()
        if not any(fnmatchcase(name, known) for known in NOT_SECRET)
    }


def _is_own(name: str) -> bool:
    return name in ONLY_BY_NAME or name.startswith("DAMA_")


def _with_commands(kept: Mapping[str, str]) -> dict[str, str]:
    """With the folder of `dama` at the end of PATH."""
    beside = str(Path(sys.executable).parent)
    path = kept.get("PATH", os.defpath)
    return {**kept, "PATH": path if beside in path.split(":") else f"{path}:{beside}"}
