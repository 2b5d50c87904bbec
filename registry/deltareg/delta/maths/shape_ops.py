"""The operations of `formula.Ops` on bare shapes: checks that shapes fit without reading data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deltareg.delta.maths.formula import Array, Function, Integers, Tensor
from deltareg.errors import InvalidInput
from deltareg.tensors.array import EIGHT_BITS
from deltareg.tensors.header import FLOAT_DTYPES


@dataclass(frozen=True, slots=True)
class ShapeArray:
    """An array that has only a shape."""

    shape: tuple[int, ...]

    @property
    def T(self) -> "ShapeArray":  # noqa: N802  # the name that NumPy and torch share
        return ShapeArray(self.shape[::-1])

    def __neg__(self) -> "ShapeArray":
        return self

    def __add__(self, other: Array | float) -> "ShapeArray":
        return self._equal(other)

    def __sub__(self, other: Array | float) -> "ShapeArray":
        return self._equal(other)

    def __mul__(self, other: Array | float) -> "ShapeArray":
        return self._like(other)

    def __truediv__(self, other: Array | float) -> "ShapeArray":
        return self._like(other)

    def __matmul__(self, other: Array) -> "ShapeArray":
        mine, theirs = self.shape, other.shape
        if min(len(mine), len(theirs)) < 2 or mine[-1] != theirs[-2]:
            raise InvalidInput(f"{format_shape(mine)} @ {format_shape(theirs)} is not defined")
        if mine[:-2] and theirs[:-2] and mine[:-2] != theirs[:-2]:
            raise InvalidInput(f"{format_shape(mine)} @ {format_shape(theirs)} are batches of other sizes")
        return ShapeArray((*(mine[:-2] or theirs[:-2]), mine[-2], theirs[-1]))

    def __getitem__(self, key: slice | tuple[slice, ...], /) -> "ShapeArray":
        slices = key if isinstance(key, tuple) else (key,)
        if len(slices) > len(self.shape):
            raise InvalidInput(f"{format_shape(self.shape)} has fewer dimensions than the formula needs")
        sizes = [len(range(*s.indices(n))) for s, n in zip(slices, self.shape, strict=False)]
        return ShapeArray((*sizes, *self.shape[len(sizes) :]))

    def reshape(self, *shape: int) -> "ShapeArray":
        size, fixed = math.prod(self.shape), math.prod(n for n in shape if n != -1)
        filled = tuple(size // fixed if n == -1 and fixed else n for n in shape)
        if math.prod(filled) != size:
            raise InvalidInput(f"{format_shape(self.shape)} does not have the elements of {format_shape(shape)}")
        return ShapeArray(filled)

    def _equal(self, other: Array | float) -> "ShapeArray":
        """Return the shape of a sum, in which no dimension may be broadcast."""
        if isinstance(other, (int, float)) or other.shape == self.shape:
            return self
        raise InvalidInput(f"{format_shape(other.shape)} cannot be added to {format_shape(self.shape)}")

    def _like(self, other: Array | float) -> "ShapeArray":
        """Return the shape of a product; a factor for a whole row or column may be broadcast."""
        if isinstance(other, (int, float)) or other.shape == self.shape:
            return self
        pairs = zip(other.shape, self.shape, strict=False)
        if len(other.shape) == len(self.shape) and all(n in {1, m} for n, m in pairs):
            return self
        raise InvalidInput(f"{format_shape(other.shape)} does not fit {format_shape(self.shape)}")


@dataclass(frozen=True, slots=True)
class ShapeOps:
    """`deltareg.delta.maths.formula.Ops` on `ShapeArray`.

    Attributes:
        rows: Rows of the weight that is folded. A tensor that is read row by row along with it and
            has more rows would be cut silently; negative to allow that.
        are_real: Whether tensors that are read must hold real numbers, as computing requires.
    """

    rows: int = -1
    are_real: bool = False

    def load(self, tensor: Tensor, start: int = 0, stop: int | None = None, *, is_part: bool = False) -> Array:
        if self.are_real and tensor.dtype not in FLOAT_DTYPES | EIGHT_BITS:
            raise InvalidInput(f"{tensor.name} is {tensor.dtype}, which holds no real numbers")
        if not is_part and tensor.shape and start == 0 and stop == self.rows < tensor.shape[0]:
            raise InvalidInput(f"{tensor.name} {format_shape(tensor.shape)} has more than {stop} rows")
        return ShapeArray(tensor.shape)[start:stop] if tensor.shape else ShapeArray(())

    def integers(self, tensor: Tensor, start: int = 0, stop: int | None = None) -> Integers:
        shape = ShapeArray(tensor.shape)[start:stop].shape if tensor.shape else ()
        return np.zeros(shape, dtype=np.int64)

    def zeros(self, *shape: int) -> Array:
        return ShapeArray(shape)

    def identity(self, size: int) -> Array:
        return ShapeArray((size, size))

    def apply(self, function: Function, array: Array) -> Array:
        return array

    def softmax(self, array: Array) -> Array:
        return array

    def total(self, array: Array, axis: int) -> Array:
        sizes = list(array.shape)
        sizes[_axis(array, axis)] = 1
        return ShapeArray(tuple(sizes))

    def row_norms(self, matrix: Array) -> Array:
        return ShapeArray((matrix.shape[0], 1))

    def column_norms(self, matrix: Array) -> Array:
        return ShapeArray((1, matrix.shape[1]))

    def permute(self, array: Array, *dims: int) -> Array:
        if sorted(dims) != list(range(len(array.shape))):
            raise InvalidInput(f"{format_shape(array.shape)} does not have the dimensions {format_shape(dims)}")
        return ShapeArray(tuple(array.shape[dim] for dim in dims))

    def concat(self, parts: Sequence[Array], axis: int) -> Array:
        at = _axis(parts[0], axis)
        rest = {(*part.shape[:at], *part.shape[at + 1 :]) for part in parts}
        if len(rest) != 1:
            raise InvalidInput(f"{', '.join(format_shape(part.shape) for part in parts)} do not join")
        joined = sum(part.shape[at] for part in parts)
        return ShapeArray((*parts[0].shape[:at], joined, *parts[0].shape[at + 1 :]))

    def take(self, array: Array, places: Integers, axis: int) -> Array:
        at = _axis(array, axis)
        return ShapeArray((*array.shape[:at], *places.shape, *array.shape[at + 1 :]))

    def scatter(self, shape: Sequence[int], places: Sequence[Integers], values: Array) -> Array:
        sizes = {tuple(along.shape) for along in places}
        if len(places) != len(shape) or sizes != {values.shape}:
            raise InvalidInput(f"{format_shape(values.shape)} values do not go to the places given")
        return ShapeArray(tuple(shape))

    def top(self, array: Array, count: int) -> tuple[Array, Integers]:
        if count > array.shape[-1]:
            raise InvalidInput(f"{format_shape(array.shape)} has no {count} largest")
        shape = (*array.shape[:-1], count)
        return ShapeArray(shape), np.zeros(shape, dtype=np.int64)

    def with_rows(self, matrix: Array, rows: Sequence[int] | Integers, values: Array) -> Array:
        if values.shape != (len(rows), *matrix.shape[1:]):
            raise InvalidInput(f"{format_shape(values.shape)} are not {len(rows)} rows of {format_shape(matrix.shape)}")
        return matrix

    def kron(self, left: Array, right: Array) -> Array:
        (a, b), (c, d) = _matrix(left), _matrix(right)
        return ShapeArray((a * c, b * d))

    def inverse(self, matrices: Array) -> Array:
        if len(matrices.shape) < 2 or matrices.shape[-1] != matrices.shape[-2]:
            raise InvalidInput(f"{format_shape(matrices.shape)} is not square")
        return matrices

    def inverse_fourier(self, spectrum: Array) -> Array:
        return ShapeArray(_matrix(spectrum))

    def convolve(self, images: Array, kernel: Array, padding: int) -> Array:
        if len(images.shape) != 4 or len(kernel.shape) != 4 or images.shape[1] != kernel.shape[1]:
            raise InvalidInput(f"kernel {format_shape(kernel.shape)} does not fit {format_shape(images.shape)}")
        sizes = zip(images.shape[2:], kernel.shape[2:], strict=True)
        spatial = [size + 2 * padding - width + 1 for size, width in sizes]
        return ShapeArray((images.shape[0], kernel.shape[0], *spatial))

    def svd_part(self, matrix: Array, rank: int) -> Array:
        return matrix

    def qr_part(self, matrix: Array, rank: int) -> Array:
        return matrix

    def orthonormal(self, matrix: Array) -> Array:
        height, width = _matrix(matrix)
        if width > height:
            raise InvalidInput(f"{format_shape(matrix.shape)} has more columns than rows")
        return matrix

    def solve(self, matrix: Array, right: Array) -> Array:
        return ShapeArray(_matrix(self.inverse(matrix))) @ right

    def add_scaled(self, weight: Array, product: Array, scale: float) -> Array:
        return weight + product


def format_shape(shape: Sequence[int]) -> str:
    """Format a shape for people."""
    return f"[{', '.join(map(str, shape))}]"


def _axis(array: Array, axis: int) -> int:
    size = len(array.shape)
    if not -size <= axis < size:
        raise InvalidInput(f"{format_shape(array.shape)} has fewer dimensions than the formula needs")
    return axis % size


def _matrix(array: Array) -> tuple[int, int]:
    if len(array.shape) != 2:
        raise InvalidInput(f"{format_shape(array.shape)} is no matrix")
    return array.shape
