"""Columns: what a JSON schema of a tap becomes in PostgreSQL. Nothing is read or written.

Names are lower case with `_` for what SQL wants quoted, as other Singer targets have them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from dama.shapes import is_list, is_object
from dama.taps.messages import TapError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

LONGEST = 63  # bytes of a name
VERSION = "_sdc_table_version"  # as other targets call it
FORMATS = {"date-time": "timestamptz", "date": "date", "time": "time"}
WRITTEN = {"text", *FORMATS.values()}
LARGEST = 2**63
_UNQUOTED = re.compile(r"[^a-z0-9_]")


@dataclass(frozen=True)
class Column:
    """A column for a property."""

    property: str
    name: str
    type: str


def columns_of(stream: str, schema: Mapping[str, Any], keys: Sequence[str]) -> list[Column]:
    """The columns for the properties of a stream.

    Raises:
        TapError: There is none, two have one name, or a key is none of them.
    """
    properties = schema.get("properties")
    if not is_object(properties) or not properties:
        raise TapError(
            f"The SCHEMA of {stream} has no properties, so its table would have no columns.",
            "Select some of its properties in the catalog of the tap.",
        )
    columns = [Column(name, name_for(name), type_of(each)) for name, each in properties.items()]
    by_name: dict[str, str] = {}
    for column in columns:
        other = by_name.setdefault(column.name, column.property)
        if other != column.property:
            raise TapError(
                f"{stream} has the properties {other!r} and {column.property!r}, "
                f"which would both be the column {column.name}.",
                "Leave one of them out in the catalog of the tap.",
            )
    if unknown := [key for key in keys if key not in properties]:
        raise TapError(
            f"The key of {stream} is {', '.join(map(repr, keys))}, but its SCHEMA has no "
            f"{', '.join(map(repr, unknown))}.",
            "Select it in the catalog of the tap, or correct its table-key-properties.",
        )
    return columns


def name_for(name: str) -> str:
    """A name that needs no quotes: lower case, `_` for all but letters and digits, 63 at most."""
    plain = _UNQUOTED.sub("_", name.lower()) or "_"
    if plain[0].isdigit():
        plain = f"_{plain}"
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[: LONGEST - 9]}_{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def type_of(schema: object) -> str:
    """The type for a property: the narrowest that holds all that its schema allows."""
    types = {*_types(schema)}
    if types <= {"bigint", "numeric"} and types:
        return "numeric" if "numeric" in types else "bigint"
    if len(types) == 1:
        return types.pop()
    if types == {"date", "timestamptz"}:
        return "timestamptz"
    # A text holds any scalar; what is an object or says nothing of itself is kept as JSON.
    return "text" if not types or (types & WRITTEN and "jsonb" not in types) else "jsonb"


def _types(schema: object) -> Iterator[str]:
    if not is_object(schema):
        yield "jsonb"
        return
    parts = [part for key in ("anyOf", "oneOf", "allOf") for part in _listed(schema.get(key))]
    for part in parts:
        yield from _types(part) if part != {} else ()
    given: object = schema.get("type")
    if given is None:
        if not parts:
            yield from _of_values(schema.get("enum"))
        return
    for each in given if is_list(given) else [given]:
        if each != "null":
            yield _type(each, schema)


def _type(given: object, schema: Mapping[str, Any]) -> str:
    match given:
        case "integer":
            most, least = schema.get("maximum"), schema.get("minimum")
            # 2**63 and more, as an unsigned number of MySQL has it.
            is_large = _exceeds(most) or _exceeds(least)
            return "numeric" if is_large else "bigint"
        case "number":
            return "numeric"
        case "boolean":
            return "boolean"
        case "string":
            return FORMATS.get(str(schema.get("format")), "text")
        case _:
            return "jsonb"


def _exceeds(limit: object) -> bool:
    return isinstance(limit, int | Decimal) and not -LARGEST <= limit < LARGEST


def _of_values(values: object) -> Iterator[str]:
    known = [value for value in _listed(values) if value is not None]
    yield "text" if known and all(isinstance(value, str) for value in known) else "jsonb"


def _listed(value: object) -> Iterable[Any]:
    return value if is_list(value) else ()
