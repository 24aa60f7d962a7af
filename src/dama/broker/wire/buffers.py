"""Bytes in JSON, as Node.js writes its Buffers: `{"type": "Buffer", "data": [1, 2, 3]}`."""

from __future__ import annotations

from typing import Any, cast

import msgspec

MARK = b'"Buffer"'
"""A packet without it holds no bytes, and need not be looked through."""


def with_buffers(value: Any) -> Any:
    """The same value with its bytes as Buffers, written already; itself where it has none."""
    if isinstance(value, bytes | bytearray | memoryview):
        numbers = msgspec.json.encode(list(bytes(cast("bytes", value))))
        return msgspec.Raw(b'{"type":"Buffer","data":' + numbers + b"}")
    return _changed(value, with_buffers)


def without_buffers(value: Any) -> Any:
    """The same value with its Buffers as bytes."""
    if isinstance(value, dict):
        found = cast("dict[str, Any]", value)
        of_a_buffer = found.keys() == {"type", "data"} and found["type"] == "Buffer"
        if of_a_buffer and isinstance(found.get("data"), list):
            try:
                return bytes(found["data"])
            except (TypeError, ValueError):
                return found  # somebody's own object, after all
    return _changed(value, without_buffers)


def _changed(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        old = cast("dict[Any, Any]", value)
        new = {key: change(each) for key, each in old.items()}
        return new if any(new[key] is not old[key] for key in old) else old
    if isinstance(value, list | tuple):
        before = cast("list[Any]", value)
        after = [change(each) for each in before]
        return after if any(a is not b for a, b in zip(after, before, strict=True)) else before
    return value
