"""LoRAs of packed bases, all the way: pushed, verified by a real worker, gated, folded."""

import json

import pytest

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
from safetensors.torch import load_file, save_file  # noqa: E402  # needs torch

from deltareg.errors import BaseMismatch, GateFailed, GatePending, Inconclusive, InvalidInput, Refused  # noqa: E402
from deltareg.wire import LeaseRequest  # noqa: E402
from deltareg_verify.command_line import labels  # noqa: E402
from deltareg_verify.messages.report import CheckSurroundings  # noqa: E402
from deltareg_verify.supervisor.materials import MaterialSource  # noqa: E402
from deltareg_verify.supervisor.options import WorkerOptions  # noqa: E402
from deltareg_verify.supervisor.stop import StopSignal  # noqa: E402
from deltareg_verify.supervisor.worker import Worker  # noqa: E402
from tests import packing  # noqa: E402
from tests.fixtures.registries import BOTH_DATABASES, ONE_STACK, report  # noqa: E402

OFFERED = labels(CheckSurroundings(environment={"device": "cpu"}, dtype="", sandbox=""))


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
    options = WorkerOptions(
        name="w1",
        gpu="cpu",
        base_dirs=(),
        scratch=tmp_path / "scratch",
        lease_wait_s=0.0,
        run_timeout_s=60.0,
        stop_grace_s=0.0,
        threads=1,
        memory_bytes=0,
        is_once=True,
    )
    stock = MaterialSource(client, base_dirs=())

    def serve(offered=None):
        worker = Worker(
            registry=client,
            gather=stock.gather,
            reencode=stock.reencode,
            children=zygote,
            stored=client.bring_stored,
            open_reference=stock.open_reference,
            options=options,
            device="cpu",
            labels={**OFFERED, **(offered or {})},
            stop=StopSignal(0.0),
        )
        worker.serve()

    return serve


def verified(client, work, ref, variant=""):
    run = client.verify(ref, variant=variant)
    work()
    return client.runs.show(run.id)


@ONE_STACK
@pytest.mark.parametrize(
    "scheme",
    [
        # One whose numbers are unpacked by groups, one by rows; the soak has all.
        pytest.param(one, marks=[] if one in {"awq", "fp8"} else pytest.mark.soak)
        for one in sorted(packing.PACKERS)
    ],
)
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
    assert {on: proof for on, proof in row.on.items() if proof != "not run"} == {"root": "proven", name: "proven"}


@ONE_STACK
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


@ONE_STACK
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


@ONE_STACK
def test_a_worker_that_unpacks_nothing_gets_no_such_run(server, work, folders):
    client = server.client()
    client.push(folders["lora"], "team/chat", base="root-fp8")
    work()
    run = client.verify("team/chat:v1", variant="root-fp8")

    work({"quantised": "int8"})  # a release that knows less; a label of the older kind has none

    found = client.runs.show(run.id)
    assert found.state == "queued"
    assert found.unserved == "no worker that runs now offers quantised=fp8"


def judge(server, run, verdict="pass", *, by="judge"):
    """End one run as a worker would."""
    worker = server.client(("read", "verify"), principal=by, kind="wrk")
    offered = LeaseRequest(worker=f"judge-{run.id}", labels=OFFERED, run=run.id)
    grant = worker.lease(offered)
    return worker.complete_run(grant.run, report(grant, verdict=verdict))


@BOTH_DATABASES
def test_a_verdict_on_a_variant_opens_no_gate_but_where_a_policy_asks_for_it(server, folders):
    client = server.client()
    client.push(folders["lora"], "team/chat", base="root-bnb4")
    judge(server, client.verify("team/chat:v1", variant="root-bnb4"))

    with pytest.raises(GatePending, match="has no verdict of suite smoke"):
        client.promote("team/chat:v1", "dev")
    judge(server, client.verify("team/chat:v1"))
    asked = {"suites": ["smoke"], "variants": ["root-bnb4", "root-fp8"]}
    server.client(("admin",), principal="boss").channels.set_policy("team/chat", "dev", asked)
    with pytest.raises(GatePending) as pending:
        client.promote("team/chat:v1", "dev")
    judge(server, client.verify("team/chat:v1", variant="root-fp8"), "fail")
    with pytest.raises(GateFailed, match="on root-fp8 failed suite smoke: effect"):
        client.promote("team/chat:v1", "dev")
    judge(server, client.verify("team/chat:v1", variant="root-fp8", again=True))
    with pytest.raises(Inconclusive, match=r"on root-fp8.* a third run on another worker decides"):
        client.promote("team/chat:v1", "dev")
    judge(server, client.verify("team/chat:v1", variant="root-fp8", again=True), by="another")
    moved = client.promote("team/chat:v1", "dev")

    assert "team/chat:v1 on root-fp8 has no verdict of suite smoke" in str(pending.value)
    assert "--variant root-fp8" in pending.value.fix
    assert moved.version == 1


@BOTH_DATABASES
def test_a_failure_on_a_variant_closes_no_gate(server, folders):
    client = server.client()
    client.push(folders["lora"], "team/chat", base="root-bnb4")
    judge(server, client.verify("team/chat:v1"))
    judge(server, client.verify("team/chat:v1", variant="root-bnb4"), "fail")

    moved = client.promote("team/chat:v1", "dev")

    assert moved.version == 1
    assert client.show("team/chat:v1").verdict == "pass"
    assert [line.verdict for line in client.verdicts.list("team/chat:v1")] == ["fail", "pass"]
    told = [event.text for event in client.lines.log("team/chat") if event.event == "verdict"]
    assert told == ["smoke on root-bnb4", "smoke"]
    assert client.lines.list("team", filters={"verdict": "pass"}).items[0].ref == "team/chat"


@BOTH_DATABASES
def test_a_run_on_a_variant_is_joined_and_judged_for_itself(server, folders):
    client = server.client()
    client.push(folders["lora"], "team/chat", base="root-bnb4")

    whole = client.verify("team/chat:v1")
    first = client.verify("team/chat:v1", variant="root-bnb4")
    joined = client.verify("team/chat:v1", variant="root-bnb4")
    other = client.verify("team/chat:v1", variant="root-fp8")
    judge(server, first)
    judged = client.verify("team/chat:v1", variant="root-bnb4")
    again = client.runs.rerun(first.id)

    assert len({whole.id, first.id, other.id, again.id}) == 4
    assert joined.id == judged.id == first.id
    assert (again.variant, again.labels) == ("root-bnb4", {"quantised": "bnb4"})


@ONE_STACK
def test_a_fold_goes_into_the_root_and_says_that_training_saw_another(server, folders, tmp_path):
    client = server.client()
    client.push(folders["lora"], "team/chat", base="root-bnb4")
    client.push(folders["lora"], "team/plain", base="root")

    trained = client.materialize("team/chat:v1", tmp_path / "folded")
    plain = client.materialize("team/plain:v1", tmp_path / "plain")

    assert trained.root == plain.root
    assert (trained.trained_on, plain.trained_on) == ("root-bnb4", "")
    assert trained.to_dict()["trained_on"] == "root-bnb4"
    assert "quantization_config" not in json.loads((tmp_path / "folded/config.json").read_text())


@ONE_STACK
@pytest.mark.parametrize("scheme", ["bnb4", "fp8"])
def test_nothing_is_folded_into_the_packed_numbers(server, folders, scheme, tmp_path):
    client = server.client()
    client.push(folders["lora"], "team/chat", base=f"root-{scheme}")

    with pytest.raises(InvalidInput, match="packed weights") as refused:
        client.materialize("team/chat:v1", tmp_path / "out", base=folders[scheme])

    assert "fold into root" in refused.value.fix
    assert not (tmp_path / "out").exists()


@ONE_STACK
def test_a_folder_is_known_as_the_variant_that_it_is(server, folders):
    client = server.client()

    pushed = client.push(folders["lora"], "team/chat", base=str(folders["awq"])).version

    assert (pushed.base.name, pushed.trained_on) == ("root", "root-awq")
    assert client.bases.show("root-awq").deltas == client.bases.show("root").deltas == 1


@BOTH_DATABASES
def test_what_waited_for_the_bytes_of_a_variant_is_verified_when_they_come(server, work, folders, tmp_path):
    client = server.client()
    away = packing.pack(folders["root"], tmp_path / "away", "int8")
    (away / "README.md").write_text("somewhere else")
    client.bases.register(away, "away", variant_of="root", quantised="int8")
    client.push(folders["lora"], "team/chat", base="away")
    work()
    run = client.verify("team/chat:v1", variant="away")
    away.rename(tmp_path / "hidden")
    for _ in range(3):  # each attempt
        work()
    died = client.runs.show(run.id)

    client.bases.push(tmp_path / "hidden", "away")
    work()

    assert (died.state, died.verdict.verdict) == ("dead", "inconclusive")
    assert client.bases.compat("root").items[0].on["away"] == "proven"
    assert [v.variant for v in client.verdicts.list("team/chat:v1")] == ["away", "away", ""]


@ONE_STACK
def test_a_version_is_attached_to_what_transformers_loads_of_its_variant(server, folders, tmp_path):
    transformers = pytest.importorskip("transformers")
    client = server.client()
    client.push(folders["lora"], "team/chat", base="root-fp8")
    client.push(folders["lora"], "team/plain", base="root")
    config = transformers.FineGrainedFP8Config(dequantize=True, weight_block_size=(16, 16))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folders["fp8"], quantization_config=config, dtype=torch.float32
    ).eval()
    ids = torch.arange(6)[None]
    with torch.no_grad():
        before = model(ids).logits

    with client.pull("team/chat:v1", tmp_path / "chat").attach(model), torch.no_grad():
        attached = model(ids).logits
    with pytest.raises(BaseMismatch):
        client.pull("team/plain:v1", tmp_path / "plain").attach(model)

    assert float((attached - before).abs().max()) > 1e-3
    with torch.no_grad():
        assert torch.equal(model(ids).logits, before)


@ONE_STACK
def test_bases_show_what_they_are_forms_of(server):
    client = server.client()

    root, packed = client.bases.show("root"), client.bases.show("root-fp8")

    assert root.variants == sorted(f"root-{scheme}" for scheme in packing.PACKERS)
    assert (packed.variant_of.name, packed.quantised, packed.variants) == ("root", "fp8", [])


@BOTH_DATABASES
def test_what_is_no_variant_is_refused(server, folders, tmp_path):
    client = server.client()
    other = packing.base(tmp_path / "other", seed=5)
    (other / "config.json").write_text(json.dumps({**packing.LLAMA, "num_hidden_layers": 2}))
    client.bases.push(packing.pack(other, tmp_path / "o4", "bnb4"), "plain-packed")
    bnb4 = folders["bnb4"]

    def refused(kind, *args, **kwargs):
        with pytest.raises(kind) as error:
            client.bases.register(*args, **kwargs)
        return str(error.value)

    assert "is bnb4 here, not fp8" in refused(Refused, bnb4, "x", variant_of="root", quantised="fp8")
    assert "a variant of root itself" in refused(Refused, bnb4, "x", variant_of="root-bnb4", quantised="bnb4")
    assert "packed itself" in refused(Refused, bnb4, "x", variant_of="plain-packed", quantised="bnb4")
    assert "its root and its scheme" in refused(InvalidInput, bnb4, "x", variant_of="root")
    assert [base.name for base in client.bases.list()].count("x") == 0


@ONE_STACK
def test_a_packed_base_that_is_no_variant_yet_refuses_a_lora_and_may_become_one(server, folders, tmp_path):
    client = server.client()
    packed = packing.pack(folders["root"], tmp_path / "again", "gptq")
    (packed / "README.md").write_text("packed once more")
    client.bases.push(packed, "later")

    with pytest.raises(Refused) as refused:
        client.push(folders["lora"], "team/chat", base="later")
    report = client.lint(folders["lora"], base=str(packed))
    became = client.bases.register(packed, "later", variant_of="root", quantised="gptq")
    pushed = client.push(folders["lora"], "team/chat", base="later").version

    assert refused.value.problem_code == "quantised_base"
    assert "--variant-of ROOT --quantised gptq" in refused.value.fix
    assert report.problems[0].code == "quantised_base"
    assert became.variant_of.name == "root"
    assert pushed.trained_on == "later"


@ONE_STACK
def test_a_base_that_versions_stand_on_stays_what_it_is(server, folders, tmp_path):
    """A LoRA on what is not packed fits the packed base as well, and is a version of that."""
    client = server.client()
    packed = packing.pack(folders["root"], tmp_path / "own", "int8")
    (packed / "README.md").write_text("a base of its own")
    client.bases.push(packed, "own")
    delta = packing.lora(tmp_path / "head")
    key = "base_model.model.lm_head"
    factors = {f"{key}.lora_A.weight": torch.ones(4, 32), f"{key}.lora_B.weight": torch.ones(96, 4)}
    save_file(factors, delta / "adapter_model.safetensors")
    config = json.loads((delta / "adapter_config.json").read_text())
    config["target_modules"] = ["lm_head"]
    (delta / "adapter_config.json").write_text(json.dumps(config))
    client.push(delta, "team/head", base="own")

    with pytest.raises(Refused, match="own as it is has 1 version on it"):
        client.bases.register(packed, "own", variant_of="root", quantised="int8")

    assert client.bases.show("own").variant_of is None


@ONE_STACK
def test_a_manifest_for_the_packed_numbers_themselves_is_refused(server, folders):
    """As a client of the release before would send it."""
    client = server.client()
    info = client.bases.show("root-fp8")
    whole = client.push(folders["lora"], "team/chat", base="root")
    raw = json.loads(client.pull(whole.version.ref).manifest.encode())
    raw["base"] = info.root
    text = json.dumps(raw, sort_keys=True, separators=(",", ":"))

    answer = server.http(server.token("read", "push")).post(
        "/uploads", json={"subject": "delta", "target": "team/other", "manifest": text}
    )

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["code"] == "quantised_base"
