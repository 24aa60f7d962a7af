"""Docstrings in Google style: where the help texts of a task come from."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from inspect import cleandoc

_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Returns|Return|Raises|Yields|Example|Examples|Note|Notes"
    r"|Attributes|See Also|Source|Todo|Warns|Warning|Warnings|References):\s*$"
)
_ENTRY = re.compile(r"^(?P<name>\*{0,2}\w+)\s*(?:\([^)]*\))?\s*:\s*(?P<text>.*)$")


@dataclass(frozen=True)
class Docstring:
    """The parts of a docstring.

    Attributes:
        summary: The first paragraph, on one line.
        description: The paragraphs between the summary and the first section.
        params: The texts of the section Args, by name, each on one line.
    """

    summary: str = ""
    description: str = ""
    params: dict[str, str] = field(default_factory=dict[str, str])


def parse_docstring(text: str | None) -> Docstring:
    """Take a docstring apart; None has empty parts."""
    body: list[str] = []
    args: list[str] = []
    section: str | None = None
    for line in cleandoc(text or "").splitlines():
        if match := _SECTION.match(line):
            section = match[1]
        elif section is None:
            body.append(line)
        elif section in {"Args", "Arguments", "Parameters"}:
            args.append(line)
    summary, _, description = "\n".join(body).strip().partition("\n\n")
    return Docstring(" ".join(summary.split()), description.strip(), _read_entries(args))


def _read_entries(lines: list[str]) -> dict[str, str]:
    """Read `name: text` or `name (type): text`; deeper lines continue with the text above."""
    entries: dict[str, list[str]] = {}
    margin = min((_indent(line) for line in lines if line.strip()), default=0)
    current: list[str] = []
    for line in filter(str.strip, lines):
        entry = _ENTRY.match(line.strip()) if _indent(line) == margin else None
        if entry:
            current = entries.setdefault(entry["name"].lstrip("*"), [])
            current.append(entry["text"])
        else:
            current.append(line.strip())
    return {name: " ".join(filter(None, texts)) for name, texts in entries.items()}


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
