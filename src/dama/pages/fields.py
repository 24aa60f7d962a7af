"""Fields of a form, made from the JSON schema of a task's params, and what was filled in as params.

Texts go to the model of the params as they were typed: it converts them, and names all problems.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dama.domain.errors import InvalidJsonError
from dama.domain.exact import compact, decode
from dama.gateway.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "param."
PLAIN = {"string", "integer", "number", "boolean"}
INPUTS = {"date": "date", "date-time": "datetime-local", "time": "time"}

Schema = dict[str, Any]


@dataclass(frozen=True)
class Field:
    """One param in a form.

    Attributes:
        name: The param.
        kind: How it is filled in: text, number, date, datetime-local, time, flag, choice or json.
        choices: Of a choice.
        default: What it is when nothing is filled in, as JSON; empty when it must be given.
        is_required: Whether it must be given.
        help: What the docstring says of it.
        type: Its type in words.
        value: What was filled in.
        problem: What is wrong with that.
    """

    name: str
    kind: str
    choices: tuple[str, ...]
    default: str
    is_required: bool
    help: str
    type: str
    value: str = ""
    problem: str = ""


def fields(schema: Schema, form: Mapping[str, str], problems: Mapping[str, str]) -> list[Field]:
    """The fields of a form.

    Args:
        schema: Of the params of a task.
        form: What was filled in.
        problems: What is wrong with it, by the names of params.
    """
    required = set(schema.get("required", ()))
    return [
        _field(name, resolved, form, problems, is_required=name in required)
        for name, resolved in _properties(schema)
    ]


def params_of(schema: Schema, form: Mapping[str, str]) -> dict[str, Any]:
    """What was filled in, as params; what was left empty is not given.

    Raises:
        RequestError: Something that is to be JSON is none.
    """
    params: dict[str, Any] = {}
    for name, resolved in _properties(schema):
        text = form.get(f"{PREFIX}{name}", "")
        kind, _ = _kind(resolved)
        if kind == "json" and text.strip():
            params[name] = json_of(text, f"{name} is")
        elif text:
            params[name] = text
    return params


def json_of(text: str, what: str, hint: str | None = None) -> Any:
    """The JSON that was filled in, read as at all other doors: numbers keep their digits.

    Raises:
        RequestError: It is none, as `what` (such as "The payload is") and the hint say.
    """
    try:
        return decode(text)
    except InvalidJsonError as error:
        raise RequestError("BAD_REQUEST", f"{what} not valid JSON: {error}.", hint) from error


def _field(
    name: str,
    schema: Schema,
    form: Mapping[str, str],
    problems: Mapping[str, str],
    *,
    is_required: bool,
) -> Field:
    kind, choices = _kind(schema)
    default = "" if "default" not in schema else compact(schema["default"]).decode()
    return Field(
        name,
        kind,
        choices,
        default,
        is_required,
        str(schema.get("description", "")),
        _words(schema),
        form.get(f"{PREFIX}{name}", ""),
        problems.get(name, ""),
    )


def _properties(schema: Schema) -> Iterator[tuple[str, Schema]]:
    definitions: Mapping[str, Schema] = schema.get("$defs", {})
    properties: Mapping[str, Schema] = schema.get("properties", {})
    for name, each in properties.items():
        yield name, _resolved(each, definitions)


def _resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """A schema in the place of its reference; a type that may be null is that type."""
    found = schema
    options = [each for each in found.get("anyOf", ()) if each.get("type") != "null"]
    if len(options) == 1:
        found = {**{k: v for k, v in found.items() if k != "anyOf"}, **options[0]}
    if reference := found.get("$ref"):
        found = {**found, **definitions.get(str(reference).rpartition("/")[2], {})}
    return found


def _kind(schema: Schema) -> tuple[str, tuple[str, ...]]:
    if choices := schema.get("enum"):
        return "choice", tuple(str(each) for each in choices)
    type_ = schema.get("type")
    if type_ == "boolean":
        return "choice", ("true", "false")
    if type_ in ("integer", "number"):
        return "number", ()
    if type_ == "string":
        return INPUTS.get(str(schema.get("format")), "text"), ()
    return "json", ()


def _words(schema: Schema) -> str:
    if options := schema.get("anyOf"):
        return " or ".join(_words(each) for each in options)
    type_ = str(schema.get("format") or schema.get("type") or "JSON")
    limits = {
        "minimum": "from",
        "maximum": "to",
        "minLength": "min length",
        "maxLength": "max length",
    }
    return ", ".join(
        [type_, *(f"{word} {schema[key]}" for key, word in limits.items() if key in schema)]
    )
