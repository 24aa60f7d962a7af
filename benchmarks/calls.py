"""Calls: in memory against awaiting the handler; over NATS against Node.js among itself.

In memory: what a call costs more than its handler; target 25 µs. Between two nodes of one process,
without a bus: what both sides of the wire cost a call, in CPU time; target 100 µs. Over NATS, with
1, 50 and 500 in flight: Node.js calls us, we call Node.js, Node.js calls Node.js, in turns on one
bus; target 0.8 of the last. `python -m benchmarks.calls [--calls N] [--rounds N]`.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from _pytest.outcomes import Skipped

from benchmarks import MISSED
from dama import Service
from dama.broker.broker import Broker
from dama.broker.call import Call
from dama.broker.wire.nats import NatsTransporter
from tests.interop.cluster import Bus, install_moleculer

IN_MEMORY = 20_000
IN_FLIGHT = (1, 50, 500)
TARGET_MICROSECONDS = 25
TARGET_ON_THE_WIRE = 100
TARGET_RATIO = 0.8
SCRIPT = """
const { ServiceBroker } = require("moleculer");
const [url, name] = process.argv.slice(2);
const broker = new ServiceBroker({ nodeID: name, transporter: url, logger: false });
broker.createService({ name, actions: {
    echo: ctx => ctx.params,
    run: { timeout: 0, handler: async ctx => {
        const { action, count, flight } = ctx.params;
        let left = count;
        const began = process.hrtime.bigint();
        await Promise.all([...Array(flight)].map(async () => {
            while (left-- > 0) await broker.call(action, { n: 1 });
        }));
        return count / (Number(process.hrtime.bigint() - began) / 1e9);
    } },
} });
broker.start().then(() => console.log("ready"));
"""


def main(argv: list[str] | None = None) -> int:
    """Measure and print; return 0 when the targets are met."""
    parser = argparse.ArgumentParser(prog="benchmarks.calls", description="cost of calls")
    parser.add_argument("--calls", type=int, default=8000, help="over NATS, in each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns, of which the median counts")
    arguments = parser.parse_args(argv)
    is_good = asyncio.run(in_memory(arguments.rounds))
    is_good = asyncio.run(on_the_wire(arguments.calls, arguments.rounds)) and is_good
    try:
        return (
            0 if asyncio.run(over_nats(arguments.calls, arguments.rounds)) and is_good else MISSED
        )
    except Skipped as reason:
        print(reason)
        return 1


def service() -> Service:
    """An action without params, and one whose params are validated."""
    math = Service("math")

    @math.action
    async def echo(call: Call) -> object:
        return call.params

    @math.action
    async def add(_: Call, a: int, b: int) -> int:
        return a + b

    return math


async def in_memory(rounds: int) -> bool:
    """Calls on one node, one after the other."""

    async def bare(value: object) -> object:
        return value

    async with Broker([service()]) as broker:
        cases = {
            "await of a handler": lambda: bare({"a": 1, "b": 2}),
            "call without validation": lambda: broker.call("math.echo", {"a": 1, "b": 2}),
            "call with validation": lambda: broker.call("math.add", {"a": 1, "b": 2}),
            "call with a timeout": lambda: broker.call("math.echo", {"a": 1}, timeout=5),
        }
        times: dict[str, list[float]] = {name: [] for name in cases}
        for name in list(cases) * (rounds + 1):
            began = time.perf_counter()
            for _ in range(IN_MEMORY):
                await cases[name]()
            times[name].append((time.perf_counter() - began) / IN_MEMORY * 1e6)
    medians = {name: statistics.median(found[1:]) for name, found in times.items()}
    limit = medians["await of a handler"]
    for name, median in medians.items():
        print(f"{name:26}{median:7.2f} µs  {median - limit:+7.2f} µs")
    print(f"{'target':26}{TARGET_MICROSECONDS:+18.2f} µs at most")
    return all(median - limit <= TARGET_MICROSECONDS for median in medians.values())


class NoBus:
    """A transporter of one process: what it takes is there at once."""

    longest_packet = 1 << 20

    def __init__(self, topics: dict[str, list[Any]]) -> None:
        self.topics = topics
        self.reading: list[asyncio.Task[None]] = []

    async def connect(self, *_: object) -> None:
        """Nothing has to be opened."""

    async def subscribe(self, topic: str, kind: str, receive: Any, *_: object) -> Any:
        """Receive the packets of a topic, one after the other."""
        packets: asyncio.Queue[bytes] = asyncio.Queue()

        async def read() -> None:
            while True:
                await receive(kind, await packets.get())

        self.topics.setdefault(topic, []).append(packets)
        self.reading.append(asyncio.create_task(read()))
        return self.close

    async def publish(self, topic: str, body: bytes) -> None:
        """Send a packet."""
        for packets in self.topics.get(topic, ()):
            packets.put_nowait(body)

    async def flush(self) -> None:
        """It is there already."""

    async def close(self) -> None:
        """Read nothing more."""
        for each in self.reading:
            each.cancel()


async def on_the_wire(calls: int, rounds: int) -> bool:
    """Calls from one node to another, 500 in flight."""
    topics: dict[str, list[Any]] = {}
    times: list[float] = []
    async with (
        Broker([service()], node_id="callee", transporter=NoBus(topics)),
        Broker(node_id="caller", transporter=NoBus(topics)) as broker,
    ):
        await broker.wait_for_services("math")
        for _ in range(rounds + 1):
            began = time.process_time()
            await from_us(broker, calls, IN_FLIGHT[-1], "math.echo")
            times.append((time.process_time() - began) / calls * 1e6)
    median = statistics.median(times[1:])
    print(f"{'both sides of the wire':26}{median:7.2f} µs")
    print(f"{'target':26}{TARGET_ON_THE_WIRE:7.2f} µs at most")
    return median <= TARGET_ON_THE_WIRE


async def over_nats(calls: int, rounds: int) -> bool:
    """Calls between two nodes."""
    modules = install_moleculer()
    with tempfile.TemporaryDirectory() as folder:
        bus = Bus()
        await bus.start(Path(folder))
        script = write_script(Path(folder))
        try:
            async with (
                node(script, modules, bus.url, "one"),
                node(script, modules, bus.url, "two"),
                Broker([service()], transporter=NatsTransporter(bus.url)) as broker,
            ):
                await broker.wait_for_services("one", "two")
                await asyncio.sleep(1)  # the others hear of us
                return await compared(broker, calls, rounds)
        finally:
            await bus.kill()


def write_script(folder: Path) -> Path:
    """The program of a node of Moleculer."""
    script = folder / "node.js"
    script.write_text(SCRIPT)
    return script


async def compared(broker: Broker, calls: int, rounds: int) -> bool:
    """Print calls a second in each direction, and the ratios."""
    is_good = True
    print(f"{'in flight':12}{'Node->Node':>12}{'Node->us':>18}{'us->Node':>18}")
    for flight in IN_FLIGHT:
        count = calls if flight > 1 else calls // 4
        found: dict[str, list[float]] = {"node": [], "to us": [], "from us": []}
        for _ in range(rounds):
            told = {"count": count, "flight": flight}
            found["node"].append(await broker.call("one.run", {**told, "action": "two.echo"}))
            found["to us"].append(await broker.call("one.run", {**told, "action": "math.echo"}))
            found["from us"].append(await from_us(broker, count, flight))
        node, to_us, from_ = (statistics.median(each) for each in found.values())
        is_good = is_good and min(to_us, from_) >= TARGET_RATIO * node
        print(
            f"{flight:<12}{node:10,.0f}/s{to_us:10,.0f}/s {to_us / node:4.2f}"
            f"{from_:11,.0f}/s {from_ / node:4.2f}"
        )
    print(f"{'target':12}{'':12}{TARGET_RATIO:18}{TARGET_RATIO:18}")
    return is_good


async def from_us(broker: Broker, count: int, flight: int, action: str = "two.echo") -> float:
    """Calls a second that we make."""
    left = count

    async def caller() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await broker.call(action, {"n": 1})

    began = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(flight)))
    return count / (time.perf_counter() - began)


@asynccontextmanager
async def node(script: Path, modules: Path, url: str, name: str) -> AsyncIterator[None]:
    """A node of Moleculer."""
    process = await asyncio.create_subprocess_exec(
        "node", str(script), url, name,
        stdout=asyncio.subprocess.PIPE, env={**os.environ, "NODE_PATH": str(modules)},
    )  # fmt: skip
    await process.stdout.readline()
    try:
        yield
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    sys.exit(main())
