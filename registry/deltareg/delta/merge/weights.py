"""Merging deltas of one base into new values of its weights, a few rows at a time.

Every parent is folded in float32, as it would be by itself, and ΔW = W' - W is taken in float64,
where the difference of two float32 numbers is exact unless they are 2²⁹ apart. The method merges
the changes, the sum W + ΔW is taken in float64 and rounded to float32, and that is rounded once to
the stored dtype. An element whose result equals a parent's gets that parent's value itself, and one
that does not change keeps W's. So a merge of one delta with weight 1 folds to the same bits as the
delta, and a delta minus itself leaves the base as it was (docs/adr/0015-merges.md).
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from math import prod

import numpy as np

from deltareg.delta.kind import Tensors
from deltareg.delta.maths.low_rank import F64
from deltareg.delta.merge.method import MergeRows, MergeSettings, ValueMethod
from deltareg.delta.merge.sides import MergeSides, Parent, WideRows
from deltareg.errors import InvalidInput
from deltareg.tensors.array import rounded_bytes
from deltareg.tensors.header import FLOAT_DTYPES

_WIDEST = ("F64", "F32")


class ValueMerging:
    """Several deltas over one base, merged by values.

    Attributes:
        targets: Every weight that changes or is new, in a fixed order.
    """

    def __init__(
        self, parents: Sequence[Parent], base: Tensors, *, method: ValueMethod, settings: MergeSettings, dtype: str = ""
    ) -> None:
        """Take the parents; no data is read.

        Args:
            parents: In order.
            base: The base's tensors by their names in its files.
            method: The merge method.
            settings: Its parameters.
            dtype: The dtype of the result; empty keeps that of the parents and the base.

        Raises:
            InvalidInput: The method cannot merge these parents.
        """
        _check(method, parents)
        self._sides = MergeSides(parents, base)
        self._method = method
        self._settings = settings
        self._dtype = dtype
        self._shapes: dict[str, tuple[int, ...]] = {}
        self.targets = self._sides.targets

    def is_new(self, target: str) -> bool:
        """Whether the base lacks this weight, under any name."""
        return self._sides.source(target) is None

    def shape(self, target: str) -> tuple[int, ...]:
        """Return the shape of the result, without added rows that cancel (see `MergeSides.shape`).

        Rows that a parent adds to a vocabulary are computed to find out.
        """
        if target not in self._shapes:
            self._shapes[target] = self._settled_shape(target)
        return self._shapes[target]

    def dtype(self, target: str) -> str:
        """Return the dtype of the result: the parents', or the widest of several."""
        dtypes = self._sides.dtypes(target)
        if self._dtype and dtypes <= FLOAT_DTYPES:
            return self._dtype
        if len(dtypes) == 1:
            return dtypes.pop()
        return next((dtype for dtype in _WIDEST if dtype in dtypes), "F32")

    def is_zero(self, target: str) -> bool:
        """Whether all values of a result are zero, so that a new tensor is not needed."""
        return self._sides.is_number(target) and not any(map(np.any, self._pieces(target)))

    def rows(self, target: str) -> Iterator[memoryview]:
        """Yield the raw bytes of a result, a run of rows at a time.

        Raises:
            InvalidInput: The weight does not hold real numbers, and the parents differ in it.
        """
        if not self._sides.is_number(target):
            yield memoryview(self._common(target))
            return
        dtype, left = self.dtype(target), prod(self.shape(target))
        for piece in self._pieces(target):
            yield _encode_values(piece.reshape(-1)[:left], dtype)
            left = max(0, left - piece.size)

    def _settled_shape(self, target: str) -> tuple[int, ...]:
        shape, source = self._sides.shape(target), self._sides.source(target)
        if source is None or not shape or shape[0] <= source.shape[0]:
            return shape
        above = source.shape[0]
        for piece in self._pieces(target):
            if np.any(piece[max(0, above) :]):
                return shape
            above -= piece.shape[0]
        return source.shape

    def _pieces(self, target: str) -> Iterator[F64]:
        """Yield the result's rows, a few at a time."""
        if self._method.needs_whole:
            yield from self._merge_whole(target)
            return
        for rows in self._sides.pieces(target):
            changes = rows.changes()
            yield _settle(rows, changes, self._merge(target, rows.first, rows.base, changes))

    def _merge_whole(self, target: str) -> Iterator[F64]:
        """Merge all rows at once: beside what the method takes, a float64 of each parent's change."""
        runs = list(self._sides.runs(target))
        base = np.concatenate([run.base[...] for run in runs], dtype=np.float64)
        changes = [np.empty(base.shape) for _ in self._sides.parents]
        for rows in chain.from_iterable(run.pieces() for run in runs):
            for whole, change in zip(changes, rows.changes(), strict=True):
                _part_of(whole, rows)[...] = change
        merged = np.ascontiguousarray(self._merge(target, 0, base, changes))
        for rows in chain.from_iterable(run.pieces() for run in runs):
            yield _settle(rows, [_part_of(change, rows) for change in changes], _part_of(merged, rows))

    def _merge(self, target: str, first: int, base: F64, changes: Sequence[F64]) -> F64:
        weights, keys = [p.weight for p in self._sides.parents], [p.key for p in self._sides.parents]
        with np.errstate(all="ignore"):  # an overflow shows as an infinity, which the push refuses by name
            return self._method.merge(MergeRows(target, first, base, changes, weights, keys), self._settings)

    def _common(self, target: str) -> bytes:
        """Return the parents' common bytes for a tensor that cannot be added, such as an index."""
        source = self._sides.source(target)
        contents = {side.raw(name) for side, name in self._sides.changing(target)}
        own = None if source is None else bytes(source.read())
        is_kept = sum(parent.weight for parent in self._sides.parents) == 1
        if len(contents) == 1 and (contents == {own} or is_kept):
            return contents.pop()
        raise InvalidInput(f"{target} holds no real numbers, and the parents differ in it")


def _check(method: ValueMethod, parents: Sequence[Parent]) -> None:
    if method.parents is not None and len(parents) != method.parents:
        raise InvalidInput(f"{method.name} merges {method.parents} versions, not {len(parents)}")
    if len(parents) < method.fewest:
        raise InvalidInput(
            f"{method.name} needs {method.fewest} versions of a base or more, not {len(parents)}",
            fix="name more versions, or use linear",
        )
    if not method.is_weighted and len({parent.weight for parent in parents}) > 1:
        raise InvalidInput(
            f"{method.name} finds the weights by itself, and different ones are given",
            fix="give every version the weight 1",
        )
    if not method.allows_negative and any(parent.weight < 0 for parent in parents):
        raise InvalidInput(f"{method.name} takes no negative weights", fix="use task_arithmetic")


def _settle(rows: WideRows, changes: Sequence[F64], change: F64) -> F64:
    """Return W + ΔW, and what a parent has or W has where that is the whole change.

    Another sign of zero is no change, except where one parent alone is to be met.
    """
    with np.errstate(all="ignore"):
        result = rows.base + change
    is_moved = change != 0
    if not is_moved.all():
        np.copyto(result, rows.base, where=~is_moved)
    for own, own_change in zip(rows.values, changes, strict=True):
        is_own = change == own_change
        if len(changes) > 1:
            is_own &= is_moved
        if is_own.any():
            np.copyto(result, own, where=is_own)
    return result


def _part_of(whole: F64, rows: WideRows) -> F64:
    """Return the part of a whole weight that is at the place of some rows, as a view."""
    return whole.reshape(-1)[rows.first : rows.first + rows.base.size].reshape(rows.base.shape)


def _encode_values(values: F64, dtype: str) -> memoryview:
    """Encode float64 values in a stored dtype: converted to float32, then rounded once."""
    if dtype == "F64":
        return memoryview(values.astype("<f8").tobytes())
    with np.errstate(over="ignore"):
        return rounded_bytes(values.astype(np.float32), dtype)
