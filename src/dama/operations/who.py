"""Who does it."""

from __future__ import annotations

import getpass
from typing import Any


def person() -> dict[str, Any]:
    """The user of this process, who does it: for the meta of events."""
    return {"user": getpass.getuser()}
