"""Tables of declarations: reads keys of one kind each, and says where another kind stands.

Every error names the place, the key, what was found and what is wanted.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NoReturn

from dama.errors import InvalidDefinitionError
from dama.shapes import is_array, is_object

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNITS = {
    "": 1,
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}


class Table:
    """A table of keys and values, as TOML or a keyword argument has it.

    Args:
        where: Its place, for messages: `dama.toml: programs."flights.import"`.
        values: What is in it.
        known: The keys that it may have.
        hints: What to say to some unknown keys.
    """

    def __init__(
        self,
        where: str,
        values: object,
        known: Iterable[str],
        hints: Mapping[str, str] | None = None,
    ) -> None:
        if not is_object(values):
            raise InvalidDefinitionError(f"{where} is {shown(values)}: expected a table.")
        self.where = where
        self.values = values
        self._refuse_unknown(list(known), hints or {})

    def wrong(self, key: str, wanted: str, hint: str | None = None) -> NoReturn:
        """Refuse the value of a key.

        Raises:
            InvalidDefinitionError: Always.
        """
        raise InvalidDefinitionError(
            f"{self.where}.{key} is {shown(self.values.get(key))}: expected {wanted}.", hint
        )

    def has(self, key: str) -> bool:
        """Whether a key is there."""
        return self.values.get(key) is not None

    def value(self, key: str, type_: type | tuple[type, ...], wanted: str, default: Any) -> Any:
        """The value of a key, of a type; a boolean is not a number."""
        value = self.values.get(key)
        if value is None:
            return default
        if isinstance(value, bool) and type_ is not bool:
            self.wrong(key, wanted)
        return value if isinstance(value, type_) else self.wrong(key, wanted)

    def text(self, key: str, default: str | None = None) -> Any:
        """A string that is not empty."""
        return self.value(key, str, "a string in quotes", default) or (
            default if not self.has(key) else self.wrong(key, "a string that is not empty")
        )

    def number(self, key: str, least: int | None = None, most: int | None = None) -> int | None:
        """A whole number within limits."""
        limits = f" from {least} to {most}" if most is not None else f" from {least}"
        wanted = f"a whole number{limits if least is not None else ''}"
        value: int | None = self.value(key, int, wanted, None)
        below = value is not None and least is not None and value < least
        above = value is not None and most is not None and value > most
        return self.wrong(key, wanted) if below or above else value

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        return self.value(key, bool, "true or false", default)

    def size(self, key: str) -> int | None:
        """A number of bytes, as a number or a string such as "512MiB"."""
        wanted = 'a number of bytes, or a string such as "512MiB" or "2GB"'
        value = self.value(key, (int, str), wanted, None)
        if isinstance(value, str):
            digits = value.rstrip("iBkKMGT ")
            factor = _UNITS.get(value[len(digits) :].strip())
            value = int(digits) * factor if digits.isdigit() and factor else 0
        return self.wrong(key, wanted) if value is not None and value <= 0 else value

    def texts(self, key: str, wanted: str = "a list of strings") -> tuple[str, ...]:
        """A list of strings."""
        found: object = self.value(key, (list, tuple), wanted, ())
        items = tuple(found) if is_array(found) else ()
        if not all(isinstance(item, str) and item for item in items):
            self.wrong(key, wanted)
        return items

    def integers(self, key: str, least: int, most: int) -> frozenset[int]:
        """A list of whole numbers within limits."""
        wanted = f"a list of whole numbers from {least} to {most}"
        found: object = self.value(key, (list, tuple), wanted, ())
        items = tuple(found) if is_array(found) else ()
        if not all(type(item) is int and least <= item <= most for item in items):
            self.wrong(key, wanted)
        return frozenset(items)

    def below(
        self, key: str, known: Iterable[str], hints: Mapping[str, str] | None = None
    ) -> Table:
        """The table that a key holds; an empty one when it is not there."""
        return Table(f"{self.where}.{key}", self.values.get(key, {}), known, hints)

    def entries(self, key: str, wanted: str) -> Mapping[str, object]:
        """The table that a key holds, whatever its keys are."""
        return self.value(key, Mapping, wanted, {})

    def _refuse_unknown(self, known: list[str], hints: Mapping[str, str]) -> None:
        for key in self.values:
            if key not in known:
                raise InvalidDefinitionError(
                    f"{self.where} has the unknown key {key!r} ({shown(self.values[key])}).",
                    hints.get(key) or nearest(key, known),
                )


def nearest(name: str, known: Iterable[str], *, verb: str = "Known are") -> str:
    """A hint: the name that is nearest, or all of them."""
    names = list(known)
    near = get_close_matches(name, names, n=1)
    return f"Did you mean {near[0]!r}?" if near else f"{verb} {', '.join(names) or 'none'}."


def shown(value: object, longest: int = 60) -> str:
    """A value for a message, as TOML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "missing"
    if isinstance(value, Mapping):
        return "a table"
    text = repr(value[: longest + 1] if isinstance(value, str) else value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
