"""The schema of an action's params, of this node or another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.broker.schema import may_be_left_out
from dama.shapes import as_object, is_object

if TYPE_CHECKING:
    from dama.broker.catalog import Endpoint

_KINDS = {"number": "number", "string": "string", "boolean": "boolean", "array": "array"}


def params_schema(endpoint: Endpoint) -> dict[str, Any]:
    """The params of an action: of this node exactly, of another as far as it tells them."""
    if endpoint.action is None:
        return _foreign(endpoint.description.get("params"))
    definition = endpoint.action.definition
    return {} if definition.takes_any else definition.params.model_json_schema()


def _foreign(params: object) -> dict[str, Any]:
    """What Moleculer's validator has, as a schema; what is not understood is anything."""
    if not is_object(params):
        return {}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for name, rule in params.items():
        if name.startswith("$$"):
            continue
        told = as_object(rule)
        text = str(rule)
        kind = str(told.get("type") or text.partition("|")[0])
        properties[name] = {"type": _KINDS[kind]} if kind in _KINDS else {}
        if not may_be_left_out(rule):
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}
