"""Pace: what a replay has done since something last came to its turn, and when that is too much."""

from __future__ import annotations

from dama import clock

MOST = 300  # times in a row: what is set, or given up, again and again leads nowhere
LONGEST = 600.0  # seconds


class Pace:
    """What was done since something last came to its turn.

    Attributes:
        passed: How often time was let pass.
        given_up: How often what waited for its turn was cancelled.
    """

    def __init__(self) -> None:
        self.passed = 0
        self.given_up = 0
        self._began = clock.monotonic()

    @property
    def may_pass(self) -> bool:
        """Whether more time may be let pass."""
        return self.passed < MOST

    @property
    def goes_round(self) -> bool:
        """Whether the code gives up and asks again and again, and will not come to what is next."""
        return self.given_up > MOST and clock.monotonic() - self._began > LONGEST
