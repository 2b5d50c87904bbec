"""Every codec of the benchmark gives back every bit of a tiny set, or says what is missing."""

import numpy as np
import pytest

from tests.benchmarks.measuring import check
from tests.benchmarks.peers import all_peers
from tests.benchmarks.weights import load, rounded, write

COUNT = 5000
CASES = [
    pytest.param(name, has_base, id=f"{name}, {'pair' if has_base else 'alone'}")
    for name, peer in all_peers().items()
    for has_base in (True, False)
    if has_base or not peer.uses_base
]
ODD = {2: [0x0000, 0x8000, 0x7F80, 0xFF81, 0xFFFF], 4: [0, 0x80000000, 0x7F800000, 0xFFFFFFFF]}


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path_factory):
    monkeypatch.setenv("DELTAREG_BENCH_DIR", str(tmp_path_factory.getbasetemp() / "bench"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of other people's libraries
@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32"])
@pytest.mark.parametrize(("name", "has_base"), CASES)
def test_a_codec_gives_back_every_bit(name, has_base, dtype, tmp_path):
    peer, weights = all_peers()[name], tiny(tmp_path / "set", dtype, has_base=has_base)
    if missing := peer.missing():
        pytest.skip(missing)
    if peer.prepare is not None:
        peer.prepare(weights, tmp_path)

    stored = peer.encode(weights, tmp_path)
    found = list(peer.decode(stored, weights, tmp_path))

    check(peer, weights, found)
    assert stored.size_bytes > 0


def tiny(folder, dtype, *, has_base):
    """Write a set with changes of every size, and bit patterns that are no number."""
    chance = np.random.default_rng(3)
    base = rounded(chance.normal(0, 0.02, COUNT).astype("<f4"), dtype)
    steps = chance.normal(0, 1, COUNT) * 10 ** chance.uniform(-6, 1, COUNT)
    tuned = rounded((chance.normal(0, 0.02, COUNT) + steps).astype("<f4"), dtype)
    tuned[::3] = base[::3]
    odd = ODD[tuned.itemsize]
    tuned[7 : 7 + len(odd)] = odd
    base[8 : 8 + len(odd)] = odd
    write(folder / "tuned.safetensors", dtype, {"a": tuned[:9], "b": tuned[9:].reshape(-1, 23)})
    if has_base:
        write(folder / "base.safetensors", dtype, {"a": base[:9], "b": base[9:].reshape(-1, 23)})
    return load("tiny", folder)
