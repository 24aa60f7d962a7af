"""Statements: the SQL files beside this module, one statement each, read once."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import LiteralString, cast


@cache
def statement(name: str) -> LiteralString:
    """The statement of `sql/<name>.sql`, without its header."""
    text = files("dama.store").joinpath("sql", f"{name}.sql").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    # A file of the package is as much a literal as a string in the source.
    return cast("LiteralString", "\n".join(lines))
