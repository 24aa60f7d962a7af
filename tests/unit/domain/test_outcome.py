"""Outcomes: how long a failed attempt waits for the next one."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dama.domain.outcome import backoff

ATTEMPTS = st.integers(1, 10_000)
SECONDS = st.floats(0.001, 86_400)
JITTER = st.floats(0, 1)


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 2), (2, 4), (3, 8), (4, 10), (99, 10)])
def test_the_wait_doubles_up_to_the_longest(attempt, seconds):
    """A service that is down for long is asked ever less, but never forgotten."""
    found = backoff(attempt, first=2, longest=10, jitter=1)

    assert found == seconds


@given(ATTEMPTS, SECONDS, SECONDS, JITTER)
def test_jitter_takes_away_at_most_half(attempt, first, longest, jitter):
    """Runs that failed together come back apart, and none at once."""
    full = backoff(attempt, first, longest, 1)

    found = backoff(attempt, first, longest, jitter)

    assert full / 2 <= found <= full <= longest


@given(ATTEMPTS, SECONDS, SECONDS, JITTER)
def test_a_later_attempt_never_waits_less(attempt, first, longest, jitter):
    """With the same jitter: what spreads them must not turn the order."""
    now = backoff(attempt, first, longest, jitter)

    later = backoff(attempt + 1, first, longest, jitter)

    assert now <= later


def test_the_number_of_attempts_has_no_limit():
    """A power of a large attempt would else overflow, and the run die of its own retry."""
    found = backoff(10**9, first=1, longest=math.inf, jitter=1)

    assert math.isfinite(found)
