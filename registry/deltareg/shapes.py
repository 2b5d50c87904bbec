"""Formulas run on shapes alone: whether an update fits its weight, without reading a byte.

Every kind gets this check from the engine, so a formula that would stretch, repeat or cut a tensor
to make it fit is refused before any data is touched.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deltareg.errors import InvalidInput
from deltareg.kind import Array, DeltaFiles, Tensor, Update
from deltareg.tensors import TensorInfo


@dataclass(frozen=True, slots=True)
class HeaderTensor:
    """A tensor of which only the header is at hand."""

    info: TensorInfo

    @property
    def name(self) -> str:
        return self.info.name

    @property
    def dtype(self) -> str:
        return self.info.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.info.shape

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        raise InvalidInput(f"only the header of {self.name} is at hand, its data is not")


def header_tensors(files: DeltaFiles) -> dict[str, Tensor]:
    """Give the tensors of all headers, without data."""
    return {
        name: HeaderTensor(info)
        for header in files.headers.values()
        for name, info in header.tensors.items()
    }


def misfit(update: Update, shape: tuple[int, ...]) -> str:
    """Say why an update does not fit a weight of this shape; empty when it does."""
    try:
        result = update.fold(_Shape(shape), 0, shape[0] if shape else 1, _OPS)
    except InvalidInput as error:
        return error.message
    return "" if result.shape == shape else f"makes {_told(result.shape)} of {_told(shape)}"


@dataclass(frozen=True, slots=True)
class _Shape:
    """An array that is nothing but its shape."""

    shape: tuple[int, ...]

    @property
    def T(self) -> "_Shape":  # noqa: N802  # the name that NumPy and torch share
        return _Shape(self.shape[::-1])

    def __add__(self, other: Array | float) -> "_Shape":
        return self._equal(other)

    def __sub__(self, other: Array | float) -> "_Shape":
        return self._equal(other)

    def __mul__(self, other: Array | float) -> "_Shape":
        return self._like(other)

    def __truediv__(self, other: Array | float) -> "_Shape":
        return self._like(other)

    def __matmul__(self, other: Array) -> "_Shape":
        if len(self.shape) != 2 or len(other.shape) != 2 or self.shape[1] != other.shape[0]:
            raise InvalidInput(f"{_told(self.shape)} @ {_told(other.shape)} is not defined")
        return _Shape((self.shape[0], other.shape[1]))

    def __getitem__(self, key: slice | tuple[slice, ...], /) -> "_Shape":
        slices = key if isinstance(key, tuple) else (key,)
        if len(slices) > len(self.shape):
            raise InvalidInput(f"{_told(self.shape)} has fewer dimensions than the formula needs")
        taken = [len(range(*s.indices(n))) for s, n in zip(slices, self.shape, strict=False)]
        return _Shape((*taken, *self.shape[len(taken) :]))

    def reshape(self, *shape: int) -> "_Shape":
        size, known = math.prod(self.shape), math.prod(n for n in shape if n != -1)
        filled = tuple(size // known if n == -1 and known else n for n in shape)
        if math.prod(filled) != size:
            raise InvalidInput(f"{_told(self.shape)} does not have the elements of {_told(shape)}")
        return _Shape(filled)

    def _equal(self, other: Array | float) -> "_Shape":
        """Give the shape of a sum, in which nothing may repeat."""
        if isinstance(other, (int, float)) or other.shape == self.shape:
            return self
        raise InvalidInput(f"{_told(other.shape)} cannot be added to {_told(self.shape)}")

    def _like(self, other: Array | float) -> "_Shape":
        """Give the shape of a product; a factor of a whole row or column may repeat."""
        if isinstance(other, (int, float)) or other.shape == self.shape:
            return self
        pairs = zip(other.shape, self.shape, strict=False)
        if len(other.shape) == len(self.shape) and all(n in {1, m} for n, m in pairs):
            return self
        raise InvalidInput(f"{_told(other.shape)} does not fit {_told(self.shape)}")


class _ShapeOps:
    def load(self, tensor: Tensor, start: int = 0, stop: int | None = None) -> Array:
        if not tensor.shape:
            return _Shape(())
        return _Shape(tensor.shape)[start:stop]

    def row_norms(self, matrix: Array) -> Array:
        return _Shape((matrix.shape[0], 1))

    def column_norms(self, matrix: Array) -> Array:
        return _Shape((1, matrix.shape[1]))

    def with_rows(self, matrix: Array, rows: Sequence[int], values: Array) -> Array:
        if values.shape != (len(rows), *matrix.shape[1:]):
            raise InvalidInput(
                f"{_told(values.shape)} are not {len(rows)} rows of {_told(matrix.shape)}"
            )
        return matrix

    def svd_part(self, matrix: Array, rank: int) -> Array:
        return matrix

    def qr_part(self, matrix: Array, rank: int) -> Array:
        return matrix


_OPS = _ShapeOps()


def _told(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
