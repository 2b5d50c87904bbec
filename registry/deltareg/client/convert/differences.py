"""Reduces a fine-tune to its differences from the base, if that is smaller and exact."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deltareg.client.convert.writing import Conversion, OutputTensor, copy_tensor, documents
from deltareg.client.disk.weights_file import TensorSlot
from deltareg.client.folders.folder import Folder
from deltareg.delta.delta_manifest import Assessment
from deltareg.delta.examine import row_blocks
from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import Addition, Effect, Tensors, WeightUpdate
from deltareg.delta.layouts.conventions import own_metadata
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.maths.updates import Replacement
from deltareg.digest import Digest, tensor_digest
from deltareg.errors import IntegrityFailure, InvalidInput
from deltareg.tensors.header import FLOAT_DTYPES, ITEM_BYTES

# F64 is rounded on its way through a fold, so a fold would not give the base's other elements back.
_EXACT = FLOAT_DTYPES - {"F64"}
_LAST_I32 = 1 << 31


@dataclass(frozen=True, slots=True)
class DifferingWeight:
    """A weight that differs from the base's.

    Attributes:
        target: Its name in the base's files.
        now: Its new value.
        before: The base's value.
        count: How many elements differ.
    """

    target: str
    now: Tensor
    before: Tensor
    count: int

    @property
    def index_dtype(self) -> str:
        """The narrowest dtype that holds every index."""
        return "I32" if self._elements < _LAST_I32 else "I64"

    @property
    def is_sparse(self) -> bool:
        """Whether indices and values take less than the whole weight."""
        item = ITEM_BYTES[self.now.dtype]
        return self.count * (ITEM_BYTES[self.index_dtype] + item) < self._elements * item

    def parts(self) -> list[OutputTensor]:
        """Return the tensors to write for it: indices and values, or the whole weight."""
        if not self.is_sparse:
            return [copy_tensor(self.target, self.now)]
        shape = (self.count,)
        return [
            OutputTensor(TensorSlot(f"{self.target}.indices", self.index_dtype, shape), self._indices),
            OutputTensor(TensorSlot(f"{self.target}.values", self.now.dtype, shape), self._values),
        ]

    @property
    def _elements(self) -> int:
        count = 1
        for dim in self.now.shape:
            count *= dim
        return count

    def _indices(self) -> Iterator[bytes]:
        dtype, position = "<i4" if self.index_dtype == "I32" else "<i8", 0
        for now, before in _words(self.now, self.before):
            yield (np.flatnonzero(now != before) + position).astype(dtype).tobytes()
            position += now.size

    def _values(self) -> Iterator[bytes]:
        for now, before in _words(self.now, self.before):
            yield now[now != before].tobytes()


def plan(folder: Folder, found: Assessment, base: Tensors) -> Conversion:
    """Plan the smaller form of a fine-tune.

    Raises:
        InvalidInput: It has more tensors than the base, equals it, or would not become smaller.
    """
    differences, left_out = _differences(found.account.effects, base)
    if not differences:
        raise InvalidInput("every weight equals the base's: there is no delta")
    is_bitfit = all(d.target.endswith(".bias") for d in differences)
    parts = [part for d in differences for part in ([copy_tensor(d.target, d.now)] if is_bitfit else d.parts())]
    kind = "bitfit" if is_bitfit else "sparse"
    file = "biases.safetensors" if is_bitfit else "sparse.safetensors"
    source = sum(f.size_bytes for f in folder.contents.values() if f.header is not None)
    _check_gain(folder, differences, sum(part.slot.size_bytes for part in parts))

    def prove(written: Assessment) -> None:
        expected = {d.target: _digest(d.now) for d in differences}
        folding = FoldedBase(written.account.effects, base)
        actual = {target: _digest_folded(folding, target) for target in folding.changed}
        if any(actual.get(target) != digest for target, digest in expected.items()):
            raise IntegrityFailure("the differences do not fold into the weights that they are of")

    return Conversion(
        source="full",
        result=kind,
        files={file: parts},
        source_bytes=source,
        metadata=own_metadata(kind, "absolute"),
        beside=documents(folder),
        left_out=tuple(left_out),
        prove=prove,
    )


def _check_gain(folder: Folder, differences: Sequence[DifferingWeight], size_bytes: int) -> None:
    whole = sum(header.data_bytes for header in folder.files.headers.values())
    if size_bytes < whole:
        return
    message = f"{sum(d.count for d in differences)} elements differ"
    raise InvalidInput(
        f"nothing is gained: {message}, which take {size_bytes} bytes instead of {whole}", fix="push it as it is"
    )


def is_same_fold(one: Sequence[Effect], other: Sequence[Effect], base: Tensors) -> bool:
    """Whether two deltas fold into the same weights, bit for bit."""
    a, b = FoldedBase(one, base), FoldedBase(other, base)
    return a.changed == b.changed and all(_digest_folded(a, t) == _digest_folded(b, t) for t in a.changed)


def _differences(effects: Sequence[Effect], base: Tensors) -> tuple[list[DifferingWeight], list[str]]:
    differences: list[DifferingWeight] = []
    left_out: list[str] = []
    updates = {e.target: e for e in effects if isinstance(e, WeightUpdate)}
    for effect in effects:
        match effect:
            case Addition():
                left_out.append(_buffer(effect))
            case WeightUpdate(reads=reads) if reads:
                _check_tied(effect, updates.get(reads), base[reads])
                left_out.append(f"{effect.target} (it shares {reads})")
            case WeightUpdate(consumes=consumes) if consumes:  # others follow, as the base's ties
                difference = _difference(effect, base)
                differences += [difference] if difference.count else []
            case _:
                continue
    return differences, left_out


def _difference(effect: WeightUpdate, base: Tensors) -> DifferingWeight:
    assert isinstance(effect.update, Replacement)
    now, before = effect.update.stored, base[effect.target]
    if now.shape != before.shape or now.dtype != before.dtype:
        message = f"{now.dtype} {list(now.shape)}, was {before.dtype} {list(before.shape)}"
        raise _inexact(f"{effect.target} is of another form now: {message}")
    count = sum(int(np.count_nonzero(a != b)) for a, b in _words(now, before))
    if count and now.dtype not in _EXACT:
        raise _inexact(f"{effect.target} is {now.dtype} and differs")
    return DifferingWeight(effect.target, now, before, count)


def _buffer(effect: Addition) -> str:
    if "buffer" not in effect.consumes.values():
        raise _inexact(f"{effect.target} is not in the base")
    return f"{effect.target} (a buffer that the base does not store)"


def _check_tied(effect: WeightUpdate, leader: WeightUpdate | None, before: Tensor) -> None:
    """Check that a tied name without a tensor of its own still means the same as its twin."""
    assert isinstance(effect.update, Replacement)
    stored = leader.update.stored if leader and isinstance(leader.update, Replacement) else before
    if _digest(effect.update.stored) != _digest(stored):
        raise _inexact(f"{effect.target} differs from {effect.reads}, with which it was tied")


def _inexact(why: str) -> InvalidInput:
    return InvalidInput(f"it cannot be written as differences: {why}", fix="push the full fine-tune as it is")


def _words(now: Tensor, before: Tensor) -> Iterator[tuple[NDArray[np.generic], ...]]:
    """Yield the elements of both as bit patterns, a few megabytes at a time."""
    dtype = f"<u{ITEM_BYTES[now.dtype]}"
    for start, stop in row_blocks(now):
        yield tuple(np.frombuffer(t.read(start, stop), dtype) for t in (now, before))


def _digest(tensor: Tensor) -> Digest:
    blocks = (tensor.read(*rows) for rows in row_blocks(tensor))
    return tensor_digest(tensor.dtype, tensor.shape, blocks)


def _digest_folded(folding: FoldedBase, target: str) -> Digest:
    return tensor_digest(folding.dtype(target), folding.shape(target), folding.rows(target))
