"""Deltas of the multiplicative, sparse and rarer kinds, made by the peft library here and now."""

import json
import shutil
from typing import Any

import numpy as np
import pytest
from peft.tuners.boft.layer import BOFTLayer
from safetensors.numpy import load_file, save_file
from transformers.pytorch_utils import Conv1D

from deltareg.delta.fold import FoldedBase
from deltareg.delta.formats import describe
from deltareg.delta.kind import ActivationHook, DeltaFiles, HookInputs, WeightUpdate
from deltareg.delta.kinds import all_kinds
from deltareg.delta.kinds.tinylora import IN_MEMORY
from deltareg.delta.layouts.peft.refused import REASONS, reason
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.errors import InvalidInput
from deltareg_verify.engine.torch_engine.ops import TorchOps
from tests.delta.kinds import peft_oracle as oracle
from tests.delta.kinds.peft_oracle import QV, gpt2, llama, llama_biased, mistral, peft, qwen2, qwen3, resnet, torch

FILE = "adapter_model.safetensors"

CONVOLUTIONS = {"target_modules": ["convolution"]}
CASES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "oft": (llama, peft.OFTConfig, {"oft_block_size": 4, "use_cayley_neumann": False}),
    "oft by number": (llama, peft.OFTConfig, {"oft_block_size": 0, "r": 2}),
    "oft adjusted": (llama, peft.OFTConfig, {"oft_block_size": 6}),
    "oft by number, adjusted": (llama, peft.OFTConfig, {"oft_block_size": 0, "r": 3}),
    "oft shared": (llama, peft.OFTConfig, {"oft_block_size": 4, "block_share": True}),
    "oft small": (llama, peft.OFTConfig, {"oft_block_size": 4, "coft": True, "eps": 0.2}),
    "oft small and shared": (
        llama,
        peft.OFTConfig,
        {"oft_block_size": 4, "coft": True, "eps": 0.3, "block_share": True},
    ),
    **{
        f"oft of {terms} terms": (llama, peft.OFTConfig, {"oft_block_size": 4, "num_cayley_neumann_terms": terms})
        for terms in (1, 2, 3, 6)
    },
    "oft with biases": (llama_biased, peft.OFTConfig, {"oft_block_size": 4, "bias": "oft_only"}),
    "oft of an embedding": (
        llama,
        peft.OFTConfig,
        {"oft_block_size": 4, "target_modules": ["embed_tokens", "down_proj"]},
    ),
    "boft": (llama, peft.BOFTConfig, {"boft_block_size": 4}),
    "boft by number": (llama_biased, peft.BOFTConfig, {"boft_block_size": 0, "boft_block_num": 2}),
    "boft of convolutions": (resnet, peft.BOFTConfig, {"boft_block_num": 1, "boft_block_size": 0, **CONVOLUTIONS}),
    "hra": (llama_biased, peft.HRAConfig, {"r": 3}),
    "hra made orthogonal": (llama, peft.HRAConfig, {"r": 4, "apply_GS": True}),
    "hra of convolutions": (resnet, peft.HRAConfig, {"r": 2, **CONVOLUTIONS}),
    "road 1": (llama_biased, peft.RoadConfig, {"variant": "road_1", "group_size": 4}),
    "road 2": (llama_biased, peft.RoadConfig, {"variant": "road_2", "group_size": 8}),
    "road 4": (llama_biased, peft.RoadConfig, {"variant": "road_4", "group_size": 2}),
    "shira": (llama, peft.ShiraConfig, {"r": 2}),
    "shira of all layers": (llama, peft.ShiraConfig, {"r": 1, "target_modules": "all-linear", "random_seed": 5}),
    "supertuning": (llama, peft.SupertuningConfig, {"sparsity": 0.9}),
    "supertuning with factors": (
        llama,
        peft.SupertuningConfig,
        {"sparsity": 0.95, "select_top": False, "r": 3, "lora_alpha": 5},
    ),
    "deft": (llama, peft.DeftConfig, {"r": 3}),
    "deft scaled": (llama, peft.DeftConfig, {"r": 3, "alpha": 5}),
    "deft of rank above outputs": (llama, peft.DeftConfig, {"r": 12}),
    "deft orthonormal": (llama, peft.DeftConfig, {"r": 3, "decomposition_method": "qr"}),
    "deft without R": (llama, peft.DeftConfig, {"r": 3, "decomposition_method": "qr", "para": True}),
    "deft on Conv1D": (gpt2, peft.DeftConfig, {"r": 3, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    **{
        f"glora {a_b} {d_e}": (
            llama_biased,
            peft.GloraConfig,
            {"r": 2, "config_A_B": a_b, "config_C": "none", "config_D_E": d_e},
        )
        for a_b, d_e in (("lora", "vector"), ("vector", "constant"), ("constant", "none"))
    },
    "glora without biases": (llama, peft.GloraConfig, {"r": 2}),
    "peanut": (llama, peft.PeanutConfig, {"r": 3}),
    **{
        f"peanut with {function}": (llama, peft.PeanutConfig, {"r": 3, "depth": 2, "act_fn": function, "scaling": 0.5})
        for function in ("gelu", "silu", "leaky_relu")
    },
    "pvera": (llama, peft.PveraConfig, {"r": 3}),
    "pvera of several sizes": (llama, peft.PveraConfig, {"r": 3, "target_modules": "all-linear"}),
    "pvera on Conv1D": (gpt2, peft.PveraConfig, {"r": 3, "target_modules": ["c_attn", "c_proj"]}),
    "tinylora": (llama, peft.TinyLoraConfig, {"u": 5}),
    "tinylora in groups": (llama, peft.TinyLoraConfig, {"u": 5, "weight_tying": 0.7, "target_modules": "all-linear"}),
    "tinylora of one vector": (
        llama,
        peft.TinyLoraConfig,
        {"u": 5, "weight_tying": 1.0, "target_modules": ["embed_tokens", "up_proj", "lm_head"]},
    ),
    "tinylora on Conv1D": (
        gpt2,
        peft.TinyLoraConfig,
        {"u": 5, "target_modules": ["c_fc", "c_attn", "c_proj"], "fan_in_fan_out": True},
    ),
    "unilora": (llama, peft.UniLoraConfig, {"save_indices": True, "theta_d_length": 40}),
    "unilora on Conv1D": (gpt2, peft.UniLoraConfig, {"save_indices": True, "target_modules": ["c_attn"]}),
    "frod": (llama, peft.FrodConfig, {"sparse_rate": 0.05, "target_modules": ["q_proj", "v_proj", "down_proj"]}),
    "frod on Conv1D": (gpt2, peft.FrodConfig, {"target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True}),
    "beft on biases": (llama_biased, peft.BeftConfig, {}),
}


# What the library has no merge for, or merges on other layers than these.
ATTACHED: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "beft": (llama, peft.BeftConfig, {}),
    "lily": (llama, peft.LilyConfig, {"r": 3, "num_B": 3, "scaling": 0.5, "stride_A": 2}),
}
QUERY = "model.layers.0.self_attn.q_proj"


@pytest.fixture(autouse=True)
def quiet():
    with oracle.quiet():
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Save the base and the delta of a case once; give their folder and what was wrapped."""
    known = {}

    def make(case):
        if case not in known:
            network, config, options = (CASES | ATTACHED)[case]
            folder, built = tmp_path_factory.mktemp("case"), network()
            chosen = config(**{"target_modules": QV, **options})
            known[case] = folder, oracle.saved(folder, built, chosen), built
        return known[case]

    return make


@pytest.fixture
def broken(made, tmp_path):
    """Copy the folder of a case with another config or other tensors."""

    def change(case, *, config=None, tensors=None, base=None):
        folder, _, _ = made(case)
        shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
        path, weights = tmp_path / "delta" / "adapter_config.json", tmp_path / "delta" / FILE
        path.write_text(json.dumps({**json.loads(path.read_text()), **(config or {})}))
        save_file((tensors or dict)(load_file(weights)), weights)
        described = tmp_path / "base" / "config.json"
        described.write_text(json.dumps({**json.loads(described.read_text()), **(base or {})}))
        return tmp_path

    return change


@pytest.mark.parametrize("case", CASES)
def test_a_fold_is_what_the_library_merges(made, case):
    folder, _, network = made(case)
    merged = oracle.loaded(folder, network).merge_and_unload().state_dict()

    error = oracle.error_of_fold(folder, merged)

    assert error < 1e-6


@pytest.mark.parametrize("case", CASES)
def test_a_formula_says_the_same_in_torch_and_by_runs_of_rows(made, case):
    _, weights, found = oracle.accounted(made(case)[0])
    updates = [effect for effect in found.effects if isinstance(effect, WeightUpdate)]
    torch_ops: Any = TorchOps(torch.device("cpu"))
    ops: Any = NumPyOps()

    for effect in updates:
        weight = weights[effect.source]
        update: Any = effect.update
        height, at = weight.shape[0], -(-weight.shape[0] // 3)
        want = oracle.as_numbers(update.fold(ops.load(weight), 0, height, ops))

        got = oracle.as_numbers(update.fold(torch_ops.load(weight), 0, height, torch_ops))
        runs = [(0, height)] if update.needs_whole else [(0, at), (at, height)]
        parts = [update.fold(ops.load(weight, *run), *run, ops) for run in runs]

        assert np.max(np.abs(got - want)) < 2e-6
        assert np.max(np.abs(np.concatenate([oracle.as_numbers(p) for p in parts]) - want)) < 2e-6


def test_a_butterfly_is_the_product_of_permuted_rotations(broken):
    rng = np.random.default_rng(3)
    blocks = rng.normal(0, 0.3, (3, 8, 2, 2)).astype(np.float32)
    folder = broken(
        "boft",
        config={"boft_block_size": 2, "boft_n_butterfly_factor": 3},
        tensors=lambda own: {n: blocks if n.endswith("boft_R") else t for n, t in own.items()},
    )

    _, weights, found = oracle.accounted(folder)
    effect = next(e for e in found.effects if e.target == f"{QUERY}.weight")
    weight = NumPyOps().load(weights[effect.target])
    got = effect.update.fold(weight, 0, 16, NumPyOps())

    scale = load_file(folder / "delta" / FILE)[f"base_model.model.{QUERY}.boft_s"]
    want = (butterfly(torch.from_numpy(blocks)) @ torch.from_numpy(weight.T)).T.numpy() * scale
    assert np.max(np.abs(got - want)) < 1e-6


def butterfly(blocks):
    """Multiply rotations as the library's forward does, by its own permutations."""
    factors, count, size, _ = blocks.shape
    layer: Any = BOFTLayer
    total = torch.eye(count * size)
    for at in range(factors):
        order = layer.block_butterfly_perm(None, count * size, count >> at, size // 2, factors - 1)
        mover = layer.perm2mat(None, order)
        turns = torch.block_diag(*layer.cayley_batch(None, blocks[at]))
        total = mover @ turns @ mover.T @ total
    return total


@pytest.mark.parametrize("case", ATTACHED)
def test_a_hook_gives_what_the_librarys_layer_does(made, case):
    folder, model, _ = made(case)
    _, _, found = oracle.accounted(folder)
    hooked = next(e for e in found.effects if e.module == QUERY)
    layer = model.get_submodule(f"base_model.model.{QUERY}")
    inputs = torch.randn(2, 5, 16)
    want = layer(inputs).detach().numpy()
    plain = layer.get_base_layer()(inputs).detach()

    for ops, value, given in (
        (NumPyOps(), plain.numpy(), inputs.numpy()),
        (TorchOps(torch.device("cpu")), plain, inputs),
    ):
        got = hooked.hook.apply(value, HookInputs(dict.fromkeys(hooked.taps, given)), ops)

        assert np.max(np.abs(oracle.as_numbers(got) - want)) < 1e-6
    assert isinstance(hooked, ActivationHook)
    assert not found.delta.foldable


def without(ending):
    return lambda own: {name: t for name, t in own.items() if not name.endswith(ending)}


def as_reals(own):
    return {n: t.astype(np.float32) if "indices" in n else t for n, t in own.items()}


WRONG: dict[str, tuple[str, dict[str, Any], str]] = {
    "another field": ("hra", {"config": {"mystery": 3}}, "bad_config"),
    "oft blocks of another size": ("oft", {"config": {"oft_block_size": 8}}, "shape"),
    "oft of size and number": ("oft", {"config": {"r": 4}}, "bad_config"),
    "oft before its size was saved": ("oft", {"config": {"oft_block_size": None}}, "bad_config"),
    "oft of an unknown series": ("oft of 6 terms", {"config": {"peft_version": None}}, "bad_config"),
    "boft without a factor": ("boft", {"tensors": without("0.self_attn.q_proj.boft_s")}, "missing_tensors"),
    "boft of another factor": ("boft", {"config": {"boft_block_size": 8}}, "shape"),
    "hra of another rank": ("hra", {"config": {"r": 2}}, "rank"),
    "road of other groups": ("road 1", {"config": {"group_size": 6}}, "shape"),
    "road of another variant": ("road 1", {"config": {"variant": "road_2"}}, "shape"),
    "road of odd groups": ("road 1", {"config": {"group_size": 3}}, "bad_config"),
    "shira of another rank": ("shira", {"config": {"r": 1}}, "rank"),
    "shira saved on Windows": ("shira", {"tensors": as_reals}, "bad_config"),
    "supertuning of another count": ("supertuning", {"config": {"sparsity": 0.8}}, "shape"),
    "supertuning without places": (
        "supertuning",
        {"config": {"save_precomputed_indices": False}},
        "not_self_contained",
    ),
    "supertuning without its factors": ("supertuning", {"config": {"r": 3}}, "missing_tensors"),
    "deft of another rank": ("deft", {"config": {"r": 2}}, "rank"),
    "deft without R": ("deft", {"tensors": without("deft_R")}, "missing_tensors"),
    "deft with R too many": ("deft", {"config": {"para": True}}, "unexpected_tensors"),
    "glora of another form": ("glora lora vector", {"config": {"config_A_B": "vector"}}, "missing_tensors"),
    "glora that couples bias and weight": ("glora lora vector", {"config": {"config_C": "vector"}}, "bad_config"),
    "peanut that is deeper": ("peanut", {"config": {"depth": 1}}, "missing_tensors"),
    "peanut that is not so deep": ("peanut with silu", {"config": {"depth": 1}}, "unexpected_tensors"),
    "peanut with an unknown function": ("peanut", {"config": {"act_fn": "mish"}}, "bad_config"),
    "pvera without projections": ("pvera", {"config": {"save_projection": False}}, "not_self_contained"),
    "pvera by lot": ("pvera", {"config": {"sample_at_inference": True}}, "bad_config"),
    "pvera of another rank": ("pvera", {"config": {"r": 4}}, "rank"),
    "tinylora without a vector": ("tinylora", {"tensors": without("tinylora_v.1")}, "missing_tensors"),
    "tinylora of another sharing": ("tinylora", {"config": {"weight_tying": 1.0}}, "missing_tensors"),
    "tinylora on an unknown network": ("tinylora", {"base": {"model_type": "other"}}, "not_self_contained"),
    "tinylora of another size": ("tinylora", {"config": {"u": 4}}, "shape"),
    "unilora without places": ("unilora", {"config": {"save_indices": False}}, "unknown_kind"),
    "unilora of another length": ("unilora", {"config": {"theta_d_length": 41}}, "shape"),
    "frod without its basis": ("frod", {"tensors": without("frod_V.mlp_down_proj")}, "missing_tensors"),
    "frod with one too many": (
        "frod",
        {"tensors": lambda own: {**own, "base_model.frod_V.x": np.ones((2, 2), np.float32)}},
        "unexpected_tensors",
    ),
    "frod that saved none": ("frod", {"config": {"save_projection": False}}, "not_self_contained"),
    "beft of another shape": ("beft", {"tensors": lambda own: {n: t[:, :4].copy() for n, t in own.items()}}, "shape"),
    "lily of another count": ("lily", {"config": {"num_B": 2}}, "shape"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_broken_delta_gets_its_code(broken, case):
    whole, change, code = WRONG[case]

    folder = broken(whole, **change)

    assert oracle.codes(folder) == {code}


@pytest.mark.parametrize("place", [-1, 16 * 16])
def test_a_place_outside_of_its_weight_is_refused(broken, place):
    folder = broken(
        "supertuning", tensors=lambda own: {n: np.full_like(t, place) if "indices" in n else t for n, t in own.items()}
    )

    _, weights, found = oracle.accounted(folder)

    with pytest.raises(InvalidInput, match="is not within"):
        list(FoldedBase(found.effects, weights).rows(f"{QUERY}.weight"))


def test_a_turned_convolution_wider_than_one_is_refused(tmp_path):
    config = peft.OFTConfig(oft_block_size=3, target_modules=["layer.1.convolution"])

    oracle.saved(tmp_path, resnet(), config)

    assert oracle.codes(tmp_path) == {"not_self_contained"}


def test_a_layer_that_is_stored_the_other_way_is_not_turned(tmp_path):
    gpt2().save_pretrained(tmp_path / "base")
    (tmp_path / "delta").mkdir()
    told = {"peft_type": "HRA", "r": 1, "target_modules": ["c_proj"]}
    (tmp_path / "delta" / "adapter_config.json").write_text(json.dumps(told))
    name = "base_model.model.transformer.h.0.attn.c_proj.hra_u"

    save_file({name: np.ones((16, 1), np.float32)}, tmp_path / "delta" / FILE)

    assert "shape" in oracle.codes(tmp_path)


@pytest.mark.parametrize("make", [gpt2, llama, mistral, qwen2, qwen3])
def test_linear_layers_are_in_memory_as_the_table_says(make):
    network = make()
    prefix = "transformer.h.1." if make is gpt2 else "model.layers.1."
    linear = (torch.nn.Linear, Conv1D)

    held = [name for name, module in network.named_modules() if isinstance(module, linear)]

    own = tuple(name.removeprefix(prefix) for name in held if name.startswith(prefix))
    assert own == IN_MEMORY[network.config.model_type]


@pytest.mark.parametrize("peft_type", sorted(REASONS))
def test_a_type_without_a_kind_is_refused_with_its_reason(peft_type):
    files = DeltaFiles({}, {}, {"adapter_config.json": {"peft_type": peft_type}})

    told = describe(files)

    assert peft_type in told
    assert reason(peft_type) in told
    assert f"peft {peft_type}" not in all_kinds()
    assert peft_type in peft.PeftType.__members__
