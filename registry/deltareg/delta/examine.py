"""Checks that need tensor values: NaN, copies of another base, differences mistaken for values.

Tensors are read in blocks, so memory does not grow with their size.
"""

from collections.abc import Iterator
from itertools import islice
from typing import cast

import numpy as np

from deltareg.delta.kind import AGAIN, Account, BaseCopy, DeltaFiles, Tensors, WeightUpdate
from deltareg.delta.layouts.conventions import needed_problem
from deltareg.delta.maths.formula import AmbiguousUpdate, Array, Examined, Tensor, Update
from deltareg.delta.maths.numpy_ops import NumPyOps
from deltareg.delta.maths.updates import Replacement, ScaledAddition
from deltareg.errors import Problem
from deltareg.tensors.array import EIGHT_BITS, F32, Raw, from_f32, is_finite, to_f32, view
from deltareg.tensors.header import FLOAT_DTYPES, ITEM_BYTES

_BLOCK_BYTES = 8 << 20
_SAMPLED_TENSORS = 64
_SAMPLED_ROWS = 128
# One reading of the numbers is plainly wrong when it makes the change this many times as large.
_PLAINLY = 4.0
_SAME_VALUES = {"saved", "saved_copy"}
# Roles of tensors that all modules share, so that every copy must be the same.
SHARED_ROLES = frozenset({"projection_A", "projection_B"})
_OPS = NumPyOps()


def examine(account: Account, tensors: Tensors, base_tensors: Tensors | None, files: DeltaFiles) -> list[Problem]:
    """Check the values of a delta's tensors.

    Args:
        account: The delta, accounted for without an error.
        tensors: Its tensors, readable.
        base_tensors: The base's, readable; None if its data is not available.
        files: What the push carries.
    """
    problems = [_non_finite(tensor) for tensor in tensors.values() if not _is_finite(tensor)]
    problems += _unequal_copies(account, tensors)
    problems += _faults(account)
    if base_tensors is None:
        return problems
    for effect in account.effects:
        if isinstance(effect, BaseCopy):
            problems += _base_problems(effect, base_tensors)
    if not files.convention and account.delta is not None and not problems:
        problems += _convention_problems(account, base_tensors)
    return problems


def row_blocks(tensor: Tensor, rows: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of runs of rows of a few megabytes each.

    Args:
        tensor: The tensor.
        rows: How many leading rows; all by default.
    """
    height = tensor.shape[0] if tensor.shape else 1
    height = height if rows is None else min(rows, height)
    size = ITEM_BYTES[tensor.dtype]
    for dim in tensor.shape[1:]:
        size *= dim
    step = max(1, _BLOCK_BYTES // size)
    for start in range(0, height, step):
        yield start, min(start + step, height)


def _is_finite(tensor: Tensor) -> bool:
    if tensor.dtype not in FLOAT_DTYPES | EIGHT_BITS:
        return True
    return all(is_finite(_view(tensor, start, stop), tensor.dtype) for start, stop in row_blocks(tensor))


def _non_finite(tensor: Tensor) -> Problem:
    message = f"a tensor holds NaN or infinity ({tensor.dtype} {list(tensor.shape)})"
    fix = "the training run diverged: push a checkpoint from before it did"
    return Problem("non_finite", message, tensor=tensor.name, fix=fix)


def _faults(account: Account) -> list[Problem]:
    updates = (effect.update for effect in account.effects if isinstance(effect, WeightUpdate))
    problems = (update.fault(_OPS) for update in updates if isinstance(update, Examined))
    return [problem for problem in problems if problem is not None]


def _unequal_copies(account: Account, tensors: Tensors) -> list[Problem]:
    groups = [[name for name, role in effect.consumes.items() if role in _SAME_VALUES] for effect in account.effects]
    groups += _repetitions(account)
    problems: list[Problem] = []
    for names in groups:
        for name in names[1:]:
            first, other = tensors[names[0]], tensors[name]
            if first.shape != other.shape or not _equal(other, first, None):
                message = f"it is not equal to {names[0]}, and both say what the weight becomes"
                problems.append(Problem("ambiguous", message, tensor=name, fix="keep one of them"))
    return problems


def _repetitions(account: Account) -> list[list[str]]:
    """Group the tensors that modules repeat although all modules share them."""
    roles = {name: role for name, (role, _) in account.roles.items()}
    shared = {role.removesuffix(AGAIN) for role in roles.values() if role.endswith(AGAIN)}
    return [
        [name for name, role in roles.items() if role.removesuffix(AGAIN) == role_name]
        for role_name in sorted(shared | SHARED_ROLES)
    ]


def _base_problems(copy: BaseCopy, base: Tensors) -> list[Problem]:
    own = base[copy.target]
    if _equal(copy.tensor, own, copy.rows):
        return []
    message = (
        f"it should be a copy of {copy.target} of the base, and it is not: the delta was made for"
        " another base, or it changes a weight that its config does not declare"
    )
    fix = "push it with the base that it was trained on"
    return [Problem("base_mismatch", message, tensor=copy.tensor.name, fix=fix)]


def _equal(copy: Tensor, own: Tensor, rows: int | None) -> bool:
    """Whether rows of a copy equal those of a tensor that is rounded to the copy's dtype."""
    for start, stop in row_blocks(copy, rows):
        if copy.dtype == own.dtype:
            copied, expected = (np.frombuffer(t.read(start, stop), np.uint8) for t in (copy, own))
            if not np.array_equal(copied, expected):
                return False
        elif {copy.dtype, own.dtype} <= FLOAT_DTYPES:
            rounded = from_f32(_values(own, start, stop), copy.dtype)
            if not np.array_equal(rounded, _view(copy, start, stop)):
                return False
        else:
            return False
    return True


def _convention_problems(account: Account, base: Tensors) -> list[Problem]:
    """Check the convention against sizes: under the right reading the change is the smaller one."""
    convention = None if account.delta is None else account.delta.config().get("convention")
    if convention not in {"additive", "absolute"}:
        return []
    as_values, as_difference, own = _sizes(account, base)
    if own == 0:
        return []
    if convention == "additive" and as_difference > _PLAINLY * as_values:
        return [needed_problem("the tensors are meant as differences, and look like new values")]
    if convention == "absolute" and as_values > _PLAINLY * as_difference:
        return [needed_problem("the tensors are meant as new values, and look like differences")]
    return []


def _sizes(account: Account, base: Tensors) -> tuple[float, float, float]:
    """Return norms: of the change under both readings, values and differences, and of W."""
    as_values = as_difference = weights = 0.0
    plain = (
        (effect.source, effect.update)
        for effect in account.effects
        if isinstance(effect, WeightUpdate)
        and isinstance(effect.update, (Replacement, ScaledAddition, AmbiguousUpdate))
    )
    for source, update in islice(plain, _SAMPLED_TENSORS):
        own = base[source]
        if not own.shape or own.dtype not in FLOAT_DTYPES:
            continue
        changes = _changes(update, own)
        if changes is not None:
            as_values += _square(changes[0])
            as_difference += _square(changes[1])
            weights += _square(changes[2])
    return as_values**0.5, as_difference**0.5, weights**0.5


def _changes(update: Update, own: Tensor) -> tuple[F32, F32, F32] | None:
    """Return the change of leading rows under both readings, and the base's rows; None if unknown."""
    if isinstance(update, AmbiguousUpdate):
        rows = min(_SAMPLED_ROWS, own.shape[0])
        before = _values(own, 0, rows)
        readings = (update.read_as("absolute"), update.read_as("additive"))
        after = (r.fold(cast("Array", before), 0, rows, _OPS) for r in readings)
        as_values, as_difference = (cast("F32", values) - before for values in after)
        return as_values, as_difference, before
    assert isinstance(update, (Replacement, ScaledAddition))
    tensor = update.stored if isinstance(update, Replacement) else update.tensor
    is_alike = len(tensor.shape) == len(own.shape) and tensor.shape[1:] == own.shape[1:]
    if not is_alike or tensor.dtype not in FLOAT_DTYPES:
        return None
    rows = min(_SAMPLED_ROWS, tensor.shape[0], own.shape[0])
    own_rows, before = _values(tensor, 0, rows), _values(own, 0, rows)
    return own_rows - before, own_rows, before


def _square(values: F32) -> float:
    return float(np.square(values, dtype=np.float64).sum())


def _values(tensor: Tensor, start: int, stop: int) -> F32:
    return to_f32(_view(tensor, start, stop), tensor.dtype)


def _view(tensor: Tensor, start: int, stop: int) -> Raw:
    shape = (stop - start, *tensor.shape[1:]) if tensor.shape else ()
    return view(tensor.read(start, stop), tensor.dtype, shape)
