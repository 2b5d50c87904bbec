"""A server's traces and metrics, as OpenTelemetry's own protobuf reads them; nothing is loaded unasked."""

import os
import subprocess
import sys

import pytest
from fastapi.testclient import TestClient

from deltareg.api.app import create_app
from deltareg.api.observability.options import Observability
from deltareg.api.observability.tracing import tracing
from deltareg.db.runs import runs
from deltareg.db.session import create_engine, write
from deltareg.host.causes import caused_by, current_cause
from deltareg.host.exported_metrics import export_metrics
from deltareg.host.time_spent import SPENT
from deltareg.host.traces import open_tracer
from deltareg.service.access.tokens import bootstrap_token, mint_secret
from deltareg.service.registry import Registry
from deltareg.store import open_store
from deltareg.wire import API
from tests.observability.collector import collecting

TRACE = "0af7651916cd43dd8448eb211c80319c"
SENT = f"00-{TRACE}-b7ad6b7169203331-01"


@pytest.fixture
def registry(sqlite_url):
    engine = create_engine(sqlite_url)
    yield Registry(engine, open_store("memory://"))
    engine.dispose()


def test_nothing_of_it_is_loaded_without_being_asked_for():
    code = "import sys; import deltareg.api.serving, deltareg_cli.main; print('opentelemetry.sdk' in sys.modules)"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL")}

    loaded = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)

    assert loaded.stdout == "False\n"


def test_a_request_is_a_span_of_its_senders_trace_with_its_statements(registry, monkeypatch):
    pytest.importorskip("opentelemetry.sdk", reason="needs the extra otel")
    token = mint_secret("pat")
    bootstrap_token(registry, principal="ada", kind="pat", scopes=["read"], secret=token)
    with collecting() as (collector, address):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        tracer = open_tracer("deltareg-server")
        assert tracer is not None
        app = create_app(registry, allowed_hosts=["testserver"], observability=Observability(begin=tracing(tracer)))
        headers = {"Authorization": f"Bearer {token}", "traceparent": SENT, "X-Request-Id": "r-1"}
        TestClient(app).get(f"{API}/deltas?limit=7", headers=headers)
        end = export_metrics("deltareg-server", app.state.server.health.samples)
        assert end is not None
        end()
        tracer.close()

    (request,) = collector.named(f"GET {API}/deltas")
    statements = [span for span in collector.spans if span.parent_span_id == request.span_id]
    assert request.trace_id.hex() == TRACE
    assert request.parent_span_id.hex() == "b7ad6b7169203331"
    assert statements
    assert all(span.name.startswith("sql ") for span in statements)
    assert token not in str(collector.spans)
    assert collector.metrics["deltareg_database_up"].gauge.data_points[0].as_double == 1
    assert collector.metrics["deltareg_requests_total"].sum.is_monotonic


def test_a_run_goes_on_with_the_request_that_asked_for_it(registry):
    app = create_app(registry, allowed_hosts=["testserver"])
    queued: dict[str, str] = {}

    def ask():
        with write(registry.engine) as conn:
            run_id = runs.enqueue(
                conn,
                run_id="00000000-0000-4000-8000-000000000000",
                what="reencode",
                dedup_key="k",
                version_id=None,
                request={},
            )
            row = runs.run_row(conn, run_id)
            assert row is not None
            queued.update(row.request)

    app.add_api_route("/asks", ask)
    TestClient(app).get("/asks", headers={"X-Request-Id": "r-1", "traceparent": SENT})

    assert queued == {"request_id": "r-1", "traceparent": SENT}
    assert SPENT.get() is None


def test_what_a_worker_asks_is_because_of_the_run(monkeypatch):
    monkeypatch.setenv("TRACEPARENT", "not one")
    with caused_by("r-1", SENT):
        inside = current_cause()
    with caused_by("r\n1", "00-zz"):
        malformed = current_cause()

    assert (inside.request_id, inside.traceparent) == ("r-1", SENT)
    assert (malformed.request_id, malformed.traceparent) == ("", "")
    assert current_cause().traceparent == ""
