"""Signatures of tasks: the first parameter is the task itself, the others are its params.

Nothing here imports pydantic, so that defining a task costs next to nothing.
"""

from __future__ import annotations

import inspect
import re
import sys
from types import NoneType, SimpleNamespace, UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Types of params that no task and no call is an instance of.
_VALUES = {
    "bool", "bytes", "complex", "date", "datetime", "Decimal", "dict", "float", "frozenset", "int",
    "list", "Literal", "Path", "set", "str", "time", "timedelta", "tuple", "UUID",
}  # fmt: skip
_OURS = {"Task", "SyncTask", "Call"}
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def read_signature(function: Callable[..., object]) -> inspect.Signature:
    """Read a signature without evaluating the annotations, which may come later in the module."""
    if sys.version_info >= (3, 14):
        from annotationlib import Format

        return inspect.signature(function, annotation_format=Format.FORWARDREF)
    return inspect.signature(function)


def params_of(
    task: str,
    function: Callable[..., object],
    first: str = "`task: Task` (or `task: SyncTask` without async)",
) -> dict[str, inspect.Parameter]:
    """Find the params of a task or an action: all parameters after the first.

    Args:
        task: The name, for errors.
        function: What was decorated.
        first: What the first parameter should be, for errors.

    Raises:
        InvalidDefinitionError: It is not a function, has no first parameter, or one that has no
            name of its own.
    """
    _refuse_others(task, function)
    parameters = list(read_signature(function).parameters.values())
    _check_first(task, function, parameters, first)
    for parameter in parameters[1:]:
        if parameter.kind not in _BY_NAME:
            raise InvalidDefinitionError(
                f"{task}: the parameter {str(parameter)!r} has no name that a caller could give.",
                "Params are given by name: *args, **kwargs and those before a / cannot be.",
            )
    return {parameter.name: parameter for parameter in parameters[1:]}


def _check_first(
    task: str, function: Callable[..., object], parameters: list[inspect.Parameter], first: str
) -> None:
    if not parameters or parameters[0].kind not in {
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    }:
        raise InvalidDefinitionError(
            f"The function of {task} has no first parameter for the {first[1:5]} itself.",
            f"Begin its parameters with {first}.",
        )
    if parameters[0].name in {"self", "cls"}:
        raise InvalidDefinitionError(
            f"The function of {task} begins with {parameters[0].name!r}, like a method: nobody "
            "would give it its object.",
            f"Write it outside of the class, beginning with {first}.",
        )
    if _is_param(parameters[0], function):
        raise InvalidDefinitionError(
            f"The function of {task} begins with {str(parameters[0])!r}, which looks like a param, "
            f"not like the {first[1:5]} itself.",
            f"Put {first} before it.",
        )


def refuse_call(task: str, function: Callable[..., object]) -> None:
    """Refuse a task whose first parameter is a call, or one that awaits blocking methods.

    Raises:
        InvalidDefinitionError: It is annotated so.
    """
    first = next(iter(read_signature(function).parameters.values()))
    kind = _kind_of_ours(first, function)
    if kind == "SyncTask" and inspect.iscoroutinefunction(function):
        raise InvalidDefinitionError(
            f"The function of {task} is an `async def` and begins with {str(first)!r}, whose "
            "methods block.",
            f"Write `{first.name}: Task` and await its methods, or leave out `async`.",
        )
    if kind == "Call":
        raise InvalidDefinitionError(
            f"The function of {task} begins with {str(first)!r}, which actions get.",
            "Begin it with `task: Task`, or write @service.action.",
        )


def refuse_task(action: str, function: Callable[..., object]) -> None:
    """Refuse an action whose first parameter is a task.

    Raises:
        InvalidDefinitionError: It is annotated so.
    """
    first = next(iter(read_signature(function).parameters.values()))
    if _kind_of_ours(first, function) in {"Task", "SyncTask"}:
        raise InvalidDefinitionError(
            f"The function of {action} begins with {str(first)!r}, which tasks get.",
            "Begin it with `call: Call`, or write @service.task.",
        )


def _kind_of_ours(parameter: inspect.Parameter, function: Callable[..., object]) -> str | None:
    """What of ours a first parameter is annotated with: Task, SyncTask, Call; None for others."""
    annotation = parameter.annotation
    if isinstance(annotation, str):
        name = annotation.strip("\"' ").rpartition(".")[2]
        module: Mapping[str, object] = getattr(inspect.unwrap(function), "__globals__", {})
        annotation = module.get(annotation)
        if annotation is None:  # imported for type checkers only, or by the name of a module
            return name if name in _OURS else None
    kind: Any = annotation
    is_ours = inspect.isclass(kind) and kind.__module__.startswith("dama.")
    return kind.__name__ if is_ours and kind.__name__ in _OURS else None


def refuse_generators(task: str, function: Callable[..., object]) -> None:
    """Refuse a function that yields: a task returns its result once.

    Raises:
        InvalidDefinitionError: It yields.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise InvalidDefinitionError(
            f"The function of {task} yields, and a task returns its result once.",
            "Return a list, or tell what happens meanwhile by task.progress and task.dispatch. "
            "Only an action may yield, as `async def`.",
        )


def _refuse_others(task: str, function: object) -> None:
    """Refuse what is not a function."""
    hint = f"Write `async def {task.rpartition('.')[2] or 'name'}(...)` below the decorator."
    if inspect.isclass(function):
        raise InvalidDefinitionError(f"{task} is a class; expected a function.", hint)
    if not callable(function):
        kind = type(function).__name__
        raise InvalidDefinitionError(f"{task} is of type {kind}; expected a function.", hint)


def _is_param(parameter: inspect.Parameter, function: Callable[..., object]) -> bool:
    """Whether a first parameter is meant as a param: it has a default, or the type of a value."""
    if parameter.default is not inspect.Parameter.empty:
        return True
    annotation = parameter.annotation
    if isinstance(annotation, str):  # not evaluated: what it names may come later in the module
        names = {name.rpartition(".")[2] for name in re.findall(r"[\w.]+", annotation)}
        if not names.isdisjoint(_VALUES) and names.isdisjoint(_OURS):
            return True
        module: Mapping[str, object] = getattr(inspect.unwrap(function), "__globals__", {})
        annotation = module.get(annotation, inspect.Parameter.empty)
    return _is_value_type(annotation)


def _is_value_type(annotation: object) -> bool:
    """Whether a type is that of a value; not one of ours, nor one that says as little as object."""
    origin: Any = get_origin(annotation)
    if origin in {Union, UnionType}:
        kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
        return bool(kinds) and all(map(_is_value_type, kinds))
    if origin in {Annotated, Literal}:
        return origin is Literal or _is_value_type(get_args(annotation)[0])
    kind = origin or annotation
    if not isinstance(kind, type) or kind in {object, Any, inspect.Parameter.empty}:
        return False
    is_ours = any(base.__module__.startswith("dama.") for base in kind.__mro__)
    return not is_ours and not getattr(kind, "_is_protocol", False)


def annotations_of(
    owner: str, function: Callable[..., object], names: Mapping[str, object]
) -> dict[str, Any]:
    """Evaluate the annotations of some parameters; only theirs, for the task's may be missing.

    Args:
        owner: Whose function it is, for the error.
        function: Names in annotations are those of its module.
        names: The annotations by parameter, as the signature has them.

    Raises:
        InvalidDefinitionError: One names something that the module does not have.
    """
    module = getattr(inspect.unwrap(function), "__globals__", {})
    evaluated: dict[str, Any] = {}
    for name, annotation in names.items():
        if annotation is inspect.Parameter.empty:
            continue
        holder = SimpleNamespace(__annotations__={name: annotation})
        try:
            evaluated |= get_type_hints(holder, globalns=module, include_extras=True)
        except Exception as error:
            raise InvalidDefinitionError(
                f"{owner}: the annotation of {name!r} cannot be evaluated: {error}.",
                "Types of params and results are needed when the program runs: "
                "import them at the top of the module, not under TYPE_CHECKING.",
            ) from error
    return evaluated
