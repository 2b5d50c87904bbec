"""On other architectures: ties and leftovers are right, and what cannot be done is said by name."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from deltareg.errors import Inconclusive, Refused
from tests import small_networks
from tests.verify.bench import SAMPLES, Bench, sample_base
from tests.verify.library_deltas import LibraryDelta, largest_error, peft, verdict_of

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
FILE = "adapter_model.safetensors"
QV = ["q_proj", "v_proj"]


def lora(*modules, **more):
    return peft.LoraConfig(**{"r": 2, "target_modules": list(modules), **more})


def prefix(task="CAUSAL_LM"):
    return peft.PrefixTuningConfig(task_type=task, num_virtual_tokens=3)


TIED = {
    "the head of t5": ("t5", lambda: lora("q", "lm_head")),
    "the head of a blip that captions": ("blip captioning", lambda: lora("predictions.decoder")),
    "the words of a blip that captions": ("blip captioning", lambda: lora("query", "word_embeddings")),
}


@pytest.mark.parametrize("case", TIED)
def test_a_tied_weight_changes_under_the_name_that_was_adapted_only(tmp_path, case):
    name, config = TIED[case]
    delta = LibraryDelta(tmp_path, name, config())
    want = delta.outputs()

    got = delta.bench.engine().outputs_for("attached", delta.arrays)
    outcome, results = verdict_of(delta)

    assert max(np.max(np.abs(got[key] - want[key])) for key in want) <= 1e-4
    assert (outcome, results["attached_equals_folded"].verdict) == ("pass", "pass")


def test_a_convolution_that_whisper_asks_for_its_stride_folds(tmp_path):
    # The library can merge it and cannot run it: its wrapper of the module has no stride.
    delta = LibraryDelta(tmp_path, "whisper", lora("conv1", "q_proj"))

    outcome, _ = verdict_of(delta)

    assert outcome == "pass"
    assert largest_error(delta.folded(), delta.merged()) <= 1e-6


def test_a_prefix_on_whisper_is_what_its_decoder_finds_in_its_cache(tmp_path):
    # The library makes the prefix and then asks for input_ids, which Whisper does not take.
    delta = LibraryDelta(tmp_path, "whisper", prefix("SEQ_2_SEQ_LM"))
    model = delta.loaded()
    with small_networks.quiet(), torch.no_grad():
        cache = model.get_prompt(batch_size=3)
        want = model.base_model(**delta.inputs, cache=cache).logits.numpy()

    got = delta.bench.engine().outputs_for("attached", delta.arrays)["logits"]

    assert np.max(np.abs(got - want)) <= 1e-4
    assert verdict_of(delta)[0] == "pass"


def test_an_embedding_that_the_network_never_calls_is_told(tmp_path):
    delta = LibraryDelta(tmp_path, "t5", lora("q", "shared"))

    outcome, results = verdict_of(delta)

    assert (outcome, results["effect"].verdict) == ("pass", "warn")
    assert "never calls shared.weight by that name" in results["effect"].detail


@pytest.mark.parametrize(("is_equal", "verdict"), [(True, "pass"), (False, "fail")])
def test_a_bias_that_goes_by_two_names_is_used_under_one(tmp_path, is_equal, verdict):
    delta = LibraryDelta(tmp_path, "roberta", lora("query", modules_to_save=["lm_head"]))
    tensors = load_file(tmp_path / "delta" / FILE)
    name = "base_model.model.lm_head.bias"
    assert torch.equal(tensors[name], tensors[name.replace("bias", "decoder.bias")])
    if not is_equal:
        tensors[name] += 1
    save_file(tensors, tmp_path / "delta" / FILE)

    _, results = verdict_of(delta)

    assert results["effect"].verdict == verdict
    assert ("lm_head.bias" in results["effect"].detail) is not is_equal


@pytest.mark.parametrize(("is_trained", "verdict"), [(True, "fail"), (False, "warn")])
def test_layers_that_a_class_never_runs_may_not_have_changed(tmp_path, is_trained, verdict):
    delta = LibraryDelta(tmp_path, "blip", lora("query", "qkv"))
    tensors = load_file(tmp_path / "delta" / FILE)
    if not is_trained:
        for name, tensor in tensors.items():
            if "crossattention" in name and "lora_B" in name:
                tensor.zero_()
    save_file(tensors, tmp_path / "delta" / FILE)

    _, results = verdict_of(delta)

    assert results["effect"].verdict == verdict
    assert "crossattention" in results["effect"].detail
    assert results["module_types"].verdict == ("pass" if is_trained else "warn")


REFUSED = {
    "a prefix where all heads share their keys": ("falcon", prefix, "unknown_kind", "falcon"),
    "a prefix where keys are latent": ("deepseek_v3", prefix, "unknown_kind", "deepseek_v3"),
    "a prefix beside images": ("qwen2_vl", prefix, "unknown_kind", "qwen2_vl"),
    "a prefix on blip": ("blip captioning", prefix, "unknown_kind", "blip"),
    "a convolution in groups": ("convnext", lambda: lora("dwconv", r=16), "unknown_kind", "convolution in groups"),
    "wide kernels that are turned": (
        "resnet",
        lambda: peft.OFTConfig(oft_block_size=4, target_modules=["layer.1.convolution"]),
        "not_self_contained",
        "overlapping",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_applied_is_refused_by_name(tmp_path, case):
    name, config, code, told = REFUSED[case]
    delta = LibraryDelta(tmp_path, name, config())

    with pytest.raises(Refused) as refused:
        _ = delta.bench

    assert refused.value.problem_code == code
    assert any(told in problem.message for problem in refused.value.problems)


@pytest.mark.parametrize("name", ["blip captioning", "whisper"])
def test_a_prompt_for_a_network_that_takes_no_vectors_is_inconclusive(tmp_path, name):
    task = "SEQ_2_SEQ_LM" if name == "whisper" else "CAUSAL_LM"
    config = peft.PromptTuningConfig(task_type=task, num_virtual_tokens=3)
    delta = LibraryDelta(tmp_path, name, config)

    with pytest.raises(Inconclusive, match="takes no vectors in place of tokens"):
        verdict_of(delta)


def test_a_network_whose_names_are_not_known_is_inconclusive(tmp_path, cache_dir):
    # The library finds no place for one of the base's tensors, and makes another one up.
    base = tmp_path / "base"
    shutil.copytree(sample_base("tinyllama"), base)
    weights = load_file(base / "model.safetensors")
    weights["model.layers.0.mlp.other.weight"] = weights.pop("model.layers.0.mlp.up_proj.weight")
    save_file(weights, base / "model.safetensors", {"format": "pt"})
    bench = Bench(SAMPLES / "deltas/tinyllama/lora_qv", base, cache_dir)

    with pytest.raises(Inconclusive, match="named in a llama is not known here"):
        bench.engine().outputs("base")

    assert bench.assessment.errors == []


def test_weights_that_the_network_leaves_aside_leave_the_verdict_open(tmp_path):
    delta = LibraryDelta(tmp_path, "gemma", lora(*QV))
    path = tmp_path / "base" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_hidden_layers": 1}))

    outcome, results = verdict_of(delta)

    assert (outcome, results["effect"].verdict) == ("inconclusive", "skipped")
    assert "has no place for model.layers.1.self_attn.q_proj" in results["effect"].detail
