"""Finding: the task of a claimed run, and whether that is a program, to be started or adopted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.definitions.adhoc import adhoc
from dama.definitions.errors import UnknownTaskError
from dama.definitions.options import TaskOptions
from dama.definitions.program import ProgramSpec
from dama.definitions.task import TaskDefinition
from dama.domain.exit import ExitCodes
from dama.programs.isolated import IsolatedRun
from dama.programs.looking import TRANSIENT
from dama.programs.program import ProgramRun
from dama.programs.run_directory import State, state_of
from dama.shapes import is_list

if TYPE_CHECKING:
    from dama.programs.programs import Programs
    from dama.programs.run_directory import RunDirectory
    from dama.run.execution import Execution
    from dama.store import Claim


def task_of(programs: Programs, claim: Claim) -> TaskDefinition[Any]:
    """The task of a run; what was stored of it when it was started and nobody declares it now.

    Raises:
        UnknownTaskError: There is none, and nothing was started.
    """
    try:
        return programs.registry.task(claim.task)
    except UnknownTaskError:
        if claim.program_epoch is None:
            raise
    return _undeclared(claim, programs.directories.of(claim.context_id, claim.program_epoch))


def program_of(
    programs: Programs, execution: Execution, task: TaskDefinition[Any], *, isolated: bool = False
) -> ProgramRun | None:
    """The program of a run; None for a function that is executed within the worker.

    Args:
        programs: Those of the worker.
        execution: The run.
        task: What is declared.
        isolated: Whether a function is to have its own process, whatever is declared.
    """
    claim = execution.claim
    is_function = task.program is None and task is not adhoc
    wants_process = isolated or task.options.isolation is not None
    if is_function and not wants_process and claim.program_epoch is None:
        return None
    directory = programs.directories.of(claim.context_id, claim.program_epoch or claim.epoch)
    state = State.UNSTARTED if claim.program_epoch is None else state_of(directory)
    kind = IsolatedRun if is_function else ProgramRun
    return kind(programs, execution, task, directory, state)


def says_nothing(claim: Claim, error: OSError) -> bool:
    """Whether files that cannot be read are no verdict: a program runs, or the host is short."""
    return claim.program_epoch is not None or error.errno in TRANSIENT


def _undeclared(claim: Claim, directory: RunDirectory) -> TaskDefinition[Any]:
    """A task that is not declared any more; there is no further attempt, which nobody could start.

    Args:
        claim: Of a run whose program was started.
        directory: Its files.
    """
    service, _, name = claim.task.partition(".")
    is_program = not (directory.path / "claim.json").exists()
    spec = directory.known("spec.json")
    done = spec.get("done")
    codes = ExitCodes(done=frozenset(done if is_list(done) else (0,)))
    program = ProgramSpec((), exit_codes=codes, place="not declared any more")
    options = TaskOptions(isolation=None if is_program else "process")
    return TaskDefinition(service, name, _no_function, options, program if is_program else None)


async def _no_function(_: object) -> None:
    """A task that is only brought to its end."""
