"""Spans for OpenTelemetry: of actions and runs, in one trace with whoever called."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import StatusCode

from dama import Service, Task, spans
from dama.app import App
from dama.definitions.registry import Registry
from dama.shipped.node import node_of
from dama.shipped.tasks import TaskFailedError

GIVEN = f"00-{'a' * 32}-{'b' * 16}-01"
office = Service("office")


@office.action
async def stamp(call, text: str) -> str:
    """Stamp a text."""
    return await call.call("office.ink", {"text": text})


@office.action
async def ink(call, text: str) -> str:
    """Ink a text, unless it is empty."""
    if not text:
        raise ValueError("nothing to ink")
    return f"[{text}]"


@office.task
async def letter(task: Task, text: str) -> str:
    """Stamp a text, by an action."""
    return await task.call("office.stamp", {"text": text})


class Kept(SpanExporter):
    """Keeps what it gets."""

    def __init__(self):
        self.spans = []

    def export(self, batch):
        self.spans += batch
        return SpanExportResult.SUCCESS


@pytest.fixture
def kept(monkeypatch):
    monkeypatch.setattr(spans, "_tracer", None)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    exporter = Kept()
    assert spans.configure_spans("test", exporter)
    return exporter


async def found(kept, *names):
    """The first spans of these names, a little later: they are exported in batches."""
    async with asyncio.timeout(60):
        while Counter(names) - Counter(each.name for each in kept.spans):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return [next(s for s in kept.spans if s.name == name) for name in names]


async def test_a_call_within_a_call_is_below_it_in_the_trace_of_who_called(kept, store):
    app = App(store, Registry([office]))
    async with node_of(app, {}, ""):
        broker = await app.broker()
        call = broker.new_call(
            None, "office.stamp", {"text": "a"}, {"meta": {"traceparent": GIVEN}}
        )
        assert await broker.perform(call) == "[a]"
        assert call.meta["traceparent"] == GIVEN
        with pytest.raises(ValueError, match="nothing"):
            await broker.call("office.ink", {"text": ""})
    outer, inner, _ = await found(kept, "office.stamp", "office.ink", "office.ink")
    assert outer.context.trace_id == inner.context.trace_id == int("a" * 32, 16)
    assert outer.parent.span_id == int("b" * 16, 16)
    assert inner.parent.span_id == outer.context.span_id
    failed = [s for s in kept.spans if s.attributes.get("error.type") == "ValueError"]
    assert [s.name for s in failed] == ["office.ink"]


async def test_a_run_has_the_span_that_its_programs_are_told(kept, store):
    app = App(store, Registry([office]))
    async with node_of(app, {}, ""), app.working():
        broker = await app.broker()
        params = {"name": "office.letter", "params": {"text": "a"}}
        await broker.call("tasks.run", params, meta={"traceparent": GIVEN})
    run, action = await found(kept, "office.letter", "office.stamp")
    assert run.context.trace_id == action.context.trace_id == int("a" * 32, 16)
    assert action.parent.span_id == run.context.span_id
    assert run.attributes["context_id"] == 1


async def test_the_span_of_a_run_that_failed_says_so(kept, store):
    app = App(store, Registry([office]))
    async with node_of(app, {}, ""), app.working():
        broker = await app.broker()
        with pytest.raises(TaskFailedError):
            await broker.call("tasks.run", {"name": "office.letter", "params": {"text": ""}})
    (run,) = await found(kept, "office.letter")
    assert run.status.status_code is StatusCode.ERROR
    assert "nothing to ink" in run.status.description
    assert run.attributes["error.type"] == "ValueError"


async def test_spans_are_sent_to_a_collector(tmp_path, database_url):
    """The real exporter of a real command, to a server that takes what comes."""
    received = asyncio.Event()

    async def collector(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        body = await reader.readexactly(size)
        assert head.startswith(b"POST /v1/traces")
        assert body
        received.set()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(collector, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    environ = {
        **os.environ,
        "DAMA_DATABASE_URL": database_url,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
    }
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("dama")), "call", "tasks.list",
        cwd=tmp_path, env=environ, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0
    assert json.loads(output) == []
    async with asyncio.timeout(60):
        await received.wait()
    server.close()


def test_without_a_collector_nothing_is_imported(monkeypatch):
    monkeypatch.setattr(spans, "_tracer", None)
    assert not spans.configure_spans("test")
    with spans.span("x") as made:
        assert made.traceparent is None
        made.fail(ValueError("nobody collects"))
