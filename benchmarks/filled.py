"""A store that is full, made by SQL in seconds: what reads meet after years.

Closed contexts with three events each, the first of which failed; then one context with a long
history, one tree with many children, and what is queued.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import psycopg

FILL = Path(__file__).with_suffix(".sql")


@dataclass(frozen=True)
class Filled:
    """How much there is.

    Attributes:
        closed: Contexts that have ended; the oldest 5 of old.rare, the oldest 50 failed.
        history: Events of the context `long`.
        children: Of the context `root`; the last three failed.
        queued: Contexts behind those, which are queued, wait or are to be tried again.
    """

    closed: int
    history: int = 100_000
    children: int = 10_000
    queued: int = 100_000

    @property
    def long(self) -> int:
        """The context with the long history."""
        return self.closed + 1

    @property
    def root(self) -> int:
        """The root of the tree; the children follow it."""
        return self.closed + 2

    @property
    def newest(self) -> int:
        """The newest context."""
        return self.root + self.children + self.queued

    @property
    def positions(self) -> int:
        """How long the log is."""
        return 3 * self.closed + self.history + self.children + 1 + self.queued

    def fill(self, url: str) -> None:
        """Write all of it into an empty schema, as a superuser."""
        values = {
            **asdict(self),
            "long": self.long,
            "root": self.root,
            "queue": self.root + self.children,
            "next": 3 * self.closed + 1,
        }
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(FILL.read_text().format(**values))
            connection.execute("VACUUM ANALYZE")
