"""What the OpenAPI document says of the fixed paths: an operation for each, without the errors."""

from __future__ import annotations

from typing import Any

_CONTEXT: dict[str, Any] = {
    "name": "context_id",
    "in": "path",
    "required": True,
    "schema": {"type": "integer", "minimum": 1},
}
_LAST = {
    "name": "Last-Event-ID",
    "in": "header",
    "schema": {"type": "integer", "minimum": 0},
    "description": "The id of the last event that came: the stream continues behind it.",
}
_AFTER = {
    "name": "after",
    "in": "query",
    "schema": {"anyOf": [{"type": "integer", "minimum": 0}, {"const": "latest"}]},
    "description": "As Last-Event-ID; `latest` for new events only.",
}
_RANGE = {
    "name": "Range",
    "in": "header",
    "schema": {"type": "string"},
    "description": "One range of bytes.",
    "example": "bytes=0-1023",
}
_EVENT = {
    "type": "object",
    "required": ["type"],
    "properties": {"type": {"type": "string"}, "payload": {}, "error": {}, "meta": {}},
    "examples": [{"type": ":PROGRESS", "payload": {"done": 3, "total": 10}}],
}
_OBJECT = {"type": "object"}


def _content(kind: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {kind: {"schema": schema}}


def _operation(
    summary: str,
    *params: dict[str, Any],
    content: dict[str, Any],
    status: str = "200",
    **more: Any,
) -> dict[str, Any]:
    responses = {status: {"description": "What there is.", "content": content}}
    told = {"summary": summary, "parameters": list(params), "responses": responses}
    return {**told, **more}


def _stream(summary: str, *params: dict[str, Any]) -> dict[str, Any]:
    content = _content("text/event-stream", {"type": "string"})
    return _operation(summary, *params, _LAST, _AFTER, content=content, tags=["streams"])


def _file(summary: str, kind: str, *params: dict[str, Any]) -> dict[str, Any]:
    content = _content(kind, {})
    found = _operation(summary, _CONTEXT, *params, _RANGE, content=content, tags=["files"])
    found["responses"] |= {
        "206": {"description": "The range.", "content": content},
        "416": {"description": "The range is behind the end."},
    }
    return found


def _param(name: str, place: str, **schema: Any) -> dict[str, Any]:
    told = {"type": "string", "minLength": 1, **schema}
    return {"name": name, "in": place, "required": place == "path", "schema": told}


_TREE = "/api/contexts/{context_id}"
OPERATIONS: dict[str, dict[str, Any]] = {
    "/metrics": _operation(
        "Read the metrics for Prometheus.", content=_content("text/plain", {}), tags=["server"]
    ),
    "/openapi.json": _operation(
        "Read this document.", content=_content("application/json", _OBJECT), tags=["server"]
    ),
    "/api": _operation(
        "Read this document as a page.", content=_content("text/html", {}), tags=["server"]
    ),
    "/api/run": _operation(
        "Read the context of a run, with the token of the run.",
        content=_content("application/json", _OBJECT),
        tags=["run"],
    ),
    "/api/run/events": _operation(
        "Append events to the context of a run, with the token of the run.",
        content=_content("application/json", {}),
        status="201",
        tags=["run"],
        requestBody={
            "required": True,
            "content": _content(
                "application/json", {"anyOf": [_EVENT, {"type": "array", "items": _EVENT}]}
            ),
        },
    ),
    "/api/stream": _stream("Follow all events."),
    f"{_TREE}/stream": _stream("Follow the events of a context.", _CONTEXT),
    f"{_TREE}/tree/stream": _stream("Follow the events of the tree of a context.", _CONTEXT),
    f"{_TREE}/logs": _file(
        "Read what a program printed.",
        "text/plain",
        _param("stream", "query", enum=["stdout", "stderr"], default="stdout"),
        _param("run", "query"),
    ),
    f"{_TREE}/artifacts": _operation(
        "List the files that a program left.",
        _CONTEXT,
        content=_content("application/json", {"type": "array", "items": _OBJECT}),
        tags=["files"],
    ),
    f"{_TREE}/artifacts/{{path}}": _file(
        "Read a file that a program left.", "application/octet-stream", _param("path", "path")
    ),
    "/api/contexts/import": _operation(
        "Bring the contexts of a bundle into this database.",
        {"name": "again", "in": "query", "schema": {"type": "boolean", "default": False}},
        {"name": "reason", "in": "query", "schema": {"type": "string"}},
        content=_content("application/json", _OBJECT),
        tags=["contexts"],
        requestBody={"required": True, "content": _content("application/octet-stream", {})},
    ),
    f"{_TREE}/files/{{name}}": _operation(
        "Write a file into the working folder of the tree of a context.",
        _CONTEXT,
        _param("name", "path"),
        content=_content("application/json", _OBJECT),
        status="201",
        tags=["files"],
        requestBody={"content": _content("application/octet-stream", {})},
    ),
}
