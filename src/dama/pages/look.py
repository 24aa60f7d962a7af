"""Looks: how a person wants the pages, kept in cookies of the browser."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING
from urllib.parse import unquote
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

THEMES = ("auto", "light", "dark")
DENSITIES = ("normal", "compact")
SWITCHES = ("on", "off")
KEPT_SECONDS = 365 * 24 * 3600


@dataclass(frozen=True)
class Look:
    """How the pages look.

    Attributes:
        theme: auto follows the system.
        density: How high rows are.
        keys: Whether single keys act.
        zone: The name of the time zone of all times.
    """

    theme: str = "auto"
    density: str = "normal"
    keys: str = "on"
    zone: str = "UTC"

    @property
    def tzinfo(self) -> tzinfo:
        """The zone itself."""
        return UTC if self.zone == "UTC" else ZoneInfo(self.zone)


def read_look(values: Mapping[str, str], prefix: str = "") -> Look:
    """The look that cookies or a form ask for; what is not one of the choices is as by default."""

    def chosen(name: str, choices: tuple[str, ...]) -> str:
        value = values.get(f"{prefix}{name}", "")
        return value if value in choices else choices[0]

    zone = unquote(values.get(f"{prefix}zone", "UTC"))
    return Look(
        theme=chosen("theme", THEMES),
        density=chosen("density", DENSITIES),
        keys=chosen("keys", SWITCHES),
        zone=zone if is_zone(zone) else "UTC",
    )


def is_zone(name: str) -> bool:
    """Whether there is a time zone of this name."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # it is not the name of one, a folder, or not there
        return False
    return True
