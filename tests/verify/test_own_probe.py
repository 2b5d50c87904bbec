"""A suite's own samples stand in for the seeded probe, where none can be drawn and where one can."""

import json
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.suites.suite import DEFAULT_SUITE, built_in, parse_suite, read_suite

peft = pytest.importorskip("peft", reason="needs peft: pip install peft")
torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
transformers = pytest.importorskip("transformers", reason="needs transformers")

from deltareg_verify.engine.torch_engine import TorchEngine, prepare_device  # noqa: E402  # it needs torch
from deltareg_verify.judging.examine import examine  # noqa: E402
from deltareg_verify.judging.verdict import judge  # noqa: E402
from tests.small_networks import off_defaults, quiet  # noqa: E402
from tests.verify.bench import SMOKE, Bench  # noqa: E402

RUN = (sys.executable, "-m", "deltareg_verify", "run", "--once", "--gpu", "cpu")
TOKENS = 12
OWN = {**json.loads(SMOKE.document), "name": "own", "sets": {"rows": {"file": "rows.safetensors"}}}
OWN["probe"] = {**OWN["probe"], "set": "rows"}
SUITE = parse_suite(json.dumps(OWN).encode())


def draw_rows():
    return {"inputs": np.random.default_rng(7).integers(6, 40, (4, TOKENS))}


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Make a Perceiver, whose `inputs` may be anything, and a LoRA of it."""
    folder = tmp_path_factory.mktemp("perceiver")
    config = transformers.PerceiverConfig(
        d_model=16,
        d_latents=16,
        num_latents=4,
        num_self_attends_per_block=2,
        num_self_attention_heads=2,
        num_cross_attention_heads=2,
        vocab_size=40,
        max_position_embeddings=TOKENS,
        qk_channels=16,
        v_channels=16,
        initializer_range=0.2,
    )
    torch.manual_seed(0)
    with quiet():
        off_defaults(transformers.PerceiverForMaskedLM(config)).save_pretrained(folder / "base")
        network = transformers.PerceiverForMaskedLM.from_pretrained(folder / "base")
        model = peft.get_peft_model(network, peft.LoraConfig(r=2, target_modules=["query", "value"]))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.2 * torch.randn_like(parameter))
        model.save_pretrained(folder / "delta")
    return folder


def results_of(places, cache_dir, suite, samples=None):
    bench = Bench(places / "delta", places / "base", cache_dir, suite=suite)

    def engine(account):
        return TorchEngine(
            bench.base, account.effects, suite=suite, device=prepare_device("cpu", threads=1), samples=samples
        )

    with quiet():
        return list(examine(bench.case(engine=engine)))


def test_what_cannot_be_probed_says_so_once_a_check_and_is_no_pass(places, cache_dir):
    results = results_of(places, cache_dir, SMOKE)

    skipped = {result.name: result.detail for result in results if result.verdict == "skipped"}
    assert judge(SMOKE, results) == "inconclusive"
    assert {"effect", "exercised", "library_agrees"} <= skipped.keys()
    assert set(skipped.values()) == {
        "there is no probe for PerceiverForMaskedLM: it takes inputs;"
        " give the suite samples of its own, and `probe: {set: NAME}`"
    }
    assert not any(result.verdict == "fail" for result in results)


def test_a_suites_own_samples_decide(places, cache_dir):
    results = results_of(places, cache_dir, SUITE, draw_rows)

    by_name = {result.name: result for result in results}
    assert judge(SUITE, results) == "pass", results
    assert by_name["library_agrees"].detail.startswith(f"peft {peft.__version__}")
    assert by_name["exercised"].verdict == "pass"


def test_own_samples_that_the_network_does_not_take_decide_nothing(places, cache_dir):
    results = results_of(places, cache_dir, SUITE, lambda: {"pixel_values": np.zeros((4, 3, 8, 8), np.float32)})

    effect = next(result for result in results if result.name == "effect")
    assert judge(SUITE, results) == "inconclusive"
    assert "PerceiverForMaskedLM does not take an input 'pixel_values'" in effect.detail


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ("{set: words}", "probe.set: names one of the suite's sets whose file is .safetensors, not 'words'"),
        ("{set: none}", "probe.set: names one"),
        ("{set: 3}", "probe.set: names one"),
        ("{sets: rows}", "no key 'sets'"),
    ],
)
def test_a_probe_of_ones_own_is_a_set_of_tensors(probe, said):
    sets = "sets: {rows: {file: rows.safetensors}, words: {text: [one]}}"

    with pytest.raises(Exception, match=said):
        read_suite(f"name: own\n{sets}\nprobe: {probe}\nchecks: [effect]\n".encode())


def test_the_samples_are_part_of_what_a_verdict_is_bound_to():
    assert SUITE.digest != built_in(DEFAULT_SUITE).digest
    assert (SUITE.probe_set, SUITE.probes) == ("rows", SMOKE.probes)
    assert parse_suite(SUITE.document) == SUITE


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_a_worker_brings_the_samples_of_a_suite(local_registry, processes, places, tmp_path):
    save_file(draw_rows(), tmp_path / "rows.safetensors")
    (tmp_path / "suite.yaml").write_text(json.dumps(OWN))  # JSON is YAML
    client = local_registry.client(("read", "push", "admin"))
    client.bases.push(places / "base", "perceiver")
    client.suites.push(tmp_path / "suite.yaml")
    ref = client.push(places / "delta", "team/lora", base="perceiver").version.ref
    run = client.verify(ref, suite="own", priority="high")
    token = local_registry.token("read", "verify", principal="worker", kind="wrk")
    environ = processes.environ(
        "worker", DELTAREG_TOKEN=token, DELTAREG_WORKER_THREADS="1", DELTAREG_SERVER=local_registry.url
    )

    worker = processes.start("worker", *RUN, "--scratch", str(tmp_path / "work"), environ=environ)

    assert worker.wait(500) == 0, worker.errors
    assert client.runs.show(run.id).verdict.verdict == "pass"
