"""The stand-in answers as a real control plane did, and what that answered is understood."""

import copy
import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from dama.launchers.kubernetes.answers import JobList, KubeJob, PodList
from dama.launchers.kubernetes.sightings import sightings
from dama.launchers.launcher import Key
from tests.engines.kubernetes import Cluster

RECORDED = [
    json.loads(line)
    for line in (Path(__file__).parent / "kubernetes-1.36.ndjson").read_text().splitlines()
]
ANSWERS = {each["what"]: each["response"]["body"] for each in RECORDED}
# What does not depend on pods that have run.
REPLAYED = [
    "list, empty selector result",
    "create",
    "create again",
    "unknown field, strict",
    "unknown field, not strict",
    "bad name",
    "bad label",
    "delete, background",
    "delete again",
    "get a missing one",
]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("pods"), {})
    cluster.start_api()  # and no controllers
    yield cluster
    cluster.close()


def test_the_same_requests_have_the_same_answers(cluster):
    """In the order of the recording: status, warning, kind, reason, and how the message begins."""
    template = copy.deepcopy(next(each for each in RECORDED if each["what"] == "create"))
    with httpx.Client(base_url=cluster.server) as client:
        # The job that is deleted was created outside of the recording.
        template["request"]["body"]["metadata"]["name"] = "dama-rec-4-1"
        client.post(template["request"]["path"], json=template["request"]["body"])
        for each in RECORDED:
            if each["what"] not in REPLAYED:
                continue
            request, recorded = each["request"], each["response"]
            answer = client.request(request["method"], request["path"], json=request["body"])
            body = answer.json()
            assert answer.status_code == recorded["status"], each["what"]
            assert answer.headers.get("warning") == recorded["warning"], each["what"]
            for key in ("kind", "reason", "code", "status"):
                if isinstance(recorded["body"].get(key), (str, int)):
                    assert body.get(key) == recorded["body"][key], (each["what"], key)
            said = body.get("message", "")
            assert recorded["body"].get("message", "")[: len(said)] == said, each["what"]
            assert _shape(body) <= _shape(recorded["body"]), each["what"]


@pytest.mark.parametrize(
    ("job", "pods", "seen"),
    [
        ("failed job", "its pods", ("ended", "Error", "node1", "exit", 3)),
        ("complete job", None, ("ended", "Completed", "", "exit", 0)),
        ("unschedulable: the job", None, ("pending", "no pod yet", "", "exit", None)),
        (
            "unschedulable: the job",
            "unschedulable: its pods",
            (
                "pending",
                "Unschedulable: 0/2 nodes are available: 2",
                "",
                "exit",
                None,
            ),
        ),
        (
            None,
            "image: its pods",
            ("pending", 'ImagePullBackOff: Back-off pulling image "nosuch"', "node1", "exit", None),
        ),
        (
            "deadline",
            "deadline: its pods are gone",
            ("ended", "Job was active longer than specified deadline", "", "time", None),
        ),
    ],
)
def test_what_a_control_plane_said_is_understood(job, pods, seen):
    jobs = [] if job is None else [_job(ANSWERS[job])]
    listed = msgspec.convert(ANSWERS[pods] if pods else {"items": None}, PodList).items or []
    for pod in listed:  # the recorded jobs had one part each, and no index
        pod.metadata.annotations["batch.kubernetes.io/job-completion-index"] = "0"
    ((key, found),) = sightings(jobs, listed).items()

    state, reason, node, why, exit_code = seen
    assert key.element == 0
    assert found.reason.startswith(reason)
    assert (found.state, found.node, found.why, found.exit_code) == (state, node, why, exit_code)


def test_each_part_of_a_job_has_an_end_of_its_own():
    job = _job(ANSWERS["indexed, backoffLimitPerIndex 0 alone"], "0-2")
    found = sightings([job], [])

    assert [found[Key("dama-rec-8-1", n)].exit_code for n in range(3)] == [0, None, 0]
    assert {each.state for each in found.values()} == {"ended"}


def test_lists_are_read_as_they_come():
    assert msgspec.convert(ANSWERS["list, empty selector result"], JobList).items == []


def _job(body: dict[str, Any], elements: str = "0") -> KubeJob:
    job = msgspec.convert(body, KubeJob)
    job.metadata.annotations["dama.dev/elements"] = elements
    if job.status.conditions and job.status.conditions[-1].type == "Complete":
        job.status.completed_indexes = "0"  # what an indexed one says besides
    return job


def _shape(value: Any, path: str = "") -> set[str]:
    """The keys of an answer, those within others too."""
    if isinstance(value, dict):
        inner = [_shape(each, f"{path}.{key}") for key, each in value.items()]
        return {path}.union(*inner)
    return {path}
