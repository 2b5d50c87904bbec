"""Formulas on shapes: a misfit is found before a byte is read."""

import pytest

from deltareg.delta.maths.updates import (
    Factor,
    IdentityUpdate,
    LowRank,
    PrincipalRemoval,
    Replacement,
    RowExtension,
    RowReplacement,
    ScaledAddition,
    WeightDecomposed,
)
from deltareg.delta.shapes import HeaderTensor, misfit
from deltareg.errors import InvalidInput
from deltareg.tensors.header import TensorInfo


def tensor(*shape):
    return HeaderTensor(TensorInfo("t", "F32", shape, 0, 4))


def low_rank(left, right, *, flipped=False):
    return LowRank(Factor(tensor(*left), flipped=flipped), Factor(tensor(*right), flipped=flipped), 1.0)


@pytest.mark.parametrize(
    ("update", "shape"),
    [
        (low_rank((4, 2), (2, 3)), (4, 3)),
        (low_rank((2, 4), (3, 2), flipped=True), (4, 3)),
        (low_rank((4, 2, 1, 1), (2, 3, 5, 5)), (4, 3, 5, 5)),
        (WeightDecomposed(low_rank((4, 2), (2, 3)), tensor(4), "rows"), (4, 3)),
        (WeightDecomposed(low_rank((4, 2), (2, 3)), tensor(3), "columns"), (4, 3)),
        (Replacement(tensor(4, 3)), (4, 3)),
        (ScaledAddition(tensor(4)), (4,)),
        (ScaledAddition(tensor()), ()),
        (RowReplacement([0, 3], tensor(2, 3)), (4, 3)),
        (RowExtension(tensor(6, 3), 4), (6, 3)),
        (PrincipalRemoval(2), (4, 3)),
        (IdentityUpdate(), (4, 3)),
    ],
)
def test_what_fits_fits(update, shape):
    assert misfit(update, shape) == ""


@pytest.mark.parametrize(
    ("update", "shape"),
    [
        (low_rank((4, 2), (3, 3)), (4, 3)),
        (low_rank((4, 2), (2, 3)), (3, 4)),
        (low_rank((1, 2), (2, 3)), (4, 3)),
        (WeightDecomposed(low_rank((4, 2), (2, 3)), tensor(3), "rows"), (4, 3)),
        (WeightDecomposed(low_rank((4, 2), (2, 3)), tensor(1), "rows"), (4, 3)),
        (Replacement(tensor(3, 3)), (4, 3)),
        (ScaledAddition(tensor(1, 3)), (4, 3)),
        (ScaledAddition(tensor(3)), (4, 3)),
        (ScaledAddition(tensor()), (4, 3)),
        (RowReplacement([0, 3], tensor(3, 3)), (4, 3)),
        (RowExtension(tensor(6, 2), 4), (6, 3)),
    ],
)
def test_what_would_stretch_or_repeat_does_not(update, shape):
    assert misfit(update, shape) != ""


def test_a_header_has_no_data():
    with pytest.raises(InvalidInput, match="header"):
        tensor(2).read()
