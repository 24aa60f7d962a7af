"""A stand-in for a Kubernetes cluster: its API over HTTP, and pods that are processes of this host.

What it takes is checked by the published schemas, and what it answers is held to a recording of a
real control plane (test_kubernetes_stand_in.py). How pods begin and end is its own.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import kubernetes_validate
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from tests.engines.slurm import PATIENCE, free_ports, wait_until

VERSION = "1.36"
NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
LABEL = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
CPUS, MEGABYTES = 16, 4000  # of each node
INDEX, OF_JOB = "batch.kubernetes.io/job-completion-index", "batch.kubernetes.io/job-name"
TICK = 0.05
Body = dict[str, Any]


class Cluster:
    """A cluster of two nodes.

    Args:
        folder: Where its pods print.
        environ: What the programs of every image find.
    """

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.port = free_ports(1)[0]
        self.jobs: dict[str, Body] = {}
        self.pods: dict[str, Body] = {}
        self.secrets: dict[str, dict[str, str]] = {}
        self.nodes = {"n1", "n2"}
        self.bodies: list[bytes] = []  # all that was created, as it came
        self.hold = ""  # the next request for a job: before or after it is created, or late
        self.is_controlled = threading.Event()
        self.is_controlled.set()
        self._environ = environ
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._deadlines: dict[str, float] = {}  # of pods that run
        self._leaving: dict[str, float] = {}  # when pods are killed that were told to end
        self._lock = threading.RLock()
        self._is_closed = threading.Event()
        self._version = 1
        self._api: uvicorn.Server | None = None
        self._api_thread: threading.Thread | None = None
        self._threads: list[threading.Thread] = []

    @property
    def server(self) -> str:
        """The address of its API."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the API, and the controllers."""
        self.start_api()
        self._thread(self._control)

    def start_api(self) -> None:
        """Answer again."""
        config = uvicorn.Config(
            Starlette(routes=_routes(self)), port=self.port, log_level="error", lifespan="off"
        )
        self._api = uvicorn.Server(config)
        self._api_thread = self._thread(self._api.run)
        wait_until(lambda: self._api and self._api.started, "an API")

    def stop_api(self) -> None:
        """Answer nobody; pods go on."""
        assert self._api is not None
        self._api.should_exit = self._api.force_exit = True
        assert self._api_thread is not None
        self._api_thread.join(PATIENCE)

    def close(self) -> None:
        """End it, and all pods."""
        self._is_closed.set()
        if self._api:
            self._api.should_exit = self._api.force_exit = True
        for thread in self._threads:
            thread.join(PATIENCE)
        for name in [*self._processes]:
            self._kill(name, signal.SIGKILL)

    # ------------------------------------------------------------------ what happens to pods

    def evict(self, name: str) -> None:
        """A node needs room: a pod has to go."""
        with self._lock:
            self._kill(name, signal.SIGKILL)
            message = "The node was low on resource: memory."
            self.pods[name]["status"] |= {
                "phase": "Failed",
                "reason": "Evicted",
                "message": message,
                "conditions": [_condition("DisruptionTarget", "TerminationByKubelet", message)],
            }

    def time_out(self, name: str) -> None:
        """A pod has come to its deadline."""
        with self._lock:
            self._kill(name, signal.SIGKILL)
            message = "Pod was active on the node longer than the specified deadline"
            self.pods[name]["status"] |= {
                "phase": "Failed",
                "reason": "DeadlineExceeded",
                "message": message,
            }

    def lose_node(self, name: str) -> None:
        """A node loses its power: its processes are gone, and its pods look as before."""
        with self._lock:
            self.nodes.discard(name)
            for pod in self.pods.values():
                if pod["spec"].get("nodeName") == name and pod["status"]["phase"] == "Running":
                    self._kill(pod["metadata"]["name"], signal.SIGKILL)
                    pod["metadata"]["deletionTimestamp"] = _now()

    def processes(self) -> list[int]:
        """The processes of all pods."""
        return [each.pid for each in self._processes.values() if each.poll() is None]

    def freeze_node(self, name: str, number: int) -> None:
        """Stop or continue a node: it does not answer, and its pods look as before."""
        with self._lock:
            is_frozen = number == signal.SIGSTOP
            (self.nodes.discard if is_frozen else self.nodes.add)(name)
            for pod in self.pods.values():
                if pod["spec"].get("nodeName") == name and pod["status"]["phase"] == "Running":
                    self._kill(pod["metadata"]["name"], number)
                    if is_frozen:
                        pod["metadata"]["deletionTimestamp"] = _now()

    def expire(self) -> None:
        """The time to live of all ended jobs is over."""
        with self._lock:
            for name, job in [*self.jobs.items()]:
                if _true(job, "Complete") or _true(job, "Failed"):
                    self.delete_job(name, "Background")

    def _control(self) -> None:
        while not self._is_closed.wait(TICK):
            with self._lock:
                for job in [*self.jobs.values()] if self.is_controlled.is_set() else []:
                    self._run_job(job)
                for pod in [*self.pods.values()]:
                    self._run_pod(pod)

    def _run_job(self, job: Body) -> None:
        name, spec, status = job["metadata"]["name"], job["spec"], job["status"]
        if _true(job, "Complete") or _true(job, "Failed"):
            return
        pods = {p["metadata"]["annotations"].get(INDEX, "0"): p for p in self._pods_of(name)}
        for index in range(spec["completions"]):
            if str(index) not in pods and str(index) not in _indexes(status):
                self._create_pod(job, index)
        done = sorted(int(i) for i, p in pods.items() if p["status"]["phase"] == "Succeeded")
        failed = sorted(int(i) for i, p in pods.items() if p["status"]["phase"] == "Failed")
        status["completedIndexes"] = ",".join(map(str, done))
        status["failedIndexes"] = ",".join(map(str, failed))
        if len(done) == spec["completions"]:
            status["conditions"] = [_condition("Complete", "CompletionsReached")]
        elif len(done) + len(failed) == spec["completions"]:
            message = "Job has failed indexes"
            status["conditions"] = [_condition("Failed", "FailedIndexes", message)]

    def _create_pod(self, job: Body, index: int) -> None:
        name = f"{job['metadata']['name']}-{index}-{uuid.uuid4().hex[:5]}"
        template = job["spec"]["template"]
        labels = {**template.get("metadata", {}).get("labels", {})}
        labels |= {OF_JOB: job["metadata"]["name"], "job-name": job["metadata"]["name"]}
        self.pods[name] = {
            "metadata": {
                "name": name,
                "namespace": "default",
                "uid": str(uuid.uuid4()),
                "creationTimestamp": _now(),
                "labels": labels,
                "annotations": {INDEX: str(index)},
            },
            "spec": {**template["spec"]},
            "status": {"phase": "Pending"},
        }

    def _run_pod(self, pod: Body) -> None:
        name, status = pod["metadata"]["name"], pod["status"]
        if status["phase"] == "Pending" and "deletionTimestamp" not in pod["metadata"]:
            self._begin(pod)
        process = self._processes.get(name)
        is_over = process is None or process.poll() is not None
        if status["phase"] == "Running":
            if process and is_over:
                _end(pod, process.returncode, self.log(name))
            elif time.time() > self._deadlines.get(name, float("inf")):
                self.time_out(name)
        if kill_at := self._leaving.get(name):
            if is_over:
                self.pods.pop(name, None)
            elif time.time() > kill_at:
                self._kill(name, signal.SIGKILL)

    def _begin(self, pod: Body) -> None:
        container = pod["spec"]["containers"][0]
        needs = container.get("resources", {}).get("requests", {})
        node = next((n for n in sorted(self.nodes) if self._fits(n, needs)), None)
        if node is None:
            message = f"0/{len(self.nodes)} nodes are available: Insufficient cpu or memory."
            unfit = _condition("PodScheduled", "Unschedulable", message) | {"status": "False"}
            pod["status"]["conditions"] = [unfit]
            return
        pod["spec"]["nodeName"] = node
        pod["status"]["conditions"] = [_condition("PodScheduled", "")]
        names = [each["secretRef"]["name"] for each in container.get("envFrom", ())]
        if container["image"] == "nosuch":
            reason, message = "ImagePullBackOff", 'Back-off pulling image "nosuch"'
        elif missing := [n for n in names if n not in self.secrets]:
            reason, message = "CreateContainerConfigError", f'secret "{missing[0]}" not found'
        else:
            self._execute(pod, container, [self.secrets[n] for n in names])
            return
        waiting = {"waiting": {"reason": reason, "message": message}}
        pod["status"]["containerStatuses"] = [{"name": container["name"], "state": waiting}]

    def _execute(self, pod: Body, container: Body, secrets: list[dict[str, str]]) -> None:
        environ = {**self._environ, "JOB_COMPLETION_INDEX": pod["metadata"]["annotations"][INDEX]}
        environ["POD_NODE"] = pod["spec"]["nodeName"]
        for each in secrets:
            environ |= each
        environ |= {each["name"]: each["value"] for each in container.get("env", ())}
        name = pod["metadata"]["name"]
        with (self.folder / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                container["command"],
                env=environ,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        pod["status"]["phase"] = "Running"
        if seconds := pod["spec"].get("activeDeadlineSeconds"):
            self._deadlines[name] = time.time() + seconds

    def _fits(self, node: str, needs: Body) -> bool:
        running = [
            each["spec"]["containers"][0].get("resources", {}).get("requests", {})
            for each in self.pods.values()
            if each["spec"].get("nodeName") == node and each["status"]["phase"] == "Running"
        ]
        cpus = sum(_cpus(each) for each in [*running, needs])
        return cpus <= CPUS and sum(_megabytes(each) for each in [*running, needs]) <= MEGABYTES

    def _kill(self, name: str, number: int) -> None:
        process = self._processes.get(name)
        if process and process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)

    # ------------------------------------------------------------------ what the API does

    def create(self, body: Body, *, strict: bool) -> tuple[int, Body, str]:
        """Create a job: the status, the answer, and a warning."""
        warning = ""
        try:
            kubernetes_validate.validate(body, VERSION, strict=True)
        except kubernetes_validate.ValidationError as error:
            unknown = re.search(r"\('(\w+)' was unexpected\)", error.message)
            where = ".".join(map(str, [*error.path, *(unknown.groups() if unknown else ())]))
            warning = f'unknown field "{where}"' if unknown else f"{where}: {error.message}"
            if strict or not unknown:
                text = 'Job in version "v1" cannot be handled as a Job: strict decoding error: '
                text += warning
                return 400, status_of(400, "BadRequest", text), ""
            _drop(body, [*error.path, unknown[1]])
        name = body["metadata"]["name"]
        if wrong := _wrong(body):
            text = f'Job.batch "{name}" is invalid: {wrong}'
            return 422, status_of(422, "Invalid", text), ""
        with self._lock:
            if name in self.jobs:
                text = f'jobs.batch "{name}" already exists'
                return 409, status_of(409, "AlreadyExists", text), ""
            spec = {"parallelism": 1, "completions": 1, "suspend": False, **body["spec"]}
            spec.setdefault("completionMode", "NonIndexed")
            job = {"kind": "Job", "apiVersion": "batch/v1", "metadata": {}, "spec": spec}
            job["metadata"] = {
                **body["metadata"],
                "namespace": "default",
                "uid": str(uuid.uuid4()),
                "resourceVersion": str(self._next_version()),
                "creationTimestamp": _now(),
            }
            self.jobs[name] = {**job, "status": {}}
            return 201, self.jobs[name], warning

    def page_of(self, kind: str, selector: str, limit: int, after: str) -> Body:
        """A page of jobs or pods, in the order of their names."""
        name, _, value = selector.partition("=")
        with self._lock:
            things = self.jobs if kind == "Job" else self.pods
            chosen = [
                each
                for key, each in sorted(things.items())
                if key > after and each["metadata"].get("labels", {}).get(name) == value
            ]
            page = chosen[:limit]
            more = {"continue": page[-1]["metadata"]["name"]} if len(chosen) > limit else {}
            return {
                "kind": f"{kind}List",
                "apiVersion": "batch/v1" if kind == "Job" else "v1",
                "metadata": {"resourceVersion": str(self._version), **more},
                "items": page,
            }

    def delete_job(self, name: str, policy: str) -> bool:
        """Delete a job; with a policy its pods, too."""
        with self._lock:
            if self.jobs.pop(name, None) is None:
                return False
            if policy == "Background":
                for pod in self._pods_of(name):
                    self.delete_pod(pod["metadata"]["name"])
            return True

    def delete_pod(self, name: str) -> bool:
        """Tell a pod to end; it is removed when it has."""
        with self._lock:
            pod = self.pods.get(name)
            if pod is None:
                return False
            grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
            pod["metadata"]["deletionTimestamp"] = _now()
            self._leaving[name] = time.time() + grace
            self._kill(name, signal.SIGTERM)
            return True

    def log(self, name: str) -> bytes:
        """What a pod has printed."""
        path = self.folder / f"{name}.log"
        return path.read_bytes() if path.exists() else b""

    def _pods_of(self, job: str) -> list[Body]:
        return [p for p in self.pods.values() if p["metadata"]["labels"].get(OF_JOB) == job]

    def _next_version(self) -> int:
        self._version += 1
        return self._version

    def _thread(self, target: Any) -> threading.Thread:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        self._threads.append(thread)
        return thread


def status_of(code: int, reason: str, message: str) -> Body:
    """What the API says when something goes wrong."""
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


def _routes(cluster: Cluster) -> list[Route]:
    async def listed(request: Request) -> Response:
        asked = request.query_params
        kind = "Job" if request.url.path.endswith("jobs") else "Pod"
        limit, after = int(asked.get("limit", 500)), asked.get("continue", "")
        return JSONResponse(cluster.page_of(kind, asked.get("labelSelector", ""), limit, after))

    async def one(request: Request) -> Response:
        name = request.path_params["name"]
        kind, known = ("pods", cluster.pods)
        if "/jobs/" in request.url.path:
            kind, known = ("jobs", cluster.jobs)
        found = known.get(name)
        if request.method == "DELETE" and found is not None:
            # As the policy comes in the address or in the body.
            body = await request.json() if await request.body() else {}
            policy = request.query_params.get("propagationPolicy") or body.get("propagationPolicy")
            if kind == "jobs":
                cluster.delete_job(name, str(policy))
            else:
                cluster.delete_pod(name)
            return JSONResponse({"kind": "Status", "apiVersion": "v1", "status": "Success"})
        if found is None:
            group = ".batch" if kind == "jobs" else ""
            text = f'{kind}{group} "{name}" not found'
            return JSONResponse(status_of(404, "NotFound", text), 404)
        return JSONResponse(found)

    async def log(request: Request) -> Response:
        return PlainTextResponse(cluster.log(request.path_params["name"])[-4000:])

    jobs, pods = "/apis/batch/v1/namespaces/default/jobs", "/api/v1/namespaces/default/pods"
    return [
        Route(jobs, partial(_created, cluster), methods=["POST"]),
        Route(jobs, listed),
        Route(pods, listed),
        Route(f"{jobs}/{{name}}", one, methods=["GET", "DELETE"]),
        Route(f"{pods}/{{name}}/log", log),
        Route(f"{pods}/{{name}}", one, methods=["GET", "DELETE"]),
    ]


async def _created(cluster: Cluster, request: Request) -> Response:
    cluster.bodies.append(await request.body())
    strict = request.query_params.get("fieldValidation") == "Strict"
    body = await request.json()
    if await _is_gone(cluster, request, "before"):
        return Response()
    await _is_gone(cluster, request, "late")
    status, body, warning = cluster.create(body, strict=strict)
    await _is_gone(cluster, request, "after")
    headers = {"Warning": f"299 - {json.dumps(warning)}"} if warning else {}
    return JSONResponse(body, status, headers)


async def _is_gone(cluster: Cluster, request: Request, when: str) -> bool:
    """Hold a request that is to be held at this moment; whether its client is gone."""
    if cluster.hold != when:
        return False
    cluster.hold = "late" if when == "late" else "held"
    while cluster.hold in ("late", "held", "gone"):
        await asyncio.sleep(TICK)
        if cluster.hold == "gone" and await request.is_disconnected():
            cluster.hold = ""
            return True
    return False


def _drop(body: Body, path: list[Any]) -> None:
    for part in path[:-1]:
        body = body[part]
    body.pop(path[-1])


def _wrong(body: Body) -> str:
    name = body["metadata"]["name"]
    if not NAME.fullmatch(name):
        return (
            f'metadata.name: Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist'
        )
    for value in body["metadata"].get("labels", {}).values():
        if not LABEL.fullmatch(value):
            return f'metadata.labels: Invalid value: "{value}": a valid label must be'
    return ""


def _end(pod: Body, returncode: int, log: bytes) -> None:
    code = returncode if returncode >= 0 else 128 - returncode
    reason = "Completed" if code == 0 else "OOMKilled" if b"oom_kill" in log else "Error"
    name = pod["spec"]["containers"][0]["name"]
    ended = {"terminated": {"exitCode": code, "reason": reason}}
    pod["status"]["phase"] = "Succeeded" if code == 0 else "Failed"
    pod["status"]["containerStatuses"] = [{"name": name, "state": ended}]


def _indexes(status: Body) -> set[str]:
    both = f"{status.get('completedIndexes', '')},{status.get('failedIndexes', '')}"
    return {part for part in both.split(",") if part}


def _true(job: Body, kind: str) -> bool:
    conditions = job["status"].get("conditions", ())
    return any((each["type"], each["status"]) == (kind, "True") for each in conditions)


def _condition(kind: str, reason: str, message: str = "") -> Body:
    return {"type": kind, "status": "True", "reason": reason, "message": message}


def _cpus(needs: Body) -> float:
    text = needs.get("cpu", "0")
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def _megabytes(needs: Body) -> float:
    return float(needs.get("memory", "0Mi").removesuffix("Mi"))


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
