"""The parents of a merge side by side: the weights that each changes, and their new values."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from types import EllipsisType
from typing import cast

import numpy as np

from deltareg.delta.fold import BLOCK_ROWS, FoldedBase
from deltareg.delta.kind import Effect, Tensors
from deltareg.delta.maths.formula import StoredUpdate, Tensor
from deltareg.delta.maths.low_rank import F64
from deltareg.errors import InvalidInput
from deltareg.tensors.array import F32, Raw, to_f32, view
from deltareg.tensors.header import FLOAT_DTYPES

Values = F32 | F64
"""Numbers as they are known exactly: float64 only where a file stores it."""
_PIECE = 1 << 14  # elements: the float64 of a base and of a few parents' changes stays in the cache


@dataclass(frozen=True, slots=True)
class StoredRows:
    """Rows of a tensor of real numbers as they are stored; what is taken of them becomes float32.

    A few at a time: a megabyte of float32 is memory that the kernel hands out and takes back each time.

    Attributes:
        raw: The stored elements (rows, …).
        dtype: What they are.
    """

    raw: Raw
    dtype: str

    @property
    def shape(self) -> tuple[int, ...]:
        """Their shape."""
        return self.raw.shape

    def __getitem__(self, rows: slice | EllipsisType) -> F32:
        """Return some of them, or all."""
        return to_f32(self.raw[rows], self.dtype)


Rows = Values | StoredRows
"""Rows of a weight, of which `rows[…]` are the numbers."""


@dataclass(frozen=True, slots=True)
class Parent:
    """A delta that is merged.

    Attributes:
        name: For people.
        key: Its identity; two parents with the same one are the same delta.
        weight: A finite number; negative ones subtract.
        effects: All of its effects.
    """

    name: str
    key: str
    weight: float
    effects: Sequence[Effect]


@dataclass(frozen=True, slots=True)
class ParentRows:
    """Rows of one weight, as the base and every parent have them.

    Attributes:
        first: The position of the first element in the whole weight.
        base: W (rows, …), a number as one row; zero where it has no such rows.
        values: W' of each parent, before rounding; the array of `base` itself if the parent leaves
            the weight alone.
    """

    first: int
    base: Rows
    values: Sequence[Rows]

    def pieces(self) -> "Iterator[WideRows]":
        """Yield the same rows, so few at a time that they stay in the cache."""
        height, row = self.base.shape[0], prod(self.base.shape[1:])
        step = max(1, _PIECE // max(1, row))
        for start in range(0, height, step):
            rows = slice(start, start + step)
            base = self.base[rows].astype(np.float64)
            values = [base if own is self.base else own[rows] for own in self.values]
            yield WideRows(self.first + start * row, base, values)


@dataclass(frozen=True, slots=True)
class WideRows:
    """Rows of one weight, for sums in float64, where the difference of two float32 numbers is exact.

    Attributes:
        first: The position of the first element in the whole weight.
        base: W, float64.
        values: W' of each parent; the array of `base` itself if the parent leaves the weight alone.
    """

    first: int
    base: F64
    values: Sequence[Values]

    def changes(self) -> list[F64]:
        """Return ΔW of each parent, float64."""
        with np.errstate(all="ignore"):  # an overflow shows as an infinity, which a push refuses by name
            return [own - self.base for own in self.values]


class ParentSide:
    """One parent applied to the base."""

    def __init__(self, parent: Parent, base: Tensors) -> None:
        """Sort the parent's effects; no data is read.

        Raises:
            InvalidInput: It acts on activations.
        """
        self.parent = parent
        self.folding = FoldedBase(parent.effects, base)
        self.targets = frozenset(self.folding.changed) | self.folding.additions.keys()
        self._base = base

    def name_of(self, target: str, source: str) -> str:
        """Return the name under which the parent changes a weight, or the tensor that it shares.

        Empty if it leaves the weight alone.
        """
        if target in self.targets:
            return target
        is_shared = target not in self._base and source in self.folding.changed
        return source if is_shared else ""

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor after the change."""
        addition = self.folding.additions.get(name)
        return self.folding.shape(name) if addition is None else addition.shape

    def dtype(self, name: str) -> str:
        """Return the dtype of a tensor after the change."""
        addition = self.folding.additions.get(name)
        return self.folding.dtype(name) if addition is None else addition.dtype

    def raw(self, name: str) -> bytes:
        """Return a tensor's bytes after the change."""
        addition = self.folding.additions.get(name)
        return b"".join(self.folding.rows(name)) if addition is None else bytes(addition.read())

    def values(self, name: str) -> Iterator[Rows]:
        """Yield a tensor's values after the change and before rounding, by blocks of rows."""
        tensor = self._find_stored(name)
        if tensor is None:
            yield from self.folding.blocks(name)
            return
        height = tensor.shape[0] if tensor.shape else 1
        for start in range(0, height, BLOCK_ROWS):
            yield _view_rows(tensor, start, min(start + BLOCK_ROWS, height))

    def _find_stored(self, name: str) -> Tensor | None:
        addition = self.folding.additions.get(name)
        if addition is not None:
            return addition
        last = self.folding.updates(name)[-1].update
        return last.stored if isinstance(last, StoredUpdate) else None


class MergeSides:
    """All parents applied to the base.

    Attributes:
        parents: In order.
        targets: Every weight that one of them changes or adds, in a fixed order.
    """

    def __init__(self, parents: Sequence[Parent], base: Tensors) -> None:
        """Sort the effects of every parent; no data is read.

        Raises:
            InvalidInput: One of them acts on activations.
        """
        self.parents = tuple(parents)
        self._sides = [ParentSide(parent, base) for parent in parents]
        self._base = base
        self.targets = tuple(sorted({t for side in self._sides for t in side.targets}))

    def __iter__(self) -> Iterator[ParentSide]:
        """Iterate over the parents in order."""
        return iter(self._sides)

    def source(self, target: str) -> Tensor | None:
        """Return the base's tensor that a weight starts from; None if the base has none."""
        for side in self._sides:
            if target in side.folding.changed:
                return side.folding.source(target)
        return self._base.get(target)

    def changing(self, target: str) -> list[tuple[ParentSide, str]]:
        """Return the parents that change a weight, with its name in each."""
        source = self.source(target)
        pairs = [(s, s.name_of(target, "" if source is None else source.name)) for s in self._sides]
        return [(side, name) for side, name in pairs if name]

    def shape(self, target: str) -> tuple[int, ...]:
        """Return the shape after the change: the parents' shape, or the largest for a vocabulary.

        Raises:
            InvalidInput: The shapes of two parents do not fit together.
        """
        shapes = {side.shape(name): side for side, name in self.changing(target)}
        source = self.source(target)
        if len(shapes) == 1:
            return next(iter(shapes))
        tails = {shape[1:] for shape in shapes}
        if source is None or tails != {source.shape[1:]} or min(shapes)[0] < source.shape[0]:
            message = ", ".join(f"{s.parent.name} {list(shape)}" for shape, s in shapes.items())
            raise InvalidInput(f"{target} has shapes that do not go together: {message}")
        return max(shapes)

    def dtypes(self, target: str) -> set[str]:
        """Return the dtypes that a weight has in the parents that change it."""
        return {side.dtype(name) for side, name in self.changing(target)}

    def is_number(self, target: str) -> bool:
        """Whether a weight holds real numbers, in the base and in every parent."""
        source = self.source(target)
        own = set[str]() if source is None else {source.dtype}
        return self.dtypes(target) | own <= FLOAT_DTYPES

    def runs(self, target: str) -> Iterator[ParentRows]:
        """Yield a weight in the base and in every parent, a run of rows at a time."""
        shape, source = self.shape(target), self.source(target)
        height = shape[0] if shape else 1
        names = dict(self.changing(target))
        streams = [side.values(names[side]) if side in names else iter(()) for side in self._sides]
        for start in range(0, height, BLOCK_ROWS):
            base = _base_rows(source, shape, start, min(start + BLOCK_ROWS, height))
            values = [_over(base, next(stream, None)) for stream in streams]
            if not shape:
                base, values = base[...].reshape(1), [own[...].reshape(1) for own in values]
            yield ParentRows(start * prod(shape[1:]), base, values)

    def pieces(self, target: str) -> Iterator[WideRows]:
        """Yield the same, so few rows at a time that they stay in the cache."""
        for run in self.runs(target):
            yield from run.pieces()


def read_f64(tensor: Tensor, start: int, stop: int) -> F64:
    """Read rows of a tensor of real numbers, exactly."""
    return _read(tensor, start, stop).astype(np.float64)


def base_rows(source: Tensor | None, shape: tuple[int, ...], start: int, stop: int) -> F64:
    """Return rows of W in the shape of the result; rows that W lacks are zero."""
    return _base_rows(source, shape, start, stop)[...].astype(np.float64)


def _view_rows(tensor: Tensor, start: int, stop: int) -> Rows:
    shape = (stop - start, *tensor.shape[1:]) if tensor.shape else ()
    raw = view(tensor.read(start, stop), tensor.dtype, shape)
    return cast("F64", raw) if tensor.dtype == "F64" else StoredRows(raw, tensor.dtype)


def _read(tensor: Tensor, start: int, stop: int) -> Values:
    return _view_rows(tensor, start, stop)[...]


def _base_rows(source: Tensor | None, shape: tuple[int, ...], start: int, stop: int) -> Rows:
    if source is None or source.shape[1:] != shape[1:]:
        return np.zeros((stop - start, *shape[1:]) if shape else (), np.float32)
    if not shape:
        return _view_rows(source, 0, 1)
    inside = min(stop, source.shape[0])
    if inside == stop:
        return _view_rows(source, start, stop)
    known = _read(source, start, inside) if start < inside else np.zeros((0, *shape[1:]), np.float32)
    beyond = np.zeros((stop - start - len(known), *shape[1:]), known.dtype)
    return cast("Values", np.concatenate([known, beyond]))


def _over(base: Rows, block: Rows | None) -> Rows:
    """Put a parent's rows over W's; rows that the parent lacks stay W's."""
    if block is None or block.shape == base.shape:
        return base if block is None else block
    own, above = base[...], block[...]
    rows = own.astype(np.result_type(own, above))
    rows[: above.shape[0]] = above
    return rows
