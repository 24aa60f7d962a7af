"""Options of scripts, by a cheap look at their text: good enough for a suggestion, never certain.

Python is parsed; of shell, Perl, JavaScript, R and SQL the usual spellings are searched for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dama.drafts.options_of_node import of_javascript
from dama.drafts.options_of_others import of_perl, of_r, of_shell, of_sql
from dama.drafts.options_of_python import of_python
from dama.drafts.sightings import has_commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dama.drafts.draft import Option


def find_options(language: str, text: str) -> tuple[Option, ...]:
    """Find what a script seems to take; the first of each name.

    Args:
        language: python, node, sh, R or psql.
        text: The script.
    """
    found: dict[str, Option] = {}
    if has_commands(language, text):
        return ()  # those of one are none of another
    for option in _LOOKS[language](text):
        found.setdefault(option.name, option)
    return tuple(found.values())


def find_variables(text: str) -> list[str]:
    """Find environment variables that a script seems to read."""
    spellings = (
        r"process\.env\.([A-Z][A-Z0-9_]+)",
        r"""(?:process\.env|os\.environ)\[['"]([A-Z][A-Z0-9_]+)['"]\]""",
        r"""(?:os\.environ\.get|os\.getenv|Sys\.getenv)\(\s*['"]([A-Z][A-Z0-9_]+)['"]""",
        r"\$\{([A-Z][A-Z0-9_]+):\?",
        r"\$\{?(PG[A-Z]+)\b",
    )
    names = {name for spelling in spellings for name in re.findall(spelling, text)}
    return sorted(name for name in names if not name.startswith("DAMA_"))


_LOOKS: dict[str, Callable[[str], Iterator[Option]]] = {
    "python": of_python,
    "node": of_javascript,
    "sh": of_shell,
    "perl": of_perl,
    "R": of_r,
    "psql": of_sql,
}
