"""Rounding and widening of stored numbers, also where a run of elements ends."""

import numpy as np
import pytest
import torch

from deltareg.tensors.array import from_f32, rounded_bytes, to_f32

RUN = 1 << 17
HARD = [0x7F7FFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0x7F800000, 0xFF800000, 0x80000000]
TIES = [0x3F808000, 0x3F818000, 0x3F808001, 0x3F807FFF, 0x00000001, 0x00008000, 0x00018000]


def patterns(count):
    """Give bits of all sorts, with the hard ones at both ends of every run."""
    bits = np.random.default_rng(3).integers(0, 1 << 32, count, dtype=np.uint32)
    for start in range(0, count - 20, RUN):
        bits[start : start + 14] = HARD + TIES
        bits[max(0, start - 14) : start] = (HARD + TIES)[: start and 14]
    return bits


@pytest.mark.parametrize("count", [1, 14, RUN - 1, RUN, RUN + 1, 3 * RUN + 40])
def test_bf16_is_rounded_to_nearest_even(count):
    values = patterns(count).view(np.float32)
    real = ~np.isnan(values)

    rounded = from_f32(values, "BF16")

    want = torch.from_numpy(values.copy()).to(torch.bfloat16).view(torch.int16).numpy()
    assert np.array_equal(rounded[real], want.view(np.uint16)[real])
    assert np.array_equal(np.isnan(to_f32(rounded, "BF16")), ~real)


def test_bf16_keeps_the_sign_and_the_high_bits_of_nan():
    values = np.array([0x7F800001, 0xFFA00001], np.uint32).view(np.float32)

    rounded = from_f32(values, "BF16")

    assert rounded.tolist() == [0x7FC0, 0xFFE0]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (2, 3), (2, 3, 4)])
def test_shapes_stay(shape):
    values = np.ones(shape, np.float32)

    assert from_f32(values, "BF16").shape == shape
    assert to_f32(from_f32(values, "BF16"), "BF16").tolist() == values.tolist()
    assert len(rounded_bytes(values, "BF16")) == 2 * values.size


def test_bytes_come_row_by_row_wherever_the_array_lies():
    values = np.arange(12, dtype=np.float32).reshape(3, 4).T

    assert rounded_bytes(values, "F32") == values.tobytes()
