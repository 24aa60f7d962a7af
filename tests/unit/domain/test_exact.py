"""Numbers of JSON that somebody sends: read with all their digits, or refused at once."""

import time

import pytest

from dama.domain.errors import InvalidJsonError
from dama.domain.exact import decode


@pytest.mark.parametrize(
    "number",
    ["1e400", "-1e400", "1e" + "9" * 30, "1e-" + "9" * 30, "1.5E+" + "9" * 9000, "0." + "9" * 5000],
    ids=lambda number: number[:8],
)
def test_a_number_that_nobody_can_keep_is_refused_and_is_no_error_of_ours(number):
    """Whatever its exponent, and however many digits it has."""
    with pytest.raises(InvalidJsonError):
        decode(f'{{"a": [{number}]}}')


def test_a_number_of_a_million_digits_takes_no_time():
    """Comparing it with a double would take longer than anything else of its request."""
    begun = time.process_time()
    with pytest.raises(InvalidJsonError, match="digits"):
        decode("0." + "9" * 1_000_000)
    assert time.process_time() - begun < 1.0
