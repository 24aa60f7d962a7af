"""Patience: how long an outage of the database is waited for by what a person looks at."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from dama.store.database import short_patience

if TYPE_CHECKING:
    from collections.abc import Generator

SECONDS = 5.0


@contextmanager
def brief() -> Generator[None]:
    """Within it an outage becomes an error after seconds instead of a minute."""
    token = short_patience.set(SECONDS)
    try:
        yield
    finally:
        short_patience.reset(token)
