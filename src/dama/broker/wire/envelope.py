"""The envelope of a packet that cannot be read as a whole: enough of it to answer its sender.

A packet may hold what no reader of JSON here takes: half of a surrogate pair, a nesting of
thousands. Whoever sent it waits for an answer all the same, and what an answer needs stands at the
top of the packet.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]:,]|[^\s{}\[\]:,"]+', re.DOTALL)
_OPENING, _CLOSING = (b"{", b"["), (b"}", b"]")
LONGEST_VALUE = 1000
BELOW_THE_TOP = 2  # levels


def envelope(body: bytes) -> dict[str, Any]:
    """The short plain values at the top level of a JSON object, however broken the rest is.

    Args:
        body: What should be one JSON object.

    Returns:
        Strings, numbers, booleans and nulls by name; objects and arrays are left out. Empty when it
        is not an object at all.
    """
    tokens = list(_top_level(body))
    named = (
        (key, value)
        for key, colon, value in zip(tokens, tokens[1:], tokens[2:], strict=False)
        if colon == b":"
    )
    return {str(_plain(key)): _plain(value) for key, value in named if key and value}


def _top_level(body: bytes) -> Iterator[bytes | None]:
    """The tokens of the outermost object; None in the place of an object or array in it."""
    depth = 0
    for match in _TOKEN.finditer(body):
        token = match.group()
        if depth == 0 and token != b"{":
            return
        if token in _CLOSING:
            depth -= 1
            if depth == 0:
                return
        elif token in _OPENING:
            depth += 1
            if depth == BELOW_THE_TOP:
                yield None
        elif depth == 1:
            yield token


def _plain(token: bytes) -> str | float | bool | None:
    """A value of one token; None for one that is too long or cannot be read."""
    if len(token) > LONGEST_VALUE:
        return None
    try:
        value: str | float | bool | None = json.loads(token)
        if isinstance(value, str):
            value.encode()
    except ValueError:
        return None
    return value
