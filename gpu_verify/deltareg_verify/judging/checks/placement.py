"""No stored weight belongs to another place of the base or the delta.

A converter that counts layers or rows from another start, takes keys for queries, permutes heads or
turns a matrix leaves weights that are whole, well sized and wrong. Fine-tuning never goes that far:
a tuned row stays nearer to the base's own row than to any other. Nor does it train the same numbers
twice: a shard that was written under two names leaves layers that are equal to the last bit. Tensors
that modules of the kind have in common do not count. Neither does one factor of several modules of a
layer where the other differs, as in a LoRA of one fused projection that was split for its parts.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from deltareg.delta.kind import AGAIN
from deltareg.delta.maths.formula import Tensor
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.delta.traits import traits_of
from deltareg.digest import Digest
from deltareg.suites.catalogue import CheckForm
from deltareg.suites.suite import CheckSpec
from deltareg.tensors.array import F32
from deltareg.tensors.header import FLOAT_DTYPES
from deltareg_verify.engine.case import Case
from deltareg_verify.judging.check import Check, Finding
from deltareg_verify.judging.checks.idle import computed_targets

_OPS = NumPyOps()
_SAMPLED, _BESIDE = 64, 16
_FEWEST = 64  # real numbers of a tensor that is the same twice by no chance
_NARROWEST = 24  # rows of fewer numbers are like others by chance
_MOST_SUSPECTS, _BLOCK_ROWS = 32, 8192
_ALIKE, _NEARER = 0.7, 0.3
"""A cosine that rows of different places do not have, and by how much it must exceed the own."""


@dataclass(frozen=True, slots=True)
class RowMatch:
    """Where the rows of a weight seem to come from.

    Attributes:
        target: The weight.
        share: The share of the sampled rows that belong to another place.
        told: That place, for people.
    """

    target: str
    share: float
    description: str


def run(case: Case, spec: CheckSpec) -> Finding:
    """Look for the rows of weights that changed by about their own size among the base's."""
    twice = _twice(case)
    if twice:
        detail = (
            f"{twice[1]} holds the very numbers of {twice[0]}, and {len(twice) - 2} more tensors"
            " are copies of others: a part of the checkpoint was written under two names"
        )
        return Finding("fail", len(twice) - 1, 0, code="misplaced", detail=detail)
    computed = computed_targets(case.account)
    stored = [c for c in case.changes if c.target not in computed and not c.is_vector]
    if not stored:
        return Finding("n/a", detail="the delta stores no matrix of the base whole")
    least = spec.number("least_change")
    suspects = [c for c in stored if c.delta_rms >= least * c.weight_rms > 0]
    suspects = sorted(suspects, key=lambda c: -c.delta_rms / c.weight_rms)[:_MOST_SUSPECTS]
    matches = [match for c in suspects if (match := _match(case, c.target)) is not None]
    most = spec.number("fail_above")
    worst = max(matches, key=lambda match: match.share, default=None)
    if worst is None or worst.share <= most:
        summary = f"{len(stored)} stored weights; {len(suspects)} changed by much, none is another's"
        return Finding("pass", 0.0 if worst is None else worst.share, most, detail=summary)
    others = sum(match.share > most for match in matches) - 1
    more = f", and so with {others} more weights" if others else ""
    detail = (
        f"{worst.share:.0%} of the rows of {worst.target} are {worst.description} of the base{more}: a"
        " converter put them at another place"
    )
    return Finding("fail", worst.share, most, code="misplaced", detail=detail)


def _twice(case: Case) -> list[str]:
    """Return the tensors that copy one that was trained elsewhere, after the first of those.

    Copies that the base has as well, that it ties, that are of one weight, or that modules have in
    common, do not count, nor do initial values: all zero, or all one.
    """
    by_digest: dict[object, tuple[str, str]] = {}
    copies: list[str] = []
    digests = _digests(case)
    common = traits_of(case.account.delta).shared
    for one in case.manifest.tensors:
        role, target = case.account.roles.get(one.name, ("", ""))
        is_shared = role.removesuffix(AGAIN) in common or role.endswith(AGAIN)
        is_small = len(one.shape) < 2 or math.prod(one.shape) < _FEWEST
        if is_shared or is_small or one.dtype not in FLOAT_DTYPES:
            continue
        like = (one.dtype, one.shape, one.digest)
        first, its_target = by_digest.setdefault(like, (one.name, target))
        is_one = target == its_target or _are_tied(case, target, its_target)
        is_one = is_one or _are_split(target, its_target, digests)
        if first != one.name and not is_one and not _is_own(case, one.name, target):
            copies += [first, one.name] if not copies else [one.name]
    return copies


def _digests(case: Case) -> Mapping[str, Mapping[str, Digest]]:
    """Return the digests of a target's tensors by role."""
    found: dict[str, dict[str, Digest]] = defaultdict(dict)
    for one in case.manifest.tensors:
        role, target = case.account.roles.get(one.name, ("", ""))
        found[target][role] = one.digest
    return found


def _are_split(target: str, other: str, digests: Mapping[str, Mapping[str, Digest]]) -> bool:
    """Return whether two weights of a layer have a factor in common and another each to itself."""
    own, its = digests[target], digests[other]
    return _layer(target) == _layer(other) and any(own[role] != its[role] for role in own.keys() & its.keys())


def _layer(target: str) -> str:
    """Return the part of a name that all weights of its layer share; experts are of one layer."""
    parts = target.split(".")
    numbers = [at for at, part in enumerate(parts) if part.isdecimal() and parts[at - 1] != "experts"]
    return ".".join(parts[: numbers[-1] + 1] if numbers else parts[:-2])


def _are_tied(case: Case, target: str, other: str) -> bool:
    names = case.base.view.names
    return names.canonical(target) in names.sharers(other)


def _is_own(case: Case, name: str, target: str) -> bool:
    """Return whether a tensor is as the base has it, or of one number only."""
    values = cast("F32", _OPS.load(case.folder.tensors[name]))
    if values.min() == values.max():
        return True
    base = case.base.tensors.get(target)
    return (
        base is not None and base.shape == values.shape and bool(np.array_equal(cast("F32", _OPS.load(base)), values))
    )


def _match(case: Case, target: str) -> RowMatch | None:
    """Compare rows of a new weight with the base's at every place; None where none can be compared."""
    source = case.folding.source(target)
    if case.folding.shape(target) != source.shape or np.prod(source.shape[1:]) < _NARROWEST:
        return None
    sample = np.linspace(0, source.shape[0] - 1, _SAMPLED).astype(int)
    places: list[int] = np.unique(sample).tolist()
    new = _even(_rows_of_change(case, target, places))
    own = _even(_rows(source, places))
    needed = np.maximum(_ALIKE, (new * own).sum(1) + _NEARER)
    candidates = [
        *_within(new, source, places, needed),
        *_match_columns(new, source, needed),
        *_beside(case, target, new, places, needed),
    ]
    share, place = max(candidates, default=(0.0, ""))
    return RowMatch(target, share, place)


def _within(new: F32, source: Tensor, places: Sequence[int], needed: F32) -> list[tuple[float, str]]:
    """Look among the other rows of the same weight."""
    best, at = np.full(len(new), -1.0, np.float32), np.zeros(len(new), int)
    for start in range(0, source.shape[0], _BLOCK_ROWS):
        stop = min(start + _BLOCK_ROWS, source.shape[0])
        alike = new @ _even(_matrix(_OPS.load(source, start, stop))).T
        for row, place in enumerate(places):
            if start <= place < stop:
                alike[row, place - start] = -1
        first = alike.argmax(1)
        value = alike[np.arange(len(new)), first]
        at, best = np.where(value > best, first + start, at), np.maximum(value, best)
    is_other = best > needed
    if not is_other.any():
        return []
    row = int(is_other.argmax())
    return [(float(is_other.mean()), f"other rows (row {places[row]} is row {at[row]})")]


def _match_columns(new: F32, source: Tensor, needed: F32) -> list[tuple[float, str]]:
    """Look among the columns of the same weight, if it is square."""
    if len(source.shape) != 2 or source.shape[0] != source.shape[1]:
        return []
    columns = _even(_matrix(_OPS.load(source)).T)
    is_other = (new @ columns.T).max(1) > needed
    return [(float(is_other.mean()), "columns")] if is_other.any() else []


def _beside(case: Case, target: str, new: F32, places: Sequence[int], needed: F32) -> list[tuple[float, str]]:
    """Look at the same rows of other weights of this shape."""
    few = np.linspace(0, len(places) - 1, min(_BESIDE, len(places))).astype(int)
    shape = case.folding.source(target).shape
    matches: list[tuple[float, str]] = []
    for name, other in case.base.tensors.items():
        if other.shape == shape and name != case.folding.source(target).name:
            beside = [places[int(at)] for at in few]
            alike = (new[few] * _even(_rows(other, beside))).sum(1)
            is_other = alike > needed[few]
            if is_other.any():
                matches.append((float(is_other.mean()), f"those of {name}"))
    return matches


def _rows_of_change(case: Case, target: str, places: Sequence[int]) -> F32:
    """Return some rows of a new weight, however it is computed."""
    rows: list[F32] = []
    start = 0
    for block in case.folding.blocks(target):
        inside = [place - start for place in places if start <= place < start + len(block)]
        rows.append(_matrix(block)[inside])
        start += len(block)
    return np.concatenate(rows)


def _rows(tensor: Tensor, places: Sequence[int]) -> F32:
    return np.concatenate([_matrix(_OPS.load(tensor, at, at + 1)) for at in map(int, places)])


def _matrix(values: object) -> F32:
    array = cast("F32", values)
    return array.reshape(array.shape[0], -1)


def _even(rows: F32) -> F32:
    """Return rows scaled to length one; rows that are zero or not finite match nothing."""
    sizes = np.linalg.norm(rows, axis=1, keepdims=True)
    is_sane = np.isfinite(sizes) & (sizes > 0)
    return np.where(is_sane, rows / np.where(is_sane, sizes, 1), 0).astype(np.float32)


CHECK = Check(
    "placement",
    run,
    CheckForm(
        "no stored weight is one that the base has elsewhere",
        {"least_change": "0.5", "fail_above": "0.5"},
        may_not_apply=True,
        fix="save it by the base's own class: model.save_pretrained(FOLDER)",
    ),
    is_static=True,
)
