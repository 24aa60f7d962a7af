"""OpenAPI 3.1: the actions that can be called, from the same definitions as everything else."""

from __future__ import annotations

import asyncio
import html
import re
from contextlib import suppress
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

from dama.domain.exact import compact
from dama.errors import DamaError
from dama.gateway.fixed_operations import OPERATIONS
from dama.gateway.params_schema import params_schema
from dama.shapes import is_dict, is_list

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dama.broker.broker import Broker
    from dama.broker.catalog import Endpoint
    from dama.gateway.aliases import Alias, Aliases


ERRORS = {
    "400": "The request is not what the server wants.",
    "401": "The request shows no valid token.",
    "403": "The token does not allow it.",
    "404": "There is nothing of this name.",
    "405": "The path takes other methods.",
    "409": "What is there contradicts the request.",
    "413": "The body is too long.",
    "415": "The body is of another type.",
    "422": "The params do not fit.",
    "429": "Too many requests.",
    "500": "The action failed.",
    "503": "The database or a node is away.",
    "504": "The action took too long.",
}
ERROR_SCHEMA = {
    "type": "object",
    "required": ["name", "message", "code", "type", "request_id"],
    "properties": {
        "name": {"type": "string"},
        "message": {"type": "string"},
        "code": {"type": ["integer", "string", "null"]},
        "type": {"type": ["string", "null"]},
        "data": {},
        "hint": {"type": "string"},
        "request_id": {"type": "string"},
    },
    "examples": [
        {
            "name": "ValidationError",
            "message": "The params of flights.load do not fit:\n  year is required",
            "code": 422,
            "type": "VALIDATION_ERROR",
            "data": [{"type": "required", "field": "year"}],
            "request_id": "7c5d0f5e",
        }
    ],
}
_PARAM = re.compile(r"{(\w+)}")


class Document(NamedTuple):
    """What is published, at one moment.

    Attributes:
        json: As OpenAPI.
        page: For people.
    """

    json: bytes
    page: str


class Documents:
    """The document, made once for each change of the catalog, and beside the loop.

    Args:
        broker: The services.
        aliases: What can be called.
        fixed: The paths that are no calls, each with its method.
    """

    def __init__(self, broker: Broker, aliases: Aliases, fixed: Sequence[tuple[str, str]]) -> None:
        self._catalog = broker.catalog
        self._aliases = aliases
        self._fixed = fixed
        self._lock = asyncio.Lock()
        self._made_of = -1
        self._current = Document(b"", "")

    async def current(self) -> Document:
        """The document of all that is published, as of now."""
        async with self._lock:
            changes = self._catalog.changes
            if self._made_of != changes:
                # Chosen here, where nothing changes meanwhile.
                named = self._aliases.named()
                actions = self._catalog.actions
                routes = [(each, actions[each.action].all[0]) for each in self._aliases.all()]
                self._current = await asyncio.to_thread(_made, named, routes, self._fixed)
                self._made_of = changes
            return self._current


def _made(
    named: Mapping[str, Endpoint],
    routes: Sequence[tuple[Alias, Endpoint]],
    fixed: Sequence[tuple[str, str]],
) -> Document:
    found = document(named, routes)
    for path, method in fixed:
        found["paths"].setdefault(path, {})[method.lower()] = _fixed(path, method)
    return Document(compact(found), page(found))


def document(
    named: Mapping[str, Endpoint], routes: Sequence[tuple[Alias, Endpoint]]
) -> dict[str, Any]:
    """The document of actions that have a path by their name, and of routes of their own."""
    paths: dict[str, dict[str, Any]] = {}
    schemas: dict[str, Any] = {"Error": ERROR_SCHEMA}
    for name, endpoint in sorted(named.items()):
        path = f"/api/{name.replace('.', '/').replace('$', '~')}"
        paths[path] = _named(name, endpoint, schemas, path)
    for alias, endpoint in routes:
        for path in alias.path.templates():
            for method in alias.methods or ("POST",):
                operation = _operation(alias.action, endpoint, schemas, method, path)
                paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "DataManager Controller",
            "version": version("dama-controller"),
            "description": "Actions, tasks and contexts over HTTP.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def page(found: Mapping[str, Any]) -> str:
    """The document for people: one page, without scripts and without anything from elsewhere."""
    rows: list[str] = []
    for path, methods in found["paths"].items():
        for method, operation in methods.items():
            params = ", ".join(p["name"] for p in operation.get("parameters", ()))
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            fields = ", ".join(body.get("schema", {}).get("properties", ()))
            cells = (method.upper(), path, operation.get("summary", ""), params, fields)
            rows.append(f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>")
    head = "".join(f"<th>{word}</th>" for word in ("", "Path", "What it does", "Query", "Body"))
    return (
        "<!doctype html><html lang='en'><meta charset='utf-8'><title>dama: API</title><style>"
        ":root{color-scheme:light dark;font:14px/1.45 system-ui}body{margin:2rem}"
        "table{border-collapse:collapse}td,th{text-align:left;padding:.3rem .8rem;"
        "border-bottom:1px solid #8884;vertical-align:top}td:nth-child(-n+2)"
        "{font-family:ui-monospace,monospace;white-space:nowrap}</style>"
        "<h1>DataManager Controller: API</h1>"
        "<p>As OpenAPI 3.1: <a href='/openapi.json'>/openapi.json</a>. "
        "A token goes into the header <code>Authorization: Bearer TOKEN</code>.</p>"
        f"<table><tr>{head}</tr>{''.join(rows)}</table></html>"
    )


def _fixed(path: str, method: str) -> dict[str, Any]:
    """The operation of a path that is no call, with the errors that all have."""
    told = OPERATIONS[path]
    errors = {code: _error(text) for code, text in ERRORS.items()}
    id_ = re.sub(r"\W+", "_", f"{method.lower()}_{path}").strip("_")
    return {**told, "operationId": id_, "responses": {**errors, **told["responses"]}}


def _named(name: str, endpoint: Endpoint, schemas: dict[str, Any], path: str) -> dict[str, Any]:
    found = {"post": _operation(name, endpoint, schemas, "POST", path)}
    if endpoint.description.get("scope") == "viewer":
        found["get"] = _operation(name, endpoint, schemas, "GET", path)
    return found


def _operation(
    name: str, endpoint: Endpoint, schemas: dict[str, Any], method: str, path: str
) -> dict[str, Any]:
    params = params_schema(endpoint)
    if endpoint.action is not None:
        params = _lifted(name, params, schemas)
    in_path = _PARAM.findall(path)
    described = endpoint.description
    status = str(described.get("status") or 200)
    summary = str(described.get("description") or name)
    operation: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{method.lower()}_{name}_{path}").strip("_"),
        "summary": summary,
        "tags": [name.rpartition(".")[0]],
        "parameters": [_parameter(p, params, "path") for p in in_path],
        "responses": {
            status: {"description": "The action's result.", **_result(name, endpoint, schemas)},
            **{code: _error(text) for code, text in ERRORS.items()},
        },
    }
    rest = {k: v for k, v in params.get("properties", {}).items() if k not in in_path}
    required = [each for each in params.get("required", ()) if each in rest]
    if method in {"GET", "DELETE"}:
        operation["parameters"] += [_parameter(each, params, "query") for each in rest]
    elif rest or not params.get("properties"):
        schema = {**params, "properties": rest, "required": required}
        schema = {key: value for key, value in schema.items() if value != [] or key != "required"}
        content = {"application/json": {"schema": schema}}
        operation["requestBody"] = {"content": content, "required": bool(required)}
    return operation


def _parameter(name: str, params: Mapping[str, Any], place: str) -> dict[str, Any]:
    schema: dict[str, Any] = params.get("properties", {}).get(
        name, {"type": "string", "minLength": 1}
    )
    required = place == "path" or name in params.get("required", ())
    described = {"name": name, "in": place, "required": required, "schema": schema}
    if text := schema.get("description"):
        described["description"] = text
    return described


def _lifted(name: str, schema: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    """A schema whose parts are among the schemas of the document."""
    prefix = re.sub(r"\W+", "_", name)
    for part, found in schema.pop("$defs", {}).items():
        schemas[f"{prefix}_{part}"] = _renamed(found, prefix)
    return _renamed(schema, prefix)


def _renamed(value: Any, prefix: str) -> Any:
    if is_dict(value):
        return {
            key: f"#/components/schemas/{prefix}_{each.rpartition('/')[2]}"
            if key == "$ref"
            else _renamed(each, prefix)
            for key, each in value.items()
        }
    if is_list(value):
        return [_renamed(each, prefix) for each in value]
    return value


def _result(name: str, endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    """What an action returns: for another node nobody knows."""
    if endpoint.action is None or endpoint.action.definition.gives_nothing:
        return {}
    definition = endpoint.action.definition
    kind = endpoint.description.get("responseType")
    if kind or definition.is_stream:
        return {"content": {kind or "application/octet-stream": {"schema": {}}}}
    schema: dict[str, Any] = {}
    # Where no schema can tell the type, it is anything.
    with suppress(DamaError, ValueError, TypeError):
        told = definition.result.adapter.json_schema(mode="serialization")
        schema = _lifted(f"{name}_result", told, schemas)
    return {"content": {"application/json": {"schema": schema}}}


def _error(text: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Error"}
    return {"description": text, "content": {"application/json": {"schema": schema}}}
