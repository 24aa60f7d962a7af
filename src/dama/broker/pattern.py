"""Patterns of event names, matched as Moleculer matches them.

`*` is a part of one level, `**` is anything, `?` is one character. Who sends an event chooses its
readers by these rules, and who gets it looks again: both have to see the same, also where the
rules are odd (in a pattern with `?` or an inner star a dot is any character).
"""

from __future__ import annotations

import re
from functools import lru_cache

_PARTS = {"**": ".*", "*": "[^.]*", "?": ".", ".": "."}


@lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern as a regular expression."""
    parts = re.split(r"(\*\*|\*|\?|\.)", pattern)
    return re.compile("".join(_PARTS.get(part) or re.escape(part) for part in parts))


def matches(name: str, pattern: str) -> bool:
    """Whether an event of this name is one of the pattern: `a.*` has no `a.b.c`, `a.**` has."""
    if "?" not in pattern:
        star = pattern.find("*")
        if star < 0:
            return name == pattern
        begin = pattern[:star]
        if pattern[star:] == "**":
            return name.startswith(begin)
        if pattern[star:] == "*":
            # Moleculer looks for a dot only behind the character that the star begins with.
            is_bare = not begin
            return name.startswith(begin) and "." not in name[0 if is_bare else star + 1 :]
    return bool(compile_pattern(pattern).fullmatch(name))
