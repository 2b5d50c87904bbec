"""Traces by OpenTelemetry, if the environment says where they go; nothing of it is loaded if it does not.

`OTEL_EXPORTER_OTLP_ENDPOINT` and its kin are OpenTelemetry's own variables, read by its own library, which the extra
`otel` brings. Traces leave by OTLP over HTTP from a thread of that library: a collector that is away costs nobody time.
"""

import importlib.util
import logging
import os
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Literal

log = logging.getLogger(__name__)

Kind = Literal["SERVER", "CLIENT", "INTERNAL", "CONSUMER"]
Attributes = Mapping[str, str | int | float]
_PLACES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_HEADER: Final = "traceparent"


class Span:
    """Something that is traced, from its beginning to its end."""

    __slots__ = ("_context", "_span", "_tracer", "traceparent")

    def __init__(self, tracer: Any, span: Any) -> None:  # noqa: ANN401  # the library may not be installed
        """Wrap a span of the library."""
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer, self._span = tracer, span
        self._context = set_span_in_context(span)
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier, self._context)
        self.traceparent = carrier.get(_HEADER, "")

    def __enter__(self) -> "Span":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(failed=error is not None)

    def add(self, name: str, seconds: float, attributes: Attributes) -> None:
        """Add a part of it that ended just now."""
        now = time.time_ns()
        began = now - int(seconds * 1e9)
        part = self._tracer.start_span(name, context=self._context, start_time=began, attributes=dict(attributes))
        part.end(end_time=now)

    def begin(self, name: str, attributes: Attributes) -> "Span":
        """Begin a part of it."""
        return Span(self._tracer, self._tracer.start_span(name, context=self._context, attributes=dict(attributes)))

    def end(self, *, name: str = "", failed: bool = False, attributes: Attributes | None = None) -> None:
        """End it."""
        from opentelemetry.trace import StatusCode

        if name:
            self._span.update_name(name)
        self._span.set_attributes(dict(attributes or {}))
        if failed:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class Tracer:
    """Begins spans."""

    def __init__(self, provider: Any) -> None:  # noqa: ANN401  # the library may not be installed
        """Trace by a provider of the library."""
        self._provider = provider
        self._tracer = provider.get_tracer("deltareg")

    def begin(self, name: str, *, parent: str, kind: Kind, attributes: Attributes) -> Span:
        """Begin something, as part of what a trace context names, or else by itself."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        context = TraceContextTextMapPropagator().extract({_HEADER: parent}) if parent else None
        span = self._tracer.start_span(name, context=context, kind=SpanKind[kind], attributes=dict(attributes))
        return Span(self._tracer, span)

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def open_tracer(service: str) -> Tracer | None:
    """Return what traces this process; None where the environment asks for no traces.

    Args:
        service: How the process is called in traces, unless OTEL_SERVICE_NAME says otherwise.
    """
    if not is_asked_for(_PLACES):
        return None
    if os.environ.get("OTEL_TRACES_EXPORTER", "otlp").lower() == "none":
        return None
    if importlib.util.find_spec("opentelemetry") is None or importlib.util.find_spec("opentelemetry.sdk") is None:
        log.warning("OTEL_EXPORTER_OTLP_ENDPOINT is set, and nothing is traced: pip install 'deltareg[otel]'")
        return None
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=resource_of(service))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider)


def is_asked_for(places: Sequence[str]) -> bool:
    """Whether the environment says where something goes, by one of these variables, and not to send anything at all."""
    is_off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true"
    return not is_off and any(os.environ.get(name) for name in places)


def resource_of(service: str) -> Any:  # noqa: ANN401  # the library may not be installed
    """Return how this process is called, unless OTEL_SERVICE_NAME says otherwise."""
    from opentelemetry.sdk.resources import Resource

    return Resource.create({} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service})
