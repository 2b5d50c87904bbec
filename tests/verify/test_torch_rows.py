"""Rows of a base read where they lie: the same numbers, whatever their type and place."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from deltareg.errors import InvalidInput
from deltareg_verify.engine.torch_engine.ops import TorchOps, as_array, as_torch

OPS = TorchOps(torch.device("cpu"))


@dataclass(frozen=True)
class Lying:
    """A tensor (5, 3) whose bytes begin anywhere in a buffer that may only be read."""

    dtype: str
    offset: int
    name = "w"
    shape = (5, 3)

    def read(self, start=0, stop=None):
        size = {"F32": 4, "BF16": 2, "F16": 2, "F64": 8, "I8": 1}[self.dtype]
        values = np.random.default_rng(2).integers(0, 60, 15 * size, np.uint8).tobytes()
        data = memoryview(bytes(self.offset) + values)[self.offset :]
        return data[3 * size * start : None if stop is None else 3 * size * stop]


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "F64"])
@pytest.mark.parametrize("offset", [0, 1, 8])
def test_rows_are_what_loading_gives(dtype, offset):
    tensor = Lying(dtype, offset)

    rows = OPS.rows(tensor, 1, 4)

    assert rows.dtype == torch.float32
    assert torch.equal(rows, as_torch(OPS.load(tensor, 1, 4)))


def test_whole_numbers_are_no_weights():
    with pytest.raises(InvalidInput, match="no real numbers"):
        OPS.rows(Lying("I8", 0), 0, 5)


def test_the_sum_takes_the_place_of_the_product_and_not_of_the_weight():
    weight, product = torch.ones(2, 2), torch.full((2, 2), 3.0)

    total = OPS.add_scaled(as_array(weight), as_array(product), 0.5)

    assert torch.equal(as_torch(total), torch.full((2, 2), 2.5))
    assert torch.equal(weight, torch.ones(2, 2))
