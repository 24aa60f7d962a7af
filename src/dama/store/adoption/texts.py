"""The statements of an adoption: SQL files beside this module, with places for names."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast


@cache
def text(name: str, /, **places: str) -> LiteralString:
    """The text of `<name>.sql`, with `:place` replaced by what is given for it."""
    found = files("dama.store.adoption").joinpath(f"{name}.sql").read_text("utf-8")
    found = "\n".join(line for line in found.splitlines() if not line.startswith("--"))
    for place, value in places.items():
        found = re.sub(rf"(?<!:):{place}\b", lambda _, value=value: value, found)
    # Files of the package, and names that are ours, are as much literals as strings in the source.
    return cast("LiteralString", found)
