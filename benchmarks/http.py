"""HTTP: a JSON action through the gateway, against the same handler on the bare framework.

Three servers in processes of their own, asked in turns by one client with 32 connections: Starlette
on uvicorn with nothing but the handler, our gateway, and moleculer-web where Node.js is there.
Target: 0.6 of the bare framework. `python -m benchmarks.http [--requests N] [--rounds N]`.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from _pytest.outcomes import Skipped

from benchmarks import MISSED
from tests.interop.cluster import free_port, install_moleculer

CONNECTIONS = 32
TARGET = 0.6
BODY = b'{"a": 1, "b": 2}'
BARE = """
import sys, uvicorn
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

class Params(BaseModel):
    a: int
    b: int

async def add(request):
    params = Params.model_validate_json(await request.body())
    return JSONResponse(params.a + params.b)

app = Starlette(routes=[Route("/api/math/add", add, methods=["POST"])])
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
"""
OURS = """
from dama import Service

math = Service("math")

@math.action
async def add(call, a: int, b: int) -> int:
    return a + b
"""
THEIRS = """
const { ServiceBroker } = require("moleculer");
const ApiGateway = require("moleculer-web");
const broker = new ServiceBroker({ logger: false });
broker.createService({ name: "math", actions: { add: {
    params: { a: "number", b: "number" }, handler: ctx => ctx.params.a + ctx.params.b } } });
broker.createService({ mixins: [ApiGateway], settings: {
    port: +process.argv[2], ip: "127.0.0.1",
    routes: [{ path: "/api", bodyParsers: { json: true } }] } });
broker.start();
"""


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return 0 when the target is met."""
    parser = argparse.ArgumentParser(prog="benchmarks.http", description="requests a second")
    parser.add_argument("--requests", type=int, default=6000, help="in each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns, of which the median counts")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        ports = servers(Path(folder), stack)
        found: dict[str, list[float]] = {name: [] for name in ports}
        for name in [*ports, *list(ports) * arguments.rounds]:  # the first turn warms
            found[name].append(asyncio.run(rate(ports[name], arguments.requests)))
    medians = {name: statistics.median(each[1:]) for name, each in found.items()}
    bare = medians["bare Starlette"]
    for name, median in medians.items():
        print(f"{name:16}{median:8,.0f}/s  {median / bare:5.2f} x bare")
    print(f"{'target':16}{'':12}{TARGET:5.2f} x bare")
    return 0 if medians["dama gateway"] >= TARGET * bare else MISSED


def servers(folder: Path, stack: ExitStack) -> dict[str, int]:
    """Start them; give their ports."""
    (folder / "bare.py").write_text(BARE)
    (folder / "maths.py").write_text(OURS)
    (folder / "dama.toml").write_text('services = ["maths"]\n')
    dama = str(Path(sys.executable).with_name("dama"))
    environ = {**os.environ, "DAMA_HOME": str(folder / "home")}
    ports = {"bare Starlette": free_port(), "dama gateway": free_port()}
    commands = {
        "bare Starlette": [sys.executable, "bare.py", str(ports["bare Starlette"])],
        "dama gateway": [dama, "gateway", "--port", str(ports["dama gateway"])],
    }
    try:
        environ["NODE_PATH"] = str(install_moleculer())
        (folder / "web.js").write_text(THEIRS)
        ports["moleculer-web"] = free_port()
        commands["moleculer-web"] = ["node", "web.js", str(ports["moleculer-web"])]
    except Skipped as reason:
        print(reason)
    stack.callback(
        subprocess.run, [dama, "db", "stop"], env=environ, stdout=subprocess.DEVNULL, check=False
    )
    for name, command in commands.items():
        stack.enter_context(running(command, folder, environ, ports[name]))
    return ports


@contextmanager
def running(command: list[str], folder: Path, environ: dict[str, str], port: int) -> Iterator[None]:
    """A server, until the end of the block."""
    process = subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.DEVNULL)
    try:
        asyncio.run(answers(port))
        yield
    finally:
        process.terminate()
        process.wait()


async def answers(port: int) -> None:
    """Wait until a server answers."""
    async with asyncio.timeout(60):
        while True:
            try:
                await rate(port, 1)
            except (OSError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.1)
            else:
                return


async def rate(port: int, count: int) -> float:
    """Requests a second."""
    request = (
        b"POST /api/math/add HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
    )
    left = count

    async def connection() -> None:
        nonlocal left
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while left > 0:
            left -= 1
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            if not head.startswith(b"http/1.1 200"):
                raise OSError(head)
            if b"content-length:" in head:
                size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
                answer = await reader.readexactly(size)
            else:
                answer = await reader.readuntil(b"\r\n0\r\n\r\n")
            if b"3" not in answer:
                raise OSError(answer)
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(min(CONNECTIONS, count))))
    return count / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
