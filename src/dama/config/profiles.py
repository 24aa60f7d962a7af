"""Profiles: parts of a settings file that hold where they are chosen, over all the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dama.errors import UsageError
from dama.shapes import is_list, is_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VARIABLE = "DAMA_PROFILE"


class UnknownProfileError(UsageError):
    """A profile was chosen that the settings file does not have."""

    code = "UNKNOWN_PROFILE"


def profiled(settings: Mapping[str, Any], chosen: str | None, path: Path | str) -> dict[str, Any]:
    """Settings with those of the chosen profile over them; tables are laid over tables.

    Raises:
        UnknownProfileError: There is no such profile; those that are there are named.
    """
    profiles: Mapping[str, Any] = settings.get("profiles", {})
    base = {key: value for key, value in settings.items() if key != "profiles"}
    if not chosen:
        return base
    if chosen not in profiles:
        known = ", ".join(profiles) or "none"
        raise UnknownProfileError(
            f"{path or 'The project'} has no profile {chosen!r}; it has {known}.",
            f"Write [profiles.{chosen}] with what is different there, or choose another by "
            f"--profile or {VARIABLE}.",
        )
    return _laid(base, profiles[chosen])


def _laid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    laid = dict(below)
    for key, value in above.items():
        under = laid.get(key)
        laid[key] = _laid(under, value) if is_object(value) and is_object(under) else value
    return laid


def is_protected(said: object, *environments: str | None) -> bool:
    """Whether commands ask before they change what is in an environment.

    Args:
        said: The setting: true or false, or the names of those where they do.
        environments: The names that were chosen, if any.
    """
    return any(name in said for name in environments) if is_list(said) else bool(said)
