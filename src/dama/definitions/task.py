"""A task as it is defined: a function or a program, with its name, params, result and options.

Who runs it is `dama.run`; who finds it by its name is `dama.definitions.registry`.
"""

from __future__ import annotations

import hashlib
import inspect
from functools import cached_property, update_wrapper
from string import Formatter
from typing import TYPE_CHECKING, Any, Generic, Self, cast, final

from typing_extensions import ParamSpec, TypeVar, override

from dama.definitions.connected import connected
from dama.definitions.docstring import Docstring, parse_docstring
from dama.definitions.params import (
    arguments_of,
    deprecated_params,
    optional_names,
    param_names,
    params_model,
    schema_of,
    validate_params,
)
from dama.definitions.program import ProgramSpec, program_model
from dama.definitions.result import ResultType
from dama.definitions.signature import params_of, read_signature, refuse_call, refuse_generators
from dama.errors import InvalidDefinitionError, UsageError
from dama.shapes import is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pydantic import BaseModel

    from dama.definitions.connected import Started
    from dama.definitions.options import TaskOptions

R = TypeVar("R")
P = ParamSpec("P", default=...)
V = TypeVar("V", default=Any)

LONGEST_KEY = 200


@final
class TaskDefinition(Generic[R, P, V]):
    """A task: what to run, what it takes (`P`) and what it returns (`R`).

    Called, it is the function that was decorated, with its signature and docstring: `V` is what
    that returns, an awaitable of an `async def`. Only a worker or a test has what to call it with.

    Attributes:
        service: The name of its service.
        name: The full name, such as `flights.load`.
        function: What was decorated; its first parameter is the task itself.
        options: How it is queued, timed and tried again.
        program: What the worker starts instead of the function; None for a task in Python.
        is_function: Whether its runs are calls of the function, which are replayed from their
            record; those of a program, declared or not, are started again.
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
        self.is_function = program is None
        # Refuses here what could never be called.
        params = program.params if program else params_of(self.name, function)
        if program is None:
            refuse_generators(self.name, function)
            refuse_call(self.name, function)
        where = f"{program.place}: {self.name}" if program else self.name
        _fields_of(where, "concurrency_key", options.concurrency_key, params)
        _refuse_unlike_clean_ups(where, options, params)
        if program is None:
            update_wrapper(self, function, updated=())
        self.__qualname__: str = getattr(function, "__qualname__", name)

    @override
    def __repr__(self) -> str:
        return f"<task {self.name}>"

    @override
    def __reduce__(self) -> str:
        """Pickled as functions are: by where it is found."""
        return self.__qualname__

    def __get__(self, instance: object, owner: type | None = None, /) -> Self:
        """Itself, in a class as well: with this, `help` shows it as a function."""
        return self

    def __call__(self, task: Any, /, *args: P.args, **kwargs: P.kwargs) -> V:
        """Call the function itself: nothing is queued, and nothing is recorded but by `task`."""
        function: Any = self.function
        return function(task, *args, **kwargs)

    async def start(self, *args: P.args, **kwargs: P.kwargs) -> Started[R]:
        """Queue it with these params, by the client that this process has connected.

        Raises:
            NotConnectedError: There is no `async with dama.connect()` around.
            InvalidParamsError: With every problem there is.
        """
        return await connected(self.name)(self, *args, **kwargs)

    def named(self, args: Sequence[object], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Params as they were written in a call, by their names.

        Raises:
            UsageError: There are more of them than it takes, or one of them twice.
        """
        if not args:
            return dict(kwargs)
        try:
            bound = read_signature(self.function).bind_partial(None, *args, **kwargs).arguments
        except TypeError as error:
            raise UsageError(
                f"{self.name} was given {', '.join(map(repr, args))}: {error}.",
                f"Its params are {', '.join(sorted(self.param_names)) or 'none'}: give them by "
                "name, or as one mapping.",
            ) from error
        names = list(bound)[1:]
        return {name: bound[name] for name in names}

    @property
    def short_name(self) -> str:
        """The name within the service, such as `load`."""
        return self.name.removeprefix(f"{self.service}.")

    @property
    def names(self) -> list[str]:
        """The full name, and those that it had before."""
        aliases = self.options.aliases
        return [self.name, *(a if "." in a else f"{self.service}.{a}" for a in aliases)]

    @property
    def is_async(self) -> bool:
        """Whether the function is an `async def`, which runs in the worker's loop."""
        return inspect.iscoroutinefunction(self.function)

    @property
    def outlives_worker(self) -> bool:
        """Whether its runs have a process of their own, which outlives its worker."""
        return not self.is_function or self.options.isolation is not None

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

    @property  # a checker takes no cached one for the property of a protocol
    def params(self) -> type[BaseModel]:
        """The model of the params.

        Raises:
            InvalidDefinitionError: An annotation is not a type that can be validated.
        """
        return self._params

    @cached_property
    def param_names(self) -> frozenset[str]:
        """The names of the params."""
        return frozenset(self.program.params if self.program else param_names(self.params))

    @cached_property
    def deprecated(self) -> dict[str, str]:
        """What is said of the params that should no longer be given, by name; may be empty."""
        return deprecated_params(self.params)

    @cached_property
    def _params(self) -> type[BaseModel]:
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

    def params_schema(self) -> dict[str, Any]:
        """The JSON schema of the params.

        Raises:
            InvalidDefinitionError: An annotation is not a type that JSON can hold.
        """
        return schema_of(self.params)

    def validate(self, params: Mapping[str, Any]) -> BaseModel:
        """Validate params, all at once.

        Raises:
            InvalidParamsError: With every problem there is.
        """
        return validate_params(self.name, self.params, params)

    def arguments(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Validate params; return them as keyword arguments of the function, defaults included.

        Raises:
            InvalidParamsError: With every problem there is.
        """
        return arguments_of(self.validate(params))

    def encode_params(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Validate params; return them as JSON builtins, defaults included, to be kept in an event.

        Raises:
            InvalidParamsError: With every problem there is.
        """
        from dama.definitions import kept

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

    def key_params(
        self, template: str | None, params: Mapping[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The params that a template names, as `{airport}` does: their values, and their defaults.

        Raises:
            InvalidDefinitionError: It names no param, or one that there is not, or cannot be read.
        """
        if template is not None and not is_name(template):
            raise InvalidDefinitionError(
                f'{self.name}: key is {template!r}: expected a string such as "{{airport}}".'
            )
        names = _fields_of(self.name, "key", template, param_names(self.params))
        values = self.encode_params(params)
        optional = optional_names(self.params).intersection(names)
        required = {name: value for name, value in values.items() if name not in optional}
        defaults = self.encode_params(required)
        return {n: values[n] for n in names}, {n: defaults[n] for n in optional}

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


def _fields_of(task: str, what: str, template: str | None, params: Iterable[str]) -> list[str]:
    """The params that a template names."""
    if template is None:
        return []
    try:
        fields = [field for _, field, *_ in Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise InvalidDefinitionError(f"{task}: {what} {template!r}: {error}.") from error
    for field in fields:
        if field not in set(params):
            raise InvalidDefinitionError(
                f"{task}: {what} names {field!r}, which is not one of its params.",
                f"It has {', '.join(params) or 'none'}.",
            )
    if not fields:
        example = template if template in params else next(iter(params), "airport")
        raise InvalidDefinitionError(
            f"{task}: {what} is {template!r}, which names no param: it tells no runs apart.",
            f'Write a param in braces, as in "{{{example}}}".',
        )
    return fields


def task_of(value: object) -> TaskDefinition[Any]:
    """A task that somebody gave.

    Raises:
        UsageError: It is something else.
    """
    if isinstance(value, TaskDefinition):
        return cast("TaskDefinition[Any]", value)
    raise UsageError(
        f"{value!r} is not a task.",
        'Give a function that is decorated with @service.task, or a full name such as "etl.load".',
    )


def _refuse_unlike_clean_ups(task: str, options: TaskOptions, params: Iterable[str]) -> None:
    """What cleans up gets the params of the task, so it takes the same."""
    wanted = sorted(params)
    given: dict[str, object] = {"on_failure": options.on_failure, "on_cancel": options.on_cancel}
    for name, value in given.items():
        if value is None:
            continue
        if not isinstance(value, TaskDefinition):
            raise InvalidDefinitionError(
                f"{task}: {name} is {value!r}, which is not a task.",
                "Decorate what cleans up with @service.task, above the task itself.",
            )
        clean_up = cast("TaskDefinition[Any]", value)
        if (has := sorted(clean_up.params.model_fields)) != wanted:
            raise InvalidDefinitionError(
                f"{task}: {name} is {clean_up.name}, which takes {', '.join(has) or 'no params'}; "
                f"expected {', '.join(wanted) or 'none'}.",
                "It is started with the params of the task, so it must take the same.",
            )


def _place(function: Callable[..., object]) -> str:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(function)
