"""The params of a program as they are declared, read and checked."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from dama.config.table import Table, nearest
from dama.definitions.program_params import BOUNDED, TYPES, ProgramParam, parse_value
from dama.errors import InvalidDefinitionError
from dama.shapes import is_array

if TYPE_CHECKING:
    from collections.abc import Iterator

PARAM_KEYS = tuple(field.name for field in fields(ProgramParam))
SECRET_HINTS = {
    "secret": "Params are kept in events. Name an environment variable in `secrets` instead."
}
_PARAM_NAME = re.compile(r"[a-z][a-z0-9_]*")


def read_params(table: Table) -> Iterator[tuple[str, ProgramParam]]:
    """Read the key `params`: names with what they take.

    Raises:
        InvalidDefinitionError: A name or a key is wrong; the message names it.
    """
    params = table.entries("params", 'a table of tables, such as { year = { type = "integer" } }')
    for name, values in params.items():
        where = f"{table.where}.params.{name}"
        if not _PARAM_NAME.fullmatch(name):
            raise InvalidDefinitionError(
                f"{where} cannot be the name of a param.",
                "Names are lower-case letters, digits and _, and begin with a letter.",
            )
        yield name, _read_param(Table(where, values, PARAM_KEYS, SECRET_HINTS))


def _read_param(table: Table) -> ProgramParam:
    type_ = table.text("type", "string")
    if type_ not in TYPES:
        table.wrong("type", f"one of {', '.join(TYPES)}", nearest(type_, TYPES))
    choices = table.texts("choices")
    if choices and type_ != "string":
        table.wrong("type", "string, since only strings have choices")
    several = table.flag("list")
    least, most = (_read_bound(table, key, type_) for key in ("min", "max"))
    if _exceeds(table, "min", least, most):
        table.wrong("min", f"at most {table.values['max']}, the max")
    default = _read_default(table, type_, several=several)
    required = table.flag("required", default=default is None and not several)
    if required and default is not None:
        table.wrong("required", "false, or no default")
    param = ProgramParam(
        type=type_,
        required=required,
        default=default,
        help=" ".join(table.text("help", "").split()),
        choices=choices,
        min=table.values.get("min"),
        max=table.values.get("max"),
        list=several,
        deprecated=" ".join(table.text("deprecated", "").split()),
    )
    _check_default(table, param)
    return param


def _read_bound(table: Table, key: str, type_: str) -> Any:
    if table.has(key) and type_ not in BOUNDED:
        raise InvalidDefinitionError(
            f"{table.where} has {key}, but is of the type {type_}: "
            f"expected one of {', '.join(BOUNDED)}."
        )
    return _parsed(table, key, type_, table.values.get(key))


def _read_default(table: Table, type_: str, *, several: bool) -> Any:
    default: Any = table.values.get("default")
    if type_ == "boolean" and default is None and not several and not table.flag("required"):
        return False  # a flag that is not given
    if several and default is not None and not is_array(default):
        table.wrong("default", "a list")
    return default


def _check_default(table: Table, param: ProgramParam) -> None:
    if param.default is None:
        return
    items: list[object] = param.default if param.list else [param.default]
    for item in items:
        value = _parsed(table, "default", param.type, item)
        if param.choices and value not in param.choices:
            table.wrong("default", f"one of {', '.join(param.choices)}")
        least, most = param.parsed(param.min), param.parsed(param.max)
        if _exceeds(table, "default", least, value) or _exceeds(table, "default", value, most):
            table.wrong("default", "what min and max allow")


def _exceeds(table: Table, key: str, less: Any, more: Any) -> bool:
    try:
        return less is not None and more is not None and less > more
    except TypeError:
        table.wrong(key, "an offset in all timestamps of the param, or in none")


def _parsed(table: Table, key: str, type_: str, value: object) -> Any:
    if value is None:
        return None
    try:
        return parse_value(type_, value)
    except ValueError as error:
        table.wrong(key, str(error))
