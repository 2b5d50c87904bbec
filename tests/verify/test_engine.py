"""The torch engine on real networks: attached like the library, folded alike, base untouched."""

import json
import shutil

import numpy as np
import pytest
import torch

from deltareg.delta.kind import Addition, WeightUpdate
from deltareg.delta.maths.updates import Replacement
from deltareg.errors import Inconclusive
from deltareg_verify.engine.torch_engine import fold, load, networks
from deltareg_verify.engine.torch_engine.load import load_tokenizer
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests.verify.bench import SAMPLES, SMOKE, Bench, listed, read_arrays, sample_base, sample_bench

PROBES = read_arrays(SAMPLES / "probes.safetensors")
HEALTHY = sorted(listed("deltas"))
ONE_OF_EACH = ["tinyllama/lora_dora", "tinyllama/full", "tinygpt2/bitfit", "tinyllama_bf16/lora"]
LIBRARY = sorted(i for i, d in listed("deltas").items() if d["expected"])


def perplexity(engine, state, texts):
    losses, tokens = engine.losses(state, texts).sum(axis=0)
    return np.exp(losses / tokens)


@pytest.fixture
def bench(request, cache_dir):
    """Open the sample that the test names."""
    return sample_bench(request.param, cache_dir)


def last_two(outputs):
    return outputs["logits"][:, -2:]


@pytest.mark.parametrize("bench", LIBRARY, indirect=True)
def test_attached_logits_are_the_librarys(bench, request):
    entry = listed("deltas")[request.node.callspec.params["bench"]]
    expected = read_arrays(SAMPLES / entry["expected"])["logits_attached"]

    outputs = bench.engine().outputs_for("attached", {"input_ids": PROBES["input_ids"]})

    assert np.max(np.abs(last_two(outputs) - expected)) <= entry["tolerance"]["logits"]


@pytest.mark.parametrize("bench", HEALTHY, indirect=True)
def test_a_healthy_delta_passes_the_smoke_suite(bench):
    results = list(examine(bench.case()))

    assert judge(SMOKE, results) == "pass", results


@pytest.mark.parametrize("bench", ["bad/dead_zero_b", "bad/exploding"], indirect=True)
def test_a_broken_delta_fails_with_its_code(bench, request):
    expected = listed("bad")[request.node.callspec.params["bench"]]["expect"]

    results = list(examine(bench.case()))

    assert judge(SMOKE, results) == "fail"
    assert {result.code for result in results if result.verdict == "fail"} == {expected}


@pytest.mark.parametrize("bench", ONE_OF_EACH, indirect=True)
def test_the_base_is_the_same_afterwards_bit_for_bit(bench):
    engine = bench.engine()
    before = engine.outputs("base")["logits"]
    state = {name: value.clone() for name, value in engine._network.module.state_dict().items()}

    engine.outputs("attached")
    engine.outputs("folded")
    engine.generate(2)

    assert np.array_equal(before.view("i4"), engine.outputs("base")["logits"].view("i4"))
    after = engine._network.module.state_dict()
    assert all(torch.equal(state[name], after[name]) for name in state)
    assert not any(m._forward_hooks for m in engine._network.module.modules())


@pytest.mark.parametrize("bench", ONE_OF_EACH, indirect=True)
def test_every_effect_takes_part(bench):
    fired = bench.engine().find_fired()

    assert fired.effects == bench.assessment.account.modules
    assert (fired.silent, fired.not_exercised) == ((), ())


@pytest.mark.parametrize("bench", ["tinyllama/lora"], indirect=True)
def test_a_forward_that_breaks_takes_its_hooks_away(bench):
    engine = bench.engine()
    norm = engine._network.module.model.norm
    norm.forward = lambda *_: 1 / 0

    with pytest.raises(ZeroDivisionError):
        engine.outputs("attached")
    del norm.forward

    assert not any(m._forward_hooks for m in engine._network.module.modules())
    assert np.array_equal(engine.outputs("base")["logits"], bench.engine().outputs("base")["logits"])


@pytest.mark.parametrize("bench", ["tinyllama/lora", "tinygpt2/lora"], indirect=True)
def test_low_rank_updates_are_attached_without_new_weights(bench):
    made = bench.engine()._plan

    assert len(made.hooks) == len(made.chains) == len(made.targets)
    assert made.attached == {}


@pytest.mark.parametrize("bench", ["tinyllama/lora_dora"], indirect=True)
def test_decomposed_updates_are_attached_without_new_weights(bench):
    assert bench.engine()._plan.attached == {}


@pytest.mark.parametrize("bench", ["tinyllama/full"], indirect=True)
def test_replaced_weights_are_the_stored_ones_bit_for_bit(bench):
    engine = bench.engine()

    for place, value in engine._folded.items():
        stored = bench.folder.tensors[engine._plan.targets[place]]
        assert value.numpy().tobytes() == bytes(stored.read())


@pytest.mark.parametrize("bench", ["tinyllama/lora_qv"], indirect=True)
def test_the_same_input_gives_the_same_bits_in_a_fresh_engine(bench):
    first, second = (bench.engine().outputs("attached")["logits"] for _ in range(2))

    assert np.array_equal(first.view("i4"), second.view("i4"))


@pytest.mark.parametrize("bench", ["tinyllama/lora_qv"], indirect=True)
def test_greedy_generation_continues_the_probe(bench):
    tokens = bench.engine().generate(5)

    assert tokens.shape == (2, 5)
    assert np.array_equal(tokens, bench.engine().generate(5))


@pytest.mark.parametrize("bench", ["tinyllama/lora_v2"], indirect=True)
def test_perplexity_is_lower_in_the_domain_that_a_delta_was_tuned_for(bench):
    code = ["import os\n\n\ndef main(argv):\n    return os.path.join(argv[0], 'x')\n"]

    engine = bench.engine()

    assert perplexity(engine, "attached", code) < perplexity(engine, "base", code)


@pytest.mark.parametrize("bench", ["tinyllama/lora_v2"], indirect=True)
def test_perplexity_is_that_of_the_loss_that_transformers_computes(bench):
    engine = bench.engine()
    text = "The registry keeps every version."
    tokenizer = load_tokenizer(bench.base.path)
    assert tokenizer is not None
    ids = torch.tensor([tokenizer(text)["input_ids"]])

    with torch.no_grad():
        loss = engine._network.module(input_ids=ids, labels=ids).loss

    assert perplexity(engine, "base", [text]) == pytest.approx(float(loss.exp()), rel=1e-5)


@pytest.mark.parametrize("bench", ["tinyllama/lora_qv"], indirect=True)
def test_an_addition_without_a_place_is_told(bench):
    tensor = next(iter(bench.folder.tensors.values()))
    head = Addition("classifier.weight", tensor, {tensor.name: "head"})

    fired = bench.engine([*bench.assessment.account.effects, head]).find_fired()

    assert fired.not_exercised == ("classifier.weight",)


@pytest.mark.parametrize("bench", ["tinyllama/lora_qv"], indirect=True)
def test_an_effect_on_a_module_that_no_forward_calls_is_silent(bench):
    engine = bench.engine()
    module = engine._network.module.model.layers
    module[1].forward = lambda hidden_states, **_: hidden_states

    fired = engine.find_fired()

    assert {name.split(".")[2] for name in fired.silent} == {"1"}


@pytest.mark.parametrize("bench", ["tinyllama/full"], indirect=True)
def test_a_replaced_weight_that_no_forward_reads_is_silent(bench):
    engine = bench.engine()
    engine._network.module.model.norm.forward = lambda hidden: hidden

    assert engine.find_fired().silent == ("model.norm.weight",)


@pytest.mark.parametrize("bench", ["tinyllama_bf16/lora"], indirect=True)
def test_a_weight_that_overflows_when_rounded_is_named(bench, monkeypatch):
    honest = fold.fold
    monkeypatch.setattr(fold, "fold", lambda *given: honest(*given) * 1e39)

    assert len(bench.engine().find_overflowed()) == 4


@pytest.mark.parametrize("bench", ["tinygpt2/lora"], indirect=True)
def test_an_update_of_a_shared_weight_reaches_all_its_uses(bench):
    wte = "transformer.wte.weight"
    other = bench.base.tensors["transformer.wpe.weight"]
    assert other.shape != bench.base.tensors[wte].shape
    update = WeightUpdate(wte, Replacement(bench.base.tensors[wte]), {})

    folded = bench.engine([update])._folded

    assert set(folded) == {"transformer.wte.weight", "lm_head.weight"}


@pytest.mark.parametrize("bench", ["tinygpt2/lora"], indirect=True)
def test_an_update_of_a_twin_leaves_the_weight_that_it_shared(bench):
    wte = bench.base.tensors["transformer.wte.weight"]
    twin = WeightUpdate("lm_head.weight", Replacement(wte), {}, reads="transformer.wte.weight")

    engine = bench.engine([twin])

    assert set(engine._folded) == {"lm_head.weight"}
    assert np.array_equal(engine.outputs("base")["logits"], engine.outputs("folded")["logits"])


def test_a_base_that_loads_as_something_else_is_inconclusive(cache_dir, monkeypatch):
    bench = sample_bench("tinyllama/lora_qv", cache_dir)
    honest = networks.make_network

    def changed(*given):
        module, loading = honest(*given)
        norm = module.get_submodule("model.norm")
        norm.weight = torch.nn.Parameter(norm.get_parameter("weight") + 1)
        return module, loading

    monkeypatch.setattr(load, "make_network", changed)

    with pytest.raises(Inconclusive, match=r"model\.norm\.weight"):
        bench.engine().outputs("base")


def test_a_base_of_an_unknown_architecture_is_inconclusive(cache_dir, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(sample_base("tinyllama"), base)
    config = json.loads((base / "config.json").read_text())
    bench = Bench(SAMPLES / "deltas/tinyllama/lora_qv", base, cache_dir)
    (base / "config.json").write_text(json.dumps(config | {"model_type": "never_heard_of"}))

    with pytest.raises(Inconclusive, match="cannot load the base"):
        bench.engine().outputs("base")


def test_a_base_never_brings_code(cache_dir, tmp_path):
    base = tmp_path / "base"
    shutil.copytree(sample_base("tinyllama"), base)
    bench = Bench(SAMPLES / "deltas/tinyllama/lora_qv", base, cache_dir)
    config = json.loads((base / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Net"}}
    (base / "config.json").write_text(json.dumps(config))
    (base / "own.py").write_text(f"open({str(tmp_path / 'CANARY')!r}, 'w')\n")

    with pytest.raises(Inconclusive, match="cannot load the base"):
        bench.engine().outputs("base")
    assert not (tmp_path / "CANARY").exists()
