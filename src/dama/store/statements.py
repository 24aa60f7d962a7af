"""Statements: the SQL files beside this module, one statement each, read once."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, LiteralString, cast

from psycopg.sql import Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

_PARAM = re.compile(r"%(?:\((\w+)\)s|%)")


@cache
def statement(name: str) -> LiteralString:
    """The statement of `sql/<name>.sql`, without its header."""
    text = files("dama.store").joinpath("sql", f"{name}.sql").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    # A file of the package is as much a literal as a string in the source.
    return cast("LiteralString", "\n".join(lines))


def statement_with(name: str, values: Mapping[str, object]) -> str:
    """The statement of a file with its values as literals, for people to run; nothing here does.

    Raises:
        KeyError: A value is missing.
    """

    def literal(found: re.Match[str]) -> str:
        return Literal(values[found[1]]).as_string() if found[1] else "%"

    return f"-- {name}\n{_PARAM.sub(literal, statement(name))};"
