"""A real Prometheus beside a server: rules and panels are asked of it, with their times made short."""

import math
import re
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from tests.fixtures.processes import until

DEPLOY = Path(__file__).parents[2] / "deploy" / "observability"
SHORT_S = 8
# Ages and windows of hours become seconds; shares and numbers stay, but for how many webhook events are many.
_SHORTER = (
    (re.compile(r"\[\d+[mh]\]"), f"[{SHORT_S}s]"),
    (re.compile(r"> (3600|1800|600|1209600)\b"), f"> {SHORT_S}"),
    (re.compile(r", 604800\)"), ", 120)"),
    (re.compile(r"\)\)\) > 5$"), "))) > 1"),
    (re.compile(r"deliveries\) > 100"), "deliveries) > 2"),
)


def shorten(expr):
    """Make the times of an expression short."""
    for pattern, by in _SHORTER:
        expr = pattern.sub(by, expr.strip())
    return expr


def rules():
    return yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]


class Prometheus:
    """A Prometheus that runs."""

    def __init__(self, url):
        self.url = url

    def query(self, expr):
        """Evaluate an expression now; gives its series."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": expr}).json()
        assert answer["status"] == "success", answer
        return answer["data"]["result"]

    def drawn(self, expr, *, is_chart):
        """Give what Grafana could draw of a panel's query, a line a series: a number or, of a chart, its range."""
        now = time.time()
        path, times = ("query_range", {"start": now - 300, "end": now, "step": 5}) if is_chart else ("query", {})
        answer = httpx.get(f"{self.url}/api/v1/{path}", params={"query": expr, **times}).json()
        assert answer["status"] == "success", answer
        lines = []
        for series in answer["data"]["result"]:
            values = [float(each[1]) for each in series.get("values") or [series["value"]]]
            values = [each for each in values if math.isfinite(each)]
            if values:
                name = ", ".join(f"{key}={value}" for key, value in series["metric"].items()) or "all"
                lines.append(f"{name}: {min(values):.4g} to {max(values):.4g}, last {values[-1]:.4g}, of {len(values)}")
        return lines

    def firing(self):
        """Give the alerts that fire, by name."""
        alerts = httpx.get(f"{self.url}/api/v1/alerts").json()["data"]["alerts"]
        return {each["labels"]["alertname"]: each for each in alerts if each["state"] == "firing"}

    def until_fires(self, name, timeout_s=90):
        """Wait until an alert fires; gives it, and how many seconds that took."""
        began = time.monotonic()
        alert = until(lambda: self.firing().get(name), f"{name} fires", timeout_s=timeout_s, pause_s=0.3)
        return alert, time.monotonic() - began

    def until_quiet(self, name, timeout_s=90):
        until(lambda: name not in self.firing(), f"{name} is over", timeout_s=timeout_s, pause_s=0.3)


@contextmanager
def prometheus(folder, target):
    """Run Prometheus with our rules against a server, `host:port`."""
    if shutil.which("prometheus") is None:
        pytest.skip("needs Prometheus: apt-get install prometheus")
    short = [{**rule, "expr": shorten(rule["expr"]), **({"for": "1s"} if "for" in rule else {})} for rule in rules()]
    (folder / "alerts.yaml").write_text(yaml.safe_dump({"groups": [{"name": "deltareg", "rules": short}]}))
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["alerts.yaml"],
        "scrape_configs": [{"job_name": "deltareg", "static_configs": [{"targets": [target]}]}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        running = Prometheus(f"http://127.0.0.1:{port}")
        until(lambda: _is_ready(running.url), "Prometheus is ready", pause_s=0.2)
        yield running
    finally:
        process.terminate()
        process.wait(30)


def _is_ready(url):
    try:
        return httpx.get(f"{url}/-/ready").is_success
    except httpx.HTTPError:
        return False
