"""Finding: the task of a claimed run, and whether that is a program, to be started or adopted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
    """The task of a run.

    What was started of it, where a release has made a function of a program meanwhile, or a program
    of a function, or nobody declares it any more.

    Raises:
        UnknownTaskError: There is none, and nothing was started.
        OSError: What was started cannot be seen now.
    """
    try:
        task = programs.registry.task(claim.task)
    except UnknownTaskError:
        if claim.program_epoch is None:
            raise
        options = TaskOptions()
    else:
        if claim.program_epoch is None:
            return task
        directory = programs.directories.of(claim.context_id, claim.program_epoch)
        if not directory.known("pid.json") or _was_function(directory) is task.is_function:
            return task
        options = task.options  # a further attempt is one of what is declared now
    directory = programs.directories.of(claim.context_id, claim.program_epoch)
    return _as_started(claim, directory, options)


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
    claim, tested = execution.claim, execution.writer.rehearsal
    if tested and (task.is_function or tested.stand_in(task.name)):
        return None  # a function is called in the process of its test
    if not (isolated or task.outlives_worker) and claim.program_epoch is None:
        return None
    directory = programs.directories.of(claim.context_id, claim.program_epoch or claim.epoch)
    state = State.UNSTARTED if claim.program_epoch is None else state_of(directory)
    kind = IsolatedRun if task.is_function else ProgramRun
    return kind(programs, execution, task, directory, state)


def says_nothing(claim: Claim, error: OSError) -> bool:
    """Whether files that cannot be read are no verdict: a program runs, or the host is short."""
    return claim.program_epoch is not None or error.errno in TRANSIENT


def _was_function(directory: RunDirectory) -> bool:
    return (directory.path / "claim.json").exists()


def _as_started(claim: Claim, directory: RunDirectory, options: TaskOptions) -> TaskDefinition[Any]:
    """The task that was started, which is not declared any more.

    Args:
        claim: Of a run whose program was started.
        directory: Its files.
        options: For further attempts; by default there is none, which nobody could start.
    """
    service, _, name = claim.task.partition(".")
    is_program = not _was_function(directory)
    spec = directory.known("spec.json")
    done = spec.get("done")
    codes = ExitCodes(done=frozenset(done if is_list(done) else (0,)))
    program = ProgramSpec((), exit_codes=codes, place="not declared any more")
    options = replace(options, isolation=None if is_program else "process")
    return TaskDefinition(service, name, _no_function, options, program if is_program else None)


async def _no_function(_: object) -> None:
    """A task that is only brought to its end."""
