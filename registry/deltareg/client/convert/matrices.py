"""Matrices in another form: transposed, padded or scaled without rounding, or not at all."""

import math
from dataclasses import dataclass

import numpy as np

from deltareg.delta.maths.formula import Tensor
from deltareg.tensors.array import F32, Raw, from_f32, to_f32, view
from deltareg.tensors.derived import DerivedTensor

_HALF = 0.5  # the mantissa of a power of two


@dataclass(frozen=True, slots=True)
class InMemoryTensor:
    """A tensor in memory.

    Attributes:
        name: The tensor's name.
        dtype: The safetensors dtype.
        values: Its elements as stored; BF16 as 16-bit patterns.
    """

    name: str
    dtype: str
    values: Raw

    @property
    def shape(self) -> tuple[int, ...]:
        """Its dimensions."""
        return self.values.shape

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Return the bytes of rows `start:stop`."""
        rows = self.values[start:stop] if self.values.shape else self.values
        return np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data


@dataclass(frozen=True, slots=True)
class TransposedTensor(DerivedTensor[Tensor]):
    """The transpose of a matrix, which is read when it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions, the last first."""
        return tuple(reversed(self.origin.shape))

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        """Give the bytes of rows `start:stop`."""
        return InMemoryTensor(self.name, self.dtype, elements(self.origin).T).read(start, stop)


def elements(tensor: Tensor) -> Raw:
    """Return a tensor's elements as they are stored."""
    return view(tensor.read(), tensor.dtype, tensor.shape)


def widen_tensor(tensor: Tensor) -> F32:
    """Return a tensor as float32, which is exact for all dtypes but F64."""
    return to_f32(elements(tensor), tensor.dtype)


def same_bytes(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same, whatever their names."""
    is_alike = (one.dtype, one.shape) == (other.dtype, other.shape)
    return is_alike and one.read() == other.read()


def pad_tensor(tensor: Tensor, size: int, *, axis: int) -> Tensor:
    """Pad a dimension with zeros at its end."""
    missing = size - tensor.shape[axis]
    if not missing:
        return tensor
    widths = [(0, missing if at == axis else 0) for at in range(len(tensor.shape))]
    return InMemoryTensor(tensor.name, tensor.dtype, np.pad(elements(tensor), widths))


def scale_tensor(tensor: Tensor, factor: float) -> Tensor | None:
    """Multiply every element by a factor; None if an element would be rounded."""
    if factor == 1:
        return tensor
    before = widen_tensor(tensor)
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        raw = from_f32(before * np.float32(factor), tensor.dtype)
        back = to_f32(raw, tensor.dtype) / np.float32(factor)
    is_exact = float(np.float32(factor)) == factor and np.array_equal(back, before)
    return InMemoryTensor(tensor.name, tensor.dtype, raw) if is_exact and _is_shift(factor) else None


def _is_shift(factor: float) -> bool:
    return abs(math.frexp(factor)[0]) == _HALF
