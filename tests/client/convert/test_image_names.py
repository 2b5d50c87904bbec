"""ComfyUI, LyCORIS and kohya's DoRA become peft's, each proved by its own formula or by peft."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deltareg.errors import InvalidInput
from tests import tiny
from tests.client.convert.converting import client_of, config, converted, folded, refusal, tensors
from tests.client.convert.make_lycoris_golden import CASES as LYCORIS
from tests.client.convert.make_lycoris_golden import GOLDEN

CASES = Path(__file__).parents[4] / "shared" / "cases"
QUERY, UP = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"
CONV = "down.0.conv"


@pytest.fixture
def client(tmp_path):
    with client_of(tmp_path) as client:
        yield client


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


@pytest.fixture
def unet(tmp_path):
    weights = {
        f"{CONV}.weight": tiny.normal(np.random.default_rng(0), 6, 4, 3, 3),
        "to.q.weight": tiny.normal(np.random.default_rng(1), 6, 4),
    }
    (tmp_path / "base").mkdir()
    save_file(weights, tmp_path / "base" / "model.safetensors")
    (tmp_path / "base" / "config.json").write_text("{}")
    return tiny.Base(tmp_path / "base", {}, weights)


def pair(key, shape, *, r=2, up="lora_up", down="lora_down", alpha=None, seed=1):
    rng = np.random.default_rng(seed)
    ones = (1, 1) if len(shape) == 4 else ()
    found = {
        f"{key}.{down}.weight": tiny.normal(rng, r, *shape[1:]),
        f"{key}.{up}.weight": tiny.normal(rng, shape[0], r, *ones),
    }
    if alpha is not None:
        found[f"{key}.alpha"] = np.array(alpha, "f4")
    return found


def product(found, key, up="lora_up", down="lora_down"):
    a, b = (found[f"{key}.{side}.weight"].astype("f8") for side in (down, up))
    return b.reshape(len(b), -1) @ a.reshape(len(a), -1)


def assert_near(got, want):
    assert got.keys() == want.keys()
    for name in want:
        assert np.allclose(got[name].reshape(want[name].shape), want[name], rtol=0, atol=1e-6)


# ComfyUI


@pytest.mark.parametrize(("up", "down"), [("lora_B", "lora_A"), ("lora_up", "lora_down")])
@pytest.mark.parametrize("alpha", [None, 3.0])
def test_comfyuis_names_lead_to_the_modules_that_they_spell(client, tmp_path, base, up, down, alpha):
    found: dict[str, np.ndarray] = {}
    for module in (QUERY, UP):
        shape = base.weights[f"{module}.weight"].shape
        key = f"diffusion_model.{module}"
        found |= pair(key, shape, up=up, down=down, alpha=alpha)

    report = converted(client, tmp_path, base, found)

    scale = 1.0 if alpha is None else alpha / 2
    want = {
        f"{module}.weight": base.weights[f"{module}.weight"]
        + scale * product(found, f"diffusion_model.{module}", up, down)
        for module in (QUERY, UP)
    }
    assert (report.source, report.result) == ("comfyui", "lora")
    assert_near(folded(tmp_path / "out", base.path), want)


def test_a_name_that_the_base_does_not_have_is_refused(client, tmp_path, base):
    found = pair("diffusion_model.double_blocks.0.img_attn.qkv", (8, 8))

    assert refusal(client, tmp_path, base, found).problem_code == "no_tensor_applied"


def test_a_half_of_the_modules_is_refused_too(client, tmp_path, base):
    found = pair(f"diffusion_model.{QUERY}", (8, 8)) | pair("diffusion_model.x", (8, 8))

    assert refusal(client, tmp_path, base, found).problem_code == "partial_application"


def test_an_alpha_of_zero_is_refused(client, tmp_path, base):
    found = pair(f"diffusion_model.{QUERY}", (8, 8), alpha=0.0)

    assert refusal(client, tmp_path, base, found).problem_code == "bad_config"


# LoCon


def test_locon_reaches_convolutions(client, tmp_path, unet):
    found = pair("lycoris_down_0_conv", (6, 4, 3, 3), alpha=1.0)

    report = converted(client, tmp_path, unet, found)

    before = unet.weights[f"{CONV}.weight"]
    want = before + 0.5 * product(found, "lycoris_down_0_conv").reshape(before.shape)
    assert report.source == "lycoris"
    assert_near(folded(tmp_path / "out", unet.path), {f"{CONV}.weight": want})


def test_a_core_has_no_place_in_peft(client, tmp_path, unet):
    found = pair("lycoris_down_0_conv", (6, 4, 1, 1), alpha=1.0)
    found["lycoris_down_0_conv.lora_mid.weight"] = np.ones((2, 2, 3, 3), "f4")

    refused = refusal(client, tmp_path, unet, found)

    assert refused.problem_code == "unknown_kind"
    assert "use_tucker" in refused.fix


# LoHa and LoKr of LyCORIS


def loha(key, n_out, n_in, *, r=2, alpha=3.0, seed=1):
    rng = np.random.default_rng(seed)
    shapes = {"w1_a": (n_out, r), "w1_b": (r, n_in), "w2_a": (n_out, r), "w2_b": (r, n_in)}
    found = {f"{key}.hada_{end}": tiny.normal(rng, *shape) for end, shape in shapes.items()}
    return found | {f"{key}.alpha": np.array(alpha, "f4")}


@pytest.mark.parametrize("prefix", ["lycoris_", "lora_unet_", "lora_te_"])
def test_loha_folds_as_its_formula_says(client, tmp_path, base, prefix):
    keys = {m: prefix + m.replace(".", "_") for m in (QUERY, UP)}
    found = loha(keys[QUERY], 8, 8, r=2, alpha=3.0) | loha(keys[UP], 12, 8, r=3, alpha=1.0)

    report = converted(client, tmp_path, base, found)

    want = {}
    for module, scale in ((QUERY, 3 / 2), (UP, 1 / 3)):
        w = {e: found[f"{keys[module]}.hada_{e}"].astype("f8") for e in ("w1_a", "w1_b", "w2_a", "w2_b")}
        change = scale * (w["w1_a"] @ w["w1_b"]) * (w["w2_a"] @ w["w2_b"])
        want[f"{module}.weight"] = base.weights[f"{module}.weight"] + change
    assert report.result == "loha"
    assert_near(folded(tmp_path / "out", base.path), want)


def test_loha_through_a_core_keeps_its_kernel(client, tmp_path, unet):
    rng, r = np.random.default_rng(0), 2
    key = "lora_unet_down_0_conv"
    found = {f"{key}.alpha": np.array(1.0, "f4")}
    for number in (1, 2):
        found[f"{key}.hada_t{number}"] = tiny.normal(rng, r, r, 3, 3)
        found[f"{key}.hada_w{number}_a"] = tiny.normal(rng, r, 6)
        found[f"{key}.hada_w{number}_b"] = tiny.normal(rng, r, 4)

    converted(client, tmp_path, unet, found)

    halves = [
        np.einsum("pqhw,po,qi->oihw", *(found[f"{key}.hada_{e}"].astype("f8") for e in (f"t{n}", f"w{n}_a", f"w{n}_b")))
        for n in (1, 2)
    ]
    want = unet.weights[f"{CONV}.weight"] + 0.5 * halves[0] * halves[1]
    assert config(tmp_path / "out")["use_effective_conv2d"] is True
    assert_near(folded(tmp_path / "out", unet.path), {f"{CONV}.weight": want})


def test_lokr_folds_as_its_formula_says_with_factors_and_without(client, tmp_path, base):
    rng, first, second = (np.random.default_rng(0), *("lycoris_" + module.replace(".", "_") for module in (QUERY, UP)))
    found = {
        f"{first}.lokr_w1": tiny.normal(rng, 2, 2),
        f"{first}.lokr_w2_a": tiny.normal(rng, 4, 1),
        f"{first}.lokr_w2_b": tiny.normal(rng, 1, 4),
        f"{first}.alpha": np.array(1.5, "f4"),
        f"{second}.lokr_w1": tiny.normal(rng, 3, 2),
        f"{second}.lokr_w2": tiny.normal(rng, 4, 4),
        f"{second}.alpha": np.array(77.0, "f4"),  # both are whole: LyCORIS has a scale of one
    }

    report = converted(client, tmp_path, base, found)

    w = {name: value.astype("f8") for name, value in found.items()}
    low = w[f"{first}.lokr_w2_a"] @ w[f"{first}.lokr_w2_b"]
    want = {
        f"{QUERY}.weight": base.weights[f"{QUERY}.weight"] + 1.5 * np.kron(w[f"{first}.lokr_w1"], low),
        f"{UP}.weight": base.weights[f"{UP}.weight"] + np.kron(w[f"{second}.lokr_w1"], w[f"{second}.lokr_w2"]),
    }
    assert report.result == "lokr"
    assert_near(folded(tmp_path / "out", base.path), want)


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"lycoris_x.hada_w1_a": np.ones((2, 2), "f4")}, "no_tensor_applied"),
        ({"stray.weight": np.ones((2, 2), "f4")}, "unexpected_tensors"),
        ({"lycoris_model_layers_0_self_attn_q_proj.dora_scale": np.ones((8, 1), "f4")}, "unexpected_tensors"),
        ({"lycoris_model_layers_0_self_attn_q_proj.alpha": np.array(0.0, "f4")}, "bad_config"),
        ({"lycoris_model_layers_0_self_attn_q_proj.alpha": np.array(np.nan, "f4")}, "non_finite"),
        ({"lycoris_model_layers_0_self_attn_v_proj.alpha": np.array(1, "f4")}, "missing_tensors"),
        ({"lora_te_model_layers_0_self_attn_q_proj.hada_w1_a": np.ones((8, 2), "f4")}, "overlap"),
    ],
)
def test_what_loha_has_no_place_for_is_refused(client, tmp_path, base, extra, code):
    found = loha("lycoris_" + QUERY.replace(".", "_"), 8, 8) | extra

    assert refusal(client, tmp_path, base, found).problem_code == code


def test_loha_and_lokr_in_one_file_are_two_deltas(client, tmp_path, base):
    key = "lycoris_" + UP.replace(".", "_")
    found = loha("lycoris_" + QUERY.replace(".", "_"), 8, 8)
    found[f"{key}.lokr_w1"] = np.ones((3, 2), "f4")

    refused = refusal(client, tmp_path, base, found, error=InvalidInput)

    assert "some modules are LoHa and others LoKr" in refused.message


# DoRA of kohya and LyCORIS


@pytest.mark.parametrize("prefix", ["lora_unet_", "lycoris_"])
def test_dora_over_outputs_is_pefts(client, tmp_path, base, prefix):
    key, shape = prefix + UP.replace(".", "_"), (12, 8)
    found = pair(key, shape, alpha=3.0)
    found[f"{key}.dora_scale"] = np.random.default_rng(3).uniform(1, 2, (12, 1)).astype("f4")

    converted(client, tmp_path, base, found)

    turned = base.weights[f"{UP}.weight"] + 1.5 * product(found, key)
    norms = np.linalg.norm(turned, axis=1, keepdims=True)
    want = found[f"{key}.dora_scale"] * turned / norms
    assert config(tmp_path / "out")["use_dora"] is True
    assert_near(folded(tmp_path / "out", base.path), {f"{UP}.weight": want})


def test_dora_of_a_convolution_has_a_norm_for_each_kernel(client, tmp_path, unet):
    key = "lora_unet_down_0_conv"
    found = pair(key, (6, 4, 3, 3), alpha=1.0)
    found[f"{key}.dora_scale"] = np.random.default_rng(3).uniform(1, 2, (6, 1, 1, 1)).astype("f4")

    converted(client, tmp_path, unet, found)

    before = unet.weights[f"{CONV}.weight"]
    turned = before.reshape(6, -1) + 0.5 * product(found, key)
    norms = np.linalg.norm(turned, axis=1, keepdims=True)
    want = found[f"{key}.dora_scale"].reshape(6, 1) * turned / norms
    assert tensors(tmp_path / "out")[f"{tiny.PREFIX}{CONV}.lora_magnitude_vector"].ndim == 4
    assert_near(folded(tmp_path / "out", unet.path), {f"{CONV}.weight": want.reshape(before.shape)})


def test_dora_over_inputs_is_refused_with_the_reason(client, tmp_path, base):
    key = "lora_unet_" + UP.replace(".", "_")
    found = pair(key, (12, 8), alpha=3.0) | {f"{key}.dora_scale": np.ones((1, 8), "f4")}

    refused = refusal(client, tmp_path, base, found)

    assert refused.problem_code == "unknown_kind"
    assert "its norm is taken over each input" in refused.message


def test_a_part_that_is_dora_is_refused(client, tmp_path, base):
    keys = ["lora_unet_" + module.replace(".", "_") for module in (QUERY, UP)]
    found = pair(keys[0], (8, 8), alpha=3.0) | pair(keys[1], (12, 8), alpha=3.0)
    found[f"{keys[0]}.dora_scale"] = np.ones((8, 1), "f4")

    refused = refusal(client, tmp_path, base, found, error=InvalidInput)

    assert "plain LoRA and other modules are DoRA" in refused.message


def test_a_magnitude_without_its_pair_is_refused(client, tmp_path, base):
    keys = ["lora_unet_" + module.replace(".", "_") for module in (QUERY, UP)]
    found = pair(keys[0], (8, 8), alpha=3.0) | {
        f"{keys[0]}.dora_scale": np.ones((8, 1), "f4"),
        f"{keys[1]}.dora_scale": np.ones((12, 1), "f4"),
    }

    assert refusal(client, tmp_path, base, found).problem_code == "unexpected_tensors"


# What LyCORIS itself wrote


@pytest.mark.parametrize("name", LYCORIS)
def test_what_lycoris_wrote_folds_into_what_its_layers_do(client, tmp_path, base, name):
    source = GOLDEN / name / "lycoris.safetensors"

    report = client.folders.convert(source, tmp_path / "out", base=base.path)

    assert report.source == "lycoris"
    assert_near(folded(tmp_path / "out", base.path), load_file(GOLDEN / name / "acting.safetensors"))


# What people have, and what peft makes of the result


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["comfy", "kohya_dora", "lycoris_loha"])
def test_a_folder_that_people_have_is_what_peft_merges_after_it(client, tmp_path, name):
    if not CASES.is_dir():
        pytest.skip("needs the cases beside the repository: ../shared/cases")
    peft = pytest.importorskip("peft", reason="needs peft")
    transformers = pytest.importorskip("transformers", reason="needs transformers")
    base = CASES / "q_plain" / "base"

    client.folders.convert(CASES / "folders" / name, tmp_path / "out", base=base)

    network = transformers.LlamaForCausalLM.from_pretrained(base)
    merged = peft.PeftModel.from_pretrained(network, tmp_path / "out").merge_and_unload()
    got, before = folded(tmp_path / "out", base), load_file(base / "model.safetensors")
    state = {key: value.numpy() for key, value in merged.state_dict().items()}
    assert len(got) == 8
    assert all(np.allclose(state[key], got[key], rtol=0, atol=1e-6) for key in got)
    assert all(np.array_equal(state[key], before[key]) for key in before.keys() - got.keys())


@pytest.mark.parametrize(
    "names",
    [
        ["lycoris_model_layers_0_q_proj.hada_w1_a"],
        ["lora_unet_model_layers_0_q_proj.hada_w1_a"],
        ["lora_te_model_layers_0_q_proj.lokr_w1"],
        ["diffusion_model.layers.0.q_proj.lora_A.weight"],
        ["model.layers.0.self_attn.q_proj.lora_a"],
        [
            "lora_unet_model_layers_0_self_attn_q_proj.dora_scale",
            "lora_unet_model_layers_0_self_attn_q_proj.lora_up.weight",
        ],
    ],
)
def test_a_refusal_names_the_command_that_converts_it(client, tmp_path, base, names):
    tiny.write(tmp_path / "in", dict.fromkeys(names, np.ones((2, 2), "f4")), file="x.safetensors")

    found = client.folders.lint(tmp_path / "in", base=base.path)

    assert [problem.code for problem in found.problems] == ["unknown_kind"]
    assert found.problems[0].fix == "convert it: deltareg convert PATH --out DIR --base BASE"


def test_a_folder_with_a_gguf_file_is_told_the_command_too(client, tmp_path, base):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "adapter.gguf").write_bytes(b"GGUF")

    found = client.folders.lint(tmp_path / "in", base=base.path)

    assert "deltareg convert PATH --out DIR --base BASE" in found.problems[0].fix


def test_loha_has_no_form_for_mlx(client, tmp_path, base):
    found = loha("lycoris_" + QUERY.replace(".", "_"), 8, 8)
    tiny.write(tmp_path / "in", found, file="x.safetensors")

    with pytest.raises(InvalidInput, match="in peft's layout alone"):
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path, layout="mlx")


def test_a_layout_that_is_not_known_is_refused(client, tmp_path, base):
    tiny.lora(tmp_path / "in", base)

    with pytest.raises(InvalidInput, match="no layout is called 'onnx'") as caught:
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path, layout="onnx")

    assert "mlx, gguf, fused-experts, per-expert" in caught.value.fix
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())).count("out") == 0
