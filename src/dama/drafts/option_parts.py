"""The parts that suggestions of options are made of, whatever the language."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dama.drafts.draft import Option

if TYPE_CHECKING:
    from dama.definitions.command import Command

QUOTED = r"""(?:'([^'\n]*)'|"([^"\n]*)"|`([^`]*)`)"""


def flagged(flag: str, name: str, *, boolean: bool = False, always: bool = False) -> Command:
    """An option with its value as parts of a command; in brackets unless it is always there."""
    if boolean:
        return (f"{flag}{{?{name}}}",)
    pair = (flag, f"{{{name}}}")
    return pair if always else (pair,)


def positional(number: int, default: object = None, *, required: bool = True) -> Option:
    """An argument without a name; nothing insists on one with a default."""
    name = f"arg_{number}"
    return Option(
        name,
        (f"{{{name}}}",) if required else ((f"{{{name}}}",),),
        type=type_of(default),
        required=required and default is None,
        default=default,
    )


def literal(text: str | None) -> Any:
    """A literal as most languages write it; None for what is none."""
    text = (text or "").strip()
    if re.fullmatch(r"-?\d{1,15}L?", text):
        return int(text.rstrip("L"))
    if re.fullmatch(r"-?\d+\.\d+", text):
        return float(text)
    quoted = re.fullmatch(r"'([^'\\]*)'|\"([^\"\\]*)\"", text)
    if quoted:
        return quoted[1] or quoted[2] or None
    return text if re.fullmatch(r"\d[\d:T-]*", text) else None


def type_of(value: object) -> str:
    """The type of a param that has such a default."""
    if isinstance(value, int):
        return "integer"
    return "number" if isinstance(value, float) else "string"


def fitting(type_: str, choices: tuple[str, ...], value: Any) -> Any:
    """A default, when it is one of the type; the program keeps its own otherwise."""
    match type_, value:
        case ("integer", int()) | ("number", int() | float()) if not isinstance(value, bool):
            return value
        case ("string" | "path", str()) if value and (not choices or value in choices):
            return value
        case _:
            return None
