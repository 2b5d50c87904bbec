"""LoRAs of packed bases, all the way: pushed, verified by a real worker, gated, folded."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
from safetensors.torch import load_file, save_file  # noqa: E402  # needs torch

from deltareg.errors import BaseMismatch, GateFailed, GatePending, InvalidInput, Refused  # noqa: E402
from deltareg_verify.command_line import labels  # noqa: E402
from deltareg_verify.materials import Stock  # noqa: E402
from deltareg_verify.options import Options  # noqa: E402
from deltareg_verify.report import Surroundings  # noqa: E402
from deltareg_verify.stop import Stop  # noqa: E402
from deltareg_verify.worker import Worker  # noqa: E402
from tests import packing  # noqa: E402
from tests.fixtures.registries import BOTH_DATABASES  # noqa: E402

OFFERED = labels(Surroundings(environment={"device": "cpu"}, dtype="", sandbox=""))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Write a base, the same in few bits by each scheme, and a LoRA."""
    here = tmp_path_factory.mktemp("folders")
    root = packing.base(here / "root")
    found = {scheme: packing.pack(root, here / scheme, scheme) for scheme in packing.PACKERS}
    return {**found, "root": root, "lora": packing.lora(here / "lora")}


def begin(server, folders):
    client = server.client()
    client.bases.push(folders["root"], "root")
    for scheme in packing.PACKERS:
        client.bases.push(folders[scheme], f"root-{scheme}", variant_of="root", quantised=scheme)


@pytest.fixture
def server(registry_server, folders):
    """Run a registry that has the base and all of its variants."""
    registry_server.step("variants", lambda: begin(registry_server, folders))
    return registry_server


@pytest.fixture
def work(server, zygote, tmp_path):
    """Let a real worker, with the labels that it has, do what is queued."""
    client = server.client(("read", "verify"), principal="worker", kind="wrk")
    options = Options(
        name="w1", gpu="cpu", base_dirs=(), scratch=tmp_path / "scratch", lease_wait_s=0.0,
        run_timeout_s=60.0, stop_grace_s=0.0, threads=1, memory_bytes=0, is_once=True,
    )  # fmt: skip
    stock = Stock(client, base_dirs=())

    def serve(offered=None):
        worker = Worker(
            registry=client, gather=stock.gather, reencode=stock.reencode, children=zygote,
            options=options, device="cpu", labels={**OFFERED, **(offered or {})}, stop=Stop(0.0),
        )  # fmt: skip
        worker.serve()

    return serve


def verified(client, work, ref, variant=""):
    run = client.verify(ref, variant=variant)
    work()
    return client.runs.show(run.id)


LOCAL = pytest.mark.parametrize("both_stacks", ["sqlite-local"], indirect=True)


@LOCAL
@pytest.mark.parametrize("scheme", sorted(packing.PACKERS))
def test_a_lora_of_a_packed_base_is_of_its_root_and_passes_on_both(server, work, folders, scheme):
    client = server.client()
    name = f"root-{scheme}"

    pushed = client.push(folders["lora"], "team/chat", base=name).version
    work()
    run = verified(client, work, "team/chat:v1", variant=name)

    assert (pushed.base.name, pushed.trained_on) == ("root", name)
    assert client.show("team/chat:v1").verdict == "pass"
    assert (run.state, run.variant, run.verdict.verdict) == ("done", name, "pass")
    assert (run.verdict.variant, run.verdict.counts) == (name, False)
    assert run.verdict.base_root == client.bases.show(name).root
    assert run.verdict.environment["unpacked"] == scheme
    row = client.bases.compat("root").items[0]
    assert (row.ref, row.trained_on) == ("team/chat:v1", name)
    assert {on: proof for on, proof in row.on.items() if proof != "not run"} == {
        "root": "proven", name: "proven",
    }  # fmt: skip


@LOCAL
def test_what_is_verified_are_the_packed_weights(server, work, folders, tmp_path):
    """The variant's own numbers run: one that is broken in packing fails, and its root does not."""
    client = server.client()
    broken = packing.pack(folders["root"], tmp_path / "broken", "int8")
    tensors = load_file(broken / "model.safetensors")
    tensors["model.layers.0.self_attn.q_proj.SCB"][:] = float("inf")
    save_file(tensors, broken / "model.safetensors")
    client.bases.push(broken, "broken", variant_of="root", quantised="int8")
    client.push(folders["lora"], "team/chat", base="broken")
    work()

    run = verified(client, work, "team/chat:v1", variant="broken")

    assert client.show("team/chat:v1").verdict == "pass"
    assert run.verdict.verdict != "pass"
    assert client.bases.compat("root").items[0].on["broken"] in {"failed", "inconclusive"}
    client.promote("team/chat:v1", "dev")  # what fails on a variant nobody asked for holds nobody


@LOCAL
def test_a_form_that_is_not_known_is_inconclusive_and_says_so(server, work, folders, tmp_path):
    client = server.client()
    strange = packing.pack(folders["root"], tmp_path / "strange", "bnb4")
    tensors = load_file(strange / "model.safetensors")
    name = next(n for n in tensors if n.endswith("bitsandbytes__nf4"))
    tensors[name] = torch.zeros(90, dtype=torch.uint8)
    save_file(tensors, strange / "model.safetensors")
    client.bases.push(strange, "strange", variant_of="root", quantised="bnb4")
    client.push(folders["lora"], "team/chat", base="strange")
    work()

    run = client.verify("team/chat:v1", variant="strange")
    for _ in range(3):  # each attempt
        work()
    run = client.runs.show(run.id)

    assert run.verdict.verdict == "inconclusive"
    assert "the weights of strange cannot be unpacked" in run.verdict.checks[0].detail


@LOCAL
def test_a_worker_that_unpacks_nothing_gets_no_such_run(server, work, folders):
    client = server.client()
    client.push(folders["lora"], "team/chat", base="root-fp8")
    work()
    run = client.verify("team/chat:v1", variant="root-fp8")

    work({"quantised": "int8"})  # a release that knows less; a label of the older kind has none

    found = client.runs.show(run.id)
    assert found.state == "queued"
    assert found.unserved == "no worker that runs now offers quantised=fp8"


@BOTH_DATABASES
def test_a_verdict_on_a_variant_opens_no_gate_but_where_a_policy_asks_for_it(server, folders):
    client = server.client()
    client.push(folders["lora"], "team/chat", base="root-bnb4")
    client.verify("team/chat:v1", variant="root-bnb4")
    judge(server, "root-bnb4")  # the root's run waits on

    with pytest.raises(GatePending, match="has no verdict of suite smoke"):
        client.promote("team/chat:v1", "dev")
    judge(server, "")
    asked = {"suites": ["smoke"], "variants": ["root-bnb4", "root-fp8"]}
    admin = server.client(("admin",), principal="boss")
    policy = admin.channels.policy("team/chat", "dev")
    admin.channels.set_policy("team/chat", "dev", asked, expect=policy.digest)
    with pytest.raises(GatePending) as pending:
        client.promote("team/chat:v1", "dev")
    client.verify("team/chat:v1", variant="root-fp8")
    judge(server, "root-fp8", verdict="fail")
    with pytest.raises(GateFailed, match="on root-fp8 failed suite smoke: effect"):
        client.promote("team/chat:v1", "dev")
    client.verify("team/chat:v1", variant="root-fp8", again=True)
    judge(server, "root-fp8")
    moved = client.promote("team/chat:v1", "dev")

    assert "team/chat:v1 on root-fp8 has no verdict of suite smoke" in str(pending.value)
    assert "--variant root-fp8" in pending.value.fix
    assert moved.revision == 1
