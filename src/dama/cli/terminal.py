"""The terminal: all that a command prints passes here, and data cannot act on it.

Colours of our own travel as marks that no data can have, and become escape sequences behind the
last look at the text. Only the log of a program may bring colours of its own.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

import click

from dama.visible import visible

# New in each process, so that nothing stored can have it.
_MARK = f"\0{secrets.token_hex(8)}:"
_STYLED = re.compile(f"{_MARK}([0-9;]*)\0")
_COLOUR = re.compile(r"\x1b\[([0-9;]*)m")


def echo(text: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Print a text; what a terminal would act on is escaped, and left out are colours in a pipe.

    What is said on the way, to standard error, may find no space: it is not worth what it is about.
    """
    try:
        click.echo(rendered(str(text)), err=err, nl=nl)
    except BrokenPipeError:
        raise
    except OSError:
        if not err:
            raise


def echo_line(text: str, *, err: bool = False) -> None:
    """Print a text with data in it as one line: data begins none of its own."""
    echo(text.replace("\n", "\\n"), err=err)


def secho(text: object, **style_: Any) -> None:
    """Print a text in a style."""
    echo(style(str(text), **style_))


def style(text: str, **style_: Any) -> str:
    """A text in a style of click, for `echo`."""
    begin, _, end = click.style("\0", **style_).partition("\0")
    return f"{_marks(begin)}{text}{_marks(end)}"


def rendered(text: str) -> str:
    """A text with escapes, and with escape sequences for its own styles."""
    parts = _STYLED.split(text)
    return "".join(f"\x1b[{part}m" if at % 2 else visible(part) for at, part in enumerate(parts))


def echo_log(text: str, *, nl: bool = True) -> None:
    """Print a part of a program's log: its colours pass, to a terminal, and nothing else does."""
    echo(of_log(text), nl=nl)


def of_log(text: str) -> str:
    """A part of a program's log for `echo`, with the colours that it has."""
    coloured = _COLOUR.sub(lambda found: f"{_MARK}{found[1]}\0", text)
    return f"{coloured}{_MARK}0\0" if coloured != text else text


class HelpFormatter(click.HelpFormatter):
    """A page of help: docstrings and names of services are data, too."""

    def getvalue(self) -> str:  # pyright: ignore[reportImplicitOverride] - `override` is an import of 18 ms
        """The page."""
        return visible(super().getvalue())


def _marks(sequences: str) -> str:
    return "".join(f"{_MARK}{codes}\0" for codes in _COLOUR.findall(sequences))
