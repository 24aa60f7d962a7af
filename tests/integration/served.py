"""A gateway that serves a project of the tests, with a worker beside it."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx

from dama import Service, Task
from dama.app import App
from dama.broker.errors import ClientCallError
from dama.broker.stream import Stream
from dama.config.config import load_config
from dama.definitions.policies import BulkheadPolicy
from dama.definitions.registry import Registry
from dama.gateway.server import serving
from dama.gateway.settings import GatewaySettings
from dama.pages.site import Site
from dama.shipped.node import node_of
from tests.plain_http import NO_TLS

if TYPE_CHECKING:
    from pathlib import Path


def project() -> Service:  # noqa: C901, PLR0915 - a list of actions
    """Actions and tasks of all kinds."""
    service = Service("shop", settings={"rest": "shop"})

    @service.action(rest="GET /items/:id", scope="viewer")
    async def item(call: Any, id: int, color: str = "red") -> dict[str, Any]:  # noqa: A002
        """Read an item."""
        return {"id": id, "color": color}

    @service.action(rest=["POST /items", "PUT /items/:id"], status=201)
    async def save(call: Any, name: str, id: int = 1) -> dict[str, Any]:  # noqa: A002
        """Save an item."""
        call.meta["$location"] = f"/items/{id}"
        call.meta["$responseHeaders"] = {"X-Saved": name}
        return {"id": id, "name": name}

    @service.action
    async def echo(call: Any) -> Any:
        """Give what was given."""
        return call.params

    @service.action(scope="viewer")
    async def who(call: Any) -> Any:
        """Tell who calls."""
        return {"user": call.meta.get("user"), "traceparent": call.meta.get("traceparent")}

    @service.action(response_type="image/png")
    async def picture(call: Any) -> bytes:
        """Give bytes."""
        return b"\x89PNG"

    @service.action(response_type="text/plain")
    async def text(call: Any, crlf: str = "") -> str:
        """Give a text."""
        call.meta["$responseHeaders"] = {"X-Text": f"a{crlf}b"}
        return "hello"

    @service.action
    async def nothing(call: Any) -> None:
        """Give nothing."""

    @service.action
    async def moved(call: Any) -> dict[str, str]:
        """Say in the meta what the response is like."""
        call.meta["$statusCode"] = 302
        call.meta["$location"] = "/elsewhere?a=b c"
        call.meta["$responseType"] = "application/problem+json"
        return {}

    @service.action(response_type="application/octet-stream")
    async def lines(call: Any, count: int) -> Stream:
        """Give a stream."""

        async def each():
            for number in range(count):
                yield f"{number}\n".encode()

        return Stream(each())

    @service.action
    async def taken(call: Any) -> None:
        """Fail as an action may."""
        raise ClientCallError("it is taken", "take another", status=409, code="TAKEN", data=[1])

    @service.action
    async def bug(call: Any) -> None:
        """Fail as no action should."""
        raise KeyError("the password is hunter2")

    @service.action(visibility="public")
    async def inner(call: Any) -> str:
        """Be for services only."""
        return "inner"

    @service.action(bulkhead=BulkheadPolicy(concurrency=1, max_queue=0), timeout=0)
    async def busy(call: Any) -> None:
        """Take forever."""
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            left.set()

    @service.task
    async def double(task: Task, n: int) -> int:
        """Double a number."""
        return n * 2

    @service.task
    async def total(task: Task, count: int) -> int:
        """Add up doubled numbers."""
        return sum(await task.map(double, [{"n": n} for n in range(count)]))

    @service.task
    async def approval(task: Task) -> Any:
        """Wait for a signal."""
        return await task.wait_for("approved")

    script = (
        'echo out; echo err >&2; mkdir -p "$DAMA_ARTIFACTS/sub"; '
        'printf data > "$DAMA_ARTIFACTS/sub/a.csv"; ln -s /etc/passwd "$DAMA_ARTIFACTS/link"'
    )
    service.program("report", command=["bash", "-c", script])
    bar = r"printf '1 %%\r50 %%\r\033[32m100 %%\033[0m <b>done</b>\n'"
    service.program("bar", command=["bash", "-c", bar])
    said = """printf '::dama:: {"type": "said", "payload": {"n": %d}}\\n' $n"""
    speaker = f'for n in 0 1 2; do echo "line $n"; {said}; done; echo line 3'
    service.program("speaker", command=["bash", "-c", speaker])
    return service


began, left = asyncio.Event(), asyncio.Event()


@asynccontextmanager
async def served(store: Any, home: Path, *, working: bool = True, **settings: Any):
    """A client of a gateway with its pages."""
    began.clear()
    left.clear()
    app = App(store, Registry([project()]), home)
    chosen = GatewaySettings(**{"port": 0, **settings})
    async with (
        node_of(app, {}, ""),
        serving(app, chosen, partial(Site, config=load_config(home=home))) as address,
        httpx.AsyncClient(base_url=address, timeout=60, verify=NO_TLS) as client,
    ):
        if "tokens" not in settings:  # as the user of the gateway
            text = (home / "gateway.token").read_text().strip()
            client.headers["Authorization"] = f"Bearer {text}"
        if not working:
            yield client
            return
        async with app.working():
            yield client


async def ended(client: httpx.AsyncClient, task: str, params: dict[str, Any] | None = None) -> int:
    """Start a task and wait for its end; returns its context."""
    started = await client.post(f"/api/tasks/{task}", json={"params": params or {}})
    assert started.status_code == 202, started.text
    context_id = started.json()["context_id"]
    assert (await client.get(f"/api/tasks/{context_id}/result")).status_code == 200
    return context_id


async def events_of(response: httpx.Response, count: int) -> list[tuple[int, str]]:
    """The ids and types of server-sent events."""
    import json

    found: list[tuple[int, str]] = []
    id_ = 0
    async for line in response.aiter_lines():
        if line.startswith("id: "):
            id_ = int(line[4:])
        elif line.startswith("data: "):
            found.append((id_, json.loads(line[6:])["type"]))
            if len(found) == count:
                break
    return found


def artifacts_of(home: Path, context_id: int) -> Path:
    """The folder of what its only run has left."""
    (folder,) = home.glob(f"runs/*/{context_id}/*/artifacts")
    return folder
