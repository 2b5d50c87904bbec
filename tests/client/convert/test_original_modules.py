"""Names of a model's original code: `push` names the command, `convert` splits without rounding."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from deltareg.client.cache.cache import Cache
from deltareg.client.fold.fold_folder import fold_folder
from deltareg.client.folders.base_folder import open_base
from deltareg.client.folders.folder import open_folder
from deltareg.errors import InvalidInput, Refused
from tests import tiny
from tests.client.convert.converting import assert_same_factors, client_of, converted, folded, refusal, tensors

WIDTH = 6
QKV = ("attn.to_q", "attn.to_k", "attn.to_v")
DOUBLE, SINGLE = "transformer_blocks.0", "single_transformer_blocks.0"
FLUX = {
    **{f"{block}.{module}": (WIDTH, WIDTH) for block in (DOUBLE, SINGLE) for module in QKV},
    f"{DOUBLE}.attn.to_out.0": (WIDTH, WIDTH),
    f"{SINGLE}.proj_mlp": (4 * WIDTH, WIDTH),
    f"{SINGLE}.proj_out": (WIDTH, 5 * WIDTH),
    "norm_out.linear": (2 * WIDTH, WIDTH),
}
QKV_KEY = "lora_unet_double_blocks_0_img_attn_qkv"
LINEAR_KEY = "lora_unet_single_blocks_0_linear1"
LAST_KEY = "lora_unet_final_layer_adaLN_modulation_1"
COMMAND = "convert it: deltareg convert PATH --out DIR --base BASE"


@dataclass
class Base:
    """A base on disk, and its weights by module."""

    path: Path
    weights: dict


@pytest.fixture
def client(tmp_path):
    with client_of(tmp_path) as client:
        yield client


@pytest.fixture
def flux(tmp_path):
    return save(tmp_path / "base", {"_class_name": "FluxTransformer2DModel"})


def drawn():
    rng = np.random.default_rng(0)
    return {module: tiny.normal(rng, *shape) for module, shape in FLUX.items()}


def save(path, config, before=""):
    path.mkdir(parents=True)
    weights = {f"{before}{module}": weight for module, weight in drawn().items()}
    (path / "config.json").write_text(json.dumps(config))
    save_file({f"{n}.weight": w for n, w in weights.items()}, path / "model.safetensors")
    return Base(path, weights)


@pytest.fixture
def pipeline(tmp_path):
    listed = {"_class_name": "FluxPipeline", "transformer": ["diffusers", "FluxTransformer2DModel"]}
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "model_index.json").write_text(json.dumps(listed))
    inner = save(tmp_path / "pipeline" / "transformer", {"_class_name": "FluxTransformer2DModel"})
    return Base(tmp_path / "pipeline", inner.weights)


def pair(key, rows, *, alpha=None, r=2, inner=WIDTH, seed=1):
    rng = np.random.default_rng(seed)
    found = {f"{key}.lora_down.weight": tiny.normal(rng, r, inner), f"{key}.lora_up.weight": tiny.normal(rng, rows, r)}
    return found if alpha is None else found | {f"{key}.alpha": np.array(alpha, "f4")}


def whole():
    return (
        pair(QKV_KEY, 3 * WIDTH, alpha=3.0)
        | pair(LINEAR_KEY, 7 * WIDTH, alpha=1.0, r=3)
        | pair(LAST_KEY, 2 * WIDTH, alpha=2.0)
    )


def product(found, key):
    return found[f"{key}.lora_up.weight"].astype("f8") @ found[f"{key}.lora_down.weight"]


def assert_near(got, want):
    assert got.keys() == want.keys()
    assert all(np.allclose(got[name], want[name], rtol=0, atol=1e-6) for name in want)


def expected(weights, found):
    """Fold by the original's own formula: its weights stacked, changed, and taken apart again."""
    double = [f"{DOUBLE}.{module}" for module in QKV]
    single = [*(f"{SINGLE}.{module}" for module in QKV), f"{SINGLE}.proj_mlp"]
    want: dict[str, np.ndarray] = {}
    for key, modules, factor in ((QKV_KEY, double, 3 / 2), (LINEAR_KEY, single, 1 / 3)):
        stacked = np.concatenate([weights[m] for m in modules]) + factor * product(found, key)
        ends = np.cumsum([len(weights[m]) for m in modules])[:-1]
        parts = np.split(stacked, ends)
        want |= {f"{m}.weight": part for m, part in zip(modules, parts, strict=True)}
    shift, scale = np.split(product(found, LAST_KEY), 2)
    change = np.concatenate([scale, shift])
    return want | {"norm_out.linear.weight": weights["norm_out.linear"] + change}


def test_stacked_modules_fold_into_what_the_stack_would_be(client, tmp_path, flux):
    found = whole()

    report = converted(client, tmp_path, flux, found)

    assert (report.source, report.result) == ("kohya", "lora")
    assert_near(folded(tmp_path / "out", flux.path), expected(flux.weights, found))


def test_rows_of_the_way_up_are_copied_bit_for_bit_and_the_way_down_whole(client, tmp_path, flux):
    found = pair(QKV_KEY, 3 * WIDTH, alpha=3.0)

    converted(client, tmp_path, flux, found)

    got = tensors(tmp_path / "out")
    for at, module in enumerate(QKV):
        key = f"{tiny.PREFIX}{DOUBLE}.{module}"
        up = found[f"{QKV_KEY}.lora_up.weight"][at * WIDTH : (at + 1) * WIDTH]
        assert got[f"{key}.lora_B.weight"].tobytes() == up.tobytes()
        down = found[f"{QKV_KEY}.lora_down.weight"]
        assert got[f"{key}.lora_A.weight"].tobytes() == down.tobytes()


@pytest.mark.parametrize("roles", [("lora_A", "lora_B"), ("lora_down", "lora_up")])
def test_comfyuis_spelling_gives_the_same_factors(client, tmp_path, flux, roles):
    found = whole()
    dotted = {
        QKV_KEY: "double_blocks.0.img_attn.qkv",
        LINEAR_KEY: "single_blocks.0.linear1",
        LAST_KEY: "final_layer.adaLN_modulation.1",
    }
    named = {}
    for name, value in found.items():
        key, _, role = name.partition(".")
        role = role.replace("lora_down", roles[0]).replace("lora_up", roles[1])
        named[f"diffusion_model.{dotted[key]}.{role}"] = value
    tiny.write(tmp_path / "comfy", named, file="x.safetensors")

    converted(client, tmp_path, flux, found)
    report = client.folders.convert(tmp_path / "comfy", tmp_path / "out2", base=flux.path)

    assert report.source == "comfyui"
    assert_same_factors(tmp_path / "out", tmp_path / "out2")


def test_a_pipeline_takes_the_file_too(client, tmp_path, pipeline):
    found = whole()

    converted(client, tmp_path, pipeline, found)

    with open_base(pipeline.path, Cache(tmp_path / "cache")) as known, open_folder(tmp_path / "out") as delta:
        fold_folder(known, delta, tmp_path / "folded")
    got = load_file(tmp_path / "folded" / "transformer" / "model.safetensors")
    want = expected(pipeline.weights, found)
    assert_near({name: got[name] for name in want}, want)


def test_what_is_written_for_a_pipeline_is_the_file_that_diffusers_takes(client, tmp_path, pipeline):
    found = pair(QKV_KEY, 3 * WIDTH, alpha=3.0) | pair(LINEAR_KEY, 7 * WIDTH, alpha=1.0, r=3)
    for key, rows in ((QKV_KEY, 3 * WIDTH), (LINEAR_KEY, 7 * WIDTH)):
        found[f"{key}.dora_scale"] = np.ones((rows, 1), "f4")

    report = converted(client, tmp_path, pipeline, found)

    assert report.files == ["pytorch_lora_weights.safetensors"]
    assert "2 tensors .alpha (now in the metadata)" in report.left_out
    with safe_open(tmp_path / "out" / report.files[0], "numpy") as written:
        names = set(written.keys())
        told = json.loads(written.metadata()["lora_adapter_metadata"])
    assert f"transformer.{DOUBLE}.attn.to_q.lora_magnitude_vector" in names
    assert told["transformer.use_dora"] is True
    assert told["transformer.rank_pattern"] == {f"^{DOUBLE}.{module}": 2 for module in QKV}


def test_lokr_of_a_pipeline_asks_for_the_component(client, tmp_path, pipeline):
    found = lokr("lycoris_transformer_blocks_0_attn_to_q", (3, 3), (2, 2))

    refused = refusal(client, tmp_path, pipeline, found, error=InvalidInput)

    assert "name the component's own folder or base" in refused.fix


def test_a_pipeline_takes_a_file_as_it_is(client, tmp_path, pipeline):
    tiny.write(tmp_path / "in", whole(), file="x.safetensors")

    assert client.folders.lint(tmp_path / "in", base=pipeline.path).is_accepted


def test_a_file_is_taken_as_it_is_and_folds_as_what_it_converts_to(client, tmp_path, flux):
    tiny.write(tmp_path / "in", whole(), file="x.safetensors")

    client.folders.convert(tmp_path / "in", tmp_path / "converted", base=flux.path)

    got, want = (folded(tmp_path / name, flux.path) for name in ("in", "converted"))
    assert got.keys() == want.keys()
    assert all(np.allclose(got[name], want[name], atol=1e-6) for name in want)


@pytest.mark.parametrize("rows", [3 * WIDTH - 1, 3 * WIDTH + 4])
def test_a_factor_that_does_not_divide_among_its_modules_is_refused(client, tmp_path, flux, rows):
    tiny.write(tmp_path / "in", pair(QKV_KEY, rows, alpha=2.0), file="x.safetensors")

    found = client.folders.lint(tmp_path / "in", base=flux.path)

    assert [problem.code for problem in found.problems] == ["shape"]
    assert "does not divide among" in found.problems[0].message


def test_a_base_that_has_the_original_names_takes_the_file_as_it_is(client, tmp_path):
    weight = tiny.normal(np.random.default_rng(0), 3 * WIDTH, WIDTH)
    (tmp_path / "base").mkdir()
    config = {"_class_name": "FluxTransformer2DModel"}
    (tmp_path / "base" / "config.json").write_text(json.dumps(config))
    name = "double_blocks.0.img_attn.qkv.weight"
    save_file({name: weight}, tmp_path / "base" / "model.safetensors")
    found = pair(QKV_KEY, 3 * WIDTH, alpha=2.0)
    tiny.write(tmp_path / "in", found, file="x.safetensors")

    assert client.folders.lint(tmp_path / "in", base=tmp_path / "base").is_accepted
    got = folded(tmp_path / "in", tmp_path / "base")
    assert_near(got, {name: weight + product(found, QKV_KEY)})


def test_another_class_does_not_have_these_names(client, tmp_path):
    base = save(tmp_path / "base", {"_class_name": "SD3Transformer2DModel"})

    refused = refusal(client, tmp_path, base, whole())

    assert refused.problem_code == "no_tensor_applied"
    assert refused.problems[0].fix != COMMAND


def test_dora_of_a_stack_is_a_norm_for_each_row(client, tmp_path, flux):
    found = pair(QKV_KEY, 3 * WIDTH, alpha=2.0)
    magnitude = np.random.default_rng(3).uniform(1, 2, (3 * WIDTH, 1)).astype("f4")
    found[f"{QKV_KEY}.dora_scale"] = magnitude

    converted(client, tmp_path, flux, found)

    modules = [f"{DOUBLE}.{module}" for module in QKV]
    stacked = np.concatenate([flux.weights[m] for m in modules]) + product(found, QKV_KEY)
    turned = magnitude * stacked / np.linalg.norm(stacked, axis=1, keepdims=True)
    parts = np.split(turned, 3)
    want = {f"{m}.weight": part for m, part in zip(modules, parts, strict=True)}
    assert_near(folded(tmp_path / "out", flux.path), want)


def test_dora_of_a_stack_over_inputs_is_refused_for_what_it_is(client, tmp_path, flux):
    found = pair(QKV_KEY, 3 * WIDTH, alpha=2.0)
    found[f"{QKV_KEY}.dora_scale"] = np.ones((1, WIDTH), "f4")

    refused = refusal(client, tmp_path, flux, found)

    assert refused.problem_code == "unknown_kind"
    assert "its norm is taken over each input" in refused.message


@pytest.mark.parametrize("prefix", ["lora_unet_", "lycoris_", "diffusion_model."])
def test_loha_of_a_stack_has_rows_as_well(client, tmp_path, flux, prefix):
    rng = np.random.default_rng(0)
    path = "double_blocks.0.img_attn.qkv"
    key = prefix + (path if prefix.endswith(".") else path.replace(".", "_"))
    shapes = {"w1_a": (18, 2), "w1_b": (2, 6), "w2_a": (18, 2), "w2_b": (2, 6)}
    found = {f"{key}.hada_{end}": tiny.normal(rng, *shape) for end, shape in shapes.items()}
    found[f"{key}.alpha"] = np.array(3.0, "f4")

    report = converted(client, tmp_path, flux, found)

    w = {end: found[f"{key}.hada_{end}"].astype("f8") for end in shapes}
    change = 1.5 * (w["w1_a"] @ w["w1_b"]) * (w["w2_a"] @ w["w2_b"])
    modules = [f"{DOUBLE}.{module}" for module in QKV]
    parts = np.split(np.concatenate([flux.weights[m] for m in modules]) + change, 3)
    assert report.result == "loha"
    want = {f"{m}.weight": part for m, part in zip(modules, parts, strict=True)}
    assert_near(folded(tmp_path / "out", flux.path), want)


def test_lokr_of_a_stack_is_refused_by_name(client, tmp_path, flux):
    found = {f"{QKV_KEY}.lokr_w1": np.ones((6, 2), "f4"), f"{QKV_KEY}.lokr_w2": np.ones((3, 3), "f4")}

    refused = refusal(client, tmp_path, flux, found)

    assert refused.problem_code == "unknown_kind"
    assert f"{DOUBLE}.attn.to_q and {DOUBLE}.attn.to_k" in refused.message


@pytest.mark.parametrize(
    ("extra", "code"),
    [
        ({"lora_unet_double_blocks_9_img_attn_qkv.alpha": np.array(1, "f4")}, "partial_application"),
        ({"lora_unet_double_blocks_0_img_mlp_0.alpha": np.array(1, "f4")}, "partial_application"),
        (pair(f"lora_unet_{SINGLE.replace('.', '_')}_attn_to_k", WIDTH, alpha=1.0), "unexpected_tensors"),
        (pair("diffusion_model.single_blocks.0.linear1", 7 * WIDTH, alpha=1.0), "overlap"),
        ({f"{LINEAR_KEY}.diff_b": np.zeros(7 * WIDTH, "f4")}, "unexpected_tensors"),
        ({f"{LINEAR_KEY}.alpha": np.array(0, "f4")}, "bad_config"),
        ({f"{LINEAR_KEY}.alpha": np.array(np.nan, "f4")}, "non_finite"),
        ({f"{LINEAR_KEY}.lora_up.weight": np.ones((7 * WIDTH - 1, 3), "f4")}, "shape"),
        ({f"{LINEAR_KEY}.lora_up.weight": np.array(1, "f4")}, "shape"),
        ({f"{LINEAR_KEY}.lora_down.weight": np.ones((3, WIDTH + 1), "f4")}, "shape"),
    ],
)
def test_what_does_not_fit_is_refused_under_the_files_own_name(client, tmp_path, flux, extra, code):
    refused = refusal(client, tmp_path, flux, whole() | extra)

    assert refused.problem_code == code
    assert refused.problems[0].tensor in whole() | extra


def test_an_alpha_that_metadata_tells_and_no_tensor_is_refused(client, tmp_path, flux):
    found = {name: value for name, value in whole().items() if not name.endswith(".alpha")}
    told = {"ss_network_alpha": "16"}
    tiny.write(tmp_path / "in", found, file="x.safetensors", metadata=told)

    with pytest.raises(Refused) as caught:
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=flux.path)

    assert caught.value.problem_code == "missing_tensors"


# How peft cuts weights for LoKr


def lokr(key, first, second):
    return {f"{key}.lokr_w1": np.ones(first, "f4"), f"{key}.lokr_w2": np.ones(second, "f4")}


def test_lokr_is_written_with_the_factor_that_peft_needs(client, tmp_path, flux):
    found = lokr("lycoris_transformer_blocks_0_attn_to_q", (3, 3), (2, 2))

    converted(client, tmp_path, flux, found)

    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert (config["decompose_factor"], config["r"], config["alpha"]) == (3, 1, 1)


@pytest.mark.parametrize(("first", "second"), [((3, 2), (2, 3)), ((6, 1), (1, 6))])
def test_lokr_that_peft_has_no_cut_for_is_refused(client, tmp_path, flux, first, second):
    found = lokr("lycoris_transformer_blocks_0_attn_to_q", first, second)

    refused = refusal(client, tmp_path, flux, found, error=InvalidInput)

    assert "decompose_factor" in refused.message


def test_matrices_that_make_another_weight_are_refused(client, tmp_path, flux):
    found = lokr("lycoris_transformer_blocks_0_attn_to_q", (4, 3), (2, 2))

    assert refusal(client, tmp_path, flux, found).problem_code == "shape"
