"""JSON that somebody gives a command: as it is, in a file, or on standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from dama.cli.output import shortened
from dama.shapes import is_dict

METAVAR = "FILE|-|JSON"
LONGEST_SHOWN = 60


def read_json(given: str, option: str) -> Any:
    """One JSON document: itself, the path of a file, or - for standard input.

    Args:
        given: What was typed.
        option: Where, for errors.

    Raises:
        click.BadParameter: It is neither JSON nor a file, or the file holds none.
    """
    from dama.domain.errors import RepeatedMemberError
    from dama.domain.exact import decode

    if given == "-":
        return _decoded(_read_input(option), option, "Standard input")
    try:
        return decode(given)
    except RepeatedMemberError as error:
        raise click.BadParameter(f"{_excerpt(given)}: {error}.", param_hint=option) from None
    except ValueError as error:
        if (text := _content(given, option)) is not None:
            return _decoded(text, option, given)
        raise click.BadParameter(
            f"{_excerpt(given)} is neither JSON ({error}) nor a file. A text is JSON in quotes: "
            "'\"done\"'; - reads standard input.",
            param_hint=option,
        ) from None


def read_object(given: str, option: str) -> dict[str, Any]:
    """One JSON object, as `read_json` finds it.

    Raises:
        click.BadParameter: It is none.
    """
    found = read_json(given, option)
    if not is_dict(found):
        raise click.BadParameter(
            f"{_excerpt(given)} is not an object with a value for each param, "
            """such as '{"year": 2013}'.""",
            param_hint=option,
        )
    return found


def _excerpt(given: str) -> str:
    """What was typed, for one line of an error."""
    return "Standard input" if given == "-" else repr(shortened(given, LONGEST_SHOWN))


def _content(path: str, option: str) -> str | None:
    """The content of a file; None when there is none of this name."""
    try:
        if not path.strip() or not Path(path).exists():  # a pipe such as /dev/fd/63 is fine
            return None
        return Path(path).read_text("utf-8-sig")
    except (OSError, ValueError) as error:
        if isinstance(error, UnicodeDecodeError) or not _is_no_path(error):
            raise click.BadParameter(f"{path}: {error}.", param_hint=option) from None
        return None


def _is_no_path(error: Exception) -> bool:
    """Whether a text cannot be a path at all: too long, or with a NUL."""
    import errno

    return isinstance(error, ValueError) or getattr(error, "errno", 0) == errno.ENAMETOOLONG


def _read_input(option: str) -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise click.BadParameter(f"Standard input: {error}.", param_hint=option) from None


def _decoded(text: str, option: str, where: str) -> Any:
    from dama.domain.exact import decode

    try:
        return decode(text)
    except ValueError as error:
        hint = "It is empty" if not text.strip() else str(error)
        raise click.BadParameter(f"{where} is not JSON: {hint}.", param_hint=option) from None
