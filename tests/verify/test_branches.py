"""Branches and folds are two ways to one result, on every class of module that has a branch."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import WeightUpdate
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.delta.maths.updates import (
    Factor,
    IdentityUpdate,
    LowRank,
    OrthonormalRemoval,
    PrincipalRemoval,
    Replacement,
    RowExtension,
    RowReplacement,
    ScaledAddition,
    WeightDecomposed,
)
from deltareg.tensors.array import F32
from deltareg_verify.engine.torch_engine.branch import branch_for
from deltareg_verify.engine.torch_engine.fold import chains, change_of, fold
from deltareg_verify.engine.torch_engine.ops import TorchOps, as_torch
from tests.verify.held import Held

OPS = TorchOps(torch.device("cpu"))
RANDOM = np.random.default_rng(7)


def made(*shape, scale=1.0):
    return (RANDOM.standard_normal(shape) * scale).astype(np.float32)


def low_rank(rows, columns, rank=3, scale=0.5):
    left, right = Held("left", made(rows, rank)), Held("right", made(rank, columns))
    return LowRank(Factor(left), Factor(right), scale)


MODULES: dict[str, tuple[Any, Any]] = {
    "linear": (nn.Linear(10, 6), lambda: torch.randn(2, 5, 10)),
    "linear without bias": (nn.Linear(10, 6, bias=False), lambda: torch.randn(2, 5, 10)),
    "conv1d": (Conv1D(6, 10), lambda: torch.randn(2, 5, 10)),
    "embedding": (nn.Embedding(20, 8), lambda: torch.randint(0, 20, (2, 5))),
    "convolution": (nn.Conv2d(3, 6, 3, stride=2, padding=1), lambda: torch.randn(2, 3, 9, 9)),
    "patches": (nn.Conv2d(3, 6, (2, 4), stride=(2, 4)), lambda: torch.randn(2, 3, 8, 8)),
    "dilated": (nn.Conv2d(3, 6, 3, dilation=2, bias=False), lambda: torch.randn(1, 3, 9, 9)),
}


def outputs(module, inputs, weight=None, branch=None):
    """Run a module with another weight, or with a branch beside it."""
    with torch.no_grad():
        changed = {} if weight is None else {"weight": weight}
        y = torch.func.functional_call(module, changed, (inputs,))
        return y if branch is None else branch(inputs, y)


def folded(update, module):
    weight = {"w": Held("w", module.weight.detach().numpy())}
    (chain,) = chains([WeightUpdate("w", update, {})])
    return fold(chain, weight, OPS, torch.float32)


@pytest.mark.parametrize("name", MODULES)
def test_a_low_rank_branch_gives_what_the_fold_gives(name):
    torch.manual_seed(1)
    module, make = MODULES[name]
    rows, columns = module.weight.shape[0], module.weight[0].numel()
    update, inputs = low_rank(rows, columns), make()

    branch = branch_for(module, update, module.weight, OPS)

    apart = outputs(module, inputs, branch=branch)
    together = outputs(module, inputs, weight=folded(update, module))
    assert torch.allclose(apart, together, atol=2e-5)
    assert not torch.allclose(apart, outputs(module, inputs), atol=1e-2)


@pytest.mark.parametrize(("name", "axis"), [("linear", "rows"), ("linear without bias", "rows"), ("conv1d", "columns")])
def test_a_decomposed_branch_gives_what_the_fold_gives(name, axis):
    torch.manual_seed(1)
    module, make = MODULES[name]
    if module.bias is not None:
        nn.init.normal_(module.bias)
    rows, columns = module.weight.shape
    size = rows if axis == "rows" else columns
    magnitude = Held("m", np.abs(made(size)) + 0.5)
    update, inputs = WeightDecomposed(low_rank(rows, columns), magnitude, axis), make()

    branch = branch_for(module, update, module.weight, OPS)

    apart = outputs(module, inputs, branch=branch)
    together = outputs(module, inputs, weight=folded(update, module))
    assert torch.allclose(apart, together, atol=2e-5)


class _Scaled(nn.Embedding):
    def forward(self, ids):
        return super().forward(ids) * 8


class _Odd(nn.Linear):
    pass


@pytest.mark.parametrize(
    "module",
    [
        _Scaled(20, 8),
        _Odd(10, 6),
        nn.LayerNorm((6, 10)),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Conv2d(3, 6, 3, padding=1, padding_mode="reflect"),
        nn.Bilinear(3, 4, 5),
    ],
    ids=lambda module: type(module).__name__,
)
def test_a_module_that_may_do_anything_has_no_branch(module):
    rows, columns = module.weight.shape[0], module.weight[0].numel()

    assert branch_for(module, low_rank(rows, columns), module.weight, OPS) is None


@pytest.mark.parametrize("module", [Conv1D(6, 10), nn.Embedding(10, 6)], ids=["conv1d", "embedding"])
def test_a_decomposition_over_the_other_axis_has_no_branch(module):
    update = WeightDecomposed(low_rank(10, 6), Held("m", made(10)), "rows")

    assert branch_for(module, update, module.weight, OPS) is None


@pytest.mark.parametrize("update", [IdentityUpdate(), Replacement(Held("t", made(10, 6)))], ids=type)
def test_an_update_without_factors_has_no_branch(update):
    module = Conv1D(6, 10)

    assert branch_for(module, update, module.weight, OPS) is None


ROWS = 1500  # more than one block
DECAY = 2.0 ** -np.arange(16)  # singular values apart, so that every library finds the same parts
BASE = {"w": Held("w", made(ROWS, 16) * DECAY), "v": Held("v", made(ROWS)), "s": Held("s", made())}
UPDATES = {
    "low rank": [WeightUpdate("w", low_rank(ROWS, 16), {})],
    "decomposed rows": [WeightUpdate("w", WeightDecomposed(low_rank(ROWS, 16), Held("m", made(ROWS)), "rows"), {})],
    "decomposed columns": [WeightUpdate("w", WeightDecomposed(low_rank(ROWS, 16), Held("m", made(16)), "columns"), {})],
    "replaced": [WeightUpdate("w", Replacement(Held("t", made(ROWS, 16))), {})],
    "added": [WeightUpdate("v", ScaledAddition(Held("t", made(ROWS)), 0.3), {})],
    "a scalar": [WeightUpdate("s", ScaledAddition(Held("t", made())), {})],
    "some rows": [WeightUpdate("w", RowReplacement([3, 1400, 7], Held("t", made(3, 16))), {})],
    "more rows": [
        WeightUpdate("w", RowExtension(Held("t", made(1510, 16)), ROWS), {}, "", (1510, 16)),
        WeightUpdate("w", low_rank(1510, 16), {}, "", (1510, 16)),
    ],
    "grown and replaced": [WeightUpdate("w", Replacement(Held("t", made(1510, 16))), {}, "", (1510, 16))],
    "less its principal part, then low rank": [
        WeightUpdate("w", PrincipalRemoval(3), {}),
        WeightUpdate("w", low_rank(ROWS, 16), {}),
    ],
    "less its orthonormal part": [WeightUpdate("w", OrthonormalRemoval(3, 0.5), {})],
    "a twin": [WeightUpdate("head", low_rank(ROWS, 16), {}, "w")],
}


@pytest.mark.parametrize("name", UPDATES)
def test_torch_folds_as_numpy_does(name):
    (chain,) = chains(UPDATES[name])
    blocks = list(FoldedBase(UPDATES[name], BASE).blocks(chain.target))
    expected = np.concatenate(blocks) if blocks[0].shape else blocks[0]

    value = fold(chain, BASE, OPS, torch.float32).numpy()

    assert value.shape == expected.shape
    np.testing.assert_allclose(value, expected, rtol=2e-5, atol=2e-5)


def sized(update, base=BASE):
    (chain,) = chains([update])
    change = change_of(chain, base, OPS)
    assert change is not None
    return change


@pytest.mark.parametrize("name", ["low rank", "added", "some rows", "a twin", "replaced"])
def test_a_change_is_sized_as_its_dense_difference_is(name):
    (chain,) = chains(UPDATES[name])
    old = BASE[chain.source].array
    new = fold(chain, BASE, OPS, torch.float32).numpy()

    change = sized(*UPDATES[name])

    assert change.delta_rms == pytest.approx(float(np.sqrt(np.mean((new - old) ** 2))), rel=1e-4)
    assert change.weight_rms == pytest.approx(float(np.sqrt(np.mean(old**2))), rel=1e-5)
    assert change.is_vector == (old.ndim < 2)


def test_new_rows_are_no_change_of_the_old_ones():
    assert sized(UPDATES["more rows"][0]).delta_rms == 0


def test_a_weight_of_another_width_has_no_size():
    other = WeightUpdate("w", Replacement(Held("t", made(4, 32))), {}, "", (4, 32))

    (chain,) = chains([other])

    assert change_of(chain, BASE, OPS) is None


def test_an_update_of_zeros_has_size_zero():
    zero = LowRank(Factor(Held("l", np.zeros((ROWS, 2)))), Factor(Held("r", made(2, 16))), 1.0)

    assert sized(WeightUpdate("w", zero, {})).delta_rms == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_fold_is_rounded_once(dtype):
    (chain,) = chains(UPDATES["low rank"])

    value = fold(chain, BASE, OPS, dtype)

    assert torch.equal(value, fold(chain, BASE, OPS, torch.float32).to(dtype))


def test_a_stored_weight_comes_bit_for_bit_whatever_its_dtype():
    whole = Held("t", np.arange(6, dtype=np.int64).reshape(2, 3))
    base = {"w": Held("w", np.zeros((2, 3), np.int64))}

    (chain,) = chains([WeightUpdate("w", Replacement(whole), {})])

    value = fold(chain, base, OPS, torch.int64)

    assert np.array_equal(value.numpy(), whole.array)


@pytest.mark.parametrize("name", ["row_norms", "column_norms"])
def test_norms_are_numpys(name):
    matrix = made(5, 7)

    ours = as_torch(getattr(OPS, name)(torch.from_numpy(matrix))).numpy()

    np.testing.assert_allclose(ours, getattr(NumPyOps(), name)(matrix), rtol=1e-6)


@pytest.mark.parametrize("name", ["svd_part", "qr_part"])
def test_parts_are_numpys(name):
    matrix = made(9, 7)

    ours = as_torch(getattr(OPS, name)(torch.from_numpy(matrix), 3)).numpy()

    np.testing.assert_allclose(ours, getattr(NumPyOps(), name)(matrix, 3), atol=1e-5)


@pytest.mark.parametrize("dtype", ["F64", "F32", "F16", "BF16"])
def test_loading_widens_exactly(dtype):
    tensor = Held("t", made(5, 3), dtype=dtype)

    ours = as_torch(OPS.load(tensor, 1, 4)).numpy()

    assert np.array_equal(ours, cast("F32", NumPyOps().load(tensor, 1, 4)))
