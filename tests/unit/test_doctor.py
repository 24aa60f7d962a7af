"""The doctor: what is well, what is not, and what to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dama.runtime.doctor import Facts, examine
from dama.store.health import HealthRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WELL = Facts(
    health=HealthRow(
        server_version="18.0",
        fsync=True,
        synchronous_commit="on",
        autovacuum=True,
        now=NOW,
        oldest_transaction=None,
        bloated=[],
        lapsed_workers=[],
        unclaimed=[],
        failed_schedules=[],
    ),
    now=NOW,
    free_disk=2**40,
    hints=True,
    behind=[("mailer", 3)],
    parked=0,
)


def sick(**changes):
    """The facts with something wrong."""
    health = {name: value for name, value in changes.items() if hasattr(WELL.health, name)}
    others = {name: value for name, value in changes.items() if name not in health}
    return replace(WELL, health=replace(WELL.health, **health), **others)


def test_what_is_well_needs_no_advice():
    """Every finding says what was found, and nothing is to be done."""
    findings = examine(WELL)

    assert {(finding.level, finding.advice) for finding in findings} == {("ok", "")}
    assert all(finding.found for finding in findings)


@pytest.mark.parametrize(
    ("changes", "name", "level", "found", "advice"),
    [
        ({"fsync": False}, "durability", "fail", "fsync off", "set both on"),
        ({"synchronous_commit": "off"}, "durability", "fail", "commit off", "set both on"),
        ({"autovacuum": False}, "autovacuum", "fail", "off", "Set it on"),
        ({"now": NOW - timedelta(seconds=9)}, "clock", "warn", "9.0 s", "Leases"),
        (
            {"oldest_transaction": {"pid": 7, "application": "psql", "state": "idle in transaction",
                                    "seconds": 7200.0}},
            "transactions", "warn", "psql (pid 7, idle in transaction) has had one open for 120",
            "pg_terminate_backend(7)",
        ),
        (
            {"bloated": [{"table": "run_queue", "live": 1, "dead": 99999}]},
            "bloat", "warn", "run_queue (99999 dead, 1 live)", "Autovacuum",
        ),
        ({"free_disk": 2**30}, "disk", "fail", "1.0 GiB free", "Make room"),
        ({"lapsed_workers": ["a:1"]}, "workers", "warn", "a:1", "takes its runs over"),
        (
            {"unclaimed": [{"queue": "etl", "labels": ["gpu"], "runs": 2}]},
            "queue", "warn", "2 runs wait in etl with the labels gpu",
            "dama worker --queue etl --label gpu",
        ),
        ({"failed_schedules": ["nightly"]}, "schedule", "fail", "nightly", "schedule show nightly"),
        ({"hints": False}, "hints", "warn", "does not arrive", "once a second"),
        ({"behind": [("mailer", 5000)]}, "subscription", "warn", "mailer is 5000", "program run"),
        ({"parked": 2}, "parked", "fail", "2 contexts", "dama log status"),
    ],
)  # fmt: skip
def test_what_is_not_well_says_what_to_do(changes, name, level, found, advice):
    """And nothing else is blamed."""
    (finding,) = [finding for finding in examine(sick(**changes)) if finding.level != "ok"]

    assert (finding.name, finding.level) == (name, level)
    assert found in finding.found
    assert advice in finding.advice
