"""What jobs and pods of a cluster say of the runs in them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from dama.launchers.kubernetes.manifest import CONTAINER, ELEMENTS
from dama.launchers.launcher import DELETED, Key, Sighting, Why
from dama.launchers.ranges import numbers_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from dama.launchers.kubernetes.answers import Condition, KubeJob, KubePod

INDEX = "batch.kubernetes.io/job-completion-index"
JOB = "batch.kubernetes.io/job-name"
LOST = re.compile("Evicted|NodeLost|NodeShutdown|Terminated|Shutdown|UnexpectedAdmissionError")
FIRST_SIGNAL = 128  # a shell's way to tell an end by a signal


def sightings(jobs: Iterable[KubeJob], pods: Iterable[KubePod]) -> Mapping[Key, Sighting]:
    """What is known of each run.

    Args:
        jobs: All of this database.
        pods: All of theirs, listed after the jobs.
    """
    found: dict[Key, Sighting] = {}
    standing: set[str] = set()
    for job in jobs:
        found.update(_of_job(job))
        if job.metadata.deletion_timestamp is None:
            standing.add(job.metadata.name)
    # Also of jobs that are gone: a pod may outlive its job.
    for key, pod in newest_pods(pods).items():
        is_leaving = key.name not in standing and pod.metadata.deletion_timestamp is not None
        found[key] = _deleted(key) if is_leaving and not _is_over(pod) else _of_pod(key, pod)
    return found


def newest_pods(pods: Iterable[KubePod]) -> Mapping[Key, KubePod]:
    """The pod of each run; of two the one that may still do something."""
    found: dict[Key, KubePod] = {}
    for pod in pods:
        name, index = pod.metadata.labels.get(JOB, ""), pod.metadata.annotations.get(INDEX, "")
        if name and index.isdecimal():
            key = Key(name, int(index))
            if key not in found or _is_over(found[key]):
                found[key] = pod
    return found


def native_id(key: Key) -> str:
    """What the cluster calls a run's part of a job: JOB/INDEX."""
    return f"{key.name}/{key.element}"


def _of_job(job: KubeJob) -> Iterator[tuple[Key, Sighting]]:
    """What is known of runs of which there is no pod: not yet, or not any more."""
    status = job.status
    done, failed = set(numbers_of(status.completed_indexes)), set(numbers_of(status.failed_indexes))
    end = _true(status.conditions, "Failed")
    suspended = _true(status.conditions, "Suspended")
    for element in numbers_of(job.metadata.annotations.get(ELEMENTS, "")):
        key = Key(job.metadata.name, element)
        name = native_id(key)
        if element in done:
            sighting = Sighting("ended", name, "Completed", exit_code=0)
        elif element in failed or end:
            why: Why = "time" if end and end.reason == "DeadlineExceeded" else "exit"
            sighting = Sighting("ended", name, end.message if end else "its pod failed", why=why)
        elif job.metadata.deletion_timestamp is not None:
            sighting = _deleted(key)
        else:
            reason = suspended.reason if suspended else "no pod yet"
            sighting = Sighting("pending", name, reason)
        yield key, sighting


def _deleted(key: Key) -> Sighting:
    """A job that somebody has deleted; its pods have a moment to end."""
    return Sighting("ended", native_id(key), DELETED, why="cancelled")


def _of_pod(key: Key, pod: KubePod) -> Sighting:
    name, node, status = native_id(key), pod.spec.node_name, pod.status
    match status.phase:
        case "Pending":
            return Sighting("pending", name, _pending(pod), node)
        case "Succeeded":
            return Sighting("ended", name, "Completed", node, exit_code=0)
        case "Failed":
            return _failed(name, pod)
        case _:  # also of a node that does not answer: nothing is known of what it does
            is_leaving = pod.metadata.deletion_timestamp is not None
            return Sighting("running", name, "being deleted" if is_leaving else "", node)


def _failed(name: str, pod: KubePod) -> Sighting:
    status, node = pod.status, pod.spec.node_name
    ended = next(
        (
            each.state.terminated
            for each in status.container_statuses
            if each.name == CONTAINER and each.state.terminated
        ),
        None,
    )
    disrupted = _true(status.conditions, "DisruptionTarget")
    code = None if ended is None else ended.exit_code
    reason = status.reason or (ended.reason if ended else "") or "Failed"
    said = f"{reason}: {status.message}" if status.message else reason
    why: Why = "exit"
    if disrupted or LOST.search(status.reason):
        why, said = "lost", disrupted.message or said if disrupted else said
    elif status.reason == "DeadlineExceeded":
        why = "time"
    elif ended and ended.reason == "OOMKilled":
        why = "memory"
    elif pod.metadata.deletion_timestamp is not None:
        why, said = "cancelled", "its pod was deleted"
    signal = 0 if code is None or code <= FIRST_SIGNAL else code - FIRST_SIGNAL
    return Sighting("ended", name, said, node, why, code, signal)


def _pending(pod: KubePod) -> str:
    """Why a pod has not begun, in the cluster's words."""
    for each in pod.status.container_statuses:
        if each.name == CONTAINER and each.state.waiting:
            return _said(each.state.waiting.reason, each.state.waiting.message)
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            return _said(condition.reason, condition.message)
    return ""


def _said(reason: str, message: str) -> str:
    return f"{reason}: {message}" if message else reason


def _true(conditions: Sequence[Condition], kind: str) -> Condition | None:
    return next((each for each in conditions if (each.type, each.status) == (kind, "True")), None)


def _is_over(pod: KubePod) -> bool:
    return pod.status.phase in ("Succeeded", "Failed")
