"""LoRA named as a model's original code names its modules: `convert` reads what diffusers reads."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from deltareg.client.convert.lokr_cuts import factor_size
from deltareg.client.convert.original_names import respell_names
from deltareg.delta.kind import BaseView
from deltareg.delta.layouts.originals import by_path, by_spelling
from deltareg.errors import Refused

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
pytest.importorskip("diffusers", reason="needs diffusers: pip install 'deltareg[diffusion]'")
from diffusers.loaders import lora_conversion_utils as library  # noqa: E402  # it needs torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint  # noqa: E402
from diffusers.utils import convert_unet_state_dict_to_peft  # noqa: E402

from deltareg.client.convert.matrices import InMemoryTensor  # noqa: E402
from tests.verify import original_files, tiny_diffusers  # noqa: E402
from tests.verify.original_files import WIDTHS, view_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # what the libraries say to each other
THIN = {"block_out_channels": (8, 16, 32), "norm_num_groups": 4, "cross_attention_dim": 8, "attention_head_dim": 4}
WITHOUT, WITH = ("DownBlock2D", "UpBlock2D"), ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D")
SDXL = {
    **THIN,
    "down_block_types": (WITHOUT[0], WITH[0], WITH[0]),
    "up_block_types": (WITH[1], WITH[1], WITHOUT[1]),
    "transformer_layers_per_block": (1, 2, 3),
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 4,
    "projection_class_embeddings_input_dim": 32,
    "use_linear_projection": True,
}
SD1 = {
    **THIN,
    "block_out_channels": (8, 16, 32, 32),
    "down_block_types": (WITH[0], WITH[0], WITH[0], WITHOUT[0]),
    "up_block_types": (WITHOUT[1], WITH[1], WITH[1], WITH[1]),
}


@cache
def made(kind, *options):
    """Make a model's shapes without its numbers."""
    import diffusers

    with torch.device("meta"):
        return getattr(diffusers, kind)(**dict(options))


def layers(model):
    """Give the modules that a LoRA can be on."""
    sorts = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.Conv3d)
    return {name: m for name, m in model.named_modules() if isinstance(m, sorts)}


def kohya(view, *, alpha=None, rank=1):
    """Make a LoRA on all modules, unlike on each, as kohya's scripts spell them."""
    found, rng = {}, np.random.default_rng(0)
    for path, original in sorted(by_path(view).items()):
        rows = sum(view.tensors[f"{module}.weight"].shape[0] for module in original.modules)
        key = f"lora_unet_{path.replace('.', '_')}"
        found[f"{key}.lora_down.weight"] = rng.normal(size=(rank, 3)).astype("f4")
        found[f"{key}.lora_up.weight"] = rng.normal(size=(rows, rank)).astype("f4")
        found[f"{key}.alpha"] = np.array(rank if alpha is None else alpha, "f4")
    return found


def ours(found, view):
    """Read a file as `convert` does; gives arrays by the names that peft has for them."""
    tensors = {name: InMemoryTensor(name, "F32", value) for name, value in found.items()}
    return {
        name.removeprefix("diffusion_model.")
        .replace("lora_down", "lora_A")
        .replace("lora_up", "lora_B"): np.frombuffer(tensor.read(), "f4").reshape(tensor.shape)
        for name, tensor in respell_names(tensors, view).items()
    }


def of_unet(found, model):
    """Have diffusers read a UNet's file."""
    given = {name: torch.tensor(value) for name, value in found.items()}
    config = SimpleNamespace(layers_per_block=model.config.layers_per_block)
    state = library._maybe_map_sgm_blocks_to_diffusers(given, config)
    state, alphas = library._convert_non_diffusers_lora_to_diffusers(state)
    state = convert_unet_state_dict_to_peft(state)
    return {n.removeprefix("unet."): v.numpy() for n, v in state.items()}, alphas


def of_flux(found):
    """Have diffusers read a file of Flux."""
    state = original_files.of_flux(found, widths=WIDTHS)
    return {name.removeprefix("transformer."): value.numpy() for name, value in state.items()}


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def without_alphas(found):
    return {name: value for name, value in found.items() if not name.endswith(".alpha")}


def test_all_layers_of_a_unet_are_those_that_diffusers_says():
    model = made("UNet2DConditionModel", *SDXL.items())
    view = view_of(model)
    found = kohya(view)

    wanted, alphas = of_unet(dict(found), model)

    assert {module for o in by_path(view).values() for module in o.modules} == set(layers(model))
    assert_equal(without_alphas(ours(found, view)), wanted)
    assert len(alphas) == len(wanted) // 2


def test_names_of_a_larger_unet_are_those_of_its_checkpoint():
    # diffusers reads a LoRA of no more than nine blocks down: it takes the tenth for the first.
    model = made("UNet2DConditionModel", *SD1.items())
    table = by_path(view_of(model))
    checkpoint = {f"model.diffusion_model.{path}.{end}": path for path in table for end in ("weight", "bias")}

    wanted = convert_ldm_unet_checkpoint(checkpoint, model.config)

    assert {module for o in table.values() for module in o.modules} == set(layers(model))
    assert {f"{o.modules[0]}.weight": path for path, o in table.items()} == {
        name: path for name, path in wanted.items() if name.endswith(".weight")
    }


def test_names_of_files_that_people_have_lead_where_they_should():
    sd1, sdxl = (by_spelling(view_of(made("UNet2DConditionModel", *c.items()))) for c in (SD1, SDXL))

    assert sdxl["input_blocks_4_1_transformer_blocks_0_attn1_to_q"].modules == (
        "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
    )
    assert sdxl["output_blocks_2_2_conv"].modules == ("up_blocks.0.upsamplers.0.conv",)
    assert sdxl["output_blocks_5_2_conv"].modules == ("up_blocks.1.upsamplers.0.conv",)
    assert sdxl["input_blocks_7_0_skip_connection"].modules == ("down_blocks.2.resnets.0.conv_shortcut",)
    assert sdxl["middle_block_1_transformer_blocks_2_ff_net_0_proj"].modules == (
        "mid_block.attentions.0.transformer_blocks.2.ff.net.0.proj",
    )
    assert sd1["output_blocks_2_1_conv"].modules == ("up_blocks.0.upsamplers.0.conv",)
    assert sd1["input_blocks_3_0_op"].modules == ("down_blocks.0.downsamplers.0.conv",)


def flux(**more):
    return made("FluxTransformer2DModel", *{**more, "guidance_embeds": True}.items())


def test_all_layers_of_flux_are_those_that_diffusers_says():
    model = flux()
    view = view_of(model)
    found = kohya(view)

    wanted = of_flux(dict(found))

    assert {module for o in by_path(view).values() for module in o.modules} == set(layers(model))
    assert_equal(without_alphas(ours(found, view)), wanted)


@pytest.mark.parametrize("alpha", [1.0, 3.0, 16.0])
def test_products_are_those_of_diffusers_whatever_alpha_is(alpha):
    model = flux(num_layers=1, num_single_layers=1)
    view = view_of(model)
    # diffusers leaves out the alpha of the last layers (and then passes over them).
    found = {n: v for n, v in kohya(view, alpha=alpha, rank=4).items() if "final_layer" not in n}

    wanted, read = of_flux(dict(found)), ours(found, view)

    for name in (name for name in read if name.endswith(".alpha")):
        module = name.removesuffix(".alpha")
        a, b = (f"{module}.lora_{side}.weight" for side in "AB")
        # Which factor the scale is in is the library's choice; both together are not.
        first, second = (read[n].ravel()[0] for n in (a, b))
        scale = (wanted[a].ravel()[0] / first) * (wanted[b].ravel()[0] / second)
        assert np.isclose(scale, read[name] / 4, rtol=1e-6)
        assert np.allclose(wanted[a] / read[a], wanted[a].ravel()[0] / first, rtol=1e-6)
        assert np.allclose(wanted[b] / read[b], wanted[b].ravel()[0] / second, rtol=1e-6)


def test_a_fused_factor_that_was_trained_apart_gives_the_product_of_diffusers():
    view = view_of(flux(num_layers=1, num_single_layers=0))
    key, rng = "lora_unet_double_blocks_0_img_attn_qkv", np.random.default_rng(0)
    up = np.zeros((9216, 6), "f4")
    for at in range(3):
        rows = slice(3072 * at, 3072 * (at + 1))
        up[rows, 2 * at : 2 * at + 2] = rng.normal(size=(3072, 2))
    found = {
        f"{key}.lora_down.weight": rng.normal(size=(6, 3)).astype("f4"),
        f"{key}.lora_up.weight": up,
        f"{key}.alpha": np.array(6, "f4"),
    }

    wanted, read = of_flux(dict(found)), ours(found, view)

    # diffusers then keeps the ranks apart, which are zeros here.
    assert wanted["transformer_blocks.0.attn.to_k.lora_A.weight"].shape == (2, 3)
    for module in ("to_q", "to_k", "to_v"):
        first, second = (
            side[f"transformer_blocks.0.attn.{module}.lora_B.weight"]
            @ side[f"transformer_blocks.0.attn.{module}.lora_A.weight"]
            for side in (wanted, read)
        )
        assert np.allclose(first, second, rtol=0, atol=1e-6)


def of_wan(found, *, dotted):
    convert = (
        library._convert_non_diffusers_wan_lora_to_diffusers
        if dotted
        else library._convert_musubi_wan_lora_to_diffusers
    )
    state = convert({name: torch.tensor(value) for name, value in found.items()})
    return {name.removeprefix("transformer."): value.numpy() for name, value in state.items()}


def test_all_layers_of_wan_are_those_that_diffusers_says():
    model = tiny_diffusers.make("WanTransformer3DModel image")
    view = view_of(model)
    found: dict[str, np.ndarray] = {}
    for path, original in by_path(view).items():
        down, up = (np.full((1, 2), len(found) + n, "f4") for n in (0.25, 0.5))
        found[f"diffusion_model.{path}.lora_A.weight"] = down
        found[f"diffusion_model.{path}.lora_B.weight"] = up[:, :1]
        assert len(original.modules) == 1

    wanted = of_wan(dict(found), dotted=True)

    covered = {module for o in by_path(view).values() for module in o.modules}
    assert set(layers(model)) - covered == {"patch_embedding"}
    assert_equal(ours(found, view), wanted)


def test_musubis_names_of_wan_are_read_too():
    view = view_of(tiny_diffusers.make("WanTransformer3DModel"))
    every = kohya(view)
    found = {name: value for name, value in every.items() if name.startswith("lora_unet_blocks_")}

    wanted = of_wan(dict(found), dotted=False)

    assert_equal(without_alphas(ours(found, view)), wanted)


def test_a_component_of_a_pipeline_has_the_same_names():
    model = made("UNet2DConditionModel", *SDXL.items())
    alone, below = by_path(view_of(model)), by_path(view_of(model, "unet"))

    assert below.keys() == alone.keys()
    assert {f"unet.{m}" for o in alone.values() for m in o.modules} == {m for o in below.values() for m in o.modules}


@pytest.mark.parametrize("told", [None, "two", True, 0, [2, 2], [2, "x", 2], 10**9, {}])
def test_a_config_that_says_nothing_of_blocks_names_what_needs_none(told):
    view = view_of(made("UNet2DConditionModel", *SDXL.items()))
    odd = BaseView(view.root, view.tensors, {**view.config, "layers_per_block": told}, view.names)

    found = by_path(odd)

    assert "time_embed.0" in found
    assert not any(path.startswith("output_blocks") for path in found)


def test_rows_that_are_not_those_of_the_modules_are_refused():
    view = view_of(flux(num_layers=1, num_single_layers=0))
    key = "lora_unet_double_blocks_0_img_attn_qkv"

    with pytest.raises(Refused) as caught:
        ours({f"{key}.lora_up.weight": np.ones((9215, 1), "f4")}, view)

    assert caught.value.problems[0].code == "shape"
    assert caught.value.problems[0].tensor == f"{key}.lora_up.weight"


@pytest.mark.parametrize("role", ["lokr_w1", "lokr_w2_a", "lora_mid.weight", "hada_t1"])
def test_a_factor_without_rows_of_its_own_is_not_split(role):
    view = view_of(flux(num_layers=1, num_single_layers=0))

    with pytest.raises(Refused) as caught:
        ours({f"lora_unet_double_blocks_0_img_attn_qkv.{role}": np.ones((96, 64), "f4")}, view)

    assert caught.value.problems[0].code == "unknown_kind"


def test_a_module_under_both_names_is_refused():
    view = view_of(made("UNet2DConditionModel", *SD1.items()))
    names = ("lora_unet_time_embed_0", "diffusion_model.time_embedding.linear_1")

    with pytest.raises(Refused) as caught:
        ours({f"{name}.lora_up.weight": np.ones((32, 1), "f4") for name in names}, view)

    assert caught.value.problems[0].code == "overlap"


def test_numbers_are_factored_as_peft_factors_them():
    layer = pytest.importorskip("peft.tuners.lokr.layer", reason="needs peft")

    for size in range(1, 130):
        for factor in (-1, *range(1, 20)):
            assert factor_size(size, factor) == layer.factorization(size, factor)
