"""The formula by which single elements of a weight change, given by their places."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from deltareg.delta.maths.formula import Array, Integers, Ops, Tensor
from deltareg.errors import Problem
from deltareg.tensors.derived import DerivedTensor
from deltareg.tensors.header import ITEM_BYTES
from deltareg.words import Convention

_BLOCK = 1 << 20  # indices that are looked at together


@dataclass(frozen=True, slots=True)
class IndexAxis(DerivedTensor[Tensor]):
    """One row of a matrix of indices, as a tensor of its own: nothing is read or copied."""

    row: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.origin.shape[1:]

    def read(self, start: int = 0, stop: int | None = None) -> memoryview:
        data = self.origin.read(self.row, self.row + 1)
        size = ITEM_BYTES[self.dtype]
        return data[start * size : None if stop is None else stop * size]


@dataclass(frozen=True, slots=True)
class SparseElements:
    """W with a few elements replaced, or with something added to them.

    The places ascend, so the elements of a run of rows are found by bisection, and all other
    elements of W keep their bits.

    Attributes:
        indices: (count,), places in W as it is stored row by row; or (dimensions, count).
        values: (count,).
        is_absolute: Whether the values are new ones.
        shape: W's.
    """

    indices: Tensor
    values: Tensor
    is_absolute: bool
    shape: tuple[int, ...]
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        width = math.prod(weight.shape[1:])
        first = self._axes()[0]
        unit = width if self._is_flat else 1
        begin, end = (_place(first, row * unit, ops) for row in (start, stop))
        if begin == end:
            return weight
        places = self._places(begin, end, ops) - start * width
        cells, values = weight.reshape(-1, 1), ops.load(self.values, begin, end).reshape(-1, 1)
        if not self.is_absolute:
            values = ops.take(cells, places, 0) + values
        return ops.with_rows(cells, places, values).reshape(*weight.shape)

    def read_as(self, convention: Convention) -> "SparseElements":
        """Return the same elements under one of the two conventions."""
        return replace(self, is_absolute=convention == "absolute")

    def fault(self, ops: Ops) -> Problem | None:
        """Return the problem of the places: outside of W, out of order, or repeated."""
        count, last = self.values.shape[0], -1
        for begin, end in pairwise([*range(0, count, _BLOCK), count]):
            outside = self._outside(begin, end, ops)
            if outside:
                return self._wrong(outside)
            places = self._places(begin, end, ops)
            steps = np.diff(places, prepend=last)
            if int(steps.min()) <= 0:
                how = "twice" if int(steps.min()) == 0 else "out of order"
                return self._wrong(f"it names element {int(places[steps.argmin()])} {how}")
            last = int(places[-1])
        return None

    def _outside(self, begin: int, end: int, ops: Ops) -> str:
        sizes = (math.prod(self.shape),) if self._is_flat else self.shape
        for axis, size in zip(self._axes(), sizes, strict=True):
            along = ops.integers(axis, begin, end)
            wrong = along[(along < 0) | (along >= size)]
            if wrong.size:
                return f"{int(wrong[0])} is not among the {size} that {list(self.shape)} has there"
        return ""

    @property
    def _is_flat(self) -> bool:
        return len(self.indices.shape) == 1

    def _axes(self) -> list[Tensor]:
        if self._is_flat:
            return [self.indices]
        return [IndexAxis(self.indices, row) for row in range(self.indices.shape[0])]

    def _places(self, begin: int, end: int, ops: Ops) -> Integers:
        """Return places as positions in W flattened by rows."""
        axes, size = self._axes(), self.shape
        steps = [1] if self._is_flat else [math.prod(size[n + 1 :]) for n in range(len(axes))]
        along = [ops.integers(axis, begin, end) * n for axis, n in zip(axes, steps, strict=True)]
        return sum(along[1:], start=along[0])

    def _wrong(self, why: str) -> Problem:
        fix = "sort the indices, name each element once"
        return Problem("indices", why, tensor=self.indices.name, fix=fix)


def _place(axis: Tensor, bound: int, ops: Ops) -> int:
    """Find the first element at or after a bound by bisection, reading few values."""
    low, high = 0, axis.shape[0]
    while low < high:
        middle = (low + high) // 2
        if int(ops.integers(axis, middle, middle + 1)[0]) < bound:
            low = middle + 1
        else:
            high = middle
    return low
