"""Params of programs: their declared types, as fields of the model that every task has.

Nothing here imports pydantic before a model is made.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

TYPES = {
    "string": str,
    "integer": int,
    "number": float,
    "boolean": bool,
    "date": date,
    "timestamp": datetime,
    "path": Path,
}
BOUNDED = ("integer", "number", "date", "timestamp")

_DAY = re.compile(r"\d{4}-\d\d-\d\d")


@dataclass(frozen=True)
class ProgramParam:
    """A param of a program.

    Attributes:
        type: One of `TYPES`.
        required: Whether it must be given.
        default: Its value when it is not given; None for none.
        help: What it is, in a sentence.
        choices: The values that it may have; empty for all.
        min: The least value.
        max: The greatest value.
        list: Whether it takes any number of values.
        deprecated: Why it should no longer be given; empty when it may be.
    """

    type: str = "string"
    required: bool = True
    default: Any = None
    help: str = ""
    choices: tuple[str, ...] = ()
    min: Any = None
    max: Any = None
    list: bool = False
    deprecated: str = ""

    def annotation(self) -> Any:
        """The type, for the model."""
        from pydantic import Field

        kept = self._kept()
        return Annotated[kept, Field(deprecated=self.deprecated)] if self.deprecated else kept

    def _kept(self) -> Any:
        from pydantic import Field

        one: Any = Annotated[
            (self._base(), Field(ge=self._bound(self.min), le=self._bound(self.max)))
        ] if self.type in BOUNDED else self._base()  # fmt: skip
        if self.list:
            return Annotated[list[one], Field(min_length=1 if self.required else 0)]
        return one if self.required or self.default is not None else one | None

    def field_default(self) -> Any:
        """The default, for the model; `...` for none."""
        if self.required:
            return ...
        if self.list:
            return [self.parsed(item) for item in self.default or ()]
        return self.parsed(self.default)

    def parsed(self, value: object) -> Any:
        """A declared value as the type has it; the declaration has been checked."""
        return parse_value(self.type, value) if value is not None else None

    def _base(self) -> Any:
        from pydantic import BeforeValidator

        if self.choices:
            return Literal[self.choices]
        if self.type in {"date", "timestamp"}:
            # pydantic would take 2013 for seconds after 1970.
            return Annotated[TYPES[self.type], BeforeValidator(_no_number)]
        return TYPES[self.type]

    def _bound(self, value: object) -> Any:
        return self.parsed(value)


def parse_value(type_: str, value: object) -> Any:
    """Turn a declared value into the type of a param.

    Raises:
        ValueError: It is not one; the text is what was wanted.
    """
    match type_, value:
        case ("boolean", bool()) | ("string", str()):
            return value
        case ("path", str()) if value:
            return Path(value)
        case ("integer", int()) if not isinstance(value, bool):
            return value
        case ("number", int() | float()) if not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        case ("date" | "timestamp", date() | str()):
            return _moment(type_, value)
        case _:
            raise ValueError(WANTED[type_])


def _moment(type_: str, value: date | str) -> date | datetime:
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise ValueError(WANTED[type_]) from None
    if type_ == "timestamp":
        is_moment = isinstance(found, datetime)
        return found if is_moment else datetime(found.year, found.month, found.day)  # noqa: DTZ001 - as it was written
    if isinstance(value, datetime) or (isinstance(value, str) and not _DAY.fullmatch(value)):
        raise ValueError(WANTED[type_])
    return date(found.year, found.month, found.day)


WANTED = {
    "string": "a string in quotes",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "date": "a date such as 2013-01-31",
    "timestamp": "a timestamp such as 2013-01-31T12:00:00",
    "path": "a path in quotes",
}


def _no_number(value: object) -> object:
    if isinstance(value, date) or (isinstance(value, str) and _DAY.match(value)):
        return value
    raise ValueError("should be a date such as 2013-01-31, or a timestamp 2013-01-31T12:00:00")
