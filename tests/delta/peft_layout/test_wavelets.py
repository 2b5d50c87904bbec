"""Every family of wavelets puts bands together as the peft library does."""

import numpy as np
import pytest

from deltareg.delta.layouts.peft.wavelets import rebuilt, wavelets
from deltareg.delta.maths.numpy_ops import NumPyOps

torch = pytest.importorskip("torch", reason="needs torch: pip install 'deltareg[verify]'")
library = pytest.importorskip("peft.tuners.waveft.waverec2d", reason="needs peft 0.18 or later")


def bands():
    rng = np.random.default_rng(0)
    return [rng.standard_normal((32, 40), dtype=np.float32) for _ in range(4)]


@pytest.mark.parametrize("family", wavelets())
def test_bands_are_put_together_as_the_library_does(family):
    ops, wavelet = NumPyOps(), wavelets()[family]
    ll, lh, hl, hh = bands()

    upper = rebuilt(ll.T, hl.T, wavelet, ops).T
    lower = rebuilt(lh.T, hh.T, wavelet, ops).T
    got = rebuilt(upper, lower, wavelet, ops)

    low, *high = (torch.from_numpy(band) for band in (ll, lh, hl, hh))
    want = library.waverec2d((low, tuple(high)), family).numpy()
    assert got.shape == want.shape
    assert np.max(np.abs(got - want)) < 4e-6


def test_there_are_as_many_families_as_the_docs_say():
    assert sorted(wavelets()) == sorted(
        [*(f"db{n}" for n in range(1, 11)), *(f"sym{n}" for n in range(2, 11)), *(f"coif{n}" for n in range(1, 5))]
    )
