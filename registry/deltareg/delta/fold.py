"""Folding: computing a base's weights with a delta in them, with NumPy, by blocks of rows.

Everything is float32 and rounded once, in blocks of fixed height and in the declared order, so the
result is a function of delta, base and recipe. Memory is a few blocks, whatever the weight's size,
except for the formulas that need all rows at once.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import numpy as np

from deltareg.delta.architectures import facts
from deltareg.delta.kind import Addition, Effect, NetworkClass, Tensors, WeightUpdate
from deltareg.delta.maths.formula import Array, StoredUpdate, Tensor
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.errors import InvalidInput
from deltareg.tensors.array import F32, rounded_bytes

BLOCK_ROWS = 1024
_TIES = "tie_word_embeddings"


@dataclass(frozen=True, slots=True)
class FoldRecipe:
    """Settings that the digest of a folded result depends on, besides delta and base.

    BLAS kernels differ in the last bits of B·A, so folds of different machines are compared in
    units in the last place. Replaced tensors are the same everywhere.

    Attributes:
        library: The library that multiplies matrices.
        block_rows: Rows computed together.
        dtype: The dtype of all sums.
    """

    library: str
    block_rows: int
    dtype: str


RECIPE = FoldRecipe("numpy", BLOCK_ROWS, "F32")


class FoldedBase:
    """A base with a delta folded into it, weight by weight.

    Attributes:
        changed: Every weight that differs from the base's or is not in its files, in a fixed order.
        additions: Tensors that the base does not have, by name.
    """

    def __init__(
        self,
        effects: Sequence[Effect],
        base: Tensors,
        *,
        network_class: NetworkClass | None = None,
        ops: NumPyOps | None = None,
    ) -> None:
        """Sort the effects by target; nothing is read.

        Args:
            effects: All effects of a delta.
            base: The base's tensors by their names in its files.
            network_class: The class of base and delta together, if it is not the base's.
            ops: The operations; NumPy's by default.

        Raises:
            InvalidInput: An effect is not on weights: the delta can only be attached.
        """
        self._base = base
        self._network_class = network_class
        self._ops = ops or NumPyOps()
        self._updates: dict[str, list[WeightUpdate]] = defaultdict(list)
        self.additions: dict[str, Tensor] = {}
        for effect in effects:
            match effect:
                case WeightUpdate():
                    self._updates[effect.target].append(effect)
                case Addition():
                    self.additions[effect.target] = effect.tensor
                case _ if hasattr(effect, "module"):
                    raise InvalidInput(
                        "the delta acts on activations and cannot be folded into weights",
                        fix="attach it, or serve it with the library that wrote it",
                    )
                case _:
                    pass
        self.changed = tuple(sorted(self._updates))

    def source(self, target: str) -> Tensor:
        """Return the base's tensor that a changed weight starts from."""
        return self._base[self._updates[target][0].source]

    def updates(self, target: str) -> list[WeightUpdate]:
        """Return the updates of a changed weight, in order."""
        return list(self._updates[target])

    def shape(self, target: str) -> tuple[int, ...]:
        """Return the shape of the result."""
        grown = [update.shape for update in self._updates[target] if update.shape is not None]
        return grown[-1] if grown else self.source(target).shape

    def dtype(self, target: str) -> str:
        """Return the dtype of the result: the base's, unless an effect says otherwise."""
        dtypes = [update.dtype for update in self._updates[target] if update.dtype]
        return dtypes[-1] if dtypes else self.source(target).dtype

    def find_stored(self, target: str) -> Tensor | None:
        """Return the delta's tensor that is the result bit for bit; None if the result is computed.

        Args:
            target: One of `changed`.
        """
        last = self._updates[target][-1].update
        if isinstance(last, StoredUpdate) and last.stored.dtype == self.dtype(target):
            return last.stored
        return None

    def rows(self, target: str) -> Iterator[memoryview]:
        """Yield the raw bytes of a changed weight, a block of rows at a time.

        Args:
            target: One of `changed`.
        """
        replacement = self.find_stored(target)
        if replacement is not None:
            yield from _raw_rows(replacement)
            return
        # `map` lets go of a block before it asks for the next one; a loop would hold both.
        yield from map(partial(rounded_bytes, dtype=self.dtype(target)), self.blocks(target))

    def blocks(self, target: str) -> Iterator[F32]:
        """Yield the values of a changed weight before rounding, a block of rows at a time."""
        updates, shape = self._updates[target], self.shape(target)
        height = shape[0] if shape else 1
        whole = any(update.update.needs_whole for update in updates)
        step = height if whole else BLOCK_ROWS
        for start in range(0, height, step):
            stop = min(start + step, height)
            values = self._fold_rows(updates, target, start, stop)
            for at in range(0, stop - start, BLOCK_ROWS):
                yield values[at : at + BLOCK_ROWS] if shape else values
            del values  # or it would be held while the next block is computed

    def base_rows(self, target: str, start: int, stop: int) -> F32:
        """Return rows of the base weight that a target starts from.

        Added rows are zero, and so are all rows of a weight whose width has changed.
        """
        source, shape = self.source(target), self.shape(target)
        if not shape:
            return cast("F32", self._ops.load(source))
        inside = min(stop, source.shape[0]) if source.shape[1:] == shape[1:] else start
        if start < inside == stop:
            return cast("F32", self._ops.load(source, start, stop))
        rows = np.zeros((stop - start, *shape[1:]), dtype=np.float32)
        if start < inside:
            rows[: inside - start] = cast("F32", self._ops.load(source, start, inside))
        return rows

    def config_changes(self, config: Mapping[str, object]) -> dict[str, object]:
        """Return the fields of the base's `config.json` that differ for the result.

        Args:
            config: The base's.

        Returns:
            Only fields that change; nested objects are complete.
        """
        changes: dict[str, object] = {}
        untied = {t for t, updates in self._updates.items() if any(u.reads for u in updates)}
        if untied:
            changes.update(_turn_off_ties(config, untied))
        sizes = {self.source(t).shape[0]: self.shape(t)[0] for t in self.changed if self._grows(t)}
        if sizes:
            changes.update(_resize_vocabulary(config, sizes))
        if self._network_class is not None:
            changes.update(self._network_class.changes(config))
        return changes

    def _fold_rows(self, updates: list[WeightUpdate], target: str, start: int, stop: int) -> F32:
        if updates[0].update.replaces:
            values = np.empty(0, dtype=np.float32)
        else:
            values = self.base_rows(target, start, stop)
        # A division by a norm of zero or an overflow shows as NaN or infinity, which checks find.
        with np.errstate(all="ignore"):
            for update in updates:
                array = update.update.fold(cast("Array", values), start, stop, self._ops)
                values = cast("F32", array)
        return values

    def _grows(self, target: str) -> bool:
        return self.shape(target)[:1] > self.source(target).shape[:1]


def _turn_off_ties(config: Mapping[str, object], targets: set[str]) -> dict[str, object]:
    """Turn tying off, at the top of a config or in the part that the names belong to.

    In T5 and its relatives the same switch also decides whether outputs are scaled. There it stays
    on, and the names come untied because each has a tensor of its own.
    """
    if config.get("model_type") in facts().scaled_by_ties:
        return {}
    decoder = config.get("decoder")
    if isinstance(decoder, dict) and all(target.startswith("decoder.") for target in targets):
        return {"decoder": {**cast("dict[str, object]", decoder), _TIES: False}}
    return {_TIES: False}


def _resize_vocabulary(config: Mapping[str, object], sizes: Mapping[int, int]) -> dict[str, object]:
    """Change the vocabulary size of a config, at the top or in its text part."""
    size = config.get("vocab_size")
    if isinstance(size, int):
        return {"vocab_size": sizes[size]} if size in sizes else {}
    for name in ("text_config", "decoder"):
        part = config.get(name)
        if isinstance(part, dict) and "vocab_size" in part:
            inner = cast("dict[str, object]", part)
            change = _resize_vocabulary(inner, sizes)
            return {name: {**inner, **change}} if change else {}
    return {}


def _raw_rows(tensor: Tensor) -> Iterator[memoryview]:
    height = tensor.shape[0] if tensor.shape else 1
    for start in range(0, height, BLOCK_ROWS):
        yield tensor.read(start, min(start + BLOCK_ROWS, height))
