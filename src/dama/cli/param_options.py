"""Options of a task, made from the JSON schema of its params. No value is parsed here.

Texts go to the params model as they were typed: it converts them, and names all problems at once.
Only what has no other form on a command line is given as JSON: dicts, and lists of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import click

from dama.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

    from dama.definitions.errors import InvalidParamsError

Schema = dict[str, Any]


class InvalidOptionsError(UsageError):
    """Options of a task do not fit; the message names them as they are typed."""

    code = "INVALID_PARAMS"


@dataclass(frozen=True)
class ParamOption:
    """One param of a task as an option.

    Attributes:
        name: The param.
        schema: Its JSON schema, references resolved.
        required: Whether it must be given.
    """

    name: str
    schema: Schema
    required: bool

    @property
    def flag(self) -> str:
        """What is typed: `--damage-month`."""
        return f"--{self.name.strip('_').replace('_', '-')}"

    @property
    def key(self) -> str:
        """The name of the value in click."""
        return f"param_{self.name}"

    def as_click(self, others: set[str]) -> click.Option:
        """The option; `others` are the flags of the task, which have precedence."""
        types = _types(self.schema)
        common: dict[str, Any] = {"help": self._help(), "default": None}
        if types == {"boolean"}:
            off = f"--no-{self.flag[2:]}"
            flags = self.flag if off in others else f"{self.flag}/{off}"
            return click.Option([flags, self.key], **common)
        return click.Option(
            [self.flag, self.key],
            metavar=_metavar(self.schema),
            multiple=types == {"array"},
            **common,
        )

    def value(self, typed: object) -> object:
        """The value for the params model, of what click passes."""
        if isinstance(typed, tuple):
            of_json = _needs_json(self.schema.get("items") or {})
            items = cast("tuple[str, ...]", typed)
            return [_from_json(item) if of_json else item for item in items]
        return _from_json(typed) if _needs_json(self.schema) else typed

    def _help(self) -> str:
        parts = [self.schema.get("description", "")]
        if _types(self.schema) == {"array"}:
            parts.append("(may be repeated)")
        if self.required:
            parts.append("[required]")
        elif (default := self.schema.get("default")) not in (None, []):
            parts.append(f"[default: {_shown(default)}]")
        return " ".join(filter(None, parts))


def param_options(model: type[BaseModel]) -> list[ParamOption]:
    """The options of a task, in the order of its signature."""
    from dama.definitions.params import schema_of

    schema = schema_of(model)
    required = set(schema.get("required", ()))
    definitions = schema.get("$defs", {})
    return [
        ParamOption(name, _resolved(field, definitions), name in required)
        for name, field in schema.get("properties", {}).items()
    ]


def typed_params(options: list[ParamOption], typed: Mapping[str, Any]) -> dict[str, object]:
    """The params that were given; what was left out is not there."""
    return {
        option.name: option.value(value)
        for option in options
        if (value := typed.get(option.key)) is not None and value != ()
    }


def with_flags(
    error: InvalidParamsError, options: list[ParamOption], path: str
) -> InvalidOptionsError:
    """The same error, in the words of somebody who typed `path` and options."""
    flags = {option.name: option.flag for option in options}
    lines = "".join(
        f"\n  {flags.get(problem.name, problem.name)}{problem.path} {problem.rule}"
        for problem in error.problems
    )
    return InvalidOptionsError(
        f"The options of {error.task} do not fit:{lines}",
        f"`{path} --help` shows what it takes.",
    )


def _resolved(schema: Schema, definitions: Mapping[str, Schema]) -> Schema:
    """Follow references at the top, and those of the items and the alternatives."""
    if reference := schema.get("$ref"):
        found = definitions.get(reference.rpartition("/")[2], {})
        schema = {**found, **{key: v for key, v in schema.items() if key != "$ref"}}
    if alternatives := schema.get("anyOf"):
        schema = {**schema, "anyOf": [_resolved(each, definitions) for each in alternatives]}
    if isinstance(items := schema.get("items"), dict):
        schema = {**schema, "items": _resolved(cast("Schema", items), definitions)}
    # `int | None` is an int to somebody who may leave it out.
    real = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    return {**real[0], **schema} if len(real) == 1 else schema


def _types(schema: Schema) -> set[str]:
    """The JSON types that a value may have, without null."""
    if "type" in schema:
        return {schema["type"]}
    types = {name for each in schema.get("anyOf", ()) for name in _types(each)}
    return types - {"null"}


def _needs_json(schema: Schema) -> bool:
    """Whether no plain text can be a value: dicts, and lists where several are not foreseen."""
    types = _types(schema)
    return bool(types) and types <= {"object", "array"}


def _metavar(schema: Schema) -> str:
    types = _types(schema)
    if types == {"array"}:
        return _metavar(schema.get("items") or {})
    if _needs_json(schema):
        return "JSON"
    if values := schema.get("enum"):
        return f"[{'|'.join(map(str, values))}]"
    if len(types) == 1 and (name := schema.get("format")):
        return str(name).upper()
    return "|".join(sorted(_WORDS.get(name, name) for name in types)).upper() or "TEXT"


_WORDS = {"string": "text"}


def _from_json(text: object) -> object:
    """What is not valid JSON stays a text, and the params model says what it wanted."""
    from dama.domain.errors import RepeatedMemberError
    from dama.domain.exact import decode

    try:
        return decode(text) if isinstance(text, str) else text
    except RepeatedMemberError:
        raise
    except ValueError:
        return text


def _shown(default: object) -> str:
    from dama.domain.exact import encode

    return default if isinstance(default, str) else encode(default).decode()
