"""Who does it, and why: for the meta of the events that come of it."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def person(reason: str | None = None) -> dict[str, Any]:
    """The user of this process."""
    return because({"user": getpass.getuser()}, reason)


def because(by: Mapping[str, Any], reason: str | None) -> dict[str, Any]:
    """Who does it, with the reason if there is one."""
    return {**by, "reason": reason} if reason else dict(by)


def name_of(by: Mapping[str, Any]) -> str | None:
    """What to call somebody in a listing: the user, else the token, else what a node says."""
    names = (by.get(key) for key in ("user", "token", "user_as_said", "node"))
    return next((name for name in names if isinstance(name, str)), None)
