"""Events of OpenLineage, held against its schemas.

No registry has the published files, so they are held against the classes that the library generates
from these: every facet that is named by its schema, each field with its type, nothing missing and
nothing unknown. Where OPENLINEAGE_SPEC names a folder with the published files (`spec` of the
project's repository), they are held against those, too.
"""

import json
import os
import pkgutil
import types
import typing
from enum import Enum
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from uuid import UUID

import attr
from dateutil.parser import isoparse
from jsonschema import Draft202012Validator, FormatChecker
from openlineage.client import generated
from openlineage.client.event_v2 import RunEvent
from referencing import Registry, Resource

FORMATS = {
    "eventTime": isoparse,
    "nominalStartTime": isoparse,
    "nominalEndTime": isoparse,
    "runId": UUID,
}
URIS = {"producer", "schemaURL", "_producer", "_schemaURL"}


def hold(event: dict[str, Any]) -> None:
    """Raise what is wrong with an event of a run."""
    assert event["schemaURL"] == RunEvent._get_schema()
    assert_fits(event, RunEvent, "event")
    if folder := os.environ.get("OPENLINEAGE_SPEC"):
        for each in (*facets_of(event), (event, event["schemaURL"])):
            hold_published(Path(folder), *each)


def assert_fits(value: Any, kind: Any, where: str) -> None:
    """Raise where a value of JSON is not what a type of the library says."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union}:
        (kind,) = [each for each in arguments if each is not type(None)]
        assert_fits(value, kind, where)
    elif origin is list:
        assert isinstance(value, list), where
        for place, each in enumerate(value):
            assert_fits(each, arguments[0], f"{where}[{place}]")
    elif origin is dict:
        assert isinstance(value, dict), where
        for name, each in value.items():
            is_facet = isinstance(each, dict) and "_schemaURL" in each
            assert_fits(each, classes()[each["_schemaURL"]] if is_facet else arguments[1],
                        f"{where}.{name}")  # fmt: skip
    elif attr.has(kind):
        assert_object(value, kind, where)
    elif issubclass(kind, Enum):
        kind(value)
    else:
        assert type(value) is kind, f"{where} is {value!r}"


def assert_object(value: Any, kind: type, where: str) -> None:
    """Raise where an object has not the fields of a class."""
    assert isinstance(value, dict), where
    named = {each.name: each for each in attr.fields(attr.resolve_types(kind))}
    assert set(value) <= set(named), f"{where}: {set(value) - set(named)}"
    for name, field in named.items():
        if name in value:
            assert_fits(value[name], field.type, f"{where}.{name}")
            if name in FORMATS:
                FORMATS[name](value[name])
            if name in URIS:
                assert urlparse(value[name]).scheme, f"{where}.{name}"
        else:
            assert field.default is not attr.NOTHING, f"{where} has no {name}"


@cache
def classes() -> dict[str, type]:
    """The classes of all facets, by the addresses of their schemas."""
    found = {}
    for module in pkgutil.iter_modules(generated.__path__, f"{generated.__name__}."):
        for kind in vars(import_module(module.name)).values():
            if attr.has(kind) and hasattr(kind, "_get_schema"):
                found[kind._get_schema()] = kind
    return found


def facets_of(value: Any) -> list[tuple[dict[str, Any], str]]:
    """All facets within a value, each with the address of its schema."""
    if isinstance(value, list):
        return [each for item in value for each in facets_of(item)]
    if not isinstance(value, dict):
        return []
    own = [(value, value["_schemaURL"])] if "_schemaURL" in value else []
    return [*own, *(each for item in value.values() for each in facets_of(item))]


def hold_published(folder: Path, value: dict[str, Any], address: str) -> None:
    """Raise what is wrong with an event or facet by the published schemas."""
    errors = Draft202012Validator(
        {"$ref": address}, registry=published(folder), format_checker=FormatChecker()
    ).iter_errors(value)
    assert [error.message for error in errors] == []


@cache
def published(folder: Path) -> Registry[Any]:
    """The published schemas, by their addresses."""
    files = [folder / "OpenLineage.json", *sorted((folder / "facets").glob("*.json"))]
    read = [json.loads(file.read_text()) for file in files]
    return Registry().with_resources((each["$id"], Resource.from_contents(each)) for each in read)
