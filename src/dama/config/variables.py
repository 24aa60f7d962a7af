"""Variables in a settings file: `${NAME}` is what the environment has, `${NAME:-text}` or else.

`$${` stands for `${`. Declarations of programs are left as they are: their placeholders are params,
and what they get of the environment they say by `inherit` and `secrets`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from dama.errors import UsageError
from dama.shapes import is_list, is_object

if TYPE_CHECKING:
    from collections.abc import Mapping

LEFT_AS_THEY_ARE = ("programs",)

_VARIABLE = re.compile(r"\$(?P<escape>\$)?\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(:-(?P<else>[^}]*))?\}")


class MissingVariableError(UsageError):
    """A setting names a variable that the environment does not have."""

    code = "MISSING_VARIABLE"


def filled(
    settings: Mapping[str, Any], environ: Mapping[str, str], source: str
) -> Mapping[str, Any]:
    """Settings with the values of the variables in their texts.

    Raises:
        MissingVariableError: The environment has no such variable, and nothing is given for that.
    """

    def fill(value: object, key: str) -> object:
        if isinstance(value, str):
            return _VARIABLE.sub(lambda found: _value(found, environ, f"{source}: {key}"), value)
        if is_object(value):
            return {name: fill(each, f"{key}.{name}") for name, each in value.items()}
        if is_list(value):
            return [fill(each, key) for each in value]
        return value

    return {
        key: value if key in LEFT_AS_THEY_ARE else fill(value, key)
        for key, value in settings.items()
    }


def _value(found: re.Match[str], environ: Mapping[str, str], where: str) -> str:
    if found["escape"]:
        return found[0][1:]
    value = environ.get(found["name"]) or found["else"]
    if value is None:
        raise MissingVariableError(
            f"{where} names the variable {found['name']}, which is not set, or empty.",
            f"Set it, or write ${{{found['name']}:-TEXT}} for what holds without it.",
        )
    return value
