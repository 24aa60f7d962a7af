"""Services: named sets of tasks and actions. Defining one imports no pydantic and no driver.

A decorated function becomes a `TaskDefinition`: its name, params, result and options in one place.
Who runs it is `dama.run`; who finds it by its name is `dama.definitions.registry`.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Generic,
    NoReturn,
    Protocol,
    TypeVar,
    Unpack,
    cast,
    final,
    overload,
)

from dama.definitions.declaration import ProgramSettings, read_program
from dama.definitions.docstring import Docstring, parse_docstring
from dama.definitions.errors import DuplicateNameError
from dama.definitions.options import TaskOptions, TaskSettings, read_options
from dama.definitions.params import arguments_of, params_model, validate_params
from dama.definitions.part import Part, PartSettings
from dama.definitions.program import ProgramSpec, program_model
from dama.definitions.result import ResultType
from dama.definitions.signature import params_of, refuse_generators
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from types import FrameType

    from pydantic import BaseModel

R = TypeVar("R")

LONGEST_KEY = 200

_TASK_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_NAME_WITH_TASKS = re.compile(r"[a-z][a-z0-9_-]*(/[a-z][a-z0-9_-]*)*")
_SERVICE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*([/.][A-Za-z][A-Za-z0-9_-]*)*")
_INTERNAL = ("$node",)


@final
class TaskDefinition(Generic[R]):
    """A task: what to run, what it takes and what it gives.

    Attributes:
        service: The name of its service.
        name: The full name, such as `flights.load`.
        function: What was decorated; its first parameter is the task itself.
        options: How it is queued, timed and tried again.
        program: What the worker starts instead of the function; None for a task in Python.
    """

    def __init__(
        self,
        service: str,
        name: str,
        function: Callable[..., object],
        options: TaskOptions,
        program: ProgramSpec | None = None,
    ) -> None:
        self.service = service
        self.name = f"{service}.{name}"
        self.function = function
        self.options = options
        self.program = program
        # Refuses here what could never be called.
        params = program.params if program else params_of(self.name, function)
        if program is None:
            refuse_generators(self.name, function)
        where = f"{program.place}: {self.name}" if program else self.name
        _refuse_unknown_fields(where, options.concurrency_key, params)

    @property
    def short_name(self) -> str:
        """The name within the service, such as `load`."""
        return self.name.removeprefix(f"{self.service}.")

    @property
    def is_async(self) -> bool:
        """Whether the function is an `async def`, which runs in the worker's loop."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring, on one line."""
        return self._docstring.summary

    @property
    def description(self) -> str:
        """The paragraphs of the docstring after the summary, up to the first section."""
        return self._docstring.description

    @property
    def place(self) -> str:
        """Where it is defined: a file, with the line if it is known."""
        return self.program.place if self.program else _place(self.function)

    @cached_property
    def params(self) -> type[BaseModel]:
        """The model of the params.

        Raises:
            InvalidDefinitionError: An annotation is not a type that can be validated.
        """
        if self.program:
            return program_model(self.name, self.program.params)
        return params_model(self.name, self.function, self._docstring.params)

    @cached_property
    def result(self) -> ResultType[R]:
        """The type of the result."""
        return ResultType(self.name, self.function)

    @cached_property
    def _docstring(self) -> Docstring:
        return parse_docstring(self.program.help if self.program else self.function.__doc__)

    def validate(self, params: Mapping[str, Any]) -> BaseModel:
        """Validate params, all at once.

        Raises:
            InvalidParamsError: With every problem there is.
        """
        return validate_params(self.name, self.params, params)

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Validate params; give them as keyword arguments of the function, defaults included.

        Raises:
            InvalidParamsError: With every problem there is.
        """
        return arguments_of(self.validate(params))

    def encode_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Validate params; give them as JSON builtins, defaults included, to be kept in an event.

        Raises:
            InvalidParamsError: With every problem there is.
        """
        from dama.definitions import kept  # noqa: PLC0415 - a definition needs no msgspec

        given = kept.without_foreign_scalars(dict(params))
        validated = self.validate(given)
        return kept.encode_params(self.name, given, validated)

    def limit_key(self, params: Mapping[str, Any]) -> str | None:
        """What a run is counted by, given its encoded params; None when there is no limit.

        Raises:
            InvalidDefinitionError: The template does not fit the params.
        """
        options = self.options
        if options.concurrency is None and options.singleton is None:
            return None
        if options.concurrency_key is None:
            return self.name
        try:
            values = options.concurrency_key.format_map(params)
        except (ValueError, TypeError) as error:
            raise InvalidDefinitionError(
                f"{self.name}: concurrency_key {options.concurrency_key!r} does not fit its "
                f"params: {error}."
            ) from error
        if len(values) > LONGEST_KEY:  # an index has no room for more
            values = hashlib.sha256(values.encode()).hexdigest()
        return f"{self.name}/{values}"

    def encode_result(self, value: R) -> object:
        """Turn a result into JSON builtins.

        Raises:
            InvalidResultError: It is not what the annotation promises, or not JSON.
        """
        return self.result.encode(value)

    def decode_result(self, value: object) -> R:
        """Turn JSON builtins back into the type of the result.

        Raises:
            InvalidResultError: They do not fit it.
        """
        return self.result.decode(value)


class TaskDecorator(Protocol):
    """What `@service.task(...)` gives: it makes a definition of a function."""

    @overload
    def __call__(
        self, function: Callable[Concatenate[Any, ...], Awaitable[R]], /
    ) -> TaskDefinition[R]: ...

    @overload
    def __call__(self, function: Callable[Concatenate[Any, ...], R], /) -> TaskDefinition[R]: ...


@final
class Service(Part):
    """A named set of tasks, actions and event handlers.

    Args:
        name: Lower case, such as `flights` or `warehouse/flights`; without tasks also as the nodes
            of a cluster have it, such as `orderService` or `mail.out`.
        description: One sentence; by default the first line of the module with its first task.
        version: Of its actions: `2` makes them `v2.flights.count`, a text goes before them as it
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
        if not _SERVICE_NAME.fullmatch(name) and name not in _INTERNAL:
            raise InvalidDefinitionError(
                f"{name!r} can not be the name of a service.",
                "Names are letters, digits, - and _, and begin with a letter; parts may be joined "
                "by / or a dot.",
            )
        self.name = name
        self.version = version
        self._description = description
        self._tasks: dict[str, TaskDefinition[Any]] = {}

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
        in_python = [task for task in self._tasks.values() if task.program is None]
        if not in_python:
            return f"Programs of {next(iter(self._tasks.values())).place.partition(':')[0]}."
        module = sys.modules.get(in_python[0].function.__module__)
        return parse_docstring(module.__doc__ if module else None).summary

    @overload
    def task(
        self, function: Callable[Concatenate[Any, ...], Awaitable[R]], /
    ) -> TaskDefinition[R]: ...

    @overload
    def task(self, function: Callable[Concatenate[Any, ...], R], /) -> TaskDefinition[R]: ...

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
            **settings: See `TaskOptions`; durations as seconds or as text ("2h", "30m", "45s").

        Raises:
            InvalidDefinitionError: The name, the signature or a setting can not be used.
            DuplicateNameError: The service has a task of this name.
        """

        def define(function: Callable[..., object]) -> TaskDefinition[Any]:
            return self._define(name or getattr(function, "__name__", ""), function, settings)

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
            command: Its arguments, each a text; `{year}` is the value of a param. No shell.
            **settings: params, cwd, env, secrets, exit_codes, retries, timeout and so on. Relative
                paths begin at the folder of the module that calls this.

        Raises:
            InvalidDefinitionError: The name or a setting can not be used; the message names it.
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
            InvalidDefinitionError: The name or a key can not be used.
            DuplicateNameError: The service has another task of this name.
        """
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
        options = read_options(f"{self.name}.{name}", settings)
        return self._keep(name, TaskDefinition[Any](self.name, name, function, options))

    def _keep(self, name: str, definition: TaskDefinition[Any]) -> TaskDefinition[Any]:
        way = "@service.task(name=...)" if definition.program is None else "its declaration"
        if not _TASK_NAME.fullmatch(name):
            raise InvalidDefinitionError(
                f"{name!r} can not be the name of a task of {self.name}.",
                "Names are lower-case letters, digits, - and _, and begin with a letter. "
                f"Give another with {way}.",
            )
        if not _NAME_WITH_TASKS.fullmatch(self.name):
            raise InvalidDefinitionError(
                f"{self.name!r} can not be the name of a service with tasks.",
                "Names are lower-case letters, digits, - and _, and begin with a letter; "
                "parts may be joined by /. Only a service without tasks may have another, as the "
                "nodes of a cluster do.",
            )
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


def _refuse_unknown_fields(task: str, template: str | None, params: Iterable[str]) -> None:
    try:
        fields = [field for _, field, *_ in Formatter().parse(template or "") if field is not None]
    except ValueError as error:
        raise InvalidDefinitionError(f"{task}: concurrency_key {template!r}: {error}.") from error
    for field in fields:
        if field not in set(params):
            raise InvalidDefinitionError(
                f"{task}: concurrency_key names {field!r}, which is no param of it.",
                f"It has {', '.join(params) or 'none'}.",
            )


async def _only_the_worker(_: object, **__: object) -> Any:  # noqa: ANN401 - what it leaves
    """Stand in for the function of a program: no worker calls it."""
    raise InvalidDefinitionError("This task is a program: a worker starts it, nobody can call it.")


def _place(function: Callable[..., object]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)
