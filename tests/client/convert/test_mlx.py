"""MLX: what mlx-lm made becomes what it fuses to, and what is written for it is what it reads."""

import json
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from deltareg.errors import InvalidInput, Refused
from tests import tiny
from tests.client.convert import moe
from tests.client.convert.converting import assert_same_factors, assert_same_fold, client_of, config, folded, tensors
from tests.client.convert.make_mlx_golden import CASES, GOLDEN

FILE = "adapters.safetensors"


@pytest.fixture
def client(tmp_path):
    with client_of(tmp_path) as client:
        yield client


@pytest.fixture
def base(tmp_path, request):
    is_moe = "experts" in request.node.name
    return moe.base(tmp_path / "base") if is_moe else tiny.base(tmp_path / "base")


def copied(tmp_path, name, **changes):
    shutil.copytree(GOLDEN / name, tmp_path / "in")
    (tmp_path / "in" / "fused.safetensors").unlink()
    path = tmp_path / "in" / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return tmp_path / "in"


def refusal(client, folder, tmp_path, base):
    with pytest.raises(Refused) as caught:
        client.folders.convert(folder, tmp_path / "out", base=base.path)
    assert not (tmp_path / "out").exists()
    return caught.value


@pytest.mark.parametrize("name", [name for name in CASES if name != "experts"])
def test_what_mlx_lm_wrote_folds_into_what_it_fuses(client, tmp_path, base, name):
    source = copied(tmp_path, name)

    report = client.folders.convert(source, tmp_path / "out", base=base.path)

    want = load_file(GOLDEN / name / "fused.safetensors")
    got = folded(tmp_path / "out", base.path)
    assert report.source == "mlx"
    assert got.keys() == want.keys()
    assert all(np.allclose(got[key], want[key], rtol=0, atol=1e-6) for key in want)


@pytest.mark.parametrize("name", CASES)
def test_back_to_mlx_it_is_what_mlx_lm_wrote(client, tmp_path, base, name):
    source = copied(tmp_path, name)
    client.folders.convert(source, tmp_path / "peft", base=base.path)

    report = client.folders.convert(tmp_path / "peft", tmp_path / "out", base=base.path, layout="mlx")

    before, after = load_file(source / FILE), load_file(tmp_path / "out" / FILE)
    told = config(tmp_path / "out")["lora_parameters"]
    assert report.result == "mlx"
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert told["scale"] == config(source)["lora_parameters"]["scale"]


@pytest.mark.parametrize("layout", ["fused-experts", "per-expert"])
def test_experts_that_mlx_lm_stacked_become_those_of_peft(client, tmp_path, base, layout):
    source = copied(tmp_path, "experts")
    client.folders.convert(source, tmp_path / "single", base=base.path)

    if layout == "fused-experts":
        client.folders.convert(source, tmp_path / "out", base=base.path, layout=layout)

    want = load_file(GOLDEN / "experts" / "fused.safetensors")
    got = folded(tmp_path / ("out" if layout == "fused-experts" else "single"), base.path)
    assert len(got) == 2 * (3 * moe.EXPERTS + 5)
    for name, value in got.items():
        stack = name.partition(".experts.")[0] + ".switch_mlp." + name.split(".")[-2] + ".weight"
        whole = want[name] if name in want else want[stack][int(name.split(".")[-3])]
        assert np.allclose(value, whole, rtol=0, atol=1e-6)


def test_an_expert_that_has_no_factors_gets_zeros_in_mlx(client, tmp_path):
    base = moe.base(tmp_path / "base")
    module = f"{moe.MLP.format(1)}.2.up_proj"
    tiny.lora(tmp_path / "in", base, targets=("up_proj",))
    found = {k: v for k, v in tensors(tmp_path / "in").items() if module in k}
    told = {**config(tmp_path / "in"), "target_modules": [module]}
    tiny.write(tmp_path / "in", found, adapter_config=told)

    client.folders.convert(tmp_path / "in", tmp_path / "mlx", base=base.path, layout="mlx")

    stack = load_file(tmp_path / "mlx" / FILE)["model.layers.1.mlp.switch_mlp.up_proj.lora_b"]
    assert stack.shape == (moe.EXPERTS, moe.HIDDEN, 2)
    assert [bool(part.any()) for part in stack] == [False, False, True]


def test_alike_layers_are_named_by_their_modules_and_others_one_by_one(client, tmp_path, base):
    tiny.lora(tmp_path / "alike", base, targets=("q_proj",))
    tiny.lora(tmp_path / "odd", base, targets=("model.layers.0.self_attn.q_proj",))
    first = {k: v for k, v in tensors(tmp_path / "alike").items() if "layers.0" in k}
    tiny.write(tmp_path / "odd", first, adapter_config=config(tmp_path / "odd"))

    for name in ("alike", "odd"):
        client.folders.convert(tmp_path / name, tmp_path / f"{name}-mlx", base=base.path, layout="mlx")

    alike, odd = config(tmp_path / "alike-mlx"), config(tmp_path / "odd-mlx")
    assert (alike["num_layers"], alike["lora_parameters"]["keys"]) == (2, ["self_attn.q_proj"])
    assert odd["lora_parameters"]["keys"] == ["model.layers.0.self_attn.q_proj"]


@settings(max_examples=25, deadline=None)
@given(
    r=st.integers(1, 5),
    alpha=st.sampled_from([1, 2, 3, 8, 0.1, 0.7, 16.5, 1e-3]),
    dtype=st.sampled_from([np.float32, np.float16]),
    use_dora=st.booleans(),
    use_rslora=st.booleans(),
    targets=st.lists(
        st.sampled_from(["q_proj", "k_proj", "o_proj", "up_proj", "down_proj", "lm_head"]), min_size=1, unique=True
    ),
)
def test_there_and_back_again_is_the_same(tmp_path_factory, targets, dtype, **options):
    tmp_path = tmp_path_factory.mktemp("mlx")
    base = tiny.base(tmp_path / "base")
    options["lora_alpha"] = options.pop("alpha")
    tiny.lora(tmp_path / "in", base, targets=tuple(targets), dtype=dtype, **options)

    with client_of(tmp_path) as client:
        client.folders.convert(tmp_path / "in", tmp_path / "mlx", base=base.path, layout="mlx")
        client.folders.convert(tmp_path / "mlx", tmp_path / "out", base=base.path)

    assert_same_factors(tmp_path / "in", tmp_path / "out")
    assert_same_fold(tmp_path / "in", tmp_path / "out", base.path)


def test_ranks_are_filled_up_and_scales_shifted_into_b_without_a_rounding(client, tmp_path, base):
    tiny.lora(tmp_path / "in", base, r=4, lora_alpha=8, targets=("q_proj", "v_proj"))
    delta, path = tensors(tmp_path / "in"), tmp_path / "in" / "adapter_config.json"
    for name in [name for name in delta if "v_proj" in name]:
        delta[name] = delta[name][:2] if "lora_A" in name else delta[name][:, :2]
    told = {**config(tmp_path / "in"), "rank_pattern": {"v_proj": 2}}
    tiny.write(tmp_path / "in", delta, adapter_config=told)

    client.folders.convert(tmp_path / "in", tmp_path / "mlx", base=base.path, layout="mlx")
    client.folders.convert(tmp_path / "mlx", tmp_path / "out", base=base.path)

    assert path.exists()
    assert config(tmp_path / "mlx")["lora_parameters"]["rank"] == 4
    before, after = (folded(tmp_path / name, base.path) for name in ("in", "out"))
    assert all(np.allclose(before[name], after[name], rtol=0, atol=1e-7) for name in before)


def test_scales_that_would_round_the_factors_are_refused(client, tmp_path, base):
    pattern = {"alpha_pattern": {"v_proj": 5}}
    tiny.lora(tmp_path / "in", base, r=2, targets=("q_proj", "v_proj"), **pattern)

    with pytest.raises(InvalidInput, match=r"one scale for all modules: .*v_proj has 2\.5"):
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path, layout="mlx")


def test_what_the_keys_do_not_ask_for_is_refused_as_mlx_lm_does(client, tmp_path, base):
    narrowed = {"rank": 3, "scale": 10.0, "keys": ["self_attn.q_proj"]}
    source = copied(tmp_path, "last-layer", lora_parameters=narrowed)

    refused = refusal(client, source, tmp_path, base)

    assert refused.problem_code == "not_selected"
    assert "mlp.down_proj, self_attn.v_proj" in refused.fix


def test_layers_that_the_config_leaves_out_are_refused(client, tmp_path, base):
    source = copied(tmp_path, "all-layers", num_layers=1)

    assert refusal(client, source, tmp_path, base).problem_code == "not_selected"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fine_tune_type": "full"}, "bad_config"),
        ({"lora_parameters": {"rank": 3, "keys": None}}, "bad_config"),
        ({"lora_parameters": {"rank": 3, "scale": 0.0}}, "bad_config"),
        ({"lora_parameters": {"rank": 3, "scale": "1"}}, "bad_config"),
        ({"lora_parameters": {"rank": 3, "scale": 1.0, "keys": "q_proj"}}, "bad_config"),
        ({"lora_parameters": {"rank": 9, "scale": 1.0}}, "rank"),
        ({"lora_parameters": None}, "bad_config"),
        ({"lora_parameters": {"rank": 3, "scale": 10**400}}, "bad_config"),
        ({"lora_parameters": {"rank": "3", "scale": 1.0}}, "bad_config"),
        ({"num_layers": "1"}, "bad_config"),
        ({"num_layers": True}, "bad_config"),
        ({"fine_tune_type": "dora"}, "missing_tensors"),
    ],
)
def test_a_config_that_says_something_else_is_refused(client, tmp_path, base, changes, code):
    source = copied(tmp_path, "last-layer", **changes)

    assert refusal(client, source, tmp_path, base).problem_code == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda t: t.pop(f"{tiny_name()}.lora_b"), "missing_tensors"),
        (lambda t: t.update({f"{tiny_name()}.lora_c": t[f"{tiny_name()}.lora_b"]}), "unexpected_tensors"),
        (lambda t: t.update({f"{tiny_name()}.lora_b": np.zeros((3, 5), "f4")}), "shape"),
        (lambda t: t.update({f"{tiny_name()}.lora_a": np.zeros((2, 8, 3), "f4")}), "shape"),
        (
            lambda t: t.update(
                {
                    "model.layers.7.self_attn.q_proj.lora_a": np.zeros((8, 3), "f4"),
                    "model.layers.7.self_attn.q_proj.lora_b": np.zeros((3, 8), "f4"),
                }
            ),
            "no_tensor_applied",
        ),
        (lambda t: t.update({f"{tiny_name()}.lora_b": np.full((3, 8), np.nan, "f4")}), "non_finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(client, tmp_path, base, change, code):
    source = copied(tmp_path, "last-layer")
    found = load_file(source / FILE)
    change(found)
    save_file(found, source / FILE)

    assert refusal(client, source, tmp_path, base).problem_code == code


def tiny_name():
    return "model.layers.1.self_attn.q_proj"


def test_checkpoints_of_the_training_run_are_left_out(client, tmp_path, base):
    source = copied(tmp_path, "last-layer")
    for number in (100, 200):
        shutil.copy(GOLDEN / "all-layers" / FILE, source / f"{number:07d}_{FILE}")

    report = client.folders.convert(source, tmp_path / "out", base=base.path)

    assert report.tensors == 6
    assert len([text for text in report.left_out if "earlier checkpoint" in text]) == 2


def test_a_file_without_its_config_asks_for_the_folder(client, tmp_path, base):
    source = copied(tmp_path, "last-layer")

    refused = refusal(client, source / FILE, tmp_path, base)

    assert refused.problem_code == "missing_config"
    assert "folder that mlx-lm wrote" in refused.fix


def test_a_tied_embedding_is_refused_both_ways(client, tmp_path):
    base = tiny.base(tmp_path / "base")
    weights = {k: v for k, v in base.weights.items() if k != "lm_head.weight"}
    save_file(weights, base.path / "model.safetensors")
    told = {**base.config, "tie_word_embeddings": True}
    (base.path / "config.json").write_text(json.dumps(told))
    source = copied(tmp_path, "by-name")
    found = {k: v for k, v in load_file(source / FILE).items() if "lm_head" not in k}
    save_file(found, source / FILE)

    refused = refusal(client, source, tmp_path, base)

    assert "shares its weight with another module" in refused.message


def test_a_network_that_mlx_lm_names_otherwise_is_refused(client, tmp_path):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    tiny.lora(tmp_path / "in", base, targets=("c_attn",), fan_in_fan_out=True)

    with pytest.raises(InvalidInput, match="how mlx-lm names the modules of gpt2"):
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path, layout="mlx")


@pytest.mark.parametrize("is_same", [True, False])
def test_a_copy_of_the_bases_weight_goes_only_where_it_is_one(client, tmp_path, base, is_same):
    tiny.lora(tmp_path / "in", base, targets=("lm_head",))
    found, copy = tensors(tmp_path / "in"), base.weights["lm_head.weight"]
    found[f"{tiny.PREFIX}lm_head.base_layer.weight"] = copy if is_same else copy + 1
    tiny.write(tmp_path / "in", found, adapter_config=config(tmp_path / "in"))

    if is_same:
        report = client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path, layout="mlx")
        assert report.left_out == [f"{tiny.PREFIX}lm_head.base_layer.weight (a copy of the base's)"]
        assert sorted(load_file(tmp_path / "out" / FILE)) == ["lm_head.lora_a", "lm_head.lora_b"]
    else:
        with pytest.raises(Refused):
            client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path, layout="mlx")


def test_what_is_no_pair_of_factors_has_no_form_there(client, tmp_path, base):
    tiny.lora(tmp_path / "in", base, modules_to_save=["lm_head"])
    found = tensors(tmp_path / "in")
    found[f"{tiny.PREFIX}lm_head.weight"] = base.weights["lm_head.weight"] + 1
    told = {**config(tmp_path / "in"), "modules_to_save": ["lm_head"]}
    tiny.write(tmp_path / "in", found, adapter_config=told)

    with pytest.raises(InvalidInput, match=r"(?s)LoRA.*lm_head"):
        client.folders.convert(tmp_path / "in", tmp_path / "out", base=base.path, layout="mlx")
