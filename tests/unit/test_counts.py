"""Counts in sentences agree with what is counted."""

import pytest

from dama.counts import number_of


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (number_of(0, "context"), "0 contexts"),
        (number_of(1, "context"), "1 context"),
        (number_of(12_000, "context"), "12,000 contexts"),
        (number_of(1, "run is", "runs are"), "1 run is"),
        (number_of(2, "run is", "runs are"), "2 runs are"),
        (number_of(1, "context", more=True), "1+ contexts"),
    ],
)
def test_a_count_agrees_with_what_is_counted(found: str, said: str) -> None:
    assert found == said
