"""Factors of single experts and of all experts of a layer: each folds into the other's weights."""

import warnings

import numpy as np
import pytest
from safetensors.numpy import load_file

from deltareg.errors import InvalidInput
from tests import tiny
from tests.client.convert import moe
from tests.client.convert.converting import assert_same_factors, client_of, config, folded, tensors

EXPERTS, WIDTH, HIDDEN, MLP = moe.EXPERTS, moe.WIDTH, moe.HIDDEN, moe.MLP
QUERY = "model.layers.0.self_attn.q_proj"
FUSED, SINGLE = "fused-experts", "per-expert"


@pytest.fixture
def client(tmp_path):
    with client_of(tmp_path) as client:
        yield client


@pytest.fixture
def base(tmp_path):
    return moe.base(tmp_path / "base")


def single(path, base, *, r=2, alpha=4, ends=("gate_proj", "up_proj", "down_proj"), experts=None, also=(), **more):
    """Write a pair of factors for each expert and projection."""
    rng, found = np.random.default_rng(5), {}
    modules = [module for module in base.modules(*ends) if experts is None or int(module.split(".")[-2]) in experts]
    modules += also
    for module in modules:
        n_out, n_in = base.weights[f"{module}.weight"].shape
        found[f"{tiny.PREFIX}{module}.lora_A.weight"] = tiny.normal(rng, r, n_in)
        found[f"{tiny.PREFIX}{module}.lora_B.weight"] = tiny.normal(rng, n_out, r)
    told = {**tiny.LORA_CONFIG, "r": r, "lora_alpha": alpha, "target_modules": modules, **more}
    return tiny.write(path, found, adapter_config=told)


def convert(client, base, source, to, layout):
    return client.folders.convert(source, to, base=base.path, layout=layout)


def assert_near(one, other, base):
    """The products are the same sums with zeros between them, which other kernels may order.

    What one of them does not name it leaves as it is.
    """
    for name in one.keys() | other.keys():
        before = base.weights[name]
        assert np.allclose(one.get(name, before), other.get(name, before), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("ends", "also"),
    [
        (("gate_proj", "up_proj", "down_proj"), (QUERY,)),
        (("gate_proj", "up_proj"), ()),
        (("down_proj",), (QUERY,)),
        (("up_proj",), ()),
    ],
)
def test_single_experts_fuse_into_what_folds_the_same(client, tmp_path, base, ends, also):
    single(tmp_path / "in", base, ends=ends, also=also)

    report = convert(client, base, tmp_path / "in", tmp_path / "out", FUSED)

    assert report.result == "lora of fused experts"
    assert client.folders.lint(tmp_path / "out", base=base.path).is_accepted
    assert_near(folded(tmp_path / "in", base.path), folded(tmp_path / "out", base.path), base)


def test_gate_and_up_of_a_rank_become_twice_the_rank(client, tmp_path, base):
    single(tmp_path / "in", base, r=2, alpha=4, also=(QUERY,))

    convert(client, base, tmp_path / "in", tmp_path / "out", FUSED)

    told, found = config(tmp_path / "out"), tensors(tmp_path / "out")
    gate_up = f"^{MLP.format(0)}.gate_up_proj"
    assert (told["r"], told["lora_alpha"]) == (2, 4)
    assert (told["rank_pattern"][gate_up], told["alpha_pattern"][gate_up]) == (4, 8)
    inner = f"{tiny.PREFIX}{MLP.format(0)}.base_layer.lora_"
    outer = f"{tiny.PREFIX}{MLP.format(0)}.lora_"
    assert found[f"{inner}A.weight"].shape == (EXPERTS * 4, WIDTH)
    assert found[f"{inner}B.weight"].shape == (2 * HIDDEN, 4 * EXPERTS)
    assert found[f"{outer}B.weight"].shape == (WIDTH, 2 * EXPERTS)


@pytest.mark.parametrize("r", [1, 2, 3])
def test_and_back_they_are_the_same_tensors(client, tmp_path, base, r):
    single(tmp_path / "in", base, r=r, alpha=5, also=(QUERY,))
    convert(client, base, tmp_path / "in", tmp_path / "fused", FUSED)

    report = convert(client, base, tmp_path / "fused", tmp_path / "out", SINGLE)

    assert report.result == "lora of single experts"
    assert_same_factors(tmp_path / "in", tmp_path / "out")
    assert (config(tmp_path / "out")["r"], config(tmp_path / "out")["lora_alpha"]) == (r, 5)


def test_experts_without_factors_get_zeros_and_keep_doing_nothing(client, tmp_path, base):
    single(tmp_path / "in", base, experts={1})

    convert(client, base, tmp_path / "in", tmp_path / "out", FUSED)

    before, after = (folded(tmp_path / name, base.path) for name in ("in", "out"))
    assert all(".1." in name for name in before)
    assert_near(before, after, base)


def test_ranks_that_differ_are_filled_up(client, tmp_path, base):
    single(tmp_path / "in", base, r=3, alpha=6)
    found, told = tensors(tmp_path / "in"), config(tmp_path / "in")
    ups = [name for name in found if "up_proj" in name]
    for name in ups:
        found[name] = found[name][:2] if "lora_A" in name else found[name][:, :2]
    told |= {"rank_pattern": {"up_proj": 2}, "alpha_pattern": {"up_proj": 4}}
    tiny.write(tmp_path / "in", found, adapter_config=told)

    convert(client, base, tmp_path / "in", tmp_path / "out", FUSED)

    gate_up = f"^{MLP.format(0)}.gate_up_proj"
    assert config(tmp_path / "out")["rank_pattern"][gate_up] == 5
    assert_near(folded(tmp_path / "in", base.path), folded(tmp_path / "out", base.path), base)


def test_scales_that_would_round_b_are_refused(client, tmp_path, base):
    single(tmp_path / "in", base, alpha_pattern={"up_proj": 5})

    with pytest.raises(InvalidInput, match="one scale for all modules"):
        convert(client, base, tmp_path / "in", tmp_path / "out", FUSED)

    assert not (tmp_path / "out").exists()


def test_scales_that_shift_the_exponent_are_not(client, tmp_path, base):
    single(tmp_path / "in", base, alpha_pattern={"up_proj": 8})

    convert(client, base, tmp_path / "in", tmp_path / "out", FUSED)

    assert_near(folded(tmp_path / "in", base.path), folded(tmp_path / "out", base.path), base)


@pytest.mark.parametrize(
    ("layout", "told"), [(FUSED, "no module of it is a single expert"), (SINGLE, "are those of all experts")]
)
def test_what_has_no_experts_is_refused(client, tmp_path, base, layout, told):
    single(tmp_path / "in", base, ends=("q_proj",))

    with pytest.raises(InvalidInput, match=told):
        convert(client, base, tmp_path / "in", tmp_path / "out", layout)


def test_what_is_of_single_experts_already_is_refused(client, tmp_path, base):
    single(tmp_path / "in", base)

    with pytest.raises(InvalidInput, match="are those of all experts"):
        convert(client, base, tmp_path / "in", tmp_path / "out", SINGLE)


# By peft itself


@pytest.fixture
def libraries():
    peft = pytest.importorskip("peft", reason="needs peft")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        transformers.logging.set_verbosity_error()
        yield peft, transformers


def merged(libraries, base, delta):
    """Give the weights that peft makes of a folder, by their names in the base's files."""
    peft, transformers = libraries
    network = transformers.AutoModelForCausalLM.from_pretrained(base.path)
    loaded = peft.PeftModel.from_pretrained(network, delta).merge_and_unload()
    loaded.save_pretrained(delta.parent / "merged")
    return load_file(delta.parent / "merged" / "model.safetensors")


@pytest.mark.parametrize("ends", [("gate_proj", "up_proj", "down_proj"), ("gate_proj",)])
def test_peft_merges_the_fused_ones_into_what_single_ones_fold_to(client, tmp_path, base, libraries, ends):
    single(tmp_path / "in", base, ends=ends, also=(QUERY,))

    convert(client, base, tmp_path / "in", tmp_path / "out", FUSED)

    got, want = merged(libraries, base, tmp_path / "out"), folded(tmp_path / "in", base.path)
    assert all(np.allclose(got[name], want[name], rtol=0, atol=1e-6) for name in want)
    same = base.weights.keys() - want.keys()
    assert all(np.array_equal(got[name], base.weights[name]) for name in same)


def test_what_peft_trained_on_all_experts_comes_apart_exactly(client, tmp_path, base, libraries):
    peft, transformers = libraries
    torch = pytest.importorskip("torch", reason="needs torch")
    network = transformers.AutoModelForCausalLM.from_pretrained(base.path)
    names = [f"mlp.experts.{name}" for name in ("gate_up_proj", "down_proj")]
    told = peft.LoraConfig(
        r=3, lora_alpha=7, target_modules=["q_proj"], target_parameters=names, init_lora_weights=False
    )
    torch.manual_seed(0)
    peft.get_peft_model(network, told).save_pretrained(tmp_path / "in")

    convert(client, base, tmp_path / "in", tmp_path / "out", SINGLE)

    want, got = merged(libraries, base, tmp_path / "in"), folded(tmp_path / "out", base.path)
    assert len(got) == 2 * (3 * EXPERTS + 1)
    assert all(np.allclose(got[name], want[name], rtol=0, atol=1e-5) for name in got)
