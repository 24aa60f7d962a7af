"""The short forms of `make chaos`."""

import pytest

from tests.acceptance.killed_tree import KilledTree, fizzbuzz


@pytest.mark.timeout(120)
def test_a_tree_survives_killed_workers_and_a_killed_server(tmp_path):
    """1,000 subtasks; a worker is killed every second, PostgreSQL in the middle."""
    tree = KilledTree(tmp_path, numbers=1000, workers=2, seed=1)
    try:
        found = tree.run(seconds=100)
    finally:
        tree.stop()

    assert found == fizzbuzz(1000)
    assert tree.kills >= 3
