"""Modules that a network does not run, but computes with their weight: a LoRA there is attached as a weight."""

import json

import pytest

from deltareg_verify.judging.examine import examine
from tests import small_networks
from tests.verify.bench import Bench, suite_of

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
transformers = pytest.importorskip("transformers", reason="needs transformers")
from safetensors.torch import save_file  # noqa: E402  # it needs torch

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "vocab_size": 32,
    "mamba_dt_rank": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "mamba_d_state": 4,
    "num_experts": 2,
    "attn_layer_period": 2,
    "attn_layer_offset": 1,
    "expert_layer_period": 2,
    "expert_layer_offset": 1,
}
MODULE = "base_model.model.model.layers.0.mamba.dt_proj"
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def folder(tmp_path):
    """Write a Jamba, and a LoRA on the projection whose weight its mixer multiplies with itself."""
    torch.manual_seed(1)
    with small_networks.quiet():
        network = transformers.JambaForCausalLM(transformers.JambaConfig(**SIZES))
        network.save_pretrained(tmp_path / "base")
    (tmp_path / "delta").mkdir()
    rows, columns = network.model.layers[0].mamba.dt_proj.weight.shape
    tensors = {f"{MODULE}.lora_A.weight": torch.randn(2, columns), f"{MODULE}.lora_B.weight": torch.randn(rows, 2)}
    save_file(tensors, tmp_path / "delta" / "adapter_model.safetensors", metadata={"format": "pt"})
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["dt_proj"], "bias": "none"}
    (tmp_path / "delta" / "adapter_config.json").write_text(json.dumps(config))
    return tmp_path


def verdicts(folder, *checks):
    bench = Bench(folder / "delta", folder / "base", folder / "cache", suite=suite_of(*checks))
    return [result.verdict for result in examine(bench.case())]


def test_it_takes_part_and_attached_is_what_is_folded(folder):
    assert verdicts(folder, "exercised", "attached_equals_folded") == ["pass"] * 2


def test_where_todays_library_adapts_it_in_vain_the_gate_says_so(folder):
    pytest.importorskip("peft", reason="needs peft")
    path = folder / "delta" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "peft_version": "0.21.2"}))
    bench = Bench(folder / "delta", folder / "base", folder / "cache", suite=suite_of("library_agrees"))

    (result,) = examine(bench.case())

    assert (result.verdict, result.code) == ("fail", "library_differs")
    assert "layers.0.mamba.dt_proj and does not run it" in result.detail
