"""The launcher of kind kubernetes."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from dama.launchers.kubernetes.access import find_access, needed
from dama.launchers.kubernetes.answers import JobList, KubeJob, PodList, Status
from dama.launchers.kubernetes.manifest import CONTAINER, DATABASE, KEPT_SECONDS, manifest_of
from dama.launchers.kubernetes.sightings import native_id, newest_pods, sightings
from dama.launchers.launcher import AwayError, Key, RefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping, Sequence

    import httpx

    from dama.launchers.launcher import Job, LauncherSettings, Sighting

L = TypeVar("L", JobList, PodList)

MOST_ELEMENTS = 1000
PAGE = 500
LOG_BYTES = 4000
CONFLICT, NOT_FOUND = 409, 404
# What a cluster says to a job that it will never take. To all else it may be asked again; so it is
# with 403 for a quota that is used up, and not for a right that is missing.
REFUSALS = {400, 404, 405, 413, 415, 422}
FORBIDDEN, QUOTA = 403, "exceeded quota"


class Kubernetes:
    """The launcher of kind kubernetes.

    Args:
        settings: Of the launcher.
        prefix: What the names of its jobs begin with.
    """

    group = MOST_ELEMENTS
    keeps = float(KEPT_SECONDS)

    def __init__(self, settings: LauncherSettings, prefix: str) -> None:
        self._settings = settings
        self._prefix = prefix
        # As of the last look: the pods, and which parts of each job may still do something.
        self._pods: dict[Key, str] = {}
        self._live: dict[str, set[int]] = {}

    async def prepare(self, conninfo: str) -> None:
        """Nothing: its secrets are the cluster's; see `Launcher`."""

    async def submit(self, job: Job) -> Mapping[int, str]:
        """Create an Indexed Job, also for a single run; see `Launcher`."""
        body = manifest_of(job, self._settings, self._prefix)
        async with self._client() as (client, namespace):
            jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
            answer = await _ask(client, "POST", f"{jobs}?fieldValidation=Strict", json=body)
            if answer.status_code == CONFLICT:  # it came into being when nobody heard the answer
                known = await _ask(client, "GET", f"{jobs}/{job.name}")
                if known.is_error or _is_leaving(known.content):
                    raise AwayError(f"the job {job.name} of before is being deleted")
            elif answer.is_error:
                raise _error(answer)
        return {each.element: native_id(Key(job.name, each.element)) for each in job.elements}

    async def look(self) -> Mapping[Key, Sighting]:
        """List the jobs of this database, and their pods; see `Launcher`."""
        async with self._client() as (client, namespace):
            jobs = await self._all(client, f"/apis/batch/v1/namespaces/{namespace}/jobs", JobList)
            pods = await self._all(client, f"/api/v1/namespaces/{namespace}/pods", PodList)
        found = sightings(jobs, pods)
        self._pods = {key: pod.metadata.name for key, pod in newest_pods(pods).items()}
        self._live = {}
        for key, sighting in found.items():
            if sighting.state != "ended":
                self._live.setdefault(key.name, set()).add(key.element)
        return found

    async def cancel(self, native_ids: Sequence[str]) -> None:
        """Delete jobs; of one whose other runs continue, only some pods. See `Launcher`."""
        chosen: dict[str, set[int]] = {}
        for each in native_ids:
            name, _, element = each.rpartition("/")
            chosen.setdefault(name, set()).add(int(element))
        async with self._client() as (client, namespace):
            jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
            pods = f"/api/v1/namespaces/{namespace}/pods"
            for name, elements in chosen.items():
                whole = self._live.get(name, set()) <= elements
                if whole and await _delete(client, f"{jobs}/{name}"):
                    continue
                for element in elements:  # also of a job that is gone
                    if pod := self._pods.get(Key(name, element)):
                        await _delete(client, f"{pods}/{pod}")

    async def log(self, key: Key, native_id: str) -> str:  # noqa: ARG002 - the pod has another name
        """The end of what the pod printed, as long as there is one; see `Launcher`."""
        pod = self._pods.get(key)
        if pod is None:
            return ""
        async with self._client() as (client, namespace):
            answer = await _ask(
                client,
                "GET",
                f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
                f"?container={CONTAINER}&tailLines=100&limitBytes={LOG_BYTES}",
            )
        return "" if answer.is_error else answer.text

    async def _all(self, client: httpx.AsyncClient, path: str, kind: type[L]) -> list[Any]:
        """All pages of a list."""
        found: list[Any] = []
        params = {"labelSelector": f"{DATABASE}={self._prefix}", "limit": str(PAGE)}
        while True:
            answer = await _ask(client, "GET", path, params=params)
            if answer.is_error:
                error = _error(answer)
                raise AwayError(error.message) from error
            try:
                page = msgspec.json.decode(answer.content, type=kind)
            except msgspec.DecodeError as error:
                raise AwayError(f"{path} is not what Kubernetes answers: {error}.") from error
            found += page.items or ()
            if not page.metadata.next_page:
                return found
            params["continue"] = page.metadata.next_page

    @asynccontextmanager
    async def _client(self) -> AsyncGenerator[tuple[httpx.AsyncClient, str]]:
        """A client, and the namespace."""
        settings = self._settings
        http = needed("httpx")
        access = await asyncio.to_thread(find_access, settings.server, os.environ)
        try:
            client = http.AsyncClient(
                base_url=access.server,
                headers=access.headers,
                verify=access.verify,
                timeout=settings.timeout,
            )
        except http.InvalidURL as error:
            raise AwayError(f"{access.server} is no address: {error}.") from error
        async with client:
            yield client, settings.namespace or access.namespace


async def _ask(client: httpx.AsyncClient, method: str, path: str, **given: Any) -> httpx.Response:
    http = needed("httpx")
    try:
        return await client.request(method, path, **given)
    except (http.HTTPError, http.InvalidURL) as error:
        said = str(error) or type(error).__name__
        raise AwayError(f"{client.base_url} does not answer: {said}.") from error


async def _delete(client: httpx.AsyncClient, path: str) -> bool:
    """Delete something with all that belongs to it; whether it was there."""
    # Without a policy pods would stay behind and continue.
    answer = await _ask(client, "DELETE", path, params={"propagationPolicy": "Background"})
    if answer.is_error and answer.status_code != NOT_FOUND:
        raise AwayError(_error(answer).message)
    return answer.status_code != NOT_FOUND


def _error(answer: httpx.Response) -> AwayError | RefusedError:
    try:
        said = msgspec.json.decode(answer.content, type=Status).message
    except msgspec.DecodeError:
        said = ""
    text = said or f"{answer.request.url.path} was answered with {answer.status_code}"
    refused = answer.status_code in REFUSALS or (
        answer.status_code == FORBIDDEN and QUOTA not in text
    )
    return RefusedError(text) if refused else AwayError(text)


def _is_leaving(content: bytes) -> bool:
    try:
        return msgspec.json.decode(content, type=KubeJob).metadata.deletion_timestamp is not None
    except msgspec.DecodeError:
        return True
