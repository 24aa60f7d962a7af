"""Bytes in JSON, as Node.js writes its Buffers: `{"type": "Buffer", "data": [1, 2, 3]}`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from dama.broker.wire.values import form_of
from dama.domain.profile import fields_of
from dama.shapes import is_array, is_dict, is_list

if TYPE_CHECKING:
    from collections.abc import Iterable

MARK = b'"Buffer"'
"""A packet without it holds no bytes, and need not be looked through."""
_BYTES = (bytes, bytearray, memoryview)
_OF_BUFFER = {"type", "data"}
_LEAVES = frozenset({str, int, float, bool, type(None), msgspec.Raw})


def with_buffers(value: Any) -> Any:
    """The same value with its bytes as Buffers, written already; itself where it has none.

    One frame for each level: JSON may be nested as deep as the interpreter lets it.
    """
    whole: Any = value
    if type(value) in _LEAVES:
        return whole
    if isinstance(value, _BYTES):
        numbers = msgspec.json.encode(list(bytes(whole)))
        return msgspec.Raw(b'{"type":"Buffer","data":' + numbers + b"}")
    parts = whole
    if isinstance(value, set | frozenset) or fields_of(value):
        parts = msgspec.to_builtins(value, builtin_types=_BYTES, enc_hook=_parts)
    changed = _like(parts)
    for key, each in _items(parts):
        changed[key] = with_buffers(each)
    return changed if _differ(changed, parts) else whole


def without_buffers(value: Any) -> Any:
    """The same value with its Buffers as bytes."""
    if is_dict(value) and value.keys() == _OF_BUFFER and value["type"] == "Buffer":
        numbers: object = value["data"]
        if is_list(numbers):
            try:
                return bytes(numbers)
            except (TypeError, ValueError):
                return value  # somebody's own object, after all
    changed = _like(value)
    for key, each in _items(value):
        changed[key] = without_buffers(each)
    return changed if _differ(changed, value) else value


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    """The parts of an object or an array by their keys or places; none of anything else."""
    if is_dict(value):
        return value.items()
    return enumerate(value) if is_array(value) else ()


def _like(value: Any) -> Any:
    return [None] * len(value) if is_array(value) else {}


def _differ(changed: Any, value: Any) -> bool:
    return any(changed[key] is not each for key, each in _items(value))


def _parts(value: Any) -> Any:
    """The fields of a model of pydantic, with bytes as they are."""
    dump = getattr(value, "model_dump", None)
    return dump(by_alias=True) if dump else form_of(value)
