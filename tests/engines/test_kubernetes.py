"""Kubernetes, what is its own: on a stand-in, with pods that are processes."""

import json
from contextlib import suppress
from pathlib import Path

import pytest

from tests.engines.pods import Pods
from tests.engines.slurm import wait_until

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.parametrize("place", ["kubernetes"], indirect=True),
]


def test_why_a_pod_waits_is_shown_and_the_pod_is_removed_with_its_run(place: Pods) -> None:
    context = place.start("jobs.too_wide")
    wait_until(lambda: "nodes are available" in place.why(context), "the cluster's reason", 60)

    place.dama("cancel", context, check=True)

    assert place.end(context)[0] == "CANCELLED"
    wait_until(lambda: not place.jobs(), "the end of the pod", 60)


def test_a_run_whose_pod_is_evicted_is_placed_again(place: Pods) -> None:
    context = place.begin_steps()
    place.cluster.evict(place.pod_of(context))
    wait_until(lambda: place.kinds(context).count("PLACED") == 2, "another place", 60)
    place.release()

    assert place.end(context) == ("FINAL", 3)
    assert place.steps() == ["0", "1", "1", "2"]  # what was done before is not done again
    (lost,) = [payload for kind, payload in place.events(context) if kind == "UNPLACED"]
    assert "low on resource" in lost["message"]


def test_a_job_that_somebody_deletes_is_an_error_and_not_asked_for_again(place: Pods) -> None:
    """While its pod waits, here for an image of the task's own; and while it runs."""
    waiting = place.start("jobs.elsewhere")
    running = place.begin_steps()
    wait_until(lambda: 'pulling image "nosuch"' in place.why(waiting), "the cluster's reason", 60)
    for context in (waiting, running):
        name = place.pod_of(context).rpartition("-")[0].rpartition("-")[0]
        assert place.cluster.delete_job(name, "Background")

    for context in (waiting, running):
        kind, payload = place.end(context)
        assert (kind, payload["code"]) == ("ERROR", "CANCELLED_THERE"), payload
        assert "somebody has deleted it" in payload["message"]
        assert place.kinds(context).count("PLACED") == 1
    place.release()
    assert place.events(waiting)[1][1]["resources"] == {"image": "nosuch"}


@pytest.mark.case(17)
def test_17_nothing_secret_is_said_to_the_cluster(place: Pods) -> None:
    """The address of the database is in the Secret only; what the template says is in each pod."""
    assert place.end(place.start("jobs.where", "--number", 2))[0] == "FINAL"
    created = [json.loads(body) for body in place.cluster.bodies]
    url = place.dama.environ["DAMA_DATABASE_URL"].rpartition("/")[2].partition("?")[0]
    assert created
    assert not any(url.encode() in body for body in place.cluster.bodies)
    lines: list[bytes] = []
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            if b"perform" in (line := (entry / "cmdline").read_bytes()):
                lines.append(line)
    assert not any(url.encode() in line for line in lines)
    for body in created:
        pod = body["spec"]["template"]
        (container,) = pod["spec"]["containers"]
        assert pod["metadata"]["annotations"] == {"team": "lab7"}
        assert pod["spec"]["nodeSelector"] == {"disk": "fast"}
        assert {"name": "COLOUR", "value": "blue"} in container["env"]
        assert container["envFrom"] == [{"secretRef": {"name": "dama"}}]
