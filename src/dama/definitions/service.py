"""Services: named sets of tasks and actions. Defining one imports no pydantic and no driver."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    NoReturn,
    Protocol,
    Unpack,
    cast,
    final,
    overload,
)
from weakref import ref

from typing_extensions import ParamSpec, TypeVar

from dama.definitions.declaration import ProgramSettings, read_program
from dama.definitions.docstring import parse_docstring
from dama.definitions.errors import DuplicateNameError
from dama.definitions.options import TaskSettings, read_options
from dama.definitions.part import Part, PartSettings
from dama.definitions.step import StepDefinition
from dama.definitions.task import TaskDefinition
from dama.definitions.written import chosen_name
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence
    from types import FrameType


R = TypeVar("R")
P = ParamSpec("P")

_TASK_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_NAME_WITH_TASKS = re.compile(r"[a-z][a-z0-9_-]*(/[a-z][a-z0-9_-]*)*")
_SERVICE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*([/.][A-Za-z][A-Za-z0-9_-]*)*")
_INTERNAL = ("$node",)
_made: list[ref[Service]] = []


class TaskDecorator(Protocol):
    """What `@service.task(...)` gives: it makes a definition of a function."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> TaskDefinition[R, P, Coroutine[Any, Any, R]]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, P], R], /
    ) -> TaskDefinition[R, P, R]: ...


def check_name_with_tasks(name: str) -> None:
    """Check the name of a service that has tasks or programs.

    Raises:
        InvalidDefinitionError: It cannot have this name.
    """
    if not _NAME_WITH_TASKS.fullmatch(name):
        raise InvalidDefinitionError(
            f"{name!r} cannot be the name of a service with tasks.",
            "Names are lower-case letters, digits, - and _, and begin with a letter; "
            "parts may be joined by /. Only a service without tasks may have another, as the "
            "nodes of a cluster do.",
        )


@final
class Service(Part):
    """A named set of tasks, actions and event handlers.

    Args:
        name: Lower case, such as `flights` or `warehouse/flights`; without tasks also as the nodes
            of a cluster have it, such as `orderService` or `mail.out`.
        description: One sentence; by default the first line of the module with its first task.
        version: Of its actions: `2` makes them `v2.flights.count`, a string goes before them as it
            is.
        **shared: What a part has as well: settings, metadata, dependencies, parts.
    """

    def __init__(
        self,
        name: str,
        *,
        description: str = "",
        version: int | str | None = None,
        **shared: Unpack[PartSettings],
    ) -> None:
        super().__init__(**shared)
        if not isinstance(cast("object", name), str):
            raise InvalidDefinitionError(f"The name of a service is {name!r}: expected a string.")
        if not _SERVICE_NAME.fullmatch(name) and name not in _INTERNAL:
            raise InvalidDefinitionError(
                f"{name!r} cannot be the name of a service.",
                "Names are letters, digits, - and _, and begin with a letter; parts may be joined "
                "by / or a dot.",
            )
        self.name = name
        self.version = version
        self._description = description
        self._tasks: dict[str, TaskDefinition[Any]] = {}
        _made.append(ref(self))

    @staticmethod
    def made() -> list[Service]:
        """All services of this process, in the order in which they were made."""
        return [service for made in _made if (service := made())]

    @property
    def full_name(self) -> str:
        """The name with the version, as in `v2.flights`."""
        if self.version is None or self.settings.get("$noVersionPrefix"):
            return self.name
        prefix = f"v{self.version}" if isinstance(self.version, int) else self.version
        return f"{prefix}.{self.name}"

    @property
    def tasks(self) -> Mapping[str, TaskDefinition[Any]]:
        """The tasks by their names within the service, in the order of definition."""
        return self._tasks

    @property
    def summary(self) -> str:
        """What it is, in a sentence; empty when nobody said."""
        if self._description or not self._tasks:
            return self._description
        in_python = [task for task in self._tasks.values() if task.is_function]
        if not in_python:
            return f"Programs of {next(iter(self._tasks.values())).place.partition(':')[0]}."
        module = sys.modules.get(in_python[0].function.__module__)
        return parse_docstring(module.__doc__ if module else None).summary

    @overload
    def task(
        self, function: Callable[Concatenate[Any, P], Coroutine[Any, Any, R]], /
    ) -> TaskDefinition[R, P, Coroutine[Any, Any, R]]: ...

    @overload
    def task(self, function: Callable[Concatenate[Any, P], R], /) -> TaskDefinition[R, P, R]: ...

    @overload
    def task(
        self, /, *, name: str | None = None, **settings: Unpack[TaskSettings]
    ) -> TaskDecorator: ...

    def task(
        self,
        function: Callable[..., object] | None = None,
        /,
        *,
        name: str | None = None,
        **settings: Unpack[TaskSettings],
    ) -> object:
        """Make a task of a function, as `@service.task` or `@service.task(retries=3, ...)`.

        The function's first parameter is the task itself; the others are its params.

        Args:
            function: An `async def`, or a `def`, which runs in a thread.
            name: Within the service; by default the name of the function.
            **settings: See `TaskOptions`; durations as seconds, as text ("2h", "30m", "45s") or as
                a timedelta.

        Raises:
            InvalidDefinitionError: The name, the signature or a setting cannot be used.
            DuplicateNameError: The service has a task of this name.
        """

        def define(function: Callable[..., object]) -> TaskDefinition[Any]:
            own = getattr(function, "__name__", "")
            chosen = chosen_name(f"{self.name}.{own}", name, own)
            return self._define(chosen, function, settings)

        return define if function is None else define(function)

    def program(
        self,
        name: str,
        *,
        command: Sequence[str | Sequence[str]],
        **settings: Unpack[ProgramSettings],
    ) -> TaskDefinition[Any]:
        """Make a task of a program, with the keys that `[programs]` of `dama.toml` has.

        Args:
            name: Within the service.
            command: Its arguments, each a string; `{year}` is the value of a param. No shell.
            **settings: params, cwd, env, secrets, exit_codes, retries, timeout and so on. Relative
                paths begin at the folder of the module that calls this.

        Raises:
            InvalidDefinitionError: The name or a setting cannot be used; the message names it.
            DuplicateNameError: The service has another task of this name.
        """
        caller = cast("FrameType", cast("FrameType", inspect.currentframe()).f_back)
        file = Path(caller.f_code.co_filename)
        return self.declare(
            name,
            {"command": command, **settings},
            place=f"{file.name}:{caller.f_lineno}",
            base=file.absolute().parent,
        )

    def declare(self, name: str, values: object, *, place: str, base: Path) -> TaskDefinition[Any]:
        """Make a task of a program's declaration; the same one again changes nothing.

        Args:
            name: Within the service.
            values: The keys, as `dama.toml` has them.
            place: Where they are: a file, with a line if there is one.
            base: The folder that relative paths begin at.

        Raises:
            InvalidDefinitionError: The name or a key cannot be used.
            DuplicateNameError: The service has another task of this name.
        """
        chosen_name(f"A program of {self.name}", name, "")
        in_file = ":" not in place
        where = f'programs."{self.name}.{name}"' if in_file else f"{self.name}.{name}"
        spec, options = read_program(f"{place}: {where}", values, place=place, base=base)
        known = self._tasks.get(name)
        if known and (known.program, known.options) == (spec, options):
            return known
        definition = TaskDefinition[Any](self.name, name, _only_the_worker, options, spec)
        return self._keep(name, definition)

    def _define(
        self, name: str, function: Callable[..., object], settings: TaskSettings
    ) -> TaskDefinition[Any]:
        if isinstance(function, StepDefinition):
            raise InvalidDefinitionError(
                f"{self.name}.{name} is a step already.", "Leave out one decorator."
            )
        options = read_options(f"{self.name}.{name}", settings)
        return self._keep(name, TaskDefinition[Any](self.name, name, function, options))

    def _keep(self, name: str, definition: TaskDefinition[Any]) -> TaskDefinition[Any]:
        way = "@service.task(name=...)" if definition.is_function else "its declaration"
        if not _TASK_NAME.fullmatch(name):
            raise InvalidDefinitionError(
                f"{name!r} cannot be the name of a task of {self.name}.",
                "Names are lower-case letters, digits, - and _, and begin with a letter. "
                f"Give another with {way}.",
            )
        check_name_with_tasks(self.name)
        if name in self._tasks:
            raise DuplicateNameError(
                f"{definition.name} is defined twice: in {self._tasks[name].place} "
                f"and in {definition.place}.",
                f"Give one of them another name with {way}.",
            )
        self._tasks[name] = definition
        return definition

    def main(self, argv: Sequence[str] | None = None) -> NoReturn:
        """Make the module its own command line: `if __name__ == "__main__": flights.main()`.

        Ends the process with the exit code of the command.
        """
        # The one import upwards: by name and late, so that no layer below needs the command line.
        cli = importlib.import_module("dama.cli")
        sys.exit(cli.service_main(self, argv))


async def _only_the_worker(_: object, **__: object) -> Any:
    """Stand in for the function of a program: no worker calls it."""
    raise InvalidDefinitionError("This task is a program: a worker starts it, nobody can call it.")
