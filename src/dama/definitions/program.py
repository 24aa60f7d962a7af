"""Programs: external executables as tasks. What is declared of one, and what it is started with.

How a declaration is read is in `declaration.py`, what a command may have in `command.py`; who
starts the program is `dama.run`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dama.config.env_file import read_variables
from dama.definitions.command import Command, as_text, expand, fill, placeholders
from dama.definitions.errors import ProgramEnvironmentError
from dama.definitions.program_params import ProgramParam
from dama.definitions.tap import TapSpec
from dama.domain.exit import ExitCodes

if TYPE_CHECKING:
    from pydantic import BaseModel

LOG_CAP = 256 * 1024 * 1024


@dataclass(frozen=True)
class ProgramSpec:
    """What to start, and how.

    Attributes:
        command: The arguments, the program first; see `dama.definitions.command` for placeholders.
        cwd: Where it is started; None for its working folder.
        env: Further environment variables; their values may have placeholders.
        env_files: Files of variables, read when it starts; their names may have placeholders.
        secrets: Variables that the worker passes on from its own environment, never recorded.
        inherit: Further variables of the worker that it gets: names, or beginnings with a `*`.
        exit_codes: What they mean.
        pty: Whether its output goes to a pseudo-terminal.
        grace: Seconds between TERM and KILL.
        linger: Seconds that what outlives its main process has to end by itself; a filter that is
            at work has up to 60 times that.
        nice: Added to the niceness of the worker.
        memory: Bytes of address space that each of its processes may have.
        log_cap: Bytes of output that are kept.
        params: What it takes, by name.
        help: What it does; the first paragraph is the summary.
        place: Where it is declared, for messages.
        tap: Where what it extracts is loaded; None for a program that is no tap.
        is_dbt: Whether it is dbt, whose nodes become events.
    """

    command: Command
    cwd: str | None = None
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    env_files: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    inherit: tuple[str, ...] = ()
    exit_codes: ExitCodes = field(default_factory=ExitCodes)
    pty: bool = False
    grace: float = 10.0
    linger: float = 5.0
    nice: int | None = None
    memory: int | None = None
    log_cap: int = LOG_CAP
    params: Mapping[str, ProgramParam] = field(default_factory=dict[str, ProgramParam])
    help: str = ""
    place: str = ""
    tap: TapSpec | None = None
    is_dbt: bool = False

    def argv(self, params: Mapping[str, Any]) -> list[str]:
        """The arguments for these params, the program first; each value is in one element."""
        return expand(self.command, params)

    def environment(self, params: Mapping[str, Any]) -> dict[str, str]:
        """The variables for these params: those of the files, then of `env`, then the params'.

        A variable whose placeholder has no value is left out. Secrets are not among them.

        Raises:
            ProgramEnvironmentError: A file cannot be read.
        """
        variables = self.file_variables(params)
        for name, text in self.env.items():
            if (value := fill(text, params)) is not None:
                variables[name] = value
        return variables | param_variables(params)

    def file_variables(self, params: Mapping[str, Any]) -> dict[str, str]:
        """The variables of the files, a later file over an earlier one.

        Raises:
            ProgramEnvironmentError: A file cannot be read.
        """
        variables: dict[str, str] = {}
        for path in self.files(params):
            variables |= _read(path)
        return variables

    def files(self, params: Mapping[str, Any]) -> list[str]:
        """The files of variables for these params; one whose name has no value is left out.

        Raises:
            ProgramEnvironmentError: A value leads out of the folder of its file.
        """
        paths = (_path(file, params) for file in self.env_files)
        return [path for path in paths if path is not None]


def param_variables(params: Mapping[str, Any]) -> dict[str, str]:
    """`DAMA_PARAM_<NAME>` for each param that has a value."""
    return {
        f"DAMA_PARAM_{name.upper()}": as_text(value)
        for name, value in params.items()
        if value is not None
    }


def program_model(task: str, params: Mapping[str, ProgramParam]) -> type[BaseModel]:
    """Make the model of a program's params."""
    from dama.definitions.params import ParamField, fields_model

    return fields_model(
        task,
        {
            name: ParamField(param.annotation(), param.field_default(), param.help or None)
            for name, param in params.items()
        },
    )


def _path(file: str, params: Mapping[str, Any]) -> str | None:
    for name in (found.name for found in placeholders(Path(file).name)):
        if "/" in as_text(params.get(name)) or as_text(params.get(name)).startswith(".."):
            raise ProgramEnvironmentError(
                f"{name} is {params[name]!r}, which leaves the folder of {file}.",
                "Give the part of the file's name that the placeholder stands for.",
            )
    return fill(file, params)


def _read(path: str) -> dict[str, str]:
    if not Path(path).is_file():
        raise ProgramEnvironmentError(
            f"The file of variables {path} is not there.",
            "Write it on every host that runs the program, or correct env_files.",
        )
    try:
        return read_variables(Path(path))
    except (OSError, ValueError) as error:
        raise ProgramEnvironmentError(
            f"{path} cannot be read: {error}.", "Correct the file; nothing was started."
        ) from error
