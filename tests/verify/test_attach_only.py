"""Deltas that act on activations get a real verdict: attached, fired, compared with the base."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
import transformers

from deltareg.delta.kind import Tap
from deltareg.errors import Inconclusive
from deltareg.identity.manifest import Source
from deltareg_verify.judging.examine import examine
from deltareg_verify.judging.verdict import judge
from tests.verify.bench import SAMPLES, SMOKE, Bench, read_arrays, sample_base, sample_bench
from tests.verify.toys import hook

MLP = "model.layers.0.mlp"
IDS = read_arrays(SAMPLES / "probes.safetensors")["input_ids"]


def examined(cache_dir, *effects):
    """Run the smoke suite over effects in the place of a sample's own."""
    bench = sample_bench("tinyllama/lora_qv", cache_dir)
    bench.manifest = replace(bench.manifest, source=Source())  # no library wrote these effects
    account = replace(bench.assessment.account, effects=effects)
    results = list(examine(bench.case(account=lambda _: account)))
    verdict = judge(SMOKE, results)
    return verdict, {result.name: result for result in results}


def test_a_sound_delta_passes(cache_dir):
    bottleneck = hook(
        lambda v, seen: v + torch.relu(seen.arrays["residual"] * 0.3) * 0.5,
        MLP,
        residual=Tap("model.layers.0.post_attention_layernorm", "input"),
    )

    verdict, results = examined(cache_dir, bottleneck)

    assert verdict == "pass", results
    does_not_apply = {name for name, result in results.items() if result.verdict == "n/a"}
    assert does_not_apply >= {
        "attached_equals_folded",
        "embedding_spread",
        "golden",
        "idle",
        "module_types",
        "norm_ratio",
        "reloads",
        "spectral",
    }
    assert {name for name, result in results.items() if result.verdict == "pass"} >= {
        "digests",
        "accounting",
        "finite",
        "effect",
        "exercised",
        "deterministic",
    }
    assert "1 effects took part" in results["effect"].detail


BROKEN = {
    "no_effect": hook(lambda v, _: v, MLP),
    "partial_application": hook(lambda v, _: v + 1, "model.layers.7.mlp"),
    "non_finite": hook(lambda v, _: v / 0, MLP),
}


@pytest.mark.parametrize("code", BROKEN)
def test_a_broken_delta_fails_with_its_code(cache_dir, code):
    others = [] if code == "no_effect" else [hook(lambda v, _: v + 1, MLP)]

    verdict, results = examined(cache_dir, BROKEN[code], *others)

    assert verdict == "fail"
    assert results["effect"].code == code


def test_every_hook_is_an_effect_of_its_own(cache_dir):
    hooks = [hook(lambda v, _: v + 1, MLP), hook(lambda v, _: v * 2, MLP), hook(lambda v, _: v, "lm_head")]

    fired = sample_bench("tinyllama/lora_qv", cache_dir).engine(hooks).find_fired()

    assert (fired.effects, fired.silent) == (3, ())
    assert dict(fired.moved) == {MLP: True, f"{MLP} #2": True, "lm_head": False}


def test_there_is_no_folded_state(cache_dir):
    engine = sample_bench("tinyllama/lora_qv", cache_dir).engine([hook(lambda v, _: v + 1, MLP)])

    assert not engine.is_foldable
    with pytest.raises(Inconclusive, match="no folded state"):
        engine.outputs("folded")


def test_a_failing_hook_leaves_the_base(cache_dir):
    bench = sample_bench("tinyllama/full", cache_dir)
    effects = [*bench.assessment.account.effects, hook(lambda *_: 1 / 0, MLP)]
    engine = bench.engine(effects)
    before = engine.outputs("base")["logits"]
    state = {name: value.clone() for name, value in engine._network.module.state_dict().items()}

    with pytest.raises(ZeroDivisionError):
        engine.outputs("attached")

    after = engine._network.module.state_dict()
    assert all(torch.equal(state[name], after[name]) for name in state)
    assert np.array_equal(before, engine.outputs("base")["logits"])
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in engine._network.module.modules())


@pytest.fixture
def biased(tmp_path):
    """Train nothing: a LoRA of peft with a bias on B, and what peft computes with it."""
    peft = pytest.importorskip("peft", reason="needs peft: pip install peft")
    base = sample_base("tinyllama")
    model = transformers.AutoModelForCausalLM.from_pretrained(base, local_files_only=True)
    torch.manual_seed(5)
    config = peft.LoraConfig(
        r=4, lora_alpha=8, target_modules=["q_proj", "down_proj"], lora_bias=True, task_type="CAUSAL_LM"
    )
    warnings.simplefilter("ignore")  # peft warns of what it made itself, at every step
    wrapped = peft.get_peft_model(model, config).eval()
    with torch.no_grad():
        for name, value in wrapped.named_parameters():
            if "lora_B" in name:
                value.normal_(std=0.05)
        expected = wrapped(input_ids=torch.from_numpy(IDS.copy())).logits.numpy()
    wrapped.save_pretrained(tmp_path / "delta")
    (tmp_path / "delta" / "README.md").unlink(missing_ok=True)
    return tmp_path / "delta", base, expected


def test_a_bias_on_layers_without_one_is_attached_as_peft_does(biased, cache_dir):
    path, base, expected = biased
    bench = Bench(path, base, cache_dir)

    found = bench.engine().outputs_for("attached", {"input_ids": IDS})["logits"]

    assert not bench.engine().is_foldable
    assert np.max(np.abs(found - expected)) <= 1e-5


def test_a_bias_on_layers_without_one_is_verified(biased, cache_dir):
    path, base, _ = biased
    bench = Bench(path, base, cache_dir)

    results = list(examine(bench.case()))

    assert judge(SMOKE, results) == "pass", results
    verdicts = {result.name: result.verdict for result in results}
    assert (verdicts["norm_ratio"], verdicts["attached_equals_folded"]) == ("pass", "n/a")
