"""Services: named sets of tasks. Defining one imports neither pydantic nor the database driver.

A decorated function becomes a `TaskDefinition`: its name, params, result and options in one place.
Who runs it is `dama.runtime`; who finds it by its name is `dama.broker.registry`.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import re
import sys
from functools import cached_property
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
    final,
    overload,
)

from dama.broker.docstring import Docstring, parse_docstring
from dama.broker.errors import DuplicateNameError, InvalidDefinitionError
from dama.broker.options import TaskOptions, TaskSettings, read_options
from dama.broker.params import arguments_of, params_model, validate_params
from dama.broker.result import ResultType
from dama.broker.signature import params_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from pydantic import BaseModel

R = TypeVar("R")

LONGEST_KEY = 200

_TASK_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_SERVICE_NAME = re.compile(r"[a-z][a-z0-9_-]*(/[a-z][a-z0-9_-]*)*")


@final
class TaskDefinition(Generic[R]):
    """A task: what to run, what it takes and what it gives.

    Attributes:
        service: The name of its service.
        name: The full name, such as `flights.load`.
        function: What was decorated; its first parameter is the task itself.
        options: How it is queued, timed and tried again.
    """

    def __init__(
        self, service: str, name: str, function: Callable[..., object], options: TaskOptions
    ) -> None:
        self.service = service
        self.name = f"{service}.{name}"
        self.function = function
        self.options = options
        params = params_of(self.name, function)  # refuses here what could never be called
        _refuse_unknown_fields(self.name, options.concurrency_key, params)

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

    @cached_property
    def params(self) -> type[BaseModel]:
        """The model of the params.

        Raises:
            InvalidDefinitionError: An annotation is not a type that can be validated.
        """
        return params_model(self.name, self.function, self._docstring.params)

    @cached_property
    def result(self) -> ResultType[R]:
        """The type of the result."""
        return ResultType(self.name, self.function)

    @cached_property
    def _docstring(self) -> Docstring:
        return parse_docstring(self.function.__doc__)

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
        return self.validate(params).model_dump(mode="json", by_alias=True)

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
class Service:
    """A named set of tasks.

    Args:
        name: Lower case, such as `flights` or `warehouse/flights`.
        description: One sentence; by default the first line of the module with its first task.
    """

    def __init__(self, name: str, *, description: str = "") -> None:
        if not _SERVICE_NAME.fullmatch(name):
            raise InvalidDefinitionError(
                f"{name!r} can not be the name of a service.",
                "Names are lower-case letters, digits, - and _, and begin with a letter; "
                "parts may be joined by /.",
            )
        self.name = name
        self._description = description
        self._tasks: dict[str, TaskDefinition[Any]] = {}

    @property
    def tasks(self) -> Mapping[str, TaskDefinition[Any]]:
        """The tasks by their names within the service, in the order of definition."""
        return self._tasks

    @property
    def summary(self) -> str:
        """What it is, in a sentence; empty when nobody said."""
        if self._description or not self._tasks:
            return self._description
        first = next(iter(self._tasks.values()))
        module = sys.modules.get(first.function.__module__)
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

    def _define(
        self, name: str, function: Callable[..., object], settings: TaskSettings
    ) -> TaskDefinition[Any]:
        full_name = f"{self.name}.{name}"
        if not _TASK_NAME.fullmatch(name):
            raise InvalidDefinitionError(
                f"{name!r} can not be the name of a task of {self.name}.",
                "Names are lower-case letters, digits, - and _, and begin with a letter. "
                "Give another with @service.task(name=...).",
            )
        if name in self._tasks:
            raise DuplicateNameError(
                f"{full_name} is defined twice: in {_place(self._tasks[name].function)} "
                f"and in {_place(function)}.",
                "Give one of them another name with @service.task(name=...).",
            )
        options = read_options(full_name, settings)
        definition = TaskDefinition[Any](self.name, name, function, options)
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


def _place(function: Callable[..., object]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)
