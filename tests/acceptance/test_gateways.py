"""Several gateways behind a proxy: one is killed, and who follows a stream misses nothing."""

import asyncio
import contextlib
import itertools
import json
import os
from pathlib import Path

import httpx

from dama.domain.event import Event
from dama.store import Append, Start, Store
from tests.plain_http import NO_TLS

EVENTS, SOME = 400, 50


class Copies:
    """Two gateways, and a proxy before them that takes them in turn."""

    def __init__(self, folder, url, forked):
        self.folder = folder
        self.dama = forked.dama
        self.environ = forked.environ(DAMA_DATABASE_URL=url)
        self.processes = []
        self.ports = []
        self.served = []

    async def start(self):
        """Start one; its port is in what it says."""
        process = await asyncio.create_subprocess_exec(
            self.dama, "gateway", "--port", "0",
            cwd=self.folder, env=self.environ, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        self.processes.append(process)
        async with asyncio.timeout(30):
            while b"The gateway is at" not in (line := await process.stderr.readline()):
                assert line, "the gateway ended"
        self.ports.append(int(line.split(b";")[0].rpartition(b":")[2]))
        process.reading = asyncio.create_task(process.stderr.read())

    @contextlib.asynccontextmanager
    async def proxy(self):
        """Bytes in both directions; the next connection goes to the next copy that is there."""
        turns = itertools.cycle(range(len(self.ports)))

        async def pass_on(reader, writer):
            with contextlib.suppress(OSError):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
            writer.close()

        async def connected(reader, writer):
            for _ in self.ports:
                number = next(turns)
                try:
                    there = await asyncio.open_connection("127.0.0.1", self.ports[number])
                except OSError:
                    continue
                self.served.append(number)
                await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer))
                return
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()

    async def close(self):
        """End what is left."""
        for process in self.processes:
            if process.returncode is None:
                process.kill()
            await process.wait()
            await process.reading


async def test_a_client_misses_nothing_when_its_gateway_is_killed(
    tmp_path, database_url, store, forked
):
    """It comes back with the id of the last event, to whichever copy the proxy gives it."""
    copies = Copies(tmp_path, database_url, forked)
    try:
        await copies.start()
        await copies.start()
        async with copies.proxy() as address:
            enough = asyncio.Event()
            received = asyncio.create_task(follow(address, EVENTS, enough))
            writing = asyncio.create_task(write(store, EVENTS))
            async with asyncio.timeout(30):
                await enough.wait()
            victim = copies.processes[copies.served[0]]
            victim.kill()
            await victim.wait()
            await writing
            async with asyncio.timeout(40):
                positions, numbers = await received
    finally:
        await copies.close()
    assert numbers == list(range(EVENTS))
    assert positions == sorted(set(positions))
    assert set(copies.served) == {0, 1}


async def write(store: Store, count: int) -> None:
    """Append events, a few at a time, to a context of its own."""
    (context_id,) = await store.start([Start("x.y", {})])
    for number in range(0, count, 4):
        events = [Event("number", n) for n in range(number, number + 4)]
        await store.append_many([Append(context_id, event) for event in events])
        await asyncio.sleep(0.005)


async def follow(address: str, count: int, enough: asyncio.Event) -> tuple[list[int], list[int]]:
    """What a client gets that comes back whenever it is cut off; tells when it has some."""
    positions, numbers = [], []
    home = Path(os.environ["DAMA_HOME"])
    text = (home / "gateway.token").read_text().strip()
    token = {"Authorization": f"Bearer {text}"}
    async with httpx.AsyncClient(timeout=60, headers=token, verify=NO_TLS) as client:
        while len(numbers) < count:
            headers = {"Last-Event-ID": str(positions[-1])} if positions else {}
            with contextlib.suppress(httpx.TransportError):
                async with client.stream("GET", f"{address}/api/stream", headers=headers) as answer:
                    position = 0
                    async for line in answer.aiter_lines():
                        if line.startswith("id: "):
                            position = int(line[4:])
                        elif line.startswith("data: "):
                            event = json.loads(line[6:])
                            positions.append(position)
                            if event["type"] == "number":
                                numbers.append(event["payload"])
                        if len(numbers) > SOME:
                            enough.set()
                        if len(numbers) >= count:
                            break
    return positions, numbers


async def test_a_program_of_dama_up_is_told_where_and_with_which_token(
    tmp_path, database_url, forked
):
    """A program that knows curl and nothing of dama tells what it does."""
    script = (
        'curl -sf -X POST "$DAMA_URL/api/run/events" -H "Authorization: Bearer $DAMA_TOKEN"'
        ' -H "Content-Type: application/json" -d \'{"type": "told", "payload": {"rows": 5}}\''
    )
    (tmp_path / "dama.toml").write_text(
        f'[programs."web.tell"]\ncommand = ["bash", "-c", {json.dumps(script)}]\n'
    )
    environ = forked.environ(DAMA_DATABASE_URL=database_url)
    process = await asyncio.create_subprocess_exec(
        forked.dama, "run", "--enqueue", "web.tell", cwd=tmp_path, env=environ
    )
    assert await process.wait() == 0
    up = await asyncio.create_subprocess_exec(
        forked.dama, "up", "--port", "0", "--until-idle", cwd=tmp_path, env=environ
    )
    async with asyncio.timeout(40):
        assert await up.wait() == 0
    async with Store.opened(database_url) as store:
        types = {event.type: event.payload for event in await store.events(1)}
    assert types["told"] == {"rows": 5}
    assert "web.tell:FINAL" in types
