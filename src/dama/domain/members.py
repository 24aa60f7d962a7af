"""Members: an object of JSON names each of its members once.

Decoders keep the last value of a name that comes twice and say nothing. What somebody sends is
refused instead, wherever it is still text. PostgreSQL casts to jsonb before any code here sees it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, cast

from dama.domain.errors import RepeatedMemberError

ANY_TWO = 2
_CONTAINERS = frozenset({dict, list})
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def refuse_repeated(text: str | bytes, value: object) -> None:
    """Refuse JSON in which an object names a member twice.

    Args:
        text: Valid JSON.
        value: What it says, as a decoder has it.

    Raises:
        RepeatedMemberError: One does.
    """
    # Outside of strings, each member has one colon.
    colons = text.count(":") if isinstance(text, str) else text.count(b":")
    if colons < ANY_TWO or colons == (members := _count(value)):
        return
    plain = text if isinstance(text, str) else text.decode()
    if _STRING.sub("", plain).count(":") != members:
        json.loads(plain, object_pairs_hook=_once, parse_int=str, parse_float=str)


def _count(value: object) -> int:
    """How many members all objects in it have."""
    count, found = 0, [value]
    while found:
        each = found.pop()
        if type(each) is dict:
            members = cast("dict[str, object]", each)
            count += len(members)
            found += [v for v in members.values() if type(v) in _CONTAINERS]
        elif type(each) is list:
            found += [v for v in cast("list[object]", each) if type(v) in _CONTAINERS]
    return count


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise RepeatedMemberError(name)
    return found
