"""The LoRA family's variants: one formula for NumPy, torch and runs of rows; what is refused."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from deltareg.delta.accounting import account, recognise
from deltareg.delta.examine import examine
from deltareg.delta.fold import FoldedBase
from deltareg.delta.layouts.peft.peft_kind import Site
from deltareg.delta.layouts.peft.places import places
from deltareg.delta.maths.formula import is_factored
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.delta.shapes import HeaderTensor
from deltareg.errors import Refused
from deltareg.tensors.header import TensorInfo
from tests import tiny
from tests.delta.kinds import lora_family
from tests.delta.kinds.lora_family import SAMPLES
from tests.folders import open_base, open_folder

ON_CONV1D = [name for name, sample in SAMPLES.items() if sample.is_on_conv1d]
CASES = [(name, "llama") for name in SAMPLES] + [(name, "gpt2") for name in ON_CONV1D]
FILE = "adapter_model.safetensors"


@pytest.fixture
def base(tmp_path):
    return tiny.base(tmp_path / "base")


def opened(delta, base):
    view_, weights = open_base(base.path)
    folder = open_folder(delta.path)
    kind, _ = recognise(folder.files, view_)
    found = account(kind.parse(folder.files, view_), folder.files, folder.tensors, view_)
    more = examine(found, folder.tensors, weights, folder.files) if found.is_accepted else []
    return found, [*found.problems, *more], weights


def codes(delta, base):
    try:
        _, problems, _ = opened(delta, base)
    except Refused as refused:
        problems = refused.problems
    return {p.code for p in problems if p.severity == "error"}


def updates(tmp_path, sample, kind):
    base = tiny.base(tmp_path / "base", kind=kind)
    found, problems, weights = opened(lora_family.write(tmp_path / "delta", base, sample), base)
    assert problems == []
    assert found.delta.name == "lora"
    assert found.delta.variant == sample.partition(",")[0]
    return [(e.update, NumPyOps().load(weights[e.source])) for e in found.effects]


@pytest.mark.parametrize(("sample", "kind"), CASES)
def test_any_run_of_rows_is_that_of_the_whole(tmp_path, sample, kind):
    ops = NumPyOps()

    for update, weight in updates(tmp_path, sample, kind):
        whole = update.fold(weight, 0, len(weight), ops)
        assert whole.shape == weight.shape
        assert np.max(np.abs(whole - weight)) > 1e-3
        assert update.needs_whole != SAMPLES[sample].is_by_rows
        for start, stop in [] if update.needs_whole else [(0, 1), (1, 6), (3, 8), (7, 8)]:
            rows = update.fold(weight[start:stop], start, stop, ops)
            assert np.allclose(rows, whole[start:stop], rtol=0, atol=1e-6)


@pytest.mark.parametrize(("sample", "kind"), CASES)
def test_numpy_and_torch_fold_alike(tmp_path, sample, kind):
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
    from deltareg_verify.engine.torch_engine.ops import TorchOps

    for update, weight in updates(tmp_path, sample, kind):
        want = update.fold(weight, 0, len(weight), NumPyOps())
        got = update.fold(torch.tensor(weight), 0, len(weight), TorchOps(torch.device("cpu")))
        assert np.allclose(got.numpy(), want, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("sample", "kind"), CASES)
def test_what_is_a_low_rank_product_has_factors(tmp_path, sample, kind):
    ops = NumPyOps()

    for update, weight in updates(tmp_path, sample, kind):
        has_factors = is_factored(update)
        assert has_factors or not SAMPLES[sample].is_factored
        if has_factors:
            left, right, scale = update.factors(ops)
            change = update.fold(np.zeros_like(weight), 0, len(weight), ops)
            assert np.allclose(left @ right * scale, change, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sample", ON_CONV1D)
def test_conv1d_of_a_network_that_is_not_known_is_as_fan_in_fan_out_says(tmp_path, sample):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    delta = lora_family.write(tmp_path / "delta", base, sample)
    known = folded(delta, base)
    config = {**base.config, "model_type": "not_known"}
    (base.path / "config.json").write_text(json.dumps(config))

    unknown = folded(delta, base)

    assert known.keys() == unknown.keys()
    assert all(np.array_equal(known[name], unknown[name]) for name in known)


def folded(delta, base):
    found, problems, weights = opened(delta, base)
    assert [p for p in problems if p.severity == "error"] == []
    folding = FoldedBase(found.effects, weights)
    return {name: np.concatenate(list(folding.blocks(name))) for name in folding.changed}


@pytest.mark.parametrize(
    ("shape", "count", "code"),
    [
        ((16384, 16384), 20, "not_self_contained"),
        ((4, 4), 17, "shape"),
        ((2048, 2048), (1 << 20) + 1, "shape"),
        ((2, 2, 2), 4, "shape"),
    ],
)
def test_places_that_cannot_be_drawn_again_are_refused(tmp_path, base, shape, count, code):
    view_, _ = open_base(base.path)
    tensor = HeaderTensor(TensorInfo("spectrum", "F32", (count,), 0, 4 * count))
    name = "model.layers.0.self_attn.q_proj.weight"
    site = Site("m", {"spectrum": tensor}, name, "", shape, {"spectrum": "spectrum"}, view_)

    with pytest.raises(Refused) as refused:
        places(site, "spectrum", 777)

    assert [p.code for p in refused.value.problems] == [code]


@pytest.mark.parametrize("sample", SAMPLES)
def test_tensors_without_their_config_are_known_by_name(tmp_path, base, sample):
    delta = lora_family.write(tmp_path / "delta", base, sample)
    (delta.path / "adapter_config.json").unlink()

    assert codes(delta, base) == {"missing_config"}


def tensors_of(sample):
    return [(name, tensor) for name in sample for tensor in SAMPLES[name].shapes(8, 8)]


@pytest.mark.parametrize(("sample", "tensor"), tensors_of(SAMPLES))
def test_a_module_that_lacks_a_tensor_is_refused(tmp_path, base, sample, tensor):
    delta = lora_family.write(tmp_path / "delta", base, sample, drop=tensor)

    assert codes(delta, base) == {"missing_tensors"}


@pytest.mark.parametrize("change", [(1,), (0,)])
@pytest.mark.parametrize(("sample", "tensor"), tensors_of(SAMPLES))
def test_a_tensor_of_another_shape_is_refused(tmp_path, base, sample, tensor, change):
    shape = list(SAMPLES[sample].shapes(8, 8)[tensor])
    for at in change:
        shape[min(at, len(shape) - 1)] += 8
    delta = lora_family.write(tmp_path / "delta", base, sample, reshape={tensor: shape})

    assert codes(delta, base) in ({"shape"}, {"rank"})


@pytest.mark.parametrize(("sample", "tensor"), tensors_of(SAMPLES))
def test_a_tensor_of_other_dimensions_is_refused(tmp_path, base, sample, tensor):
    right = SAMPLES[sample].shapes(8, 8)[tensor]
    shapes = [shape for shape in ((*right, 1), right[:-1]) if shape]

    for shape in shapes:
        delta = lora_family.write(tmp_path / "delta", base, sample, reshape={tensor: shape})
        assert codes(delta, base) in ({"shape"}, {"rank"})


@pytest.mark.parametrize("sample", SAMPLES)
def test_a_flag_that_is_not_known_is_refused(tmp_path, base, sample):
    delta = lora_family.write(tmp_path / "delta", base, sample, use_magic=True)

    assert codes(delta, base) == {"bad_config"}


@pytest.mark.parametrize("sample", [name for name in SAMPLES if name not in ON_CONV1D])
def test_what_the_library_has_not_for_conv1d_is_refused(tmp_path, sample):
    base = tiny.base(tmp_path / "base", kind="gpt2")
    delta = lora_family.write(tmp_path / "delta", base, sample)

    assert codes(delta, base) == {"shape"}


@pytest.mark.parametrize(
    ("sample", "config", "code"),
    [
        ("vera", {"save_projection": False}, "not_self_contained"),
        ("randlora", {"save_projection": False}, "not_self_contained"),
        ("vera", {"r": 4}, "rank"),
        ("adalora", {"use_rslora": True}, "bad_config"),
        ("adalora", {"use_dora": True}, "bad_config"),
        ("adalora", {"alpha_pattern": {"q_proj": 3}}, "bad_config"),
        ("adalora", {"rank_pattern": {"model.layers.0.self_attn.q_proj.lora_E": [True]}}, "rank"),
        ("adalora", {"rank_pattern": {"(a+)+.lora_E": [True] * 3}}, "bad_config"),
        ("adalora", {"rank_pattern": {"q_proj.lora_E": [1, 2]}}, "bad_config"),
        ("loha", {"r": 3}, "rank"),
        ("loha", {"rank_pattern": {"(a+": 2}}, "bad_config"),
        ("gralora", {"gralora_k": 3}, "bad_config"),
        ("gralora", {"gralora_k": 4}, "shape"),
        ("gralora", {"hybrid_r": 0}, "unexpected_tensors"),
        ("hira", {"r": 4}, "rank"),
        ("delora", {"rank_pattern": {"q_proj": 4}}, "rank"),
        ("fourierft", {"n_frequency": 21}, "rank"),
        ("fourierft", {"random_loc_seed": -1}, "bad_config"),
        ("c3a", {"block_size": 8}, "rank"),
        ("waveft", {"wavelet_family": "coif5"}, "bad_config"),
        ("waveft", {"wavelet_family": "../db1"}, "bad_config"),
        ("miss", {"init_weights": "magic"}, "bad_config"),
        ("miss", {"init_weights": "mini"}, "shape"),
        ("miss", {"init_weights": "bat"}, "shape"),
        ("miss", {"r": 4}, "rank"),
        ("vblora", {"save_only_topk_weights": True}, "missing_tensors"),
        ("vblora", {"topk": 7}, "shape"),
        ("vblora", {"num_vectors": 7}, "shape"),
        ("vblora", {"r": 3}, "rank"),
    ],
)
def test_a_config_that_does_not_go_with_the_tensors_is_refused(tmp_path, base, sample, config, code):
    delta = lora_family.write(tmp_path / "delta", base, sample, **config)

    assert codes(delta, base) == {code}


@pytest.mark.parametrize(
    ("sample", "extra"),
    [
        ("loha", {"hada_t1": (2, 2, 3, 3)}),
        ("lokr", {"lokr_t2": (1, 1, 3, 3)}),
        ("lokr", {"lokr_w1_a": (2, 1)}),
        ("lokr", {"lokr_w2": (4, 2)}),
        ("vblora", {"vblora_logits_A_topk_weights": (2, 2, 1)}),
    ],
)
def test_a_tensor_too_many_is_refused(tmp_path, base, sample, extra):
    delta = lora_family.write(tmp_path / "delta", base, sample, reshape=extra)

    assert codes(delta, base) == {"unexpected_tensors"}


def test_projections_that_differ_between_modules_are_refused(tmp_path, base):
    delta = lora_family.write(tmp_path / "delta", base, "randlora")
    tensors = load_file(delta.path / FILE)
    shared = tensors["base_model.randlora_A"]
    copy = f"{tiny.PREFIX}model.layers.0.self_attn.q_proj.randlora_A"
    save_file({**tensors, copy: shared}, delta.path / FILE)
    alike = codes(delta, base)

    save_file({**tensors, copy: shared + np.float32(1)}, delta.path / FILE)

    assert alike == set()
    assert codes(delta, base) == {"ambiguous"}


def test_numbers_of_vectors_outside_the_bank_are_refused(tmp_path, base):
    delta = lora_family.write(tmp_path / "delta", base, "vblora")
    tensors = load_file(delta.path / FILE)
    for name in [name for name in tensors if "logits" in name]:
        shape = tensors.pop(name).shape[:2]
        tensors[f"{name}_topk_indices"] = np.full((*shape, 2), 6, dtype=np.uint8)
        tensors[f"{name}_topk_weights"] = np.full((*shape, 1), 0.5, dtype=np.float32)
    save_file(tensors, delta.path / FILE)
    config = json.loads((delta.path / "adapter_config.json").read_text())
    config["save_only_topk_weights"] = True
    (delta.path / "adapter_config.json").write_text(json.dumps(config))
    found, _, weights = opened(delta, base)
    effect = found.effects[0]

    with pytest.raises(Exception, match="not within the 6"):
        effect.update.fold(NumPyOps().load(weights[effect.source]), 0, 8, NumPyOps())
