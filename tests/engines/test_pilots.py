"""Pilots on a real Slurm: jobs that are workers."""

import json
import time
from pathlib import Path

import pytest

from tests.acceptance.command import Command
from tests.engines.slurm import Slurm, wait_until

pytestmark = pytest.mark.timeout(300)  # a busy machine starts a cluster and jobs slowly


def submitted(dama: Command, slurm: Slurm, *options: str) -> str:
    """A pilot, submitted as the page of help says."""
    script = dama("pilot", "slurm", "--cpus", "1", *options, check=True).stdout
    (job,) = slurm("sbatch", "--parsable", text=script).splitlines()
    return job


def states(slurm: Slurm, job: str) -> list[str]:
    return slurm("squeue", "--noheader", "--job", job, "--format", "%T", "-r").split()


def test_pilots_execute_what_asks_for_their_label(dama: Command, slurm: Slurm) -> None:
    """A map whose subtasks ask for the label is executed there."""
    context = json.loads(dama("run", "work.all_of", "--count", "6", "--enqueue", "--json").stdout)
    job = submitted(dama, slurm, "--count", "2", "--idle-for", "5m", "--slots", "2")

    done = dama("resume", context["context_id"], "--json")

    assert set(json.loads(done.stdout)["result"]) <= {"n1", "n2"}, done.stderr
    slurm("scancel", job)


def test_a_pilot_leaves_what_does_not_fit_into_its_time(dama: Command, slurm: Slurm) -> None:
    """Two hours do not fit into a job of half an hour; what has no timeout does."""
    long = json.loads(dama("run", "work.long", "--enqueue", "--json").stdout)["context_id"]
    short = json.loads(dama("run", "work.where", "--enqueue", "--json").stdout)["context_id"]
    job = submitted(dama, slurm, "--time", "30m", "--idle-for", "2s")

    wait_until(lambda: not slurm("squeue", "-h", "-j", job, "-t", "PD,R"), "the end of the pilot")

    assert json.loads(dama("show", short, "--json").stdout)["status"] == "DONE"
    assert json.loads(dama("show", long, "--json").stdout)["status"] == "OPEN"


def test_another_pilot_takes_over_when_a_node_dies(
    dama: Command, slurm: Slurm, tmp_path: Path
) -> None:
    """Within seconds, by the lease, while Slurm still believes that the job runs."""
    context = json.loads(
        dama("run", "work.steps", "--folder", tmp_path, "--enqueue", "--json").stdout
    )["context_id"]
    submitted(dama, slurm, "--count", "2", "--idle-for", "5m", "--slots", "1",
              "--option=--exclusive")  # fmt: skip
    log = tmp_path / "done"
    wait_until(lambda: log.exists() and len(log.read_text().split()) > 2, "some steps")
    dead = log.read_text().split()[-1]
    workers = lambda: json.loads(dama("workers", "--json").stdout)  # noqa: E731
    wait_until(lambda: len(workers()) == 2, "both pilots")

    slurm.kill_node(dead)
    killed_at = time.monotonic()
    try:
        wait_until(lambda: set(log.read_text().split()) == {"n1", "n2"}, "the other node")
        taken_over = time.monotonic() - killed_at
        wait_until(
            lambda: json.loads(dama("show", context, "--json").stdout)["status"] == "DONE", "DONE"
        )
    finally:
        slurm("scancel", "--name", "dama-pilot")
        slurm.start_daemon(dead)

    assert len(log.read_text().split()) <= 21  # at most the one that was cut off came twice
    assert taken_over < 60


def test_run_leaves_subtasks_to_those_who_offer_their_labels(dama: Command) -> None:
    """Without anybody it says so; with --here it executes them itself."""
    here = dama("run", "work.all_of", "--count", "2", "--here", "--json")

    assert json.loads(here.stdout)["result"] == ["here", "here"]


def test_a_pilot_is_refused_for_a_database_of_this_machine(dama: Command) -> None:
    """The nodes of a cluster cannot reach it."""
    refused = dama("pilot", "slurm", DAMA_DATABASE_URL="")

    assert refused.returncode == 2
    assert "DAMA_DATABASE_URL=postgresql://host/database" in refused.stderr


def test_a_pilot_of_kubernetes_is_a_job_that_is_not_started_again(dama: Command) -> None:
    """Kubernetes has no second pod of it, and the worker knows its time."""
    printed = dama("pilot", "kubernetes", "--image", "etl:1", "--time", "1h", "--count", "3").stdout

    for line in ("backoffLimit: 0", "restartPolicy: Never", "parallelism: 3", '"3600s"]'):
        assert line in printed
