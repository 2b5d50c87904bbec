"""NumPy views of stored tensors: bfloat16 is widened exactly and rounded once on the way back."""

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from deltareg.errors import InvalidInput
from deltareg.tensors.header import ITEM_BYTES

TYPE_NAMES: dict[str, str] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": "<u2",
    "F8_E4M3": "u1",
    "F8_E5M2": "u1",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U64": "<u8",
    "U32": "<u4",
    "U16": "<u2",
    "U8": "u1",
    "BOOL": "u1",
}

EIGHT_BITS = frozenset({"F8_E4M3", "F8_E5M2"})
"""Real numbers of eight bits: read as they are, and never written: a sum is not rounded to them."""
Raw = NDArray[np.generic]
F32 = NDArray[np.float32]
_RUN = 1 << 17
_INFINITE = 0x7F80  # the exponent of infinity and NaN in bf16


def view(data: bytes | bytearray | memoryview, dtype: str, shape: tuple[int, ...]) -> Raw:
    """View bytes as an array without copying; BF16 appears as its 16-bit patterns.

    Raises:
        InvalidInput: The bytes are not exactly `shape` elements of `dtype`.
    """
    if len(data) != math.prod(shape) * ITEM_BYTES[dtype]:
        raise InvalidInput(f"{len(data)} bytes are not {dtype} {list(shape)}")
    return np.frombuffer(data, np.dtype(TYPE_NAMES[dtype])).reshape(shape)


def to_f32(raw: Raw, dtype: str) -> F32:
    """Convert to float32: exact for F32, BF16, F16 and eight bits, rounded to nearest for F64.

    Raises:
        InvalidInput: The dtype is not one of these.
    """
    if dtype == "F32":
        return raw.astype(np.float32, copy=False)
    if dtype == "BF16":
        bits = raw.astype(np.uint32)
        return np.left_shift(bits, np.uint32(16), out=bits).view(np.float32)
    if dtype in {"F16", "F64"}:
        return raw.astype(np.float32)
    if dtype in EIGHT_BITS:
        return _eight_bit_floats(dtype)[raw.astype(np.uint8, copy=False)]
    raise InvalidInput(f"{dtype} does not hold real numbers")


def from_f32(values: F32, dtype: str) -> Raw:
    """Round to the stored dtype once, to nearest even; BF16 is returned as 16-bit patterns.

    Raises:
        InvalidInput: The dtype is not F32, BF16, F16 or F64.
    """
    if dtype == "F32":
        return values.astype("<f4", copy=False)
    if dtype == "BF16":
        return _to_bf16(values)
    if dtype in {"F16", "F64"}:
        with np.errstate(over="ignore"):  # an overflow is a finding of a check, not a warning
            return values.astype(TYPE_NAMES[dtype])
    raise InvalidInput(f"{dtype} does not hold real numbers")


def rounded_bytes(values: F32, dtype: str) -> memoryview:
    """Round as `from_f32` does and view the bytes, row by row.

    Raises:
        InvalidInput: The dtype is not F32, BF16, F16 or F64.
    """
    return np.ascontiguousarray(from_f32(values, dtype)).reshape(-1).view(np.uint8).data


def integers(raw: Raw, dtype: str) -> NDArray[np.int64]:
    """Convert integers to int64.

    Raises:
        InvalidInput: The dtype holds real numbers, or a value does not fit 64 bits with a sign.
    """
    if not dtype.startswith(("I", "U")):
        raise InvalidInput(f"{dtype} does not hold whole numbers")
    if dtype == "U64" and raw.size and int(raw.max()) > np.iinfo(np.int64).max:
        raise InvalidInput("an index does not fit 64 bits")
    return raw.astype(np.int64)


def is_finite(raw: Raw, dtype: str) -> bool:
    """Whether no element is NaN or infinite; integers are always finite."""
    if dtype == "BF16":
        patterns = np.ascontiguousarray(raw).view(np.uint16).reshape(-1)
        runs = (patterns[start : start + _RUN] for start in range(0, patterns.size, _RUN))
        return all(int((run & np.uint16(_INFINITE)).max()) < _INFINITE for run in runs)
    if dtype in {"F32", "F16", "F64"} | EIGHT_BITS:
        return bool(np.all(np.isfinite(to_f32(raw, dtype) if dtype in EIGHT_BITS else raw)))
    return True


@cache
def _eight_bit_floats(dtype: str) -> F32:
    """Return the 256 values of a format (Micikevicius et al. 2022, arXiv 2209.05433, table 1)."""
    codes = np.arange(256, dtype=np.uint16)
    if dtype == "F8_E5M2":
        return (codes << 8).view(np.float16).astype(np.float32)
    sign = np.where(codes & 0x80, np.float32(-1), np.float32(1))
    exponent, fraction = (codes >> 3) & 15, (codes & 7).astype(np.float32)
    normal = np.ldexp(1 + fraction / 8, exponent.astype(np.int32) - 7)
    numbers = sign * np.where(exponent == 0, np.ldexp(fraction / 8, -6), normal)
    numbers[[0x7F, 0xFF]] = np.nan
    return numbers.astype(np.float32)


def _to_bf16(values: F32) -> Raw:
    """Round a run of elements at a time, so that intermediate values stay in the cache."""
    patterns = np.ascontiguousarray(values, dtype="<f4").reshape(-1).view("<u4")
    rounded = np.empty(patterns.size, "<u2")
    scratch = np.empty(min(_RUN, patterns.size), "<u4")
    for start in range(0, patterns.size, _RUN):
        bits = patterns[start : start + _RUN]
        sums = np.right_shift(bits, np.uint32(16), out=scratch[: bits.size])
        sums &= np.uint32(1)
        sums += np.uint32(0x7FFF)
        sums += bits
        sums >>= np.uint32(16)
        rounded[start : start + _RUN] = sums
        run = bits.view("<f4")
        if np.isnan(run.max()):  # the largest is NaN when any is
            nan = np.isnan(run)
            # Adding could carry a NaN into infinity; keep its sign and set a quiet bit instead.
            quiet = (bits[nan] >> np.uint32(16)) | np.uint32(0x0040)
            rounded[start : start + _RUN][nan] = quiet
    return rounded.reshape(values.shape)
