"""Weights under the base's own names, without a config: located in the base and checked.

Full fine-tunes, parts of one and task vectors all have this layout. Names may have a prefix or come
from another version of the library; a name that shares a tensor with another stands for it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from deltareg.delta.kind import Addition, BaseView, DeltaFiles, Effect, Tensors, WeightUpdate
from deltareg.delta.layouts.conventions import vocabulary
from deltareg.delta.maths.updates import Replacement
from deltareg.errors import Problem
from deltareg.tensors.header import FLOAT_DTYPES, TensorInfo


def all_infos(files: DeltaFiles) -> list[TensorInfo]:
    """Return the tensors of all files, sorted by name."""
    infos = (info for header in files.headers.values() for info in header.tensors.values())
    return sorted(infos, key=lambda info: info.name)


def target_of(name: str, base: BaseView) -> tuple[str, str]:
    """Return the weight that a tensor replaces, and the base's tensor that it shares if any.

    Returns:
        (target, reads); both empty when the base has no such weight.
    """
    own = base.names.tensor(name)
    if own is not None:
        return own, ""
    twin = base.names.stored_twin(name)
    return (base.names.spelled_like(name, twin), twin) if twin is not None else ("", "")


def with_target(files: DeltaFiles, base: BaseView) -> int:
    """Count the tensors of the files that replace a weight of the base."""
    return sum(bool(target_of(name, base)[0]) for name in files.names)


def known_names(files: DeltaFiles, base: BaseView) -> int:
    """Count the base's weights that the files have; buffers do not count."""
    names = {base.names.tensor(name) for name in files.names}
    return sum(name in names for name in base.tensors if not base.names.is_buffer(name))


def is_most_of(files: DeltaFiles, base: BaseView) -> bool:
    """Whether the files hold a whole network: named so, with most of the base's weights."""
    if not files.headers or not all(map(is_weight_file, files.headers)):
        return False
    weights = sum(not base.names.is_buffer(name) for name in base.tensors)
    return known_names(files, base) * 2 > weights


def is_weight_file(path: str) -> bool:
    """Whether a file is named as a whole network's weights are."""
    return path.startswith(("model.", "model-")) and path.endswith(".safetensors")


def stored_twice(base: BaseView) -> list[list[str]]:
    """Return groups of tied names that the base stores more than once, with the same values."""
    groups: list[list[str]] = []
    for group in base.names.ties.groups:
        sharers = base.names.stored_sharers(group[0])
        # Where the values differ, the network that is loaded does not share them.
        if len(sharers) > 1 and len({base.tensors[name].digest for name in sharers}) == 1:
            groups.append(sharers)
    return groups


def followers(effects: Sequence[Effect], base: BaseView) -> list[Effect]:
    """Let tied names that the base stores again follow the one that the delta stores."""
    updates = {e.target: e for e in effects if isinstance(e, WeightUpdate)}
    following: list[Effect] = []
    for group in stored_twice(base):
        leader = next((updates[name] for name in group if name in updates), None)
        if leader is not None:
            unset = (name for name in group if name not in updates)
            following += [replace(leader, target=name, consumes={}) for name in unset]
    return following


def put_in_place(
    tensors: Tensors, base: BaseView, *, has_own_dtype: bool, role: Callable[[str], str] = lambda _name: "head"
) -> list[Effect]:
    """Give tensors the places of the weights that they stand for, in the order of names.

    Args:
        tensors: By name.
        base: The base.
        has_own_dtype: Whether a weight takes the tensor's dtype; else it keeps the base's.
        role: What a tensor is that the base lacks, by its name.
    """
    effects: list[Effect] = []
    for name in sorted(tensors):
        tensor, (target, reads) = tensors[name], target_of(name, base)
        if not target:
            effects.append(Addition(name, tensor, {name: role(name)}))
            continue
        shape = tensor.shape if tensor.shape != base.tensors[reads or target].shape else None
        dtype = tensor.dtype if has_own_dtype else ""
        effects.append(WeightUpdate(target, Replacement(tensor), {name: "weight"}, reads, shape, dtype))
    return effects


def misfits(info: TensorInfo, target: str, base: BaseView) -> list[Problem]:
    """Return the problems that keep a tensor from replacing a weight: its dtype or its shape.

    A head may have another size, and an embedding more tokens.
    """
    record = base.tensors.get(target) or base.tensors[base.names.stored_twin(target) or ""]
    is_number = info.dtype in FLOAT_DTYPES and record.dtype in FLOAT_DTYPES
    if not is_number and info.dtype != record.dtype:
        message = f"it is {info.dtype}, and {target} of the base is {record.dtype}"
        return [Problem("shape", message, tensor=info.name)]
    own, shape = info.shape, record.shape
    if own == shape or (base.names.is_head(base.names.canonical(target)) and len(own) == len(shape)):
        return []
    grown = [(now, before) for now, before in zip(own, shape, strict=False) if now != before]
    # An embedding grows by rows; a bias of a whole head, (1, tokens), by columns.
    if len(own) == len(shape) and len(grown) == 1 and grown[0][0] > grown[0][1] == vocabulary(base.config):
        return []
    message = f"{list(own)} does not fit {target} {list(shape)}"
    return [Problem("shape", message, tensor=info.name, fix="check the base")]


def place_problems(
    files: DeltaFiles,
    base: BaseView,
    *,
    misfit: Callable[[TensorInfo, str, BaseView], list[Problem]],
    is_new: Callable[[str, BaseView], bool],
) -> list[Problem]:
    """Find tensors that replace no weight, or the same one as another tensor, or that do not fit.

    Args:
        files: The delta's.
        base: The base.
        misfit: Returns the problems that keep a tensor from replacing a weight.
        is_new: Whether a name may be one that the base lacks.
    """
    problems: list[Problem] = []
    claimed: dict[str, str] = {}
    lost: list[str] = []
    for info in all_infos(files):
        target, _ = target_of(info.name, base)
        if not target:
            lost += [] if is_new(info.name, base) else [info.name]
        elif target in claimed:
            problems.append(taken_twice(info.name, claimed[target], target))
        else:
            claimed[target] = info.name
            problems += misfit(info, target, base)
    return [*problems, *report_unapplied(lost, is_some_applied=bool(claimed))]


def is_head(name: str, base: BaseView) -> bool:
    """Whether a name belongs to a head, which a base may lack."""
    return base.names.is_head(base.names.canonical(name))


def taken_twice(name: str, other: str, target: str) -> Problem:
    """Build the problem of two tensors that replace one weight."""
    message = f"it and {other} are both {target} of the base"
    return Problem("unexpected_tensors", message, tensor=name, fix="keep one of them")


def report_unapplied(lost: Sequence[str], *, is_some_applied: bool) -> list[Problem]:
    """Return the problem of tensors that the base has no place for; empty without such tensors."""
    if not lost:
        return []
    more = f", nor {len(lost) - 1} others of the delta" if len(lost) > 1 else ""
    code = "partial_application" if is_some_applied else "no_tensor_applied"
    fix = "check the base and the names"
    return [Problem(code, f"the base has no such tensor{more}", tensor=lost[0], fix=fix)]
