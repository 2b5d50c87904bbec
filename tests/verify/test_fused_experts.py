"""Experts that files hold one by one and memory holds as one: every part at its place, and back."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deltareg.client.cache.cache import Cache
from deltareg.client.folders.base_folder import open_base
from deltareg.errors import BaseMismatch
from deltareg_verify.engine.torch_engine.attach import Host, open_delta
from deltareg_verify.engine.torch_engine.load import find_slots, load
from tests import small_networks
from tests.verify.bench import Bench
from tests.verify.library_deltas import LibraryDelta, peft

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
EXPERTS = ["experts.gate_up_proj", "experts.down_proj"]
IDS = {"input_ids": torch.arange(3, 15).reshape(2, 6)}
CPU = torch.device("cpu")


@pytest.fixture
def mixtral(tmp_path):
    """Give a Mixtral with a delta on its experts and attentions."""
    config = peft.LoraConfig(r=2, target_modules=["q_proj"], target_parameters=EXPERTS)
    return LibraryDelta(tmp_path, "mixtral", config)


def state_of(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def live(folder):
    return small_networks.class_of("mixtral").from_pretrained(folder).eval()


def logits(model):
    with torch.no_grad():
        return model(**IDS, use_cache=False).logits


def test_attached_experts_act_and_leave_the_base_as_it_was(mixtral):
    want = logits(mixtral.loaded())
    model, base = live(mixtral.folder / "base"), mixtral.bench.base
    before, alone = state_of(model), logits(model)
    host = Host(model, base)

    with host.attach(host.prepare([open_delta(mixtral.folder / "delta", base)])) as attached:
        got, silent = logits(model), attached.silent(IDS)

    assert torch.max(torch.abs(got - want)) <= 1e-5
    assert silent == []
    assert torch.equal(logits(model), alone)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_experts_of_one_layer_alone_can_be_taken(mixtral):
    model, base = live(mixtral.folder / "base"), mixtral.bench.base
    before, host = state_of(model), Host(model, base)
    delta = open_delta(mixtral.folder / "delta", base)

    with host.attach(host.prepare([delta], include=["model.layers.1.mlp.experts"])):
        after = state_of(model)

    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed == {f"model.layers.1.mlp.{parameter}" for parameter in EXPERTS}


def test_a_model_with_another_expert_is_not_the_base(mixtral):
    model = live(mixtral.folder / "base")
    with torch.no_grad():
        model.model.layers[1].mlp.experts.down_proj[2, 0, 0] += 1

    with pytest.raises(BaseMismatch, match=r"experts\.down_proj of the model is not .*\.2\.w2"):
        Host(model, mixtral.bench.base)


def test_a_parameter_counts_as_loaded_when_the_files_have_every_part_of_it(mixtral):
    view = mixtral.bench.base.view
    model = live(mixtral.folder / "base")
    lost = "model.layers.0.block_sparse_moe.experts.3.w1.weight"
    less = {name: record for name, record in view.tensors.items() if name != lost}

    all_of_it = find_slots(model.state_dict(), view)
    part_of_it = find_slots(model.state_dict(), replace(view, tensors=less))

    assert {slot.whole for slot in all_of_it.values()} - {slot.whole for slot in part_of_it.values()} == {
        "model.layers.0.mlp.experts.gate_up_proj"
    }


def test_experts_of_the_files_are_held_against_memory(mixtral):
    base = mixtral.bench.base

    network = load(base.path, base.view, base.tensors, CPU, dtype=torch.float32)

    assert network.fresh == ()
    assert {*network.places, *network.slots} == base.view.tensors.keys()


@pytest.mark.parametrize("spelling", ["block_sparse_moe", "mlp"])
def test_a_delta_that_was_trained_when_experts_were_modules_still_applies(tmp_path, spelling):
    with small_networks.quiet():
        small_networks.made("mixtral").save_pretrained(tmp_path / "base")
    _write_per_expert(tmp_path / "delta", spelling)
    with small_networks.quiet():
        model = live(tmp_path / "base")
        want = logits(peft.PeftModel.from_pretrained(model, tmp_path / "delta").eval())
    bench = Bench(tmp_path / "delta", tmp_path / "base", tmp_path / "cache")

    outputs = bench.engine().outputs_for("attached", {"input_ids": IDS["input_ids"].numpy()})

    assert bench.assessment.errors == []
    assert len(bench.assessment.account.effects) == 2 * 4 * 3
    assert np.max(np.abs(outputs["logits"] - want.numpy())) <= 1e-5


def _write_per_expert(folder, spelling):
    torch.manual_seed(2)
    tensors = {}
    for layer in range(2):
        for expert in range(4):
            for module, n_in, n_out in (("w1", 16, 24), ("w2", 24, 16), ("w3", 16, 24)):
                path = f"model.layers.{layer}.{spelling}.experts.{expert}.{module}"
                tensors[f"base_model.model.{path}.lora_A.weight"] = 0.2 * torch.randn(2, n_in)
                tensors[f"base_model.model.{path}.lora_B.weight"] = 0.2 * torch.randn(n_out, 2)
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": 2,
        "lora_alpha": 4,
        "bias": "none",
        "target_modules": ["w1", "w2", "w3"],
        "inference_mode": True,
        "base_model_name_or_path": "mixtral",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config))


def test_an_open_base_says_which_part_an_expert_is(mixtral):
    with open_base(mixtral.folder / "base", Cache(mixtral.folder / "cache")) as base:
        part = base.view.names.part("model.layers.1.block_sparse_moe.experts.3.w3.weight")

    assert part is not None
    assert (part.whole, part.row, part.place, part.places) == ("model.layers.1.mlp.experts.gate_up_proj", 3, 1, 2)
