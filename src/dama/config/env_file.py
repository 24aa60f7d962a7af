"""Files of variables: `NAME=value` lines, as python-dotenv reads them; none is passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def read_variables(path: Path) -> dict[str, str]:
    """The variables of a file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not UTF-8, or has a line that is not `NAME=value`. The line is named by
            its number only: it may hold a secret.
    """
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    with path.open(encoding="utf-8-sig") as file:
        for binding in parse_stream(file):
            blank = len(binding.original.string) - len(binding.original.string.lstrip("\r\n"))
            line = binding.original.line + binding.original.string[:blank].count("\n")
            if binding.error:
                raise ValueError(
                    f"line {line} is not NAME=value; a value with spaces or quotes in it needs "
                    "quotes around it"
                )
            if binding.key is not None and binding.value is None:
                raise ValueError(f"line {line} is a name without a value: write {binding.key}=")
    found = dotenv_values(path, encoding="utf-8-sig")
    return {name: value for name, value in found.items() if value is not None}
