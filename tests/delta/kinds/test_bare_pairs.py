"""LoRA without a config: the layouts of kohya and of old diffusers, by the base's own names."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from deltareg.delta.layouts.bare_pairs.pair import PairUpdate
from deltareg.delta.maths.formula import is_factored
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.errors import Refused
from tests import tiny
from tests.delta.kinds.assessing import assessed, fold_rows
from tests.delta.test_fold import Held

QUERY = "down_blocks.0.attn1.to_q"
OUT = "down_blocks.0.attn1.to_out.0"
CONV = "conv_in"
UNET = {
    f"{QUERY}.weight": (6, 4),
    f"{OUT}.weight": (4, 6),
    f"{CONV}.weight": (5, 3, 3, 3),
    f"{CONV}.bias": (5,),
    "proj.weight": (6, 4, 1, 1),
    "norm.weight": (4,),
}


@pytest.fixture
def base(tmp_path):
    rng = np.random.default_rng(0)
    weights = {name: tiny.normal(rng, *shape) for name, shape in UNET.items()}
    (tmp_path / "base").mkdir()
    config = {"_class_name": "UNet2DConditionModel"}
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    save_file(weights, tmp_path / "base" / "model.safetensors")
    return weights


def kohya(module, shape, *, r=2, alpha: float | None = 3.0, prefix="lora_unet_", seed=1):
    rng = np.random.default_rng(seed)
    ones = (1, 1) if len(shape) == 4 else ()
    key = prefix + module.replace(".", "_")
    found = {
        f"{key}.lora_down.weight": tiny.normal(rng, r, *shape[1:]),
        f"{key}.lora_up.weight": tiny.normal(rng, shape[0], r, *ones),
    }
    if alpha is not None:
        found[f"{key}.alpha"] = np.array(alpha, np.float32)
    return found


def product(tensors, module, shape):
    key = "lora_unet_" + module.replace(".", "_")
    up, down = (tensors[f"{key}.lora_{side}.weight"] for side in ("up", "down"))
    flat = up.reshape(len(up), -1).astype("f8") @ down.reshape(len(down), -1)
    return flat.reshape(shape)


def written(tmp_path, tensors, metadata=None):
    tiny.write(tmp_path / "delta", tensors, file="lora.safetensors", metadata=metadata)
    return assessed(tmp_path / "delta", tmp_path / "base")


@pytest.mark.parametrize(("alpha", "scale"), [(3.0, 1.5), (None, 1.0)])
@pytest.mark.parametrize("module", [QUERY, OUT, CONV, "proj"])
def test_a_kohya_pair_is_scaled_by_its_alpha(tmp_path, base, module, alpha, scale):
    shape = UNET[f"{module}.weight"]
    tensors = kohya(module, shape, alpha=alpha)

    found = written(tmp_path, tensors)

    want = base[f"{module}.weight"] + scale * product(tensors, module, shape)
    assert (found.kind, found.account.delta.config()["layout"]) == ("lora", "kohya")
    assert np.allclose(found.folded()[f"{module}.weight"], want, atol=1e-6)


def test_modules_may_differ_in_rank_and_alpha(tmp_path, base):
    tensors = kohya(QUERY, (6, 4), r=2, alpha=4) | kohya(OUT, (4, 6), r=3, alpha=1)

    found = written(tmp_path, tensors)

    want = base[f"{OUT}.weight"] + product(tensors, OUT, (4, 6)) / 3
    assert found.account.delta.config() == {"layout": "kohya", "r": [2, 3]}
    assert np.allclose(found.folded()[f"{OUT}.weight"], want, atol=1e-6)


def test_a_linear_pair_fits_a_convolution_of_one(tmp_path, base):
    tensors = kohya("proj", (6, 4))

    assert set(written(tmp_path, tensors).folded()) == {"proj.weight"}


KEY = "lora_unet_" + QUERY.replace(".", "_")


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        ({f"{KEY}.lora_up.weight": None}, ["missing_tensors"]),
        ({f"{KEY}.lora_up.weight": np.ones((6, 3), "f4")}, ["shape"]),
        ({f"{KEY}.lora_up.weight": np.ones((7, 2), "f4")}, ["shape"]),
        ({f"{KEY}.lora_up.weight": np.ones((6, 2), "i4")}, ["shape"]),
        ({f"{KEY}.alpha": np.ones(2, "f4")}, ["shape"]),
        ({f"{KEY}.alpha": np.array(0, "f4")}, ["bad_config"]),
        ({f"{KEY}.alpha": np.array(-0.0, "f4")}, ["bad_config"]),
        ({f"{KEY}.alpha": np.array(np.nan, "f4")}, ["non_finite"]),
        ({f"{KEY}.lora_scale": np.ones((6, 1), "f4")}, ["unexpected_tensors"]),
        ({f"{KEY}.lora_mid.weight": np.ones((2, 2, 3, 3), "f4")}, ["shape"]),
        (kohya("mid_block.x", (6, 4)), ["partial_application"]),
        (kohya("norm", (4, 4)), ["partial_application"]),
        (kohya(QUERY, (6, 4), prefix="lora_te_"), ["unexpected_tensors"]),
        (kohya(OUT, (4, 6), alpha=None), ["missing_tensors"]),
    ],
)
def test_pairs_that_are_not_the_bases_are_refused(tmp_path, base, change, codes):
    tensors = {n: v for n, v in (kohya(QUERY, (6, 4)) | change).items() if v is not None}

    assert written(tmp_path, tensors).codes == codes


def test_pairs_of_another_base_apply_nowhere(tmp_path, base):
    assert written(tmp_path, kohya("up_blocks.9.to_q", (6, 4))).codes == ["no_tensor_applied"]


def test_an_alpha_that_only_metadata_holds_is_asked_for(tmp_path, base):
    tensors = kohya(QUERY, (6, 4), alpha=None)

    assert written(tmp_path, tensors, {"ss_network_alpha": "8"}).codes == ["missing_tensors"]


def test_dora_is_refused_in_one_sentence(tmp_path, base):
    tensors = kohya(QUERY, (6, 4)) | {f"{KEY}.dora_scale": np.ones((6, 1), "f4")}

    with pytest.raises(Refused, match="1 modules come with a dora_scale") as caught:
        written(tmp_path, tensors)

    assert [problem.code for problem in caught.value.problems] == ["unknown_kind"]


def test_a_name_that_fits_two_modules_is_refused(tmp_path, base):
    twin = {**base, "down_blocks.0.attn1_to.q.weight": base[f"{QUERY}.weight"]}
    save_file(twin, tmp_path / "base" / "model.safetensors")

    found = written(tmp_path, kohya(QUERY, (6, 4)))

    assert found.codes == ["ambiguous"]
    assert QUERY in found.problems[0].message


def test_a_core_makes_the_kernel_of_three_convolutions(tmp_path, base):
    torch = pytest.importorskip("torch", reason="needs torch")
    rng = np.random.default_rng(3)
    up, core, down = (tiny.normal(rng, *s) for s in ((5, 2, 1, 1), (2, 2, 3, 3), (2, 3, 1, 1)))
    tensors = {
        "lora_unet_conv_in.lora_up.weight": up,
        "lora_unet_conv_in.lora_mid.weight": core,
        "lora_unet_conv_in.lora_down.weight": down,
        "lora_unet_conv_in.alpha": np.array(1.0, np.float32),
    }
    image = torch.randn(1, 3, 7, 7, generator=torch.Generator().manual_seed(0))

    found = written(tmp_path, tensors)

    kernel = found.folded()["conv_in.weight"] - base["conv_in.weight"]
    conv = torch.nn.functional.conv2d
    want = conv(conv(conv(image, torch.tensor(down)), torch.tensor(core)), torch.tensor(up)) / 2
    assert torch.allclose(conv(image, torch.tensor(kernel)), want, atol=1e-5)


@pytest.mark.parametrize("is_flipped", [True, False])
def test_factors_give_what_folding_adds(is_flipped):
    rng = np.random.default_rng(0)
    pair = PairUpdate(
        Held(tiny.normal(rng, 6, 2)), Held(tiny.normal(rng, 2, 4)), Held(np.float32(3)), is_flipped=is_flipped
    )
    weight = np.zeros((4, 6) if is_flipped else (6, 4), np.float32)

    left, right, scale = factors_of(pair)

    assert is_factored(pair)
    added = fold_rows(pair, weight, 0, len(weight))
    assert np.allclose(scale * (left @ right), added, atol=1e-6)
    assert np.allclose(fold_rows(pair, weight[1:3], 1, 3), added[1:3])


def factors_of(update):
    return update.factors(NumPyOps())


SPELLINGS = {
    QUERY: [
        f"{QUERY}.lora_linear_layer",
        f"unet.{QUERY}.lora_linear_layer",
        f"unet.{QUERY}.lora",
        "down_blocks.0.attn1.processor.to_q_lora",
        "unet.down_blocks.0.attn1.processor.to_q_lora",
    ],
    OUT: [f"text_encoder.{OUT}.lora_linear_layer", "unet.down_blocks.0.attn1.processor.to_out_lora"],
}


@pytest.mark.parametrize(("module", "layer"), [(m, name) for m in SPELLINGS for name in SPELLINGS[m]])
@pytest.mark.parametrize("alpha", [None, 4.0])
def test_old_diffusers_names_are_read(tmp_path, base, module, layer, alpha):
    shape = UNET[f"{module}.weight"]
    rng = np.random.default_rng(2)
    up, down = tiny.normal(rng, shape[0], 2), tiny.normal(rng, 2, shape[1])
    tensors = {f"{layer}.up.weight": up, f"{layer}.down.weight": down}
    if alpha is not None:
        tensors[f"{layer}.alpha"] = np.array(alpha, np.float32)

    found = written(tmp_path, tensors)

    want = base[f"{module}.weight"] + (alpha or 2.0) / 2 * (up.astype("f8") @ down)
    assert found.account.delta.config()["layout"] == "diffusers"
    assert np.allclose(found.folded()[f"{module}.weight"], want, atol=1e-6)


def test_parts_of_a_pipeline_that_the_base_is_not_are_refused(tmp_path, base):
    pair = {"up.weight": np.ones((6, 2), "f4"), "down.weight": np.ones((2, 4), "f4")}
    tensors = {f"unet.{QUERY}.lora_linear_layer.{end}": value for end, value in pair.items()}
    tensors |= {f"text_encoder.layers.0.fc.lora_linear_layer.{end}": value for end, value in pair.items()}

    assert written(tmp_path, tensors).codes == ["partial_application"]


def test_a_conv1d_of_gpt2_is_stored_the_other_way_round(tmp_path):
    gpt2 = tiny.base(tmp_path / "base", kind="gpt2")
    tensors = kohya("transformer.h.0.attn.c_attn", (24, 8), prefix="lora_te_")

    found = written(tmp_path, tensors)

    key = "lora_te_transformer_h_0_attn_c_attn"
    change = 1.5 * tensors[f"{key}.lora_up.weight"] @ tensors[f"{key}.lora_down.weight"]
    name = "transformer.h.0.attn.c_attn.weight"
    assert np.allclose(found.folded()[name], gpt2.weights[name] + change.T, atol=1e-6)
