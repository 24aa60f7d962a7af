"""Who does it, and why: for the meta of the events that come of it."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dama.shapes import Json


def person(reason: str | None = None) -> dict[str, Any]:
    """The user of this process."""
    return because({"user": getpass.getuser()}, reason)


def because(by: Mapping[str, Json], reason: str | None) -> dict[str, Any]:
    """Who does it, with the reason if there is one."""
    return {**by, "reason": reason} if reason else dict(by)
