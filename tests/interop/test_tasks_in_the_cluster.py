"""Tasks and Moleculer: a service in Node.js starts tasks, and tasks call actions in Node.js."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import psycopg
import pytest

from dama.broker.errors import CallError
from tests.interop.cluster import js_node, until
from tests.interop.conftest import py_node

DAMA = str(Path(sys.executable).with_name("dama"))
PROJECT = '''
"""Tasks that work together with Node.js."""
import asyncio, pathlib
from dama import Service, Task

etl = Service("etl")

@etl.task
async def part(task: Task, n: int) -> int:
    """Double a number."""
    return n * 2

@etl.task
async def whole(task: Task, count: int) -> int:
    """Add up the parts."""
    return sum(await task.map(part, [{"n": n} for n in range(count)]))

@etl.task
async def held(task: Task) -> object:
    """Wait for a signal that never comes."""
    return await task.wait_for("never")

@etl.task
async def counted(task: Task, gate: str) -> dict:
    """Call an action of Node.js, and wait for a file."""
    number = await task.call("counter.next", {"step": 1})
    while not pathlib.Path(gate).exists():
        await asyncio.sleep(0.02)
    return {"number": number, "again": await task.call("counter.next", {"step": 2})}
'''
COUNTER = """
const { ServiceBroker } = require("moleculer");
const broker = new ServiceBroker({
    nodeID: "counter", transporter: process.argv[2], logger: false, heartbeatInterval: 1,
});
let calls = 0;
broker.createService({
    name: "counter",
    actions: {
        next: ctx => (
            { call: ++calls, key: ctx.meta.idempotency_key, context: ctx.meta.context_id }),
        calls: () => calls,
        // As a service of Node.js would use it.
        total: async ctx => {
            await broker.waitForServices("dama.tasks", 30000);
            const { context_id } = await ctx.call("dama.tasks.start",
                { name: "etl.whole", params: { count: ctx.params.count }, key: ctx.params.key });
            return { context_id, total: await ctx.call("dama.tasks.wait", { context_id }) };
        },
        // `total` was called before: the node knows the service.
        wrong: ctx => ctx.call("dama.tasks.start", { name: "etl.whole", params: { count: "x" } })
            .catch(e => (
                { name: e.name, code: e.code, type: e.type, fields: e.data.map(d => d.field) })),
    },
});
broker.start().then(() => console.log("ready"));
"""


class Worker:
    """`dama worker` as a node of the cluster."""

    def __init__(self, folder: Path, database: str, bus: str) -> None:
        self._folder = folder
        self._environ = {
            **os.environ,
            "DAMA_DATABASE_URL": database,
            "DAMA_BROKER_URL": bus,
            "PYTHONPATH": str(folder),
        }
        (folder / "etl.py").write_text(PROJECT)
        broker = 'heartbeat_interval = 1\nstartable = ["etl.*"]'
        (folder / "dama.toml").write_text(f'services = ["etl"]\n[broker]\n{broker}\n')
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            DAMA, "worker", cwd=self._folder, env=self._environ, stderr=asyncio.subprocess.DEVNULL
        )

    async def kill(self) -> None:
        assert self._process
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


async def start_counter(folder: Path, url: str) -> asyncio.subprocess.Process:
    from tests.interop.cluster import install_moleculer

    script = folder / "counter.js"
    script.write_text(COUNTER)
    process = await asyncio.create_subprocess_exec(
        "node", str(script), url, stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NODE_PATH": str(install_moleculer())},
    )  # fmt: skip
    assert process.stdout
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"ready\n"
    return process


async def test_node_starts_a_task_with_subtasks_and_gets_its_result(bus, tmp_path, database_url):
    worker = Worker(tmp_path, database_url, bus.url)
    counter = await start_counter(tmp_path, bus.url)
    try:
        async with py_node(bus.url) as py:
            await worker.start()
            await py.wait_for_services("dama.tasks", "counter", timeout=60)
            first = await py.call("counter.total", {"count": 10, "key": "k"}, timeout=40)
            assert first["total"] == 90
            again = await py.call("counter.total", {"count": 10, "key": "k"}, timeout=40)
            assert again == first
            wrong = await py.call("counter.wrong", timeout=10)
            assert wrong == {
                "name": "ValidationError",
                "code": 422,
                "type": "VALIDATION_ERROR",
                "fields": ["count"],
            }
    finally:
        counter.kill()
        await counter.wait()
        await worker.kill()


async def test_a_task_goes_on_after_kill_9_without_calling_node_twice(bus, tmp_path, database_url):
    worker = Worker(tmp_path, database_url, bus.url)
    counter = await start_counter(tmp_path, bus.url)
    gate = tmp_path / "gate"
    query = "SELECT count(*) FROM _data_manager_admin.event_store_prototype WHERE type LIKE %s"

    def has_answered():
        with psycopg.connect(database_url) as connection:
            rows = connection.execute(query, ["%/counter.next:DONE"]).fetchone()
        return rows and rows[0]

    try:
        async with py_node(bus.url) as py:
            await worker.start()
            await py.wait_for_services("dama.tasks", "counter", timeout=60)
            params = {"name": "etl.counted", "params": {"gate": str(gate)}}
            started = await py.call("dama.tasks.start", params)
            await until(has_answered)
            await worker.kill()
            gate.touch()
            await worker.start()
            await until(lambda: py.catalog.has_service("dama.tasks"))
            asked = {"context_id": started["context_id"]}
            result = await py.call("dama.tasks.wait", asked, timeout=40, retries=20)
            assert result["number"]["call"] == 1
            assert result["again"]["call"] == 2
            assert result["number"]["context"] == started["context_id"]
            assert result["number"]["key"] != result["again"]["key"]
            assert await py.call("counter.calls") == 2
    finally:
        counter.kill()
        await counter.wait()
        await worker.kill()


async def test_node_hears_that_a_worker_was_killed(bus, tmp_path, database_url):
    """What it waits for there fails instead of waiting forever; the task itself continues later."""
    worker = Worker(tmp_path, database_url, bus.url)
    try:
        async with js_node(bus.url), py_node(bus.url) as py:
            await worker.start()
            await py.wait_for_services("dama.tasks", "js", timeout=60)

            async def js_sees():
                return "dama.tasks" in {service["name"] for service in await py.call("js.services")}

            await until(js_sees)
            started = await py.call("dama.tasks.start", {"name": "etl.held"})
            asked = {
                "context_id": started["context_id"]
            }  # it may say as well that no worker lives yet
            told = {"action": "dama.tasks.wait", "params": asked}
            waiting = asyncio.ensure_future(py.call("js.call", told, timeout=50))
            await asyncio.sleep(0.5)  # it is on its way by then; earlier it would fail all the same
            assert not waiting.done()

            await worker.kill()

            error = (await waiting)["error"]
            assert (error["name"], error["data"]["action"]) == (
                "RequestRejectedError",
                "dama.tasks.wait",
            )
    finally:
        await worker.kill()


async def test_the_shipped_services_take_over_no_calls_of_a_cluster(bus, tmp_path, database_url):
    """Nodes of a cluster may have had a service `tasks` for years; ours has a prefix there."""
    worker = Worker(tmp_path, database_url, bus.url)
    try:
        async with js_node(bus.url, service="tasks"), py_node(bus.url) as py:
            await worker.start()
            await py.wait_for_services("tasks", "dama.tasks", timeout=60)
            told = [await py.call("tasks.who") for _ in range(6)]
            assert told == ["js-1"] * 6
            assert (await py.ask("tasks.list")).node_id == "js-1"
            with pytest.raises(CallError):
                await py.call("tasks.resume", {"context_id": 1})
            listed = await py.call("dama.tasks.list")
            assert "etl.whole" in {task["name"] for task in listed}
    finally:
        await worker.kill()
