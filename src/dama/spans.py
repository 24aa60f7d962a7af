"""Spans: what actions and runs take, for a collector of OpenTelemetry. Its SDK is the extra `otel`.

Nothing is collected, and nothing of the SDK imported, unless `OTEL_EXPORTER_OTLP_ENDPOINT` says
where to send it. A run has the span id of its `TRACEPARENT`: what its program makes is below it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from dama.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Generator

VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
PARTS = 4  # of a traceparent
LONGEST_REASON = 500

_tracer: Any = None
_ids: ContextVar[tuple[int, int] | None] = ContextVar("dama_span_ids", default=None)


def configure_spans(name: str, exporter: Any = None) -> bool:
    """Collect spans from now on; False when nobody asked for it.

    Args:
        name: Of the service, unless `OTEL_SERVICE_NAME` has another.
        exporter: Gets the spans; by default they are sent as OTLP over HTTP.

    Raises:
        UsageError: Somebody asked for it, and the SDK is not installed.
    """
    global _tracer  # noqa: PLW0603 - one for the process, as the SDK has it
    if exporter is None and not os.environ.get(VARIABLE):
        return False
    try:
        _tracer = _provider(name, exporter).get_tracer("dama")
    except ImportError as error:
        raise UsageError(
            f"{VARIABLE} is set, and the SDK of OpenTelemetry is not installed.",
            'pip install "dama-controller[otel]"',
        ) from error
    return True


def _provider(name: str, exporter: Any) -> Any:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    random = RandomIdGenerator()

    class Ids(RandomIdGenerator):
        """The ids that a run has anyway; others by chance."""

        @override
        def generate_trace_id(self) -> int:
            return (_ids.get() or (0, 0))[0] or random.generate_trace_id()

        @override
        def generate_span_id(self) -> int:
            return (_ids.get() or (0, 0))[1] or random.generate_span_id()

    if exporter is None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (
            OTLPSpanExporter,
        )

        exporter = OTLPSpanExporter()
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME") or name})
    provider = TracerProvider(resource=resource, id_generator=Ids())
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider


def is_collecting() -> bool:
    """Whether spans are collected."""
    return _tracer is not None


class Span:
    """A span while it lasts.

    Attributes:
        traceparent: Its own; None when nobody collects.
    """

    def __init__(self, collected: Any = None) -> None:
        self._collected = collected
        self.traceparent: str | None = None
        if collected is not None:
            made = collected.get_span_context()
            self.traceparent = f"00-{made.trace_id:032x}-{made.span_id:016x}-{made.trace_flags:02x}"

    def fail(self, error: BaseException) -> None:
        """Say that what it is about has failed."""
        if self._collected is None:
            return
        from opentelemetry.trace import Status, StatusCode

        self._collected.record_exception(error)
        self._collected.set_attribute("error.type", type(error).__name__)
        self._collected.set_status(Status(StatusCode.ERROR, str(error)[:LONGEST_REASON]))


@contextmanager
def span(
    name: str, *, below: object = None, own: str | None = None, **attributes: Any
) -> Generator[Span]:
    """Collect a span around the block, if anybody collects.

    Args:
        name: What it is called.
        below: The `traceparent` that it belongs to; None or nonsense for a trace of its own.
        own: The `traceparent` that it is to have itself.
        **attributes: What else is known.
    """
    if _tracer is None:
        yield Span()
        return
    from opentelemetry.trace.propagation.tracecontext import (
        TraceContextTextMapPropagator,
    )

    propagator = TraceContextTextMapPropagator()
    carrier = {"traceparent": below} if isinstance(below, str) else {}
    context = propagator.extract(carrier)
    token = _ids.set(_numbers(own))
    try:
        started = _tracer.start_span(name, context=context, attributes=attributes)
    finally:
        _ids.reset(token)
    collected = Span(started)
    try:
        yield collected
    except BaseException as error:
        collected.fail(error)
        raise
    finally:
        started.end()


def _numbers(traceparent: str | None) -> tuple[int, int] | None:
    parts = traceparent.split("-") if traceparent else []
    return (int(parts[1], 16), int(parts[2], 16)) if len(parts) == PARTS else None
