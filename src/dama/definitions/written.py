"""What an author wrote for a task, an action or a step, read option by option.

Every error names what it belongs to, the option, what was found and what is expected; it is raised
where the decorator stands, so that its traceback ends in the author's line.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NoReturn, cast

from dama.config.duration import optional_duration, parse_duration
from dama.config.table import nearest
from dama.errors import InvalidDefinitionError
from dama.shapes import is_collection, is_name, is_object, is_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Exceptions = tuple[type[BaseException], ...]

MOST = 2**31 - 1  # as columns of the database hold it


class Written:
    """The options that somebody wrote.

    Args:
        where: What they are options of, for errors: `flights.load`.
        values: As they were written.
        known: The options that there are.
    """

    def __init__(self, where: str, values: Mapping[str, Any], known: Iterable[str]) -> None:
        self.where = where
        self._values = values
        known = list(known)
        for name in values:
            if name not in known:
                raise InvalidDefinitionError(
                    f"{where} has no option {name!r}.", nearest(name, known, verb="It may have")
                )

    def wrong(self, name: str, wanted: str, hint: str | None = None) -> NoReturn:
        """Refuse the value of an option.

        Raises:
            InvalidDefinitionError: Always.
        """
        raise InvalidDefinitionError(
            f"{self.where}: {name} is {self._values.get(name)!r}: expected {wanted}.", hint
        )

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an option as it was written."""
        return self._values.get(name, default)

    def number(self, name: str, default: Any, least: int = 0) -> Any:
        """A whole number within limits; None only where that is the default."""
        value = self.get(name, default)
        if value is None and default is None:
            return None
        if not is_whole(value) or not least <= value <= MOST:
            self.wrong(name, f"a whole number, at least {least}")
        return value

    def text(self, name: str, default: str | None) -> Any:
        """A string that is not blank; None only where that is the default."""
        value = self.get(name, default)
        if value is None and default is None:
            return None
        return value if is_name(value) else self.wrong(name, "a string that is not empty")

    def choice(self, name: str, choices: Sequence[str], default: str | None = None) -> Any:
        """One of several strings; None only where that is the default."""
        value = self.get(name, default)
        if value in choices or (value is None and default is None):
            return value
        may = ", ".join(map(repr, choices))
        return self.wrong(name, f"one of {may}" if len(choices) > 1 else f"{may}, or nothing")

    def duration(self, name: str, default: float) -> float:
        """A time, in seconds."""
        return parse_duration(self.get(name, default), of=f"{self.where}: {name}")

    def optional_duration(self, name: str) -> float | None:
        """A time, in seconds; None for none."""
        return optional_duration(self.get(name), of=f"{self.where}: {name}")

    def limit(self, name: str) -> float | None:
        """A time after which something is stopped, in seconds; None for no limit."""
        seconds = self.optional_duration(name)
        if seconds == 0:
            raise InvalidDefinitionError(
                f"{self.where}: a {name} of 0 would stop it at once.", "Leave it out for no limit."
            )
        return seconds

    def strings(self, name: str) -> tuple[str, ...]:
        """Several strings; one alone is refused, since it is a collection of letters."""
        return strings_of(f"{self.where}: {name}", self.get(name, ()))

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Values by their names."""
        value = self.get(name, {})
        return value if is_object(value) else self.wrong(name, "a mapping")

    def errors(self, name: str, default: Exceptions) -> Exceptions:
        """One class of exceptions or several, as several."""
        value = self.get(name, default)
        kinds = tuple(value) if is_collection(value) else (value,)
        for kind in kinds:
            if not (inspect.isclass(kind) and issubclass(kind, BaseException)):
                self.wrong(name, "a class of exceptions such as OSError, or a tuple of classes")
        return kinds


def strings_of(where: str, value: object) -> tuple[str, ...]:
    """Several strings.

    Args:
        where: What they are, for the error.
        value: Any collection of strings but a string.

    Raises:
        InvalidDefinitionError: It is a string, or holds something else.
    """
    if isinstance(value, str):
        raise InvalidDefinitionError(
            f"{where} is the string {value!r}: expected several.", f"Write [{value!r}]."
        )
    is_several = isinstance(value, Collection) and not isinstance(value, Mapping)
    items = tuple(cast("Collection[object]", value)) if is_several else ()
    names = tuple(item for item in items if is_name(item))
    if not is_several or len(names) != len(items):
        raise InvalidDefinitionError(
            f"{where} is {value!r}: expected strings, as in ['one', 'two']."
        )
    return names


def chosen_name(what: str, name: object, own: str) -> str:
    """The name that an author gave, or that of the function.

    Raises:
        InvalidDefinitionError: It is not a string, or empty.
    """
    if name is None:
        return own
    if not is_name(name):
        raise InvalidDefinitionError(
            f"{what}: name is {name!r}: expected a string that is not empty.",
            "Leave it out for the name of the function.",
        )
    return name
