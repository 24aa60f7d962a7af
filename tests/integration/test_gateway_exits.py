"""What user code raises in a gateway that has no worker ends its request, and nothing else."""

from __future__ import annotations

import asyncio
import sys
from typing import Annotated, Any

import httpx
import pytest
from pydantic import AfterValidator

from dama import Service, Task
from dama.app import App
from dama.beside import MOST_PARTS
from dama.broker.stream import Stream
from dama.definitions.registry import Registry
from dama.gateway.server import serving
from dama.gateway.settings import GatewaySettings
from dama.shipped.node import node_of
from tests.plain_http import NO_TLS


def interrupts() -> None:
    raise KeyboardInterrupt


def cancels() -> None:
    raise asyncio.CancelledError


def closes() -> None:
    raise GeneratorExit


BREAKS = {
    "exits": lambda: sys.exit(3),
    "interrupts": interrupts,
    "cancels": cancels,
    "closes": closes,
    "never": lambda: next(iter(())),
}
odd = Service("odd")
How = Annotated[str, AfterValidator(lambda how: BREAKS[how]())]


@odd.task
async def start(task: Task, how: How, numbers: tuple[int, ...] = ()) -> None:
    """Have params that cannot be checked."""


@odd.action
async def check(call: Any, how: How, numbers: tuple[int, ...] = ()) -> None:
    """Have params that cannot be checked."""


@odd.action
async def stream(call: Any, how: str) -> Stream:
    """Break in the middle of an answer."""

    async def parts() -> Any:
        yield "begun\n"
        BREAKS[how]()
        yield "ended\n"

    return Stream(parts())


@pytest.fixture
async def client(store, tmp_path):
    app = App(store, Registry([odd]), tmp_path)
    async with (
        node_of(app, {}, ""),
        serving(app, GatewaySettings(port=0)) as address,
        httpx.AsyncClient(base_url=address, timeout=60, verify=NO_TLS) as client,
    ):
        text = (tmp_path / "gateway.token").read_text().strip()
        client.headers["Authorization"] = f"Bearer {text}"
        yield client


@pytest.mark.parametrize("how", BREAKS)
async def test_whatever_user_code_raises_ends_no_gateway(client, how):
    """Nor does it leave a client without an answer, also where a thread checks large params."""
    for numbers in ([], [1] * (MOST_PARTS + 1)):
        params = {"how": how, "numbers": numbers}
        started = await client.post("/api/tasks/odd.start", json={"params": params})
        assert started.status_code == 500
        assert (await client.post("/api/odd/check", json=params)).status_code == 500
    with pytest.raises(httpx.RemoteProtocolError):  # an answer that is cut off is not a whole one
        await client.post("/api/odd/stream", json={"how": how})
    assert (await client.get("/health")).status_code == 200
