"""Schemas of services, as a node tells them to the others and `$node` lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.domain.exact import compact
from dama.shapes import as_object, is_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from dama.definitions.action import ActionDefinition
    from dama.definitions.service import Service

OK = 200
_SECURE = "$secureSettings"
_TYPES = {"integer": "number", "number": "number", "string": "string", "boolean": "boolean"}


def describe_service(
    service: Service,
    actions: Mapping[str, Mapping[str, Any]],
    handlers: Iterable[tuple[str, str | None]],
) -> dict[str, Any]:
    """A service with its actions and events.

    Args:
        service: What it is.
        actions: Descriptions of those that others may see, by full name.
        handlers: The pattern of each handler of events, and its group where it was given one.
    """
    described: dict[str, Any] = {
        "name": service.name,
        "fullName": service.full_name,
        "settings": public_settings(service.settings),
        "metadata": service.metadata,
        "dependencies": list(service.dependencies),
        "actions": dict(actions),
        "events": {
            pattern: {"name": pattern, **({"group": group} if group else {})}
            for pattern, group in handlers
        },
    }
    if service.version is not None:
        described["version"] = service.version
    if service.summary:
        described["metadata"] = {"description": service.summary, **described["metadata"]}
    return described


def describe_action(name: str, definition: ActionDefinition[Any]) -> dict[str, Any]:
    """An action, with its params in the words of Moleculer's validator."""
    described = outline_action(name, definition)
    if not definition.takes_any:
        described["params"] = describe_params(definition.params.model_json_schema())
    return described


def outline_action(name: str, definition: ActionDefinition[Any]) -> dict[str, Any]:
    """An action without its params, of which a model would have to be made."""
    options = definition.options
    described: dict[str, Any] = {
        "name": name,
        "rawName": definition.name,
        "visibility": options.visibility,
        "cache": bool(options.cache),
    }
    if definition.summary:
        described["description"] = definition.summary
    if options.timeout is not None:
        described["timeout"] = options.timeout * 1000
    if options.rest:
        described["rest"] = options.rest[0] if len(options.rest) == 1 else list(options.rest)
    told = {
        "status": options.status if options.status != OK else None,
        "responseType": options.response_type,
        "scope": options.scope,
        "metadata": dict(options.metadata),
    }
    return described | {key: value for key, value in told.items() if value}


def describe_params(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Params of a JSON schema in the words of Moleculer's validator, for people to read."""
    required = set(schema.get("required", ()))
    return {
        name: _describe_param(found, schema, is_required=name in required)
        for name, found in schema.get("properties", {}).items()
    }


def may_be_left_out(rule: object) -> bool:
    """Whether Moleculer's validator lets a param be left out, by any of the ways to say so."""
    if is_list(rule):
        return bool(rule) and all(map(may_be_left_out, rule))
    if isinstance(rule, str):
        words = rule.split("|")[1:]
        return any(w in ("optional", "optional:true") or w.startswith("default:") for w in words)
    described = as_object(rule)
    return described.get("optional") is True or described.get("default") is not None


def public_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that are secure, and without what JSON cannot hold."""
    hidden = {*settings.get(_SECURE, ()), _SECURE}
    return {key: v for key, v in settings.items() if key not in hidden and _is_json(v)}


def _describe_param(
    found: Mapping[str, Any], schema: Mapping[str, Any], *, is_required: bool
) -> dict[str, Any]:
    reference = str(found.get("$ref", "")).rpartition("/")[2]
    kind = {**schema.get("$defs", {}).get(reference, {}), **found}
    choices = [c for c in kind.get("anyOf", ()) if c.get("type") != "null"]
    if len(choices) == 1:
        kind = {**choices[0], **kind}
    type_ = kind.get("type")
    described: dict[str, Any] = {
        "type": "enum" if "enum" in kind else _TYPES.get(str(type_), type_ or "any")
    }
    if "enum" in kind:
        described["values"] = kind["enum"]
    if not is_required:
        described["optional"] = True
    if kind.get("default") is not None:
        described["default"] = kind["default"]
    if type_ == "integer":
        described["integer"] = True
    return described


def _is_json(value: object) -> bool:
    try:
        compact(value)
    except (TypeError, ValueError, NotImplementedError):
        return False
    return True
