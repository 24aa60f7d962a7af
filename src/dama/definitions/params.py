"""Params: the pydantic model of what a task takes, from its signature or its declaration.

One model serves the command line, the queue and later the forms. pydantic is imported when a
model is made, not before.
"""

from __future__ import annotations

import inspect
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_args, get_origin
from weakref import WeakKeyDictionary

from dama.definitions.errors import InvalidParamsError, ParamProblem
from dama.definitions.secret_types import secret_in
from dama.definitions.signature import annotations_of, params_of
from dama.domain.excerpt import MOST_PROBLEMS, excerpt, first_problems, shortened
from dama.errors import InvalidDefinitionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic import BaseModel, ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

# What each field of a model is called in its function: every call asks.
_PARAMETERS: WeakKeyDictionary[type[BaseModel], list[tuple[str, str]]] = WeakKeyDictionary()


class ParamField(NamedTuple):
    """One param, for the model.

    Attributes:
        annotation: Its type.
        default: Its value when it is not given; `...` when it must be.
        description: What it is; None for what the annotation says.
    """

    annotation: Any
    default: Any
    description: str | None


def params_model(
    task: str, function: Callable[..., object], descriptions: Mapping[str, str]
) -> type[BaseModel]:
    """Make the model of a task's params, of the signature of its function.

    Args:
        task: The full name of the task.
        function: Its parameters after the first become fields.
        descriptions: Texts by name, for fields whose annotation has none.

    Raises:
        InvalidDefinitionError: An annotation is not a type that can be validated.
    """
    params = params_of(task, function)
    types = annotations_of(task, function, {n: p.annotation for n, p in params.items()})
    fields = {
        name: ParamField(
            types.get(name, _type_of_default(param)),
            ... if param.default is inspect.Parameter.empty else param.default,
            descriptions.get(name),
        )
        for name, param in params.items()
    }
    return fields_model(task, fields)


def fields_model(task: str, params: Mapping[str, ParamField]) -> type[BaseModel]:
    """Make the model of a task's params. Unknown names are refused, and so are NaN and infinity.

    Args:
        task: The full name of the task.
        params: They become fields.

    Raises:
        InvalidDefinitionError: A type cannot be validated.
    """
    from pydantic import BaseModel, ConfigDict, create_model

    config = ConfigDict(
        title=task,
        extra="forbid",
        frozen=True,
        allow_inf_nan=False,
        protected_namespaces=(),
        json_schema_extra=_describe_deprecated,
    )
    for name, param in params.items():
        if kind := secret_in(param.annotation):
            raise InvalidDefinitionError(
                f"{task}: the param {name!r} is a {kind}, and params are stored.",
                "Read a secret where the task runs: from the environment of its worker, or by "
                "`secrets` and `env_files` of a program.",
            )
    taken = {*params, *dir(BaseModel)}
    fields: dict[str, Any] = {
        _field_name(name, taken): _field(name, param) for name, param in params.items()
    }
    try:
        return create_model(f"{task} params", __config__=config, **fields)
    except Exception as error:  # pydantic raises several kinds
        raise _no_params(task, error) from error


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The JSON schema of the model of a task's params.

    Raises:
        InvalidDefinitionError: A type can be validated and has none, as a function: nobody could
            give it.
    """
    from pydantic.errors import PydanticUserError

    try:
        return model.model_json_schema()
    except PydanticUserError as error:
        raise _no_params(str(model.model_config.get("title")), error) from error


def _no_params(task: str, error: Exception) -> InvalidDefinitionError:
    return InvalidDefinitionError(
        f"{task}: its params cannot be validated: {_first_line(error)}",
        "Use types that JSON can hold: numbers, text, dates, lists, dicts, "
        "dataclasses, pydantic models.",
    )


def validate_params(task: str, model: type[BaseModel], values: Mapping[str, Any]) -> BaseModel:
    """Validate all values at once.

    Raises:
        InvalidParamsError: With every problem there is; of very many with the first of them.
    """
    from pydantic import ValidationError

    if len(values) > MOST_PROBLEMS:
        values = _few(model, values)
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise _invalid_params(task, model, error, values) from None


def _few(model: type[BaseModel], values: Mapping[str, Any]) -> Mapping[str, Any]:
    """The values that have a param, and a few of the others, which are wrong anyway."""
    known = {name: values[name] for name in param_names(model) if name in values}
    if len(values) > len(known) + MOST_PROBLEMS and model.model_config.get("extra") == "forbid":
        return known | dict(islice(values.items(), MOST_PROBLEMS + len(known)))
    return values


def arguments_of(params: BaseModel) -> dict[str, Any]:
    """The validated values by the names of the function's parameters."""
    model, values = type(params), params.__dict__  # as an attribute a deprecated one warns
    names = _PARAMETERS.get(model)
    if names is None:
        names = [(_parameter_of(name, field), name) for name, field in model.model_fields.items()]
        _PARAMETERS[model] = names
    return {parameter: values[name] for parameter, name in names}


def deprecated_params(model: type[BaseModel]) -> dict[str, str]:
    """What is said of the params that should no longer be given, by name; may be empty."""
    return {
        field.alias or name: "" if field.deprecated is True else field.deprecation_message or ""
        for name, field in model.model_fields.items()
        if field.deprecated
    }


def _describe_deprecated(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Say it where the params are described: JSON Schema has a flag for it, without a text."""
    for name, message in deprecated_params(model).items():
        described = schema["properties"][name]
        told = f"Deprecated: {message}" if message else "Deprecated."
        described["description"] = " ".join(filter(None, [described.get("description"), told]))


class _Parameter(NamedTuple):
    """The name of a parameter whose param has another one, such as `from`."""

    name: str


def _parameter_of(name: str, field: FieldInfo) -> str:
    for each in field.metadata:
        if isinstance(each, _Parameter):
            return each.name
    return field.alias or name


def optional_names(model: type[BaseModel]) -> set[str]:
    """The names of the params that may be left out."""
    return {f.alias or n for n, f in model.model_fields.items() if not f.is_required()}


def param_names(model: type[BaseModel]) -> list[str]:
    """The names of the params, in the order of the signature."""
    return [field.alias or name for name, field in model.model_fields.items()]


def _field_name(name: str, taken: set[str]) -> str:
    """Rename what would hide an attribute of the model, such as `schema`; the alias stays true."""
    from pydantic import BaseModel

    if not name.startswith("_") and not hasattr(BaseModel, name):
        return name
    name = f"{name.lstrip('_') or 'param'}_"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _field(name: str, param: ParamField) -> tuple[object, object]:
    from pydantic import Field
    from pydantic.fields import FieldInfo

    annotation = param.annotation
    base, *metadata = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    # Later metadata wins: a description in the annotation is nearer than the docstring's.
    description = Field(description=param.description)
    given = [each for each in (*metadata, param.default) if isinstance(each, FieldInfo)]
    alias = next((each.alias for each in reversed(given) if each.alias), name)
    if alias != name:
        metadata.append(_Parameter(name))
    return Annotated[(base, description, *metadata, Field(alias=alias))], param.default


def _type_of_default(parameter: inspect.Parameter) -> object:
    """Without an annotation a plain default says the type."""
    default = parameter.default
    return type(default) if isinstance(default, bool | int | float | str) else Any


def _invalid_params(
    task: str, model: type[BaseModel], error: ValidationError, values: Mapping[str, Any]
) -> InvalidParamsError:
    names = param_names(model)
    # Those that it takes come first, so that an excerpt has them.
    ordered = {name: values[name] for name in names if name in values} | dict(values)
    found, count = first_problems(error, model.model_validate, ordered)
    problems = [_problem(details) for details in found]
    # Unknown names go last, after those of the signature.
    problems.sort(key=lambda p: names.index(p.name) if p.name in names else len(names))
    if count > len(problems):
        rest = f"have {count - len(problems):,} more problems, which are not told"
        problems.append(ParamProblem("params", "", rest, "too_many_problems"))
    unknown = any(problem.kind == "extra_forbidden" for problem in problems)
    known = f"{task} takes {', '.join(names)}." if names else f"{task} takes no params."
    return InvalidParamsError(task, problems, known if unknown else None)


def _problem(details: ErrorDetails) -> ParamProblem:
    name, *path = details["loc"] or ("params",)
    inside = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    actual = None if details["type"] == "missing" else excerpt(details["input"])
    return ParamProblem(str(name), inside, _rule(details), details["type"], actual)


def _rule(details: ErrorDetails) -> str:
    """The sentence of pydantic, in the words of a caller who never sees an "input"."""
    match details["type"]:
        case "missing":
            return "is required"
        case "extra_forbidden":
            return "is not one of its params"
        case _:
            rule = details["msg"].removeprefix("Value error, ")
            rule = rule.replace("Input should be", "should be").removeprefix("Assertion failed, ")
            return f"{rule}, but is {shortened(details['input'])}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
