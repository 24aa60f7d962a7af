"""The short form of `make chaos`."""

import pytest

from tests.acceptance.chaos import Chaos, fizzbuzz


@pytest.mark.timeout(120)
def test_a_tree_survives_killed_workers_and_a_killed_server(tmp_path):
    """1,000 subtasks; a worker is killed every second, PostgreSQL in the middle."""
    chaos = Chaos(tmp_path, numbers=1000, workers=2, seed=1)
    try:
        found = chaos.run(seconds=100)
    finally:
        chaos.stop()

    assert found == fizzbuzz(1000)
    assert chaos.kills >= 3
