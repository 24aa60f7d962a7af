"""Patterns of event names: `*` is one level or a part of it, `**` any, `?` one character."""

from __future__ import annotations

import re
from functools import lru_cache

_PARTS = {"**": ".*", "*": "[^.]*", "?": "[^.]"}


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression."""
    parts = re.split(r"(\*\*|\*|\?)", pattern)
    return re.compile("".join(_PARTS.get(part) or re.escape(part) for part in parts), re.DOTALL)


def matches(name: str, pattern: str) -> bool:
    """Whether an event of this name is one of the pattern: `a.*` has no `a.b.c`, `a.**` has."""
    if name == pattern:
        return True
    return any(c in pattern for c in "*?") and bool(compile_pattern(pattern).fullmatch(name))
