"""Bytes in JSON, as Node.js writes its Buffers: `{"type": "Buffer", "data": [1, 2, 3]}`."""

from __future__ import annotations

from typing import Any, cast

import msgspec

from dama.broker.wire.values import form_of
from dama.domain.profile import fields_of
from dama.shapes import is_array, is_dict

MARK = b'"Buffer"'
"""A packet without it holds no bytes, and need not be looked through."""
_BYTES = (bytes, bytearray, memoryview)
_LEAVES = frozenset({str, int, float, bool, type(None), msgspec.Raw})


def with_buffers(value: Any) -> Any:
    """The same value with its bytes as Buffers, written already; itself where it has none."""
    if type(value) in _LEAVES:
        return value
    if isinstance(value, _BYTES):
        numbers = msgspec.json.encode(list(bytes(cast("bytes", value))))
        return msgspec.Raw(b'{"type":"Buffer","data":' + numbers + b"}")
    if isinstance(value, set | frozenset) or fields_of(value):
        parts: Any = msgspec.to_builtins(value, builtin_types=_BYTES, enc_hook=_parts)
        changed = _changed(parts, with_buffers)
        return cast("object", value) if changed is parts else changed
    return _changed(value, with_buffers)


def without_buffers(value: Any) -> Any:
    """The same value with its Buffers as bytes."""
    if is_dict(value):
        of_a_buffer = value.keys() == {"type", "data"} and value["type"] == "Buffer"
        if of_a_buffer and isinstance(value.get("data"), list):
            try:
                return bytes(value["data"])
            except (TypeError, ValueError):
                return value  # somebody's own object, after all
    return _changed(value, without_buffers)


def _parts(value: Any) -> Any:
    """The fields of a model of pydantic, with bytes as they are."""
    dump = getattr(value, "model_dump", None)
    return dump(by_alias=True) if dump else form_of(value)


def _changed(value: Any, change: Any) -> Any:
    if is_dict(value):
        new = {key: change(each) for key, each in value.items()}
        return new if any(new[key] is not value[key] for key in value) else value
    if is_array(value):
        after = [change(each) for each in value]
        return after if any(a is not b for a, b in zip(after, value, strict=True)) else value
    return value
