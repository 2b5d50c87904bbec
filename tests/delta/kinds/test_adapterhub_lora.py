"""LoRA, VeRA and IA3 of the adapters library: what is read, what is refused and why."""

import numpy as np
import pytest

from deltareg.delta.fold import FoldedBase
from deltareg.tensors.array import to_f32, view
from tests.delta.adapterhub_layout.opened import (
    accounted,
    base,
    codes,
    sample,
    with_document,
    with_method,
    with_shape,
    with_tensors,
)

QUERY = "vit.encoder.layer.0.attention.attention.query.loras.task"
FUSED = "transformer.h.0.attn.c_attn.loras.task"


def numbers(tensor):
    return to_f32(view(tensor.read(), tensor.dtype, tensor.shape), tensor.dtype)


def folded(name, variant, target):
    """Give a weight before and after folding."""
    view_, weights = base(name)
    folding = FoldedBase(accounted(sample(name, variant), view_).effects, weights)
    raw = b"".join(folding.rows(target))
    return numbers(weights[target]), np.frombuffer(raw, "<f4").reshape(weights[target].shape)


@pytest.mark.parametrize(
    ("name", "variant", "kind", "word", "is_foldable"),
    [
        ("vit", "lora", "lora", "", True),
        ("gpt2", "lora", "lora", "", True),
        ("gpt2", "lora_gated", "lora", "", False),
        ("vit", "vera", "lora", "vera", False),
        ("gpt2", "ia3", "ia3", "", True),
        ("clip", "ia3", "ia3", "", True),
    ],
)
def test_a_kind_and_whether_it_folds_are_told(name, variant, kind, word, is_foldable):
    found = accounted(sample(name, variant), base(name)[0])

    assert found.problems == []
    assert (found.delta.name, found.delta.variant) == (kind, word)
    assert found.delta.foldable == is_foldable


def test_a_fused_projection_changes_in_the_adapted_thirds_alone():
    folder, target = sample("gpt2", "lora"), "transformer.h.0.attn.c_attn.weight"
    a, b = (numbers(folder.tensors[f"{FUSED}.{factor}"]) for factor in ("lora_A", "lora_B"))
    want = np.concatenate([np.zeros((16, 16)), a[:2].T @ b[:16].T * 3, a[2:].T @ b[16:].T * 3], axis=1)

    before, after = folded("gpt2", "lora", target)

    np.testing.assert_allclose(after - before, want, atol=1e-5)


def test_a_bias_is_scaled_with_its_outputs():
    factors = numbers(sample("gpt2", "ia3").tensors[f"{FUSED}.lora_B"]).reshape(-1) * 2
    whole = np.concatenate([factors[:16], np.full(16, 2), factors[16:]])

    before, after = folded("gpt2", "ia3", "transformer.h.0.attn.c_attn.bias")

    np.testing.assert_allclose(after, before * whole, rtol=1e-6)


def test_a_missing_factor_is_found():
    folder = with_tensors(sample("vit", "lora"), lambda name: None if name == f"{QUERY}.lora_B" else name)

    assert codes(folder, base("vit")[0]) == ["missing_tensors"]


def test_a_missing_projection_is_found():
    folder = with_tensors(sample("vit", "lora"), lambda name: None if name.startswith(QUERY) else name)

    assert codes(folder, base("vit")[0]) == ["missing_tensors"]


def test_a_layer_that_the_base_lacks_is_found():
    folder = with_tensors(sample("vit", "vera"), lambda name: name.replace("encoder.layer.1.", "encoder.layer.9."))

    assert codes(folder, base("vit")[0]) == ["partial_application", "missing_tensors"]


def test_a_rank_that_is_not_the_tensors_is_found():
    folder = with_method(sample("vit", "lora"), r=4)

    assert codes(folder, base("vit")[0]) == ["shape"]


def test_a_shape_that_does_not_fit_is_found():
    folder = with_shape(sample("gpt2", "lora"), f"{FUSED}.lora_B", (16, 2))

    assert codes(folder, base("gpt2")[0]) == ["shape"]


def test_shared_factors_that_did_not_come_are_not_drawn_again():
    folder = with_tensors(sample("vit", "vera"), lambda name: None if "shared_parameters" in name else name)

    assert codes(folder, base("vit")[0]) == ["not_self_contained"]


def test_more_projections_than_the_config_names_are_found():
    folder = with_method(sample("vit", "lora"), attn_matrices=["q"])

    assert codes(folder, base("vit")[0]) == ["unexpected_tensors"]


@pytest.mark.parametrize(
    "fields",
    [
        {"use_dora": True},
        {"composition_mode": "multiply"},
        {"attn_matrices": ["q", "x"]},
        {"r": 0},
        {"dtype": "bfloat16"},
        {"task_names": ["a"]},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_what_is_not_supported_is_refused_by_name(fields):
    folder = with_method(sample("vit", "lora"), **fields)

    assert codes(folder, base("vit")[0]) == ["bad_config"]


def test_a_gate_on_a_factor_of_outputs_is_refused():
    folder = with_method(sample("gpt2", "ia3"), use_gating=True)

    assert codes(folder, base("gpt2")[0]) == ["bad_config"]


def test_a_config_of_another_method_is_found():
    folder = with_document(
        sample("vit", "lora"),
        "adapter_config.json",
        lambda config: config.update(
            config=dict(sample("vit", "double").files.documents["adapter_config.json"]["config"])
        ),
    )

    assert codes(folder, base("vit")[0]) == ["kind_mismatch"]
