"""A handful of the planted set through a real server and worker, to the gate of a channel."""

import sys

import pytest

from deltareg.errors import GateFailed, Refused
from tests.fixtures.processes import until
from tests.planted.deltas import planted_set, publish
from tests.planted.workshop import Workshop

RUN = (sys.executable, "-m", "deltareg_verify", "run")
REFUSED = {"one_nan/vit/oft": "non_finite", "swapped_ab/vit/lora-qv": "rank"}
FAILED = {
    "half_zero/vit/lora-mlp": ("idle", "partial_application"),
    "overflow_f16/vit/lora-qv": ("overflow", "overflow_after_cast"),
    "layers_shifted/vit/lora-mlp": ("golden", "golden_differs"),
    "wrong_base/vit/lora-mlp": ("golden", "golden_differs"),
}
HEALTHY = ("healthy/vit/lora-qv", "healthy/vit/lora-mlp")


@pytest.fixture
def publisher(local_registry, tmp_path):
    """Give a client that pushes planted deltas, each to a line of its own."""
    workshop, client = Workshop(tmp_path / "made"), local_registry.client()
    client.bases.push(workshop.base("vit"), "vit")
    held_out = {p.id.rpartition("/")[0]: p for p in planted_set() if p.half == "held-out"}

    def push(name):
        line = name.replace("/", "-").replace("_", "-")
        folder = publish(held_out[name], workshop, tmp_path / line)
        return client.push(folder, f"planted/{line}", base="vit").version.ref

    return client, push


@pytest.fixture
def worker(local_registry, processes, tmp_path):
    """Run a worker process."""
    token = local_registry.token("read", "verify", principal="worker", kind="wrk")
    environ = processes.environ(
        "worker", DELTAREG_TOKEN=token, DELTAREG_SERVER=local_registry.url, DELTAREG_WORKER_THREADS="1"
    )
    scratch = str(tmp_path / "scratch")
    return processes.start("worker", *RUN, "--scratch", scratch, "--gpu", "cpu", environ=environ)


def judged(client, ref):
    """Give a version's verdict once there is one."""
    return next(iter(client.verdicts.list(ref).items), None)


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_what_is_broken_never_reaches_a_channel_and_what_is_healthy_does(publisher, worker):
    client, push = publisher
    for name, code in REFUSED.items():
        with pytest.raises(Refused, match=code):
            push(name)
    refs = {name: push(name) for name in (*FAILED, *HEALTHY)}

    verdicts = {name: until(lambda ref=ref: judged(client, ref), ref) for name, ref in refs.items()}

    for name, expected in FAILED.items():
        checks = verdicts[name].checks
        assert expected in [(c.name, c.code) for c in checks if c.verdict == "fail"], name
        with pytest.raises(GateFailed):
            client.promote(refs[name], "prod")
    for name in HEALTHY:
        assert client.promote(refs[name], "prod").version == 1
