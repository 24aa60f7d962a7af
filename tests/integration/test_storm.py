"""The storm, for some seconds: all verbs at once, and strangers who hold locks."""

from tests.integration.storm import Storm


def test_all_verbs_at_once_leave_nothing_wrong(database_url):
    """No deadlock, no run without an owner, and nobody waits for a stranger; see `make storm`."""
    storm = Storm(database_url, seed=1, longest=2.5)

    faults = storm.run(8, workers=2, clients=2, strangers=2)

    assert faults == []
    assert storm.counts["claim_runs"] > 0
    assert storm.counts["held by strangers"] > 0
