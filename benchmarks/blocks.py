"""Blocks: how long the loop of a gateway and node is held by the worst inputs of permitted size.

Each input is sent to a gateway in this process, or as a packet over NATS, by a thread beside it.
What counts is the longest callback of the loop, in milliseconds of its own thread's time: what
other processes do on the machine is not in it. Target: 50 ms.
`python -m benchmarks.blocks [NAME ...]` measures the inputs whose name has one of these.
"""

import argparse
import asyncio
import http.client
import json
import sys
import tempfile
import time
from asyncio import events
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks import MISSED
from dama import Service, Task
from dama.app import App
from dama.broker.call import Call
from dama.config.config import Config, EmbeddedDatabase
from dama.definitions.registry import Registry
from dama.embedded.server import EmbeddedPostgres
from dama.gateway.server import serving
from dama.gateway.settings import GatewaySettings
from dama.shipped.node import node_of
from tests.interop.cluster import Bus

TARGET = 50.0
MIB = 1024 * 1024
ROUNDS = 3
LARGE_EVENTS = 30


def filled(item: str, around: tuple[str, str] = ("[", "]"), joint: str = ",") -> str:
    """JSON of nearly a MiB, of one item again and again; `#` in it is its number."""
    size = MIB - 4096
    if "#" not in item:
        return around[0] + joint.join([item] * (size // (len(item) + len(joint)))) + around[1]
    parts, length = [], 0
    while length < size:
        parts.append(item.replace("#", str(len(parts))))
        length += len(parts[-1]) + len(joint)
    return around[0] + joint.join(parts[:-1]) + around[1]


BODIES = {
    "text": '"' + "x" * (MIB - 4096) + '"',
    "escapes": '"' + "\\u00e9" * ((MIB - 4096) // 6) + '"',
    "integers": filled("7"),
    "floats": filled("1.5"),
    "digits": filled("0.12345678901234567891"),
    "exponents": filled("1e-9"),
    "nulls": filled("null"),
    "lists": filled("[]"),
    "objects": filled("{}"),
    "keys": filled('"k#":1', ("{", "}")),
    "nested": filled("[" * 50 + "null" + "]" * 50),
    "strings": filled('"a"'),
    "buffers": filled('{"type":"Buffer","data":[]}'),
}


def services() -> list[Service]:
    """What is called."""
    service = Service("doors")

    @service.action
    async def echo(call: Call) -> object:
        return call.params

    @service.action
    async def typed(_: Call, numbers: list[int], names: dict[str, str] | None = None) -> int:
        return len(numbers) + len(names or {})

    @service.task
    async def take(task: Task, value: object = None) -> None:
        pass

    @service.task
    async def numbers(task: Task, values: list[float]) -> None:
        pass

    many = Service("many")
    for number in range(300):

        @many.action(name=f"action{number}", rest=f"GET /{number}/:key")
        async def one(_: Call, key: int, limit: int = 7, names: list[str] | None = None) -> None:
            """Read one."""

    return [service, many]


class Longest:
    """The longest callback of a loop; asyncio calls each of them by way of its handle."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.what = ""
        run = events.Handle._run  # noqa: SLF001 - every callback goes by it

        def timed(handle: asyncio.Handle) -> None:
            begun = time.thread_time()
            run(handle)
            spent = time.thread_time() - begun
            if spent > self.seconds:
                self.seconds, self.what = spent, repr(handle)

        events.Handle._run = timed  # noqa: SLF001 - as above

    def take(self) -> float:
        """In milliseconds, since the last time."""
        found, self.seconds = self.seconds * 1000, 0.0
        return found


class Doors:
    """Sends inputs."""

    def __init__(self, port: int, app: App, bus: Client, node_id: str) -> None:
        self._port = port
        self._app = app
        self._bus = bus
        self._node_id = node_id

    async def http(self, method: str, path: str, body: str | None = None, kind: str = "") -> bytes:
        """A request."""
        return await asyncio.to_thread(self._http, method, path, body, kind)

    def _http(self, method: str, path: str, body: str | None, kind: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
        headers = {"Content-Type": kind or "application/json", "Accept-Encoding": "gzip"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse().read()
        connection.close()
        return answer

    async def packet(self, params: str, action: str = "doors.echo") -> None:
        """A call over the bus, and its answer."""
        packet = (
            f'{{"ver":"4","sender":"other","id":"1","action":"{action}","params":{params},"meta":{{}},'
            '"level":1,"tracing":null,"parentID":null,"requestID":"1","caller":null,"stream":false}'
        )
        answer = asyncio.get_running_loop().create_future()

        async def hear(message: Msg) -> None:
            if not answer.done():
                answer.set_result(message.data)

        heard = await self._bus.subscribe("MOL.RES.other", cb=hear)
        await self._bus.publish(f"MOL.REQ.{self._node_id}", packet.encode())
        async with asyncio.timeout(60):
            await answer
        await heard.unsubscribe()

    async def stored(self) -> int:
        """A context with large events; returns its id."""
        started = await self.http("POST", "/api/tasks/doors.take", "{}")
        context = json.loads(started)["context_id"]
        for _ in range(LARGE_EVENTS):
            event = f'{{"event":{{"type":"large","payload":{BODIES["digits"][: MIB // 2]}0]}}}}'
            await self.http("POST", f"/api/events/{context}", event)
        return context

    async def stream(self, context: int) -> None:
        """All events of a context as server-sent events."""

        def read() -> None:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=300)
            connection.request("GET", f"/api/contexts/{context}/stream")
            answer, count = connection.getresponse(), 0
            while count <= LARGE_EVENTS:
                count += answer.readline().startswith(b"id:")
            connection.close()

        await asyncio.to_thread(read)


def inputs(doors: Doors, context: int) -> dict[str, Callable[[], Awaitable[object]]]:
    """The worst inputs, by name."""

    def post(path: str, body: str, kind: str = "") -> Callable[[], Awaitable[object]]:
        return lambda: doors.http("POST", path, body, kind)

    def get(path: str) -> Callable[[], Awaitable[object]]:
        return lambda: doors.http("GET", path)

    fields = "&".join(f"a[{n}][b{n}]=1" for n in range(999))
    deep = "&".join(["a" + "[b]" * 60 + "=1"] * 999)
    strings, keys, form = BODIES["strings"], BODIES["keys"], "application/x-www-form-urlencoded"
    found = {
        "params typed": post("/api/tasks/doors.numbers", _params("values", BODIES["floats"])),
        "problems": post("/api/doors/typed", f'{{"numbers":{strings}}}'),
        "problems of names": post("/api/doors/typed", f'{{"numbers":[],"names":{keys}}}'),
        "unknown names": post("/api/doors/typed", keys),
        "problems of a task": post("/api/tasks/doors.numbers", _params("values", strings)),
        "form": post("/api/doors/echo", fields, form),
        "form deep": post("/api/doors/echo", deep, form),
        "query": post(f"/api/doors/echo?{fields[:60_000]}", ""),
        "path": get("/api/" + "a/" * 30_000),
        "document": get("/openapi.json"),
        "page of it": get("/api"),
        "metrics": get("/metrics"),
        "events read": get(f"/api/contexts/{context}/events"),
        "context read": get(f"/api/contexts/{context}"),
        "log read": get("/api/events"),
        "events streamed": lambda: doors.stream(context),
        "packet problems": lambda: doors.packet(f'{{"numbers":{strings}}}', "doors.typed"),
    }
    for name, body in BODIES.items():
        event = f'{{"event":{{"type":"e","payload":{body}}}}}'
        found |= {
            f"http {name}": post("/api/doors/echo", body),
            f"params {name}": post("/api/tasks/doors.take", _params("value", body)),
            f"event {name}": post(f"/api/events/{context}", event),
            f"packet {name}": lambda body=body: doors.packet(body),
        }
    return found


def _params(name: str, value: str) -> str:
    return f'{{"params":{{"{name}":{value}}}}}'


async def measured(names: list[str]) -> dict[str, float]:
    """The longest block of each input, in milliseconds."""
    longest, found = Longest(), dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        bus = Bus(max_payload=2 * MIB)
        await bus.start(Path(folder))
        async with AsyncExitStack() as stack:
            stack.push_async_callback(bus.kill)
            config = Config(Path(folder, "home"), EmbeddedDatabase(), (), Path(folder))
            stack.push_async_callback(asyncio.to_thread, EmbeddedPostgres(config.home).stop)
            app = await stack.enter_async_context(App.open(config, Registry(services())))
            settings = {"url": bus.url, "node_id": "blocks", "bus_actions": ["*"]}
            await stack.enter_async_context(node_of(app, settings, ""))
            address = await stack.enter_async_context(
                serving(app, GatewaySettings(port=0, tokens=False))
            )
            other = await nats.connect(bus.url)
            stack.push_async_callback(other.close)
            doors = Doors(int(address.rpartition(":")[2]), app, other, "blocks")
            context = await doors.stored()
            for name, send in inputs(doors, context).items():
                if names and not any(each in name for each in names):
                    continue
                await send()  # what is made once is not in it
                rounds = []
                for _ in range(ROUNDS):
                    longest.take()
                    await send()
                    what = longest.what
                    rounds.append(longest.take())
                found[name] = min(rounds)
                print(
                    f"{name:24}{found[name]:8.1f} ms  {what[:150] if found[name] > TARGET else ''}",
                    flush=True,
                )
    return found


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return 0 when the target is met."""
    parser = argparse.ArgumentParser(prog="benchmarks.blocks", description="blocks of the loop")
    parser.add_argument("names", nargs="*", help="inputs whose name has one of these")
    found = asyncio.run(measured(parser.parse_args(argv).names))
    worst = max(found, key=lambda name: found[name])
    print(f"longest: {worst}, {found[worst]:.1f} ms (target: at most {TARGET:.0f} ms)")
    return 0 if found[worst] <= TARGET else MISSED


if __name__ == "__main__":
    sys.exit(main())
