"""The job that a cluster is asked for: a pod for each run, and nothing secret in it."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Any

from dama.launchers.launcher import AwayError
from dama.launchers.ranges import ranges
from dama.launchers.script import jobs_of
from dama.shapes import is_object

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from dama.launchers.launcher import Job, LauncherSettings

DATABASE, ELEMENTS = "dama.dev/database", "dama.dev/elements"
CONTAINER = "run"
KEPT_SECONDS = 86_400  # an ended job, for those who look at it with kubectl
GRACE_SECONDS = 60
# Between the moment at which a pod counts as begun and its first process an image may be fetched.
START_SECONDS = 60
PASSED_ON = ("DAMA_PROFILE", "DAMA_LOG", "DAMA_NAMESPACE")  # nothing secret

SCRIPT = """\
set -eu
umask 077
set -- {places}
shift "$JOB_COMPLETION_INDEX"
[ -n "$1" ] || exit 0
export DAMA_HOME={jobs}/{name}-"$JOB_COMPLETION_INDEX"
{ends}\
mkdir -p "$DAMA_HOME"
{project}\
{setup}\
exec {dama} perform "${{1%:*}}" --epoch "${{1#*:}}" --launcher {launcher}
"""


def manifest_of(job: Job, settings: LauncherSettings, database: str) -> dict[str, Any]:
    """The job as the cluster takes it.

    Args:
        job: The runs.
        settings: Of the launcher.
        database: What the names of all jobs of the database begin with.

    Raises:
        AwayError: The template cannot be read.
    """
    labels = {DATABASE: database}
    count = max(each.element for each in job.elements) + 1
    template = _template(settings.template)
    meta, spec = _object(template, "metadata"), _object(template, "spec")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job.name,
            "labels": labels,
            "annotations": {ELEMENTS: ranges([each.element for each in job.elements])},
        },
        "spec": {
            "completions": count,
            "parallelism": count,
            "completionMode": "Indexed",
            # No second pod of a run: dama places it again, with a new epoch. A job that gave up at
            # its first failure (backoffLimit) would end the other runs.
            "backoffLimitPerIndex": 0,
            "podReplacementPolicy": "Failed",
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": {**meta, "labels": {**_object(meta, "labels"), **labels}},
                "spec": _pod(job, settings, spec),
            },
        },
    }


def _pod(job: Job, settings: LauncherSettings, given: Mapping[str, Any]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = [dict(each) for each in given.get("containers", ())]
    own = [each for each in containers if each.get("name") == CONTAINER]
    others = [each for each in containers if each.get("name") != CONTAINER]
    time = job.resources.time
    deadline = {} if time is None else {"activeDeadlineSeconds": int(time) + START_SECONDS}
    return {
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        **given,
        "restartPolicy": "Never",
        **deadline,
        "containers": [_container(job, settings, own[0] if own else {}), *others],
    }


def _container(job: Job, settings: LauncherSettings, given: Mapping[str, Any]) -> dict[str, Any]:
    env = [{"name": name, "value": os.environ[name]} for name in PASSED_ON if os.environ.get(name)]
    secrets = [{"secretRef": {"name": name}} for name in settings.secrets]
    asked = _object(given, "resources")
    requests, limits = _resources(job)
    return {
        **given,
        "name": CONTAINER,
        "image": job.resources.image or settings.image,
        "command": ["sh", "-c", _script(job, settings)],
        "envFrom": [*given.get("envFrom", ()), *secrets],
        "env": [*given.get("env", ()), *env],
        "resources": {
            **asked,
            "requests": {**_object(asked, "requests"), **requests},
            "limits": {**_object(asked, "limits"), **limits},
        },
    }


def _resources(job: Job) -> tuple[dict[str, str], dict[str, str]]:
    """What is asked for, and what may not be exceeded: memory, and not the time of processors."""
    needs = job.resources
    fixed = {} if needs.megabytes is None else {"memory": f"{needs.megabytes}Mi"}
    if needs.gpus is not None:
        fixed["nvidia.com/gpu"] = str(needs.gpus)
    return {**fixed, **({} if needs.cpus is None else {"cpu": str(needs.cpus)})}, fixed


def _script(job: Job, settings: LauncherSettings) -> str:
    places = [""] * (max(each.element for each in job.elements) + 1)
    for each in job.elements:
        places[each.element] = f"{each.context_id}:{each.epoch}"
    time = job.resources.time
    return SCRIPT.format(
        places=" ".join(place or "''" for place in places),
        jobs=shlex.quote(str(jobs_of(settings))),
        name=job.name,
        ends="" if time is None else f"export DAMA_JOB_END_TIME=$(($(date +%s) + {int(time)}))\n",
        project=f"cd {shlex.quote(str(settings.project))}\n" if settings.project.name else "",
        setup=f"{settings.setup.rstrip()}\n" if settings.setup else "",
        dama=shlex.quote(settings.dama),
        launcher=shlex.quote(settings.name),
    )


def _template(path: Path | None) -> Mapping[str, Any]:
    if path is None:
        return {}
    from dama.launchers.kubernetes.access import yaml

    try:
        read = yaml().safe_load(path.read_text())
    except OSError as error:
        raise AwayError(f"The template {path} cannot be read: {error.strerror}.") from error
    except (ValueError, yaml().YAMLError) as error:
        raise AwayError(f"The template {path} is no YAML: {error}.") from error
    if not is_object(read):
        raise AwayError(f"The template {path} is no pod: a table with metadata and spec is wanted.")
    return read


def _object(given: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return given.get(key) or {}
