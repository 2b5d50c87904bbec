"""LoRA on fused experts (`target_parameters`) equals peft's; what does not fit is refused."""

import json
import warnings

import pytest
from safetensors.numpy import load_file, save_file

from deltareg.delta.accounting import account, recognise
from deltareg.errors import Refused
from tests.delta.kinds.test_lora_against_peft import SMALL, make_again, opened, tuned
from tests.delta.kinds.test_lora_family_against_peft import assert_alike
from tests.folders import open_base, open_folder

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
peft = pytest.importorskip("peft", reason="needs peft: pip install peft")
transformers = pytest.importorskip("transformers", reason="needs transformers")

FILE = "adapter_model.safetensors"
SIZES = {**SMALL, "vocab_size": 32, "num_key_value_heads": 1}
GATE_UP, DOWN = "mlp.experts.gate_up_proj", "mlp.experts.down_proj"


def mixtral():
    config = transformers.MixtralConfig(**SIZES, num_local_experts=4, num_experts_per_tok=2)
    return transformers.MixtralForCausalLM(config)


def square():
    config = transformers.MixtralConfig(
        **{**SIZES, "intermediate_size": 16}, num_local_experts=4, num_experts_per_tok=2
    )
    return transformers.MixtralForCausalLM(config)


def qwen3_moe():
    config = transformers.Qwen3MoeConfig(
        **SIZES, num_experts=3, num_experts_per_tok=2, moe_intermediate_size=20, head_dim=8, mlp_only_layers=[1]
    )
    return transformers.Qwen3MoeForCausalLM(config)


def gpt_oss():
    config = transformers.GptOssConfig(**SIZES, num_local_experts=3, num_experts_per_tok=2, head_dim=8)
    return transformers.GptOssForCausalLM(config)


BOTH = {"target_modules": [], "target_parameters": [GATE_UP, DOWN]}
CASES = {
    "both": (mixtral, BOTH),
    "both of one shape": (square, BOTH),
    "one, with modules": (mixtral, {"target_modules": ["q_proj"], "target_parameters": [DOWN]}),
    "the other": (qwen3_moe, {"target_modules": [], "target_parameters": [GATE_UP]}),
    "rank-stabilised": (qwen3_moe, {**BOTH, "use_rslora": True}),
    "with patterns": (
        qwen3_moe,
        {**BOTH, "rank_pattern": {"experts.down_proj": 3}, "alpha_pattern": {"gate_up_proj": 5, "experts": 7}},
    ),
    "all linear, as the library rewrites it": (mixtral, {"target_modules": "all-linear", "task_type": "CAUSAL_LM"}),
    "the router": (
        mixtral,
        {"target_modules": ["q_proj"], "target_parameters": ["mlp.gate.weight"], "alpha_pattern": {"gate": 9}},
    ),
    "stored as stacks (experts, in, out)": (gpt_oss, BOTH),
}


@pytest.fixture(autouse=True)
def quiet():
    """The libraries warn of what is wanted here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity_error()
        torch.manual_seed(0)
        yield


def written(tmp_path, make, options):
    network = make()
    network.save_pretrained(tmp_path / "base")
    tuned(network, options).save_pretrained(tmp_path / "delta")
    return network


@pytest.mark.parametrize("case", CASES)
def test_a_fold_is_what_the_library_merges(tmp_path, case):
    network = written(tmp_path, *CASES[case])
    loaded = peft.PeftModel.from_pretrained(make_again(tmp_path, network), tmp_path / "delta")
    loaded.merge_and_unload().save_pretrained(tmp_path / "merged")
    want = load_file(tmp_path / "merged" / "model.safetensors")
    before = load_file(tmp_path / "base" / "model.safetensors")

    _, _, folding = opened(tmp_path)

    assert set(folding.changed) == {n for n in want if (want[n] != before[n]).any()}
    for name in folding.changed:
        rows = next(iter(folding.blocks(name)))
        assert rows.shape == want[name].shape
        assert abs(rows - want[name]).max() < 1e-6


@pytest.mark.parametrize("case", ["both", "stored as stacks (experts, in, out)"])
def test_numpy_and_torch_fold_alike(tmp_path, case):
    written(tmp_path, *CASES[case])

    assert_alike(tmp_path)


def codes(tmp_path):
    view_, _ = open_base(tmp_path / "base")
    folder = open_folder(tmp_path / "delta")
    try:
        kind, _ = recognise(folder.files, view_)
        found = account(kind.parse(folder.files, view_), folder.files, folder.tensors, view_)
    except Refused as refused:
        return {p.code for p in refused.problems}
    return {p.code for p in found.problems if p.severity == "error"}


@pytest.mark.parametrize(
    ("config", "code"),
    [
        ({"r": 3}, "rank"),
        ({"target_parameters": [DOWN]}, "unexpected_tensors"),
        ({"target_parameters": None}, "unexpected_tensors"),
        ({"target_parameters": ["(a+)+"]}, "bad_config"),
        ({"use_dora": True}, "bad_config"),
        ({"lora_bias": True}, "bad_config"),
        ({"init_lora_weights": "pissa"}, "bad_config"),
    ],
)
def test_a_config_that_does_not_go_with_the_experts_is_refused(tmp_path, config, code):
    written(tmp_path, mixtral, BOTH)
    path = tmp_path / "delta" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))

    assert codes(tmp_path) == {code}


@pytest.mark.parametrize(
    ("lost", "code"),
    [
        ("layers.0.mlp.experts.lora_A", "missing_tensors"),
        ("layers.0.mlp.experts.base_layer", "unexpected_tensors"),
        ("layers.0.mlp.experts", "missing_tensors"),
    ],
)
def test_a_part_that_was_lost_is_refused(tmp_path, lost, code):
    written(tmp_path, mixtral, BOTH)
    tensors = load_file(tmp_path / "delta" / FILE)
    save_file({n: t for n, t in tensors.items() if lost not in n}, tmp_path / "delta" / FILE)

    assert codes(tmp_path) == {code}


def test_another_base_is_refused(tmp_path):
    written(tmp_path, mixtral, BOTH)
    square().save_pretrained(tmp_path / "base")

    assert codes(tmp_path) == {"shape"}
