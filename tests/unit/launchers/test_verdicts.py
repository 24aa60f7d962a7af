"""What the end of a job means for its run."""

import pytest

from dama.launchers.launcher import Sighting
from dama.launchers.verdicts import verdict
from dama.store.placements import Placement


@pytest.mark.parametrize(
    ("run", "node", "how", "code"),
    [
        ("placed", "", {}, "CANCELLED_THERE"),  # by somebody, while it was pending
        ("placed", "n1", {"signal": 15}, "CANCELLED_THERE"),  # before its worker had come so far
        ("placed", "n1", {"exit_code": 1}, "CANCELLED_THERE"),
        ("running", "n1", {"exit_code": 0}, "CANCELLED_THERE"),
        ("retrying", "n1", {"exit_code": 0}, "CANCELLED_THERE"),  # its worker has handed it back
        ("placed", "n1", {"exit_code": 0}, "PLACE_LOST"),  # by the node, which did not begin it
    ],
)
def test_a_job_that_an_engine_gave_up_was_cancelled_by_nobody(
    run: str, node: str, how: dict[str, int], code: str
) -> None:
    """It is placed again; what somebody cancelled is not."""
    placement = Placement(1, 1, "dama-1-1", 0, "fit", "7", None, None, None, 1, 9.0, run, None)
    seen = Sighting("ended", "7", "CANCELLED", node, "cancelled", **how)

    judged = verdict(placement, seen, "there", "")

    assert (judged.facts["code"], judged.failed) == (code, code == "CANCELLED_THERE")
