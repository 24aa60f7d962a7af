"""Errors of definitions, names, params and results: what the caller can correct."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dama.config.table import nearest
from dama.errors import DamaError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class UndeclaredCommandError(UsageError):
    """Somebody wants a command run that nobody declared, and has not proved the right to it."""

    code = "UNDECLARED_COMMAND"
    is_final = True


class ProgramEnvironmentError(UsageError):
    """A program cannot get the variables that its declaration promises."""

    code = "PROGRAM_ENVIRONMENT"
    is_final = True


class DuplicateNameError(UsageError):
    """Two services, or two tasks of a service, have the same name."""

    code = "DUPLICATE_NAME"


class UnknownTaskError(UsageError):
    """No service has a task of this name."""

    code = "UNKNOWN_TASK"


class BrokenTaskError(UnknownTaskError):
    """A task is, or may be, in a module that cannot be imported."""

    code = "BROKEN_TASK"


class UnknownServiceError(UsageError):
    """No module that was loaded has a service of this name."""

    code = "UNKNOWN_SERVICE"


class ServiceStartError(UsageError):
    """What a service does at its start has failed."""

    code = "SERVICE_START"


class ModuleLoadError(UsageError):
    """A module that should have services cannot be imported, or has none.

    Attributes:
        module: Its name, as it was given.
    """

    code = "MODULE_LOAD"

    def __init__(self, module: str, message: str, hint: str | None = None) -> None:
        super().__init__(message, hint)
        self.module = module


@dataclass(frozen=True)
class ParamProblem:
    """What is wrong with one param.

    Attributes:
        name: The param.
        path: Where inside its value, such as `[3].month`; empty for the value itself.
        rule: What was wanted, as part of a sentence.
        kind: pydantic's name of the problem, such as `missing` or `int_parsing`.
        actual: What was found there; None when it is missing.
    """

    name: str
    path: str
    rule: str
    kind: str
    actual: object = field(default=None, compare=False)

    @property
    def text(self) -> str:
        """The problem on one line."""
        return f"{self.name}{self.path} {self.rule}"


class InvalidParamsError(UsageError):
    """The params of a task do not fit its signature.

    Attributes:
        task: The full name of the task.
        problems: All of them, in the order of the signature.
    """

    code = "INVALID_PARAMS"

    def __init__(
        self, task: str, problems: Sequence[ParamProblem], hint: str | None = None
    ) -> None:
        lines = "".join(f"\n  {problem.text}" for problem in problems)
        super().__init__(f"The params of {task} do not fit:{lines}", hint)
        self.task = task
        self.problems = tuple(problems)


class InvalidAnswerError(UsageError):
    """An event does not fit what a task asks for.

    Attributes:
        problems: What does not fit.
    """

    code = "INVALID_ANSWER"

    def __init__(self, what: str, problems: Sequence[str], hint: str | None = None) -> None:
        lines = "".join(f"\n  {problem}" for problem in problems)
        super().__init__(f"{what} does not fit what the task asks for:{lines}", hint)
        self.problems = tuple(problems)


class InvalidResultError(DamaError):
    """A result cannot be kept as JSON, or does not fit the type that was promised."""

    code = "INVALID_RESULT"
    exit_code = 1


class UnknownLauncherError(UsageError):
    """There is no launcher of a name."""

    code = "UNKNOWN_LAUNCHER"

    def __init__(self, name: str, known: Iterable[str], *, of: str = "") -> None:
        task = f"{of} asks for it. " if of else ""
        known = list(known)
        super().__init__(
            f"There is no launcher {name!r}.",
            task + (nearest(name, known) if known else f"Declare it: [launchers.{name}]."),
        )
