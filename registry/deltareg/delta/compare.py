"""What differs between two deltas: their files, settings and tensors, and what they do to weights.

Low-rank changes are compared by their factors (`deltareg.delta.maths.product_measures`), other changes
of weights by streaming both results, and what acts on activations tensor by tensor.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal

import numpy as np

from deltareg.delta.fold import FoldedBase
from deltareg.delta.kind import ActivationHook, Addition, Effect, PrefixInsert, Tensors, WeightUpdate
from deltareg.delta.maths.formula import Tensor, Update
from deltareg.delta.maths.low_rank import F64
from deltareg.delta.maths.product_measures import StoredFactors, measure_products, stored_factors
from deltareg.delta.merge.sides import read_f64
from deltareg.identity.manifest import Manifest
from deltareg.tensors.header import FLOAT_DTYPES

Change = Literal["added", "removed", "changed"]

OTHER_PLACES = "the two act in different places of the network, so nothing of theirs coincides"
_SLICE_ROWS = 64  # widened to float64 together


@dataclass(frozen=True, slots=True)
class WeightDifference:
    """How two deltas differ in what they do to one weight.

    Attributes:
        module: The weight's name in the base's files, or the name of a tensor that acts otherwise.
        relative_norm: ‖ΔW_b - ΔW_a‖ / ‖ΔW_a‖, Frobenius; 1 when only one of them changes it.
        cosine: Of the angle between ΔW_a and ΔW_b; 0 when one of them is zero.
        norm_a: ‖ΔW_a‖.
        norm_b: ‖ΔW_b‖.
        rank_a: The declared rank; None for a change that is not low-rank by construction.
        rank_b: The same of b.
        effective_rank_a: exp of the entropy of the singular values (Roy and Vetterli 2007).
        effective_rank_b: The same of b.
        overlap: ‖U_aᵀ U_b‖² / min(r), of the column spaces: 1 when one holds the other.
    """

    module: str
    relative_norm: float | None
    cosine: float | None
    norm_a: float | None
    norm_b: float | None
    rank_a: int | None = None
    rank_b: int | None = None
    effective_rank_a: float | None = None
    effective_rank_b: float | None = None
    overlap: float | None = None


def differences(
    a: Sequence[Effect],
    b: Sequence[Effect],
    tensors: tuple[Tensors, Tensors],
    base: Tensors | None,
    *,
    count: Callable[[int], None] = lambda _: None,
) -> list[WeightDifference]:
    """Compare everything that two deltas of one base do to it; the largest differences come first.

    Args:
        a: Effects of the first.
        b: Effects of the second.
        tensors: All tensors of both, by name.
        base: The base's tensors; None if they are not available.
        count: Called with 1 for each of `changed_weights` that is done.
    """
    unordered: list[WeightDifference] = []
    for weight in weight_differences(a, b, base):
        unordered.append(weight)
        count(1)
    unordered += tensor_differences(a, b, tensors)
    return sorted(unordered, key=lambda one: (-(one.relative_norm or 0.0), one.module))


def changed_weights(a: Sequence[Effect], b: Sequence[Effect]) -> list[str]:
    """Return the weights that either of two deltas changes, in a fixed order; nothing is read."""
    return sorted({effect.target for effect in _on_weights([*a, *b])})


def are_apart(found: Sequence[WeightDifference]) -> bool:
    """Whether two deltas act only in different places of the network."""
    return bool(found) and not any(one.norm_a and one.norm_b for one in found)


def weight_differences(a: Sequence[Effect], b: Sequence[Effect], base: Tensors | None) -> Iterator[WeightDifference]:
    """Compare what two deltas of one base do, weight by weight.

    Args:
        a: Effects of the first.
        b: Effects of the second.
        base: The base's tensors; without them, changes that are not plain products are listed
            without measures.

    Effects that are not on weights are left out; see `tensor_differences`.
    """
    sides = (FoldedBase(_on_weights(a), base or {}), FoldedBase(_on_weights(b), base or {}))
    updates = (_by_target(a), _by_target(b))
    for target in changed_weights(a, b):
        low = [stored_factors(side.get(target, ())) for side in updates]
        is_low = all(pair or target not in side for pair, side in zip(low, updates, strict=True))
        if is_low and _are_alike(low):
            yield _from_factors(target, low[0], low[1])
        elif base is None:
            yield WeightDifference(target, None, None, None, None, *map(_rank, low))
        else:
            yield _from_rows(target, sides[0], sides[1], *map(_rank, low))


def tensor_differences(
    a: Sequence[Effect], b: Sequence[Effect], tensors: tuple[Tensors, Tensors]
) -> Iterator[WeightDifference]:
    """Compare, tensor by tensor, the parts of two deltas that do not change a stored weight.

    These are the vectors of prefixes, the weights of adapters and new heads. Tensors of the same
    name but different sizes are compared as if the smaller one were padded with zeros.

    Args:
        a: Effects of the first.
        b: Effects of the second.
        tensors: All tensors of both, by name.
    """
    one, two = (_not_on_weights(e, t) for e, t in zip((a, b), tensors, strict=True))
    for name in sorted(one.keys() | two.keys()):
        sides = [tensor for tensor in (one.get(name), two.get(name)) if tensor is not None]
        if all(tensor.dtype in FLOAT_DTYPES for tensor in sides):
            yield _measure_difference(name, _tensor_rows(one.get(name)), _tensor_rows(two.get(name)))


def _on_weights(effects: Sequence[Effect]) -> list[WeightUpdate]:
    return [effect for effect in effects if isinstance(effect, WeightUpdate)]


def _not_on_weights(effects: Sequence[Effect], tensors: Tensors) -> dict[str, Tensor]:
    acting: dict[str, Tensor] = {}
    for effect in effects:
        if isinstance(effect, Addition):
            acting[effect.target] = effect.tensor
        elif isinstance(effect, (ActivationHook, PrefixInsert)):
            acting |= {name: tensors[name] for name in effect.consumes}
    return acting


def _tensor_rows(tensor: Tensor | None) -> Iterator[F64]:
    if tensor is None:
        return
    height = tensor.shape[0] if tensor.shape else 1
    for start in range(0, height, _SLICE_ROWS):
        yield read_f64(tensor, start, min(start + _SLICE_ROWS, height))


def _by_target(effects: Sequence[Effect]) -> dict[str, list[Update]]:
    updates: dict[str, list[Update]] = {}
    for effect in effects:
        if isinstance(effect, WeightUpdate):
            updates.setdefault(effect.target, []).append(effect.update)
    return updates


def _are_alike(changes: Sequence[StoredFactors | None]) -> bool:
    present = [change for change in changes if change is not None]
    return len({c.shape for c in present}) == 1


def _rank(change: StoredFactors | None) -> int | None:
    return None if change is None else change.rank


def _from_factors(target: str, a: StoredFactors | None, b: StoredFactors | None) -> WeightDifference:
    found = measure_products(a, b)
    norm_a, norm_b = found.norms
    return WeightDifference(
        target,
        _ratio(found.apart, norm_a, norm_b),
        _ratio(found.inner, norm_a * norm_b, 0.0),
        norm_a,
        norm_b,
        0 if a is None else a.rank,
        0 if b is None else b.rank,
        effective_rank(found.sizes[0]),
        effective_rank(found.sizes[1]),
        found.overlap,
    )


def effective_rank(sizes: F64) -> float:
    """Return exp of the entropy of the singular values' shares in their sum; 0 if there are none."""
    total = float(sizes.sum())
    if not total > 0:
        return 0.0
    shares = sizes[sizes > 0] / total
    return float(np.exp(-np.sum(shares * np.log(shares))))


def _from_rows(target: str, a: FoldedBase, b: FoldedBase, rank_a: int | None, rank_b: int | None) -> WeightDifference:
    """Compare by streaming both results and the base's rows."""
    return _measure_difference(
        target,
        _changes(target, a),
        _changes(target, b),
        rank_a if target in a.changed else 0,
        rank_b if target in b.changed else 0,
    )


def _measure_difference(
    module: str, a: Iterator[F64], b: Iterator[F64], rank_a: int | None = None, rank_b: int | None = None
) -> WeightDifference:
    """Sum the squares of ΔW_a, ΔW_b and their difference, and their inner product."""
    squares = np.zeros(4)
    for of_a, of_b in zip_longest(a, b):
        one = np.zeros(()) if of_a is None else of_a
        two = np.zeros(()) if of_b is None else of_b
        if one.shape != two.shape:
            one, two = _pad_to_match(one, two)
        squares += (np.sum(one * one), np.sum(two * two), np.sum((two - one) ** 2), np.sum(one * two))
    norm_a, norm_b, apart = (float(value) for value in np.sqrt(squares[:3]))
    return WeightDifference(
        module,
        _ratio(apart, norm_a, norm_b),
        _ratio(float(squares[3]), norm_a * norm_b, 0.0),
        norm_a,
        norm_b,
        rank_a,
        rank_b,
    )


def _changes(target: str, side: FoldedBase) -> Iterator[F64]:
    """Yield ΔW a block of rows at a time; nothing if this delta leaves the weight alone."""
    if target not in side.changed:
        return
    start = 0
    for rows in side.blocks(target):
        height = rows.shape[0] if rows.ndim else 1
        for at in range(0, height, _SLICE_ROWS):
            block = rows[at : at + _SLICE_ROWS] if rows.ndim else rows
            own = side.base_rows(target, start + at, min(start + at + _SLICE_ROWS, start + height))
            yield block.astype(np.float64) - own
        start += height


def _pad_to_match(one: F64, two: F64) -> tuple[F64, F64]:
    """Pad two blocks with zeros to a common height and width."""
    shape = tuple(map(max, zip_longest(one.shape, two.shape, fillvalue=1)))
    return _into(shape, one), _into(shape, two)


def _into(shape: tuple[int, ...], values: F64) -> F64:
    padded = np.zeros(shape)
    padded[tuple(slice(n) for n in values.shape)] = values
    return padded


def _ratio(value: float, by: float, other: float) -> float:
    """Divide; 0 / 0 is 0, and any other number over 0 is 1 if it equals `other`."""
    if by > 0:
        return value / by
    return 1.0 if other > 0 else 0.0


@dataclass(frozen=True, slots=True)
class TensorChanges:
    """Tensors of two deltas by name and digest.

    Attributes:
        added: Names that only the second has.
        removed: Names that only the first has.
        changed: Names whose dtype, shape or values differ.
        identical: How many are the same.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    identical: int


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A setting that differs.

    Attributes:
        field: Its name; of what the version is (`kind`) or of its config (`config.r`).
        a: The first's value; None when it has none.
        b: The second's.
    """

    field: str
    a: object
    b: object


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that differs.

    Attributes:
        path: Where it is in the folder.
        change: What happened to it from the first to the second.
    """

    path: str
    change: Change


def tensor_changes(a: Manifest, b: Manifest) -> TensorChanges:
    """Compare tensors by digest, which covers dtype, shape and values; no data is read."""
    one = {tensor.name: tensor.digest for tensor in a.tensors}
    two = {tensor.name: tensor.digest for tensor in b.tensors}
    both = one.keys() & two.keys()
    changed = sorted(name for name in both if one[name] != two[name])
    return TensorChanges(
        tuple(sorted(two.keys() - one.keys())),
        tuple(sorted(one.keys() - two.keys())),
        tuple(changed),
        len(both) - len(changed),
    )


def field_changes(a: Manifest, b: Manifest) -> list[FieldChange]:
    """Compare what two versions are and how they are configured, field by field."""
    one, two = _fields(a), _fields(b)
    return [
        FieldChange(name, one.get(name), two.get(name))
        for name in sorted(one.keys() | two.keys())
        if one.get(name) != two.get(name)
    ]


def file_changes(a: Manifest, b: Manifest) -> list[FileChange]:
    """Compare files by digest."""
    one = {file.path: file.digest for file in a.files}
    two = {file.path: file.digest for file in b.files}
    return [
        FileChange(path, _change(one.get(path), two.get(path)))
        for path in sorted(one.keys() | two.keys())
        if one.get(path) != two.get(path)
    ]


def _change(one: object, two: object) -> Change:
    if one is None:
        return "added"
    return "removed" if two is None else "changed"


def _fields(manifest: Manifest) -> Mapping[str, object]:
    return {
        "kind": manifest.kind,
        "variant": manifest.variant,
        "base": None if manifest.base is None else str(manifest.base),
        **{f"config.{name}": value for name, value in manifest.config.items()},
    }
