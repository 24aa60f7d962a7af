"""The short form of `make soak`."""

import pytest

from tests.acceptance.program_soak import Soak


@pytest.mark.timeout(300)
def test_programs_of_all_kinds_are_right_whoever_of_their_supervisors_is_killed(tmp_path):
    """Every exit code, line and event, and no process, descriptor, zombie or folder left."""
    soak = Soak(tmp_path, seed=1, programs=20)
    try:
        soak.soak()
    finally:
        soak.stop()

    assert soak.faults == []
    assert sum(soak.done.values()) > 0
