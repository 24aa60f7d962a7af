"""Sightings: what a script seems to take that no option can be suggested for, in words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_QUOTED = r"""['"`]([A-Za-z][\w-]{0,60})"""
_PYTHON_GROUP = re.compile(r"@[\w.]{1,80}\.(?:command|callback)\b|\.add_typer\(|\.add_command\(")
_PYTHON_COMMAND = re.compile(
    r"@[\w.]{1,80}\.command\((?:\s{0,20}(?:name\s{0,5}=\s{0,5})?['\"]([\w-]{1,60}))?[^\n]{0,300}\)?\s{0,80}"
    r"(?:@[^\n]{0,500}\n\s{0,80}){0,20}(?:async\s{1,5})?def\s{1,5}(\w{1,60})"
)
_PYTHON_LIBRARIES = {
    "docopt": r"\bdocopt\(",
    "fire": r"\bFire\(",
    "typer": r"\btyper\.(?:run|Typer)\(",
    "absl": r"\bflags\.DEFINE_\w{1,20}\(",
    "plac": r"\bplac\.call\(",
    "hydra": r"@hydra\.main\(",
    "tyro": r"\btyro\.cli\(",
    "cyclopts": r"\bcyclopts\.(?:run|App)\(",
    "jsonargparse": r"\bjsonargparse\b[\s\S]{0,9999}\bCLI\(",
}

_NODE_LIBRARIES = (
    r"\b(?:parseArgs|minimist|meow|mri|cac|sade|yargsParser|commandLineArgs|defineCommand)\("
    r"|\bargs?\(\s{0,5}\{|\bFlags\.\w+\("
)
_R_LIBRARIES = {
    "argparser": r"(?<!\$)\badd_(?:argument|flag)\(\s{0,40}[\w.]|%>%\s{0,40}add_argument\(",
    "argparse": r"\$add_(?:argument|parser)\(",
    "docopt": r"\bdocopt\(",
    "getopt": r"\bgetopt\(",
}


def has_commands(language: str, text: str) -> bool:
    """Whether it has sub-commands, so that no command takes all options that are in it."""
    return any("sub-commands" in each for each in find_sightings(language, text))


def find_sightings(language: str, text: str) -> tuple[str, ...]:
    """Find what a person should know of a script's arguments, as notes.

    Args:
        language: python, node, sh, R or psql.
        text: The script.
    """
    looks = {
        "python": _of_python, "node": _of_javascript, "sh": _of_shell, "R": _of_r, "perl": _of_perl,
    }  # fmt: skip
    look = looks.get(language)
    return tuple(look(text)) if look else ()


def _of_python(text: str) -> Iterator[str]:
    names = re.findall(rf"\.add_parser\(\s{{0,40}}{_QUOTED}", text)
    if "click.group" in text or ".group(" in text or _is_typer(text):
        names += [
            name or function.replace("_", "-") for name, function in _PYTHON_COMMAND.findall(text)
        ]
    yield from _commands(names)
    if re.search(r"\bgetopt\.(?:gnu_)?getopt\(", text):
        yield "It reads its options with getopt; they are not suggested here."
    for name, call in _PYTHON_LIBRARIES.items():
        if re.search(call, text):
            yield f"It reads its options with {name}; they are not suggested here."


def _is_typer(text: str) -> bool:
    return "typer" in text and len(_PYTHON_GROUP.findall(text)) > 1


def _of_javascript(text: str) -> Iterator[str]:
    yield from _commands(
        re.findall(
            rf"\.command\(\s{{0,40}}(?:\{{\s{{0,20}}command\s{{0,5}}:\s{{0,20}})?{_QUOTED}", text
        )
    )
    if re.search(r"\.commandDir\(|\.command\(\s{0,40}[A-Za-z_$]", text):
        yield "It has sub-commands that stand elsewhere: put one into the command."
    if re.search(r"\.(?:option|options|positional)\(\s{0,40}(?:[A-Za-z_$]|\.\.\.)", text):
        yield "It takes options from a variable, which is not read here: look there for more."
    if re.search(_NODE_LIBRARIES, text):
        yield "It reads its options with parseArgs or the like; not all are suggested here."


def _of_shell(text: str) -> Iterator[str]:
    if re.search(
        r"(?m)^[^#\n]{0,300}\bgetopt\s+-|\bOptionParser\.new\b|\$\w+\s*=\s*getopt\(", text
    ):
        yield "It reads its options with getopt; not all are suggested here."


def _of_r(text: str) -> Iterator[str]:
    for name, call in _R_LIBRARIES.items():
        if re.search(call, text):
            yield f"It reads its options with {name}; they are not suggested here."


def _of_perl(text: str) -> Iterator[str]:
    libraries = r"\bgetopts?\s{0,5}\(?\s{0,5}['\"]|\b(?:GetOptionsFromArray|describe_options)\b"
    if re.search(libraries, text):
        yield "It reads its options with getopts or the like; they are not suggested here."


def _commands(names: list[str]) -> Iterator[str]:
    if names := list(dict.fromkeys(names)):
        yield (
            f"It has the sub-commands {', '.join(names[:20])}: put one into the command. What each "
            "of them takes is not suggested here."
        )
