"""Permutations that torch draws are drawn again exactly, without torch."""

import numpy as np
import pytest

from deltareg.delta.layouts.peft.torch_random import start_of_permutation

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")


@pytest.mark.parametrize("seed", [0, 1, 777, 2**31 - 1])
@pytest.mark.parametrize("size", [1, 2, 3, 64, 625, 4096, 65537, 1 << 20])
def test_the_start_of_a_permutation_is_torchs(size, seed):
    count = min(size, 3000)

    got = start_of_permutation(size, count, seed)

    want = torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:count]
    assert np.array_equal(got, want.numpy())


def test_all_of_a_permutation_is_torchs():
    want = torch.randperm(1000, generator=torch.Generator().manual_seed(5))

    assert np.array_equal(start_of_permutation(1000, 1000, 5), want.numpy())
