"""The native inner loops and those in NumPy: equal results, for every width and any bits."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltareg.codec.classes import MAX_CLASSES, divide, one_class
from deltareg.codec.kernel import Kernel
from deltareg.codec.native_kernel import load
from deltareg.codec.numpy_kernel import NumPyKernel
from tests.codec.samples import noise, weights
from tests.conftest import REPOSITORY
from tests.golden.make import CASES, encode

FOUND = load()
NUMPY: Kernel = NumPyKernel()
NATIVE: Kernel = FOUND or NUMPY  # the tests that would compare NumPy with itself are skipped
ITEMS = [2, 4, 8]

both = pytest.mark.skipif(FOUND is None, reason="needs the native kernel: install a C compiler")
KERNELS = [NUMPY, pytest.param(NATIVE, marks=both)]
every_width = pytest.mark.parametrize("width", [2, 4, 8])
every_item = pytest.mark.parametrize("item_bytes", ITEMS)


def words(data, item_bytes):
    return np.frombuffer(data, f"<u{item_bytes}").copy()


def small(count, item_bytes, seed=0):
    """Make zigzag numbers: most are small, some are not."""
    rng = np.random.default_rng(seed)
    sizes = rng.choice([0, 1, 3, 5, 9, 15], count, p=[0.4, 0.3, 0.1, 0.1, 0.05, 0.05])
    return (rng.integers(0, 1 << 15, count) >> (15 - sizes)).astype(f"<u{item_bytes}")


@pytest.mark.parametrize("kernel", KERNELS)
@every_item
@pytest.mark.parametrize("count", [1, 2, 3, 5, 4095, 4097, 30_001])
def test_what_was_divided_is_restored(kernel, item_bytes, count):
    against = words(weights(count, item_bytes), item_bytes)
    given = words(noise(count * item_bytes), item_bytes)

    for classes in (one_class(count), divide(kernel.histogram(against))):
        zigzag, back = np.empty_like(given), np.empty_like(given)
        kernel.divide(given, against, classes, zigzag)
        kernel.restore(zigzag, against, classes, back)

        assert sum(classes.counts) == count
        assert np.array_equal(back, given)


@pytest.mark.parametrize("kernel", KERNELS)
@every_item
@every_width
@pytest.mark.parametrize("count", [1, 3, 4, 5, 7, 8, 1001])
def test_what_was_packed_is_unpacked(kernel, item_bytes, width, count):
    given, code = small(count, item_bytes), (1 << width) - 1
    each = 8 // width
    packed, escapes = np.empty((count + each - 1) // each, np.uint8), np.empty_like(given)

    found = kernel.pack(given, width, packed, escapes)
    back = np.empty_like(given)
    counted = kernel.unpack(packed, width, back)
    kernel.fill(back, code, escapes[:found])

    assert found == counted == np.count_nonzero(given >= code)
    assert np.array_equal(back, given)


def spread(sort, count, item_bytes):
    """Make references: like weights, of any magnitude, of one, of one with a few others."""
    if sort == "weights":
        return words(weights(count, item_bytes), item_bytes)
    every = words(noise(count * item_bytes, 5), item_bytes)
    if sort == "any":
        return every
    alike = np.full(count, 0x3C01, every.dtype)
    return alike if sort == "one" else np.where(every % 301 == 0, every, alike)


@both
@pytest.mark.parametrize("item_bytes", [2, 4])
@pytest.mark.parametrize("sort", ["weights", "any", "one", "few others"])
@pytest.mark.parametrize("count", [8191, 20_000, 70_001])
def test_both_sides_give_the_same_for_many_words(item_bytes, sort, count):
    """Enough for the instructions that take 64 at a time, and for what they leave over."""
    against = spread(sort, count, item_bytes)
    given_words = against + small(count, item_bytes, seed=count)
    classes = divide(NUMPY.histogram(against))
    ours, theirs = np.empty_like(against), np.empty_like(against)

    NATIVE.divide(given_words, against, classes, ours)
    NUMPY.divide(given_words, against, classes, theirs)
    NATIVE.restore(theirs, against, classes, back := np.empty_like(against))

    assert NATIVE.histogram(against) == NUMPY.histogram(against)
    assert np.array_equal(ours, theirs)
    assert np.array_equal(back, given_words)
    for width in (2, 4, 8):
        packed = [np.empty(-(-count * width // 8), np.uint8) for _ in range(2)]
        escapes = [np.zeros_like(against) for _ in range(2)]
        found = NATIVE.pack(ours, width, packed[0], escapes[0])
        assert found == NUMPY.pack(ours, width, packed[1], escapes[1])
        assert np.array_equal(packed[0], packed[1])
        assert np.array_equal(escapes[0][:found], escapes[1][:found])
        assert NATIVE.unpack(packed[0], width, back) == found
        NATIVE.fill(back, (1 << width) - 1, escapes[1][:found])
        assert np.array_equal(back, ours)


@both
@every_item
@given(data=st.binary(min_size=8, max_size=400), seed=st.integers(0, 99))
def test_both_sides_give_the_same(item_bytes, data, seed):
    given = words(data[: len(data) // 8 * 8], item_bytes)
    against = words(noise(given.nbytes, seed), item_bytes)
    classes = divide(NUMPY.histogram(against))

    assert NATIVE.histogram(against) == NUMPY.histogram(against)
    assert NATIVE.tally(given) == NUMPY.tally(given)
    outs = [np.empty_like(given) for _ in range(4)]
    for side, out, back in ((NATIVE, *outs[:2]), (NUMPY, *outs[2:])):
        side.divide(given, against, classes, out)
        side.restore(out, against, classes, back)
    assert np.array_equal(outs[0], outs[2])
    assert np.array_equal(outs[1], outs[3])
    for width in (2, 4, 8):
        packed = [np.empty(-(-given.size * width // 8), np.uint8) for _ in range(2)]
        escapes = [np.zeros_like(given) for _ in range(2)]
        found = [side.pack(given, width, p, e) for side, p, e in zip((NATIVE, NUMPY), packed, escapes, strict=True)]
        assert found[0] == found[1]
        assert np.array_equal(packed[0], packed[1])
        assert np.array_equal(escapes[0][: found[0]], escapes[1][: found[0]])


@both
@every_item
def test_both_sides_divide_many_classes_alike(item_bytes):
    against = words(weights(100_000, item_bytes), item_bytes)
    given = against + small(100_000, item_bytes)
    classes = divide(NUMPY.histogram(against))

    outs = [np.empty_like(given) for _ in range(2)]
    for side, out in zip((NATIVE, NUMPY), outs, strict=True):
        side.divide(given, against, classes, out)

    assert len(classes.counts) > 1
    assert np.array_equal(*outs)


@pytest.fixture(scope="module")
def written_by_numpy():
    """Give the packs that a process writes which has no kernel, by their case."""
    script = (
        "import json; from tests.golden.make import CASES, encode\n"
        "print(json.dumps({name: encode(name)[1]['pack'] for name in CASES}))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY,
        env={**os.environ, "DELTAREG_KERNEL": "numpy"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout)


@both
@pytest.mark.parametrize("name", sorted(CASES))
def test_numpy_writes_the_same_packs(name, written_by_numpy):
    """What one side writes the other has written: packs do not tell which was at work."""
    assert written_by_numpy[name] == encode(name)[1]["pack"]


def test_words_that_are_not_aligned_are_read():
    data = noise(2002)
    odd = np.frombuffer(data, "<u2", 1000, 1)

    for kernel in (NATIVE, NUMPY):
        assert sum(kernel.histogram(odd)) == 1000
        out = np.empty(1000, "<u2")
        kernel.divide(odd, odd, one_class(1000), out)
        assert not out.any()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({5: 10}, [10]),
        ({0: 1}, [1]),
        ({5: 3000, 9: 3000}, [3000, 3000]),
        ({5: 3000, 9: 100}, [3100]),
        ({5: 100, 9: 3000}, [3100]),
        (dict.fromkeys(range(100), 2048), [4096] * 23 + [54 * 2048]),
        ({255: 5000, 0: 5000}, [5000, 5000]),
        ({1: 64 * 5000, 2: 4000, 3: 2000}, [64 * 5000, 6000]),
    ],
)
def test_magnitudes_are_joined_until_they_are_enough(counts, expected):
    found = divide([counts.get(key, 0) for key in range(256)])

    assert list(found.counts) == expected
    assert len(found.counts) <= MAX_CLASSES
    for key, count in counts.items():
        assert count <= found.counts[found.of_key[key]]
