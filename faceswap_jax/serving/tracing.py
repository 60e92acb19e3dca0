"""Traces for OpenTelemetry, where its variables say to whom they go."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NoOpTracer, Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


class Traces:
    """Spans of requests and of the work for them; none without somebody who takes them."""

    def __init__(self, exporter: SpanExporter | None = None):
        """Sends spans to an exporter, if there is one."""
        self._provider: TracerProvider | None = None
        self.tracer: Tracer = NoOpTracer()
        if exporter is not None:
            # OTEL_SERVICE_NAME wins.
            name = {SERVICE_NAME: os.environ.get("OTEL_SERVICE_NAME", "faceswap")}
            self._provider = TracerProvider(resource=Resource.create(name))
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
            self.tracer = self._provider.get_tracer("faceswap")

    @classmethod
    def from_environment(cls) -> "Traces":
        """Spans go where OpenTelemetry's own variables say, and nowhere if they say nothing."""
        return cls(OTLPSpanExporter() if any(map(os.environ.get, ENDPOINTS)) else None)

    @contextmanager
    def request(self, method: str, headers: Mapping[str, str]) -> Iterator[Span]:
        """The span of a request, below that of the client if it has told it."""
        above = TraceContextTextMapPropagator().extract(headers, Context())
        with self.tracer.start_as_current_span(method, above, SpanKind.SERVER) as span:
            yield span

    def close(self) -> None:
        """Sends what has not been sent."""
        if self._provider is not None:
            self._provider.shutdown()
