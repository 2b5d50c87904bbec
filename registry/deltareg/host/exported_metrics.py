"""Metrics sent to a collector of OpenTelemetry, if the environment says where; nothing of it is loaded if it does not.

They are those of `/metrics`, by the same names: what a collector gets and what Prometheus reads cannot differ.
"""

import importlib.util
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from deltareg.host.traces import is_asked_for, resource_of

_PLACES: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
_SHARED_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class MetricSample:
    """A value of a metric.

    Attributes:
        name: The name.
        labels: What it is of.
        value: The value.
        is_sum: Whether it only grows.
    """

    name: str
    labels: Mapping[str, str]
    value: float
    is_sum: bool


@dataclass(slots=True)
class _SharedRead:
    """One read for all metrics of an export."""

    read: Callable[[], Sequence[MetricSample]]
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _at: float = float("-inf")
    _samples: Sequence[MetricSample] = ()

    def take(self) -> Sequence[MetricSample]:
        with self._lock:
            if time.monotonic() - self._at > _SHARED_S:
                self._samples, self._at = self.read(), time.monotonic()
            return self._samples


def export_metrics(service: str, read: Callable[[], Sequence[MetricSample]]) -> Callable[[], None] | None:
    """Send metrics every minute, or as OTEL_METRIC_EXPORT_INTERVAL says; returns what ends that, None if none are sent.

    Args:
        service: How the process is called, unless OTEL_SERVICE_NAME says otherwise.
        read: Reads all metrics; may block.
    """
    if not is_asked_for(_PLACES) or os.environ.get("OTEL_METRICS_EXPORTER", "otlp").lower() == "none":
        return None
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        return None
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    provider = MeterProvider(metric_readers=[reader], resource=resource_of(service))
    meter = provider.get_meter("deltareg")
    shared = _SharedRead(read)
    kinds = {sample.name: sample.is_sum for sample in shared.take()}
    for name, is_sum in kinds.items():
        make = meter.create_observable_counter if is_sum else meter.create_observable_gauge
        make(name, callbacks=[partial(_observe, name, shared)])
    return partial(_end, provider)


def _observe(name: str, shared: _SharedRead, _options: object) -> Iterable[Any]:
    from opentelemetry.metrics import Observation

    return [Observation(each.value, dict(each.labels)) for each in shared.take() if each.name == name]


def _end(provider: Any) -> None:  # noqa: ANN401  # the library may not be installed
    provider.shutdown()
