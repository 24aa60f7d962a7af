"""Colours of terminals: the escapes of a log, as parts with classes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from dama.visible import visible

_ESCAPE = re.compile(
    r"\x1b\[([0-9;:]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()][A-Z0-9]"
)
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")
RESET, BOLD, FAINT, NORMAL, DEFAULT = 0, 1, 2, 22, 39
EXTENDED = (38, 48)
COLOUR, BRIGHT, BACKGROUND = 30, 90, 40


@dataclass(frozen=True)
class Part:
    """A part of a line in one style.

    Attributes:
        text: What is read, without escapes.
        style: Classes, with a blank between them.
    """

    text: str
    style: str


def parts(line: str) -> list[Part]:
    """The parts of a line. What moves a cursor or names a window is left out."""
    found: list[Part] = []
    colour, weight, at = "", "", 0
    for escape in _ESCAPE.finditer(line):
        _add(found, line[at : escape.start()], colour, weight)
        at = escape.end()
        if escape[2] == "m":
            colour, weight = _style(escape[1] or "0", colour, weight)
    _add(found, line[at:], colour, weight)
    return found


def _add(found: list[Part], text: str, colour: str, weight: str) -> None:
    if text:
        found.append(Part(visible(text), " ".join(filter(None, (colour, weight)))))


def _style(codes: str, colour: str, weight: str) -> tuple[str, str]:
    numbers = [int(code) if code and len(code) < 4 else 0 for code in re.split("[;:]", codes)]  # noqa: PLR2004
    if numbers[0] in EXTENDED:  # of 256 or of 16 million colours: shown without one
        return colour, weight
    for number in numbers:
        if number == RESET:
            colour = weight = ""
        elif number in (BOLD, FAINT):
            weight = "ansi-bold" if number == BOLD else "ansi-faint"
        elif number == NORMAL:
            weight = ""
        elif number == DEFAULT:
            colour = ""
        elif COLOUR <= number < COLOUR + 8 or BRIGHT <= number < BRIGHT + 8:
            colour = f"ansi-{_COLOURS[number % 10]}"
    return colour, weight
