"""What a cluster answers, as far as dama reads it."""

from __future__ import annotations

import msgspec


class Meta(msgspec.Struct, rename="camel"):
    """Of a job or a pod."""

    name: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    deletion_timestamp: str | None = None


class Condition(msgspec.Struct):
    """Something that is so, or is not, and why."""

    type: str
    status: str
    reason: str = ""
    message: str = ""


class JobStatus(msgspec.Struct, rename="camel"):
    """How far a job is; its indexes are written as 0-4,7."""

    conditions: list[Condition] = []
    completed_indexes: str = ""
    failed_indexes: str = ""


class KubeJob(msgspec.Struct):
    """A job."""

    metadata: Meta
    status: JobStatus = msgspec.field(default_factory=JobStatus)


class Waiting(msgspec.Struct):
    """Why a container has not begun."""

    reason: str = ""
    message: str = ""


class Terminated(msgspec.Struct, rename="camel"):
    """How a container ended."""

    exit_code: int
    signal: int = 0
    reason: str = ""


class ContainerState(msgspec.Struct):
    """One of them at a time."""

    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(msgspec.Struct):
    """Of a container of a pod."""

    name: str
    state: ContainerState = msgspec.field(default_factory=ContainerState)


class PodStatus(msgspec.Struct, rename="camel"):
    """How far a pod is."""

    phase: str = "Pending"
    reason: str = ""
    message: str = ""
    conditions: list[Condition] = []
    container_statuses: list[ContainerStatus] = []


class PodSpec(msgspec.Struct, rename="camel"):
    """What was asked for, as far as the cluster adds to it."""

    node_name: str = ""


class KubePod(msgspec.Struct):
    """A pod."""

    metadata: Meta
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class ListMeta(msgspec.Struct):
    """Of a page of a list; `next_page` is where it continues."""

    next_page: str = msgspec.field(name="continue", default="")


class JobList(msgspec.Struct):
    """A page of jobs."""

    items: list[KubeJob] | None = None
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)


class PodList(msgspec.Struct):
    """A page of pods."""

    items: list[KubePod] | None = None
    metadata: ListMeta = msgspec.field(default_factory=ListMeta)


class Status(msgspec.Struct):
    """What a refusal says."""

    message: str = ""
    reason: str = ""
