"""The secrets of the worker itself, which no run may tell."""

from __future__ import annotations

import os

from dama.domain.secrets import Secrets, passwords_in


def secrets_of_worker(conninfo: str) -> Secrets:
    """What no error may tell of the worker itself."""
    found = [os.environ.get("PGPASSWORD", ""), *passwords_in(conninfo)]
    return Secrets(value for value in found if value)
