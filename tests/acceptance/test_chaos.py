"""The short forms of `make chaos`."""

import pytest

from tests.acceptance.chaos import OPEN_WAVES, Chaos
from tests.acceptance.killed_tree import KilledTree, fizzbuzz


@pytest.mark.timeout(300)
def test_a_tree_survives_killed_workers_and_a_killed_server(tmp_path, forked):
    """600 subtasks; a worker is killed whenever some are done, PostgreSQL once."""
    tree = KilledTree(tmp_path, forked, numbers=600, workers=2, seed=1)
    try:
        found = tree.run(seconds=280)
    finally:
        tree.stop()

    assert found == fizzbuzz(600)
    assert tree.kills >= 3


@pytest.mark.timeout(300)
def test_nothing_is_stuck_doubled_or_lost(tmp_path):
    """Tasks, isolated runs and programs; outages, cancelled statements, workers that die."""
    chaos = Chaos(tmp_path, seed=1, outages=(1, 4))
    try:
        account = chaos.run(seconds=20)
    finally:
        chaos.stop()

    assert not account.faults, "\n".join(account.lines)
    assert account.counts["waves"] >= OPEN_WAVES
