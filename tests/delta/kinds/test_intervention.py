"""Interventions of the adapters library: what is read, what is refused and why."""

from typing import Any

import numpy as np
import pytest
import torch

from deltareg.delta.kind import HookInputs
from deltareg.delta.layouts.adapterhub.interventions import (
    Intervention,
    InterventionUnit,
    OrthonormalProjection,
    StoredProjection,
)
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.errors import InvalidInput
from tests.delta.adapterhub_layout.opened import accounted, base, codes, sample, with_method, with_tensors
from tests.verify.held import Held

OPS = NumPyOps()


@pytest.mark.parametrize(
    ("name", "variant", "word", "layers"),
    [
        ("bert", "loreft", "loreft", 2),
        ("bert", "loreft_tied", "loreft", 1),
        ("llama", "noreft", "noreft", 2),
        ("llama", "direft", "direft", 2),
    ],
)
def test_a_variant_and_its_layers_are_told(name, variant, word, layers):
    found = accounted(sample(name, variant), base(name)[0])

    assert found.problems == []
    assert (found.delta.name, found.delta.variant, found.delta.foldable) == ("intervention", word, False)
    assert found.modules == layers + sum(role == "head" for role, _ in found.roles.values())


def test_what_tells_two_variants_apart_must_be_said():
    folder = with_method(sample("llama", "noreft"), subtract_projection=None)

    assert codes(folder, base("llama")[0]) == ["not_self_contained"]


def test_a_layer_without_its_intervention_is_found():
    folder = with_tensors(sample("bert", "loreft"), lambda name: None if "layer.1.reft_layer" in name else name)

    assert codes(folder, base("bert")[0]) == ["missing_tensors"]


def test_a_missing_tensor_is_found():
    lost = "bert.encoder.layer.0.reft_layer.refts.task.units.1.learned_source.bias"
    folder = with_tensors(sample("bert", "loreft"), lambda name: None if name == lost else name)

    assert codes(folder, base("bert")[0]) == ["missing_tensors"]


def test_a_layer_that_the_config_leaves_out_is_found():
    folder = with_method(sample("bert", "loreft"), layers=[0])

    assert codes(folder, base("bert")[0]) == ["unexpected_tensors"]


@pytest.mark.parametrize(
    "fields",
    [{"output_reft": False}, {"non_linearity": "mish"}, {"r": "3"}, {"layers": "some"}],
    ids=lambda fields: next(iter(fields)),
)
def test_what_is_not_supported_is_refused_by_name(fields):
    folder = with_method(sample("bert", "loreft"), **fields)

    assert codes(folder, base("bert")[0]) == ["bad_config"]


def test_rows_are_orthonormal_as_torch_makes_them():
    torch.manual_seed(0)
    layer: Any = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(12, 5, bias=False))
    form = layer.parametrizations.weight
    form.original.data.add_(torch.randn(5, 12).triu(1))
    stored = {"original": form.original, "base": form[0].base}
    given = {k: Held(k, v.detach().contiguous().numpy()) for k, v in stored.items()}

    rows = np.asarray(OrthonormalProjection(given["original"], given["base"]).rows(OPS))

    np.testing.assert_allclose(rows, layer.weight.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(rows @ rows.T, np.eye(5), atol=1e-5)


def array(values) -> Any:
    return np.array(values, "<f4")


def marking(leading, trailing):
    """Make an intervention that adds one at the first positions and ten at the last ones."""

    def unit(value):
        nothing = Held("w", np.zeros((1, 1), "<f4"))
        bias = Held("b", np.full(1, value, "<f4"))
        one = Held("r", np.ones((1, 1), "<f4"))
        return InterventionUnit(nothing, bias, StoredProjection(one), None, subtracts=False)

    return Intervention(unit(1), unit(10), leading, trailing)


@pytest.mark.parametrize(
    ("mask", "leading", "trailing", "want"),
    [
        ([1, 1, 1, 1, 1, 1], 2, 1, [1, 1, 0, 0, 0, 10]),
        ([0, 0, 1, 1, 1, 1], 2, 1, [0, 0, 1, 1, 0, 10]),
        ([1, 1, 1, 1, 0, 0], 2, 1, [1, 1, 0, 10, 0, 0]),
        ([1, 1, 0, 0, 0, 0], 3, 1, [1, 10, 0, 0, 0, 0]),
        ([1, 1, 1, 1, 1, 1], 0, 2, [0, 0, 0, 0, 10, 10]),
    ],
)
def test_positions_are_counted_without_padding(mask, leading, trailing, want):
    values, given = array(np.zeros((1, 6, 1))), array([mask])

    made = marking(leading, trailing).apply(values, HookInputs({"attention_mask": given}), OPS)

    assert made.reshape(-1).tolist() == want


def test_a_row_without_its_own_mask_is_refused():
    seen = HookInputs({"attention_mask": array(np.ones((1, 6)))})

    with pytest.raises(InvalidInput, match="whole rows"):
        marking(1, 1).apply(array(np.zeros((1, 1, 1))), seen, OPS)
