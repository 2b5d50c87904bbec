"""What the library would drop is refused by name, whether config or names are to blame."""

import time

import numpy as np
import pytest

from deltareg.delta.delta_manifest import assess
from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.peft.spellings import SuffixFinder
from deltareg.delta.names import name_map_for
from deltareg.digest import sha256_of
from deltareg.errors import Refused
from deltareg.identity.fingerprint import TensorRecord
from tests import tiny
from tests.folders import open_base, open_folder


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def problems(delta, base):
    folder = open_folder(delta.path)
    view, _ = open_base(base.path)
    try:
        found = assess(folder.files, folder.tensors, view)
    except Refused as refused:
        return list(refused.problems)
    return found.errors


def with_names(tmp_path, base, rename, **config):
    plain = tiny.lora(tmp_path / "plain", base)
    tensors = {rename(name): tensor for name, tensor in plain.tensors.items()}
    return tiny.write(tmp_path / "delta", tensors, adapter_config={**plain.config, **config})


def unprefixed(name):
    return name.replace("base_model.model.model.", "base_model.model.")


def test_a_config_that_asks_for_less_names_what_would_be_dropped(tmp_path, base):
    delta = with_names(tmp_path, base, str, target_modules=["q_proj"])

    (problem,) = problems(delta, base)

    assert problem.code == "not_selected"
    assert "2 of the modules" in problem.message
    assert "model.layers.N.self_attn.v_proj" in problem.message
    assert problem.tensor.endswith("layers.0.self_attn.v_proj.lora_A.weight")


@pytest.mark.parametrize("task", ["CAUSAL_LM", "SEQ_CLS"])
def test_names_without_the_prefix_of_the_class_are_refused(tmp_path, base, task):
    saved = {"modules_to_save": None}
    delta = with_names(tmp_path, base, unprefixed, task_type=task, **saved)

    found = [problem for problem in problems(delta, base) if problem.code == "not_selected"]

    assert len(found) == 1
    assert "lack model. in their names" in found[0].message
    assert "model.layers.0.self_attn.q_proj" in found[0].fix


@pytest.mark.parametrize(
    "config",
    [
        {"task_type": "FEATURE_EXTRACTION"},
        {
            "task_type": None,
            "auto_mapping": {
                "base_model_class": "LlamaModel",
                "parent_library": "transformers.models.llama.modeling_llama",
            },
        },
    ],
)
def test_the_plain_network_has_no_prefix(tmp_path, base, config):
    assert problems(with_names(tmp_path, base, unprefixed, **config), base) == []


@pytest.mark.parametrize(
    ("wrap", "who"),
    [
        (lambda n: n.replace(".layers.0.", ".layers.0._fsdp_wrapped_module."), "FSDP"),
        (lambda n: n.replace("model.model.", "model._orig_mod.model."), "torch.compile"),
        (lambda n: f"_orig_mod.{n}", "torch.compile"),
        (lambda n: f"module.{n}", "DistributedDataParallel"),
        (lambda n: f"module._orig_mod.{n}", "torch.compile"),
    ],
)
def test_a_wrapper_in_names_is_refused_with_what_takes_it_out(tmp_path, base, wrap, who):
    delta = with_names(tmp_path, base, wrap)

    (problem,) = problems(delta, base)

    assert problem.code == "wrapped_names"
    assert f"a wrapper of {who}" in problem.message
    assert "deltareg convert PATH --out DIR" in problem.fix


@pytest.mark.parametrize(
    "config",
    [
        {"unsloth_fixed": True},
        {
            "auto_mapping": {
                "base_model_class": "LlamaForCausalLM",
                "parent_library": "transformers.models.llama.modeling_llama",
                "unsloth_fixed": True,
            }
        },
        {"target_modules": r"^(model(?=\.).*\.(k_proj|q_proj|v_proj|o_proj))$"},
        {"target_modules": r"^(?!.*visual).*(?:q_proj|v_proj).*"},
        {"rank_pattern": {r".*layers\.[01]\.self_attn\.q_proj": 2}, "r": 2},
        {"exclude_modules": r".*visual.*"},
    ],
)
def test_what_tools_write_is_taken(tmp_path, base, config):
    if "target_modules" in config and "k_proj" in config["target_modules"]:
        targets = ("q_proj", "k_proj", "v_proj", "o_proj")
        plain = tiny.lora(tmp_path / "plain", base, targets=targets)
        delta = tiny.write(tmp_path / "delta", plain.tensors, adapter_config={**plain.config, **config})
    else:
        delta = with_names(tmp_path, base, str, **config)

    assert problems(delta, base) == []


def test_the_rank_of_an_expression_counts(tmp_path, base):
    config = {"rank_pattern": {r".*layers\.[01]\.self_attn\.q_proj": 2}, "r": 5}
    delta = with_names(tmp_path, base, str, **config)

    found = {problem.code for problem in problems(delta, base)}

    assert found == {"rank"}  # of v_proj alone, which is of rank 2 and not of 5
    assert all("v_proj" in problem.tensor for problem in problems(delta, base))


def test_two_adapters_in_one_file_are_named(tmp_path, base):
    plain = tiny.lora(tmp_path / "plain", base)
    both = {
        name.replace(".weight", f".{adapter}.weight"): tensor
        for name, tensor in plain.tensors.items()
        for adapter in ("default", "ref")
    }
    delta = tiny.write(tmp_path / "delta", both, adapter_config=plain.config)

    (problem,) = problems(delta, base)

    assert problem.code == "ambiguous"
    assert "several adapters: default, ref" in problem.message
    assert "selected_adapters" in problem.fix


@pytest.mark.parametrize(
    "config",
    [{"lora_alpha": 10**400}, {"rank_pattern": {"q_proj": 10**400}}, {"alpha_pattern": {"q_proj": -(10**400)}}],
)
def test_a_number_that_no_float_holds_is_refused(tmp_path, base, config):
    delta = with_names(tmp_path, base, str, **config)

    assert problems(delta, base)[0].code == "bad_config"


def test_many_names_are_looked_for_in_one_pass():
    names = [f"model.layers.0.mlp.experts.{n}.gate_proj" for n in range(20_000)]
    weights = [f"{name}.weight" for name in names]
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}
    records = dict.fromkeys(weights, TensorRecord("w", "F32", (1, 1), sha256_of(b"")))
    view = BaseView(sha256_of(b""), records, config, name_map_for(config, weights))
    began = time.process_time()

    found = SuffixFinder(view).paths(f"network.{name}" for name in names)

    assert found == {f"network.{name}": name for name in names}
    assert time.process_time() - began < 20


@pytest.mark.parametrize("dtype", [np.bool_, np.int32, np.uint8])
def test_factors_that_are_no_real_numbers_are_refused(tmp_path, base, dtype):
    delta = tiny.lora(tmp_path / "delta", base, dtype=dtype)

    found = problems(delta, base)

    assert {problem.code for problem in found} == {"shape"}
    assert "which holds no real numbers" in found[0].message
