"""Each request is told of: a line without secrets, a record of where its time went, metrics of bounded size."""

import json
import logging
import re
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pytest
import yaml
from fastapi.testclient import TestClient

from deltareg.api.app import create_app
from deltareg.api.doctor.slow import group
from deltareg.api.observability import slow_requests
from deltareg.api.observability.options import Observability
from deltareg.api.observability.request_record import RequestRecord
from deltareg.api.observability.slow_requests import SlowRequestFiles, read_slow_requests
from deltareg.db.runs import runs
from deltareg.db.session import create_engine, write
from deltareg.digest import sha256_of
from deltareg.errors import BlobMissing
from deltareg.host.time_spent import TimeSpent
from deltareg.service.access.tokens import bootstrap_token, mint_secret
from deltareg.service.registry import Registry
from deltareg.store import fresh_key, open_store
from deltareg.store.watched import WatchedStore
from deltareg.wire import API

DEPLOY = Path(__file__).parents[2] / "deploy" / "observability"
OWN = re.compile(r"\bdeltareg_[a-z_]+\b")
_UPLOAD_SCOPE = {
    "method": "PUT",
    "path": f"{API}/uploads/0f0f",
    "query_string": b"",
    "path_params": {"upload_id": "0f0f"},
    "route": SimpleNamespace(path=f"{API}/uploads/{{upload_id}}"),
}
HISTOGRAM = re.compile(r"_(bucket|sum|count)$")


@pytest.fixture
def slow(tmp_path):
    return SlowRequestFiles(tmp_path / "records")


@pytest.fixture
def asked(sqlite_url, slow, tmp_path):
    """Give a client of an app, its registry, and an admin's token."""
    engine = create_engine(sqlite_url)
    registry = Registry(engine, WatchedStore(open_store("memory://")))
    token = mint_secret("pat")
    bootstrap_token(registry, principal="ada", kind="pat", scopes=["read", "push", "admin"], secret=token)
    app = create_app(
        registry, allowed_hosts=["testserver"], observability=Observability(slow, None, {"records": tmp_path})
    )
    client = TestClient(app, headers={"Authorization": f"Bearer {token}"}, raise_server_exceptions=False)
    yield client, registry, token
    engine.dispose()


def test_a_request_is_a_line_with_its_route_and_no_secret(asked, caplog):
    client, _, token = asked
    caplog.set_level(logging.INFO, "deltareg.access")

    client.get(f"{API}/deltas/team/chat/versions?token={token}", headers={"X-Request-Id": "r-1"})

    fields = caplog.records[-1].fields
    assert fields["route"] == f"{API}/deltas/{{ns}}/{{name}}/versions"
    assert {name: fields[name] for name in ("method", "status", "principal", "request_id", "problem")} == {
        "method": "GET",
        "status": 404,
        "principal": "ada",
        "request_id": "r-1",
        "problem": "not_found",
    }
    assert fields["ms"] >= fields["database_ms"] > 0
    assert token not in json.dumps([record.__dict__ for record in caplog.records], default=str)


def test_requests_of_pushes_are_recorded_with_their_parts(asked, slow, tmp_path):
    client, _, _ = asked

    client.get(f"{API}/uploads/0f0f", headers={"X-Request-Id": "r-2"})
    client.get(f"{API}/deltas/team/chat/versions")
    slow.write()

    (line,) = read_slow_requests(tmp_path / "records", since=0)
    assert (line["route"], line["about"], line["by"]) == (f"{API}/uploads/{{upload_id}}", "upload_id=0f0f", "ada")
    assert line["request"] == "r-2"
    parts = json.loads(json.dumps(line["parts"]))
    assert 0 < parts["database"] <= line["s"]


def test_parts_of_many_short_requests_add_up(slow, tmp_path):
    for _ in range(1_000):
        record = RequestRecord(_UPLOAD_SCOPE, TimeSpent(), "r-3")
        record.seconds, record.spent.database = 0.000_45, 0.000_4
        slow.note(record, is_patient=False)
    slow.write()

    (push,) = group(read_slow_requests(tmp_path / "records", since=0)).values()

    assert push.parts == {"database": pytest.approx(0.4), "own": pytest.approx(0.05)}


def test_the_record_is_bounded(asked, slow, tmp_path, monkeypatch):
    monkeypatch.setattr(slow_requests, "_FILE_BYTES", 1_000)
    client, _, _ = asked

    for _ in range(40):
        client.get(f"{API}/uploads/0f0f")
        slow.write()

    files = list((tmp_path / "records").iterdir())
    assert len(files) == 4
    assert sum(file.stat().st_size for file in files) < 4 * 2_000


def test_nobody_makes_series_by_making_things(asked):
    client, registry, _ = asked
    before = len(_series(client))
    with write(registry.engine) as conn:
        for number in range(60):
            runs.enqueue(
                conn,
                run_id=f"{number:08x}-0000-4000-8000-000000000000",
                what="reencode",
                dedup_key=str(number),
                version_id=None,
                request={},
                labels={"device": f"made-up-{number}"},
            )
    for number in range(100):
        client.request(f"MADE{number}", f"/made/{number}", headers={"X-Request-Id": f"made-{number}"})

    series = _series(client, fresh=True)

    assert len(series) - before < 100
    assert sum(float(line.rsplit(" ", 1)[1]) for line in series if "queue_runs" in line and "waiting" in line) == 60
    assert "deltareg_queue_unserved_runs 60.0" in series


def test_metrics_go_on_without_the_database(asked, tmp_path):
    client, registry, _ = asked
    assert "deltareg_database_up 1.0" in _series(client)
    registry.engine.dispose()
    Path(registry.engine.url.database).rename(tmp_path / "away")
    Path(registry.engine.url.database).mkdir()

    series = _series(client, fresh=True)

    assert "deltareg_database_up 0.0" in series
    assert any(line.startswith("deltareg_requests_total") for line in series)
    assert not any(line.startswith("deltareg_queue") for line in series)


def test_the_first_fault_of_a_store_raises_a_counter_that_was_there_before(asked):
    client, registry, _ = asked
    lost = 'deltareg_store_calls_total{call="read",outcome="blob_missing"}'
    assert f"{lost} 0.0" in _series(client)

    with pytest.raises(BlobMissing):
        list(registry.store.read(fresh_key(sha256_of(b"gone"), attempt=uuid4())))

    assert f"{lost} 1.0" in _series(client, fresh=True)


def test_alerts_and_the_dashboard_ask_for_metrics_that_there_are(asked):
    client, _, _ = asked
    client.get(f"{API}/deltas/team/chat/versions")
    known = {line.split("{")[0].split(" ")[0] for line in _series(client)}
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
    board = json.loads((DEPLOY / "dashboard.json").read_text())
    asked_for = [rule["expr"] for rule in rules]
    asked_for += [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]

    unknown = {name for text in asked_for for name in OWN.findall(text)} - known

    # Operations are added by a server, and this is an app alone; quotas have a series for each limit.
    assert {name for name in unknown if "_task_" not in name and name != "deltareg_quota_used_ratio"} == set()
    assert all({"summary", "fix"} <= set(rule["annotations"]) for rule in rules)


def _series(client, *, fresh=False):
    if fresh:  # a look is shared for half a second
        client.app.state.server.health.text._at = float("-inf")
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return [line for line in answer.text.splitlines() if not line.startswith("#")]
