"""The doctor: what is well, what is not, and what to do."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from dama.store.health import HealthRow
from dama.upkeep.doctor import Facts, examine

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WELL = Facts(
    health=HealthRow(
        server_version="18.0",
        fsync=True,
        synchronous_commit="on",
        autovacuum=True,
        now=NOW,
        migration="0001_x",
        log_position=7,
        oldest_transaction=None,
        prepared=[],
        idle_slots=[],
        bloated=[],
        lapsed_workers=[],
        troubled_workers=[],
        unclaimed=[],
        passed_over=[],
        failed_schedules=[],
        full_sequences=[],
        client_check="1s",
    ),
    log_position=9,
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
    findings = examine(sick(kill_modes=[("dama-worker.service", "process")]))

    assert {(finding.level, finding.advice) for finding in findings} == {("ok", "")}
    assert all(finding.found for finding in findings)


@pytest.mark.parametrize(
    ("changes", "name", "level", "found", "advice"),
    [
        ({"home": "/h", "home_mode": 0o755}, "home", "warn", "mode 755", "chmod 700 /h"),
        ({"is_own_home": False}, "home", "warn", "another user", "as the user"),
        ({"client_check": "0"}, "abandoned", "warn", "interval 0", "to 1s"),
        ({"client_check": None}, "abandoned", "warn", "cannot look", "14 or newer"),
        ({"fsync": False}, "durability", "fail", "fsync off", "set both on"),
        ({"synchronous_commit": "off"}, "durability", "fail", "commit off", "set both on"),
        ({"autovacuum": False}, "autovacuum", "fail", "off", "Set it on"),
        ({"now": NOW - timedelta(seconds=9)}, "clock", "warn", "9.0 s", "Leases"),
        (
            {"oldest_transaction": {"pid": 7, "application": "psql", "state": "idle in transaction",
                                    "writes": False, "seconds": 7200.0}},
            "transactions", "warn", "psql (pid 7, idle in transaction) has had one open for 120",
            "pg_terminate_backend(7)",
        ),
        (
            {"oldest_transaction": {"pid": 7, "application": "", "state": "active",
                                    "writes": True, "seconds": 7200.0}},
            "transactions", "warn", "a client (pid 7, active)",
            "its events reach the log when it commits",
        ),
        (
            {"prepared": [{"gid": "two", "seconds": 7200.0}]},
            "prepared", "warn", "'two' was prepared 120 min ago", "ROLLBACK PREPARED 'two'",
        ),
        (
            {"troubled_workers": [{"worker": "h:7", "trouble": "claiming runs: DataError: x"}]},
            "worker", "fail", "h:7 cannot do a part of its work: claiming runs: DataError: x",
            "ends when that continues",
        ),
        (
            {"idle_slots": ["standby"]},
            "slot", "warn", "nobody reads the replication slot standby",
            "pg_drop_replication_slot('standby')",
        ),
        (
            {"bloated": [{"table": "run_queue", "live": 1, "dead": 99999, "vacuumed": None}]},
            "bloat", "warn", "run_queue (99999 dead, 1 live, never vacuumed)", "Autovacuum",
        ),
        (
            {"bloated": [{"table": "worker", "live": 1, "dead": 99999, "vacuumed": 600.0}]},
            "bloat", "warn", "vacuumed 10 min ago", "Autovacuum",
        ),
        ({"free_disk": 2**30}, "disk", "fail", "1.0 GiB free", "Make room"),
        ({"adrift": [(42, "unsupervised")]}, "program", "warn", "42 is unsu", "dama logs 42"),
        (
            {"kill_modes": [("dama-worker.service", "control-group")]},
            "systemd",
            "warn",
            "KillMode=control-group",
            "KillMode=process",
        ),
        ({"lapsed_workers": ["a:1"]}, "workers", "warn", "a:1", "takes its runs over"),
        (
            {"unclaimed": [{"queue": "etl", "labels": ["gpu"], "runs": 2,
                            "seconds": 300.0}]},
            "queue", "warn", "2 runs wait in etl with the labels gpu, since 5 min",
            "dama worker --queue etl --label gpu",
        ),
        (
            {"unclaimed": [{"queue": "etl", "labels": ["commands:0a1b", "gpu"], "runs": 2,
                            "seconds": 300.0}]},
            "queue", "warn", "2 runs wait in etl with the labels commands:0a1b, gpu",
            "dama worker --queue etl --label gpu, as the user who started them",
        ),
        (
            {"passed_over": [{"task": "a.b", "queue": "etl", "runs": 2, "seconds": 300.0}]},
            "task", "warn", "2 runs of a.b wait in etl since 5 min", "dama services",
        ),
        ({"full_sequences": [{"sequence": "s", "used": 0.81}]}, "ids", "warn", "81.0%", "bigint"),
        ({"failed_schedules": ["nightly"]}, "schedule", "fail", "nightly", "schedule show nightly"),
        ({"hints": False}, "hints", "warn", "does not arrive", "once a second"),
        ({"behind": [("mailer", 5000)]}, "subscription", "warn", "mailer is 5,000", "program run"),
        ({"parked": 2}, "parked", "fail", "2 contexts", "dama log status"),
        ({"parked": 10_000}, "parked", "fail", "10,000+ contexts", "dama log status"),
    ],
)  # fmt: skip
def test_what_is_not_well_says_what_to_do(changes, name, level, found, advice):
    """And nothing else is blamed."""
    (finding,) = [finding for finding in examine(sick(**changes)) if finding.level != "ok"]

    assert (finding.name, finding.level) == (name, level)
    assert found in finding.found
    assert advice in finding.advice


@pytest.mark.parametrize(
    "changes",
    [
        {"passed_over": [{"task": "a.b", "queue": "etl", "runs": 2, "seconds": 3.0}]},
        {"prepared": [{"gid": "two", "seconds": 3.0}]},
    ],
)
def test_what_has_only_begun_is_no_trouble(changes):
    """A worker claims within a second, and a second phase follows the first."""
    assert {finding.level for finding in examine(sick(**changes))} == {"ok"}
