"""A cluster of the real parts: a NATS server, and nodes of the real Moleculer from npm."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
MODULES = Path(sys.prefix) / "interop"
PORTS = range(12_000, 32_000)  # below those of outgoing connections
VERSIONS = {4: "moleculer", 5: "moleculer15"}


def nats_server() -> str:
    """The program; it comes with the environment of the tests."""
    beside = Path(sys.prefix, "bin", "nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        pytest.skip("LOUD: there is no nats-server here, so nothing of the wire is tested")
    return found


@cache
def why_not() -> str | None:
    """Why the real Moleculer is not here, after an attempt to install it; None when it is.

    One process of the tests installs it, the others wait for that. In CI a registry that does not
    answer is an error, not a reason to test less.
    """
    if not shutil.which("npm") or not shutil.which("node"):
        return "there is no Node.js here"
    MODULES.mkdir(parents=True, exist_ok=True)
    with MODULES.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _install()


def _install() -> str | None:
    lock = (HERE / "package-lock.json").read_bytes()
    stamp = MODULES / "installed"
    if stamp.exists() and stamp.read_bytes() == lock:
        return None
    for name in ("package.json", "package-lock.json"):
        shutil.copy(HERE / name, MODULES / name)
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"]
    done = subprocess.run(command, cwd=MODULES, check=bool(os.environ.get("CI")), timeout=300)
    if done.returncode:
        return "npm could not install it"
    stamp.write_bytes(lock)
    return None


def install_moleculer() -> Path:
    """The folder with the packages; they are installed once, as package-lock.json has them."""
    if reason := why_not():
        pytest.skip(f"LOUD: {reason}, so nothing is tested against real Moleculer")
    return MODULES / "node_modules"


def free_port() -> int:
    """A port that nobody uses, and that the kernel gives to no connection until it is used."""
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as listening, suppress(OSError):
            listening.bind(("127.0.0.1", port))
            return port


class Bus:
    """A NATS server of our own, which can be killed and started again at its address."""

    def __init__(self, max_payload: int = 1 << 20) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._config = f"max_payload: {max_payload}\n"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, folder: Path) -> None:
        config = folder / f"nats-{self.port}.conf"
        config.write_text(self._config)
        self._process = await asyncio.create_subprocess_exec(
            nats_server(), "-a", "127.0.0.1", "-p", str(self.port), "-c", str(config),
            stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        await self._listens()

    async def kill(self) -> None:
        assert self._process
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    async def _listens(self) -> None:
        async with asyncio.timeout(60):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return


class JsNode:
    """A process with a node of the real Moleculer."""

    def __init__(self, process: asyncio.subprocess.Process, node_id: str) -> None:
        self.process = process
        self.node_id = node_id

    async def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> None:
        """End it as an operator does."""
        if self.process.returncode is None:
            self.process.terminate()
            try:
                async with asyncio.timeout(60):
                    await self.process.wait()
            except TimeoutError:
                await self.kill()


async def start_js(url: str, node_id: str = "js-1", protocol: int = 4, **more: Any) -> JsNode:
    modules = install_moleculer()
    told = {"package": VERSIONS[protocol], "nodeID": node_id, "url": url, **more}
    process = await asyncio.create_subprocess_exec(
        "node", str(HERE / "node.js"), json.dumps(told),
        env={**os.environ, "NODE_PATH": str(modules)}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    async with asyncio.timeout(30):
        while (line := await process.stdout.readline()) != b"ready\n":
            assert line, f"{node_id} ended before it was ready"
    # Nobody reads on: what it logs must not fill the pipe.
    return JsNode(process, node_id)


@asynccontextmanager
async def js_node(url: str, node_id: str = "js-1", protocol: int = 4, **more: Any):
    node = await start_js(url, node_id, protocol, **more)
    try:
        yield node
    finally:
        await node.stop()


async def until(condition: Any, seconds: float = 60) -> Any:
    """Wait until a condition, which may be asynchronous, holds; returns its value."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.02)


async def sent(client: Any) -> None:
    """Wait until all that a bare client of NATS published has reached the bus.

    One flush overtakes what waits to be sent; with its answer that has been written, ahead of the
    second.
    """
    await client.flush()
    await client.flush()
