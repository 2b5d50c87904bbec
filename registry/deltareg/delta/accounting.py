"""The registry's core check: every tensor is used exactly once, and nothing undeclared changes.

Libraries load a delta of which no tensor fits and serve the base without an error; here such a
delta is refused. Only headers and JSON are read, no tensor data.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from deltareg.delta.formats import describe, fix_of_unknown
from deltareg.delta.kind import (
    DECLARED,
    Account,
    ActivationHook,
    Addition,
    BaseCopy,
    BaseView,
    DeltaFiles,
    DeltaKind,
    Effect,
    KindReader,
    Match,
    PrefixInsert,
    Tensors,
    WeightUpdate,
)
from deltareg.delta.kinds import all_kinds, kinds_in
from deltareg.delta.layouts.peft.config import peft_type
from deltareg.delta.network_class import network_class_of
from deltareg.delta.shapes import misfit
from deltareg.delta.untied_names import loosen_ties
from deltareg.errors import Problem, Refused
from deltareg.tensors.header import FLOAT_DTYPES


def recognise(
    files: DeltaFiles, base: BaseView, *, kinds: Iterable[KindReader] | None = None
) -> tuple[KindReader, Match]:
    """Return the kind of a delta that has the strongest evidence, with that evidence.

    Args:
        files: Headers and documents.
        base: The base that it is for.
        kinds: The kinds to ask; all by default.

    Raises:
        Refused: `unknown_kind` when none claims it, `kind_mismatch` when two do equally.
    """
    if kinds is None and (declared := _recognise_declared(files, base)):
        return declared
    candidates = all_kinds().values() if kinds is None else kinds
    claims = [(kind, match) for kind in candidates if (match := kind.recognise(files, base))]
    if not claims:
        names = ", ".join(sorted({kind.name for kind in candidates}))
        message = f"this looks like {describe(files)}; the kinds known here are {names}"
        raise Refused([Problem("unknown_kind", message, fix=fix_of_unknown(files))])
    best = max(match.strength for _, match in claims)
    strongest = [(kind, match) for kind, match in claims if match.strength == best]
    if len(strongest) > 1:
        detail = " and ".join(f"{match.kind} ({match.evidence})" for _, match in strongest)
        message = f"the files are as much of one kind as of another: {detail}"
        raise Refused([Problem("kind_mismatch", message, fix="push one delta at a time")])
    return strongest[0]


def _recognise_declared(files: DeltaFiles, base: BaseView) -> tuple[KindReader, Match] | None:
    """Ask the file that bears the name of the `peft_type`: loading all takes as long as the rest of a push."""
    for kind in kinds_in(peft_type(files).lower()):
        match = kind.recognise(files, base)
        if match and match.strength == DECLARED:
            return kind, match
    return None


def account(delta: DeltaKind, files: DeltaFiles, tensors: Tensors, base: BaseView) -> Account:
    """Check a delta's config, tensors and effects against each other and against the base.

    Args:
        delta: The kind with its configuration, from `parse`.
        files: Headers and documents.
        tensors: The tensors by name; they need not be readable.
        base: The base.

    Returns:
        The account. With an error among its problems it has no effects.
    """
    problems = [*_find_duplicates(files), *delta.problems(files, base)]
    if any(problem.severity == "error" for problem in problems):
        return Account((), {}, problems, 0, delta)
    effects = delta.effects(tensors, base)
    roles, ledger = _ledger(effects, files.names)
    problems += ledger
    problems += [problem for effect in effects for problem in _problems_of(effect, base)]
    problems += _narrow(effects, tensors)
    hits = {_hit(effect) for effect in effects if not isinstance(effect, (Addition, BaseCopy))}
    if not hits and all(problem.code != "no_tensor_applied" for problem in problems):
        message = "no tensor changes anything in the base"
        problems.append(Problem("no_tensor_applied", message, fix="check the base and the names"))
    network_class = network_class_of(effects, files, base)
    return Account([*effects, *loosen_ties(effects, base)], roles, problems, len(hits), delta, network_class)


def _find_duplicates(files: DeltaFiles) -> list[Problem]:
    """Find names that files use for different tensors; copies are compared by bytes later.

    `deltareg.delta.delta_manifest` compares the digests of those that look alike.
    """
    looks: dict[str, set[tuple[str, tuple[int, ...]]]] = defaultdict(set)
    for header in files.headers.values():
        for name, info in header.tensors.items():
            looks[name].add((info.dtype, info.shape))
    message = "two files hold tensors of this name, of different types or shapes"
    return [
        Problem("unexpected_tensors", message, tensor=name, fix="keep one of them")
        for name, infos in looks.items()
        if len(infos) > 1
    ]


def _ledger(effects: Sequence[Effect], names: frozenset[str]) -> tuple[Mapping[str, tuple[str, str]], list[Problem]]:
    """Record which effect consumes each tensor; report tensors that none or two consume."""
    roles: dict[str, tuple[str, str]] = {}
    problems: list[Problem] = []
    for effect in effects:
        for name, role in effect.consumes.items():
            if name in roles:
                message = f"two effects use it: on {roles[name][1]} and on {_hit(effect)}"
                problems.append(Problem("unexpected_tensors", message, tensor=name))
            roles[name] = (role, _hit(effect))
    left = sorted(names - roles.keys())
    if left and not roles:
        message = f"none of the {len(left)} tensors has anything to do with the base"
        problems.append(Problem("no_tensor_applied", message, tensor=left[0]))
    else:
        problems += [Problem("unexpected_tensors", "nothing uses it", tensor=name, fix="take it out") for name in left]
    invented = sorted(roles.keys() - names)
    problems += [Problem("missing_tensors", "the files lack it", tensor=name) for name in invented]
    return roles, problems


def _hit(effect: Effect) -> str:
    match effect:
        case WeightUpdate() | Addition() | BaseCopy():
            return effect.target
        case ActivationHook() | PrefixInsert():
            return effect.module


def _problems_of(effect: Effect, base: BaseView) -> list[Problem]:
    name = next(iter(effect.consumes), "")
    match effect:
        case WeightUpdate():
            return _update_problems(effect, name, base)
        case Addition() if effect.target in base.tensors:
            message = f"it would overwrite {effect.target} of the base"
            return [Problem("undeclared_base_override", message, tensor=name)]
        case BaseCopy():
            return _copy_problems(effect, name, base)
        case _:
            return []


def _narrow(effects: Sequence[Effect], tensors: Tensors) -> list[Problem]:
    """Refuse factors in eight-bit formats, which have lost the trained values.

    Weights that replace the base's as they are may have eight bits, as the base's may.
    """
    computed = (e for e in effects if not isinstance(e, WeightUpdate) or not e.update.replaces)
    names = (name for e in computed if not isinstance(e, (Addition, BaseCopy)) for name in e.consumes)
    message = "eight bits hold a digit of what was trained, and no library gets the rest back"
    return [
        Problem("shape", f"{tensors[name].dtype}: {message}", tensor=name, fix="save it in BF16 or F16")
        for name in names
        if name in tensors and tensors[name].dtype.startswith("F8")
    ]


def _update_problems(effect: WeightUpdate, name: str, base: BaseView) -> list[Problem]:
    record = base.tensors.get(effect.source)
    if record is None:
        message = f"the base has no {effect.source}"
        return [Problem("no_tensor_applied", message, tensor=name)]
    if not effect.update.replaces and record.dtype not in FLOAT_DTYPES:
        return [
            Problem(
                "shape",
                f"{effect.source} of the base is {record.dtype}, which cannot be added to",
                tensor=name,
                fix="use the base before it was quantised",
            )
        ]
    shape = effect.shape or record.shape
    grows = len(shape) > 0 and shape[1:] == record.shape[1:] and shape[0] >= record.shape[0]
    # A bias of all tokens, (1, tokens), grows by columns with them; only a new value can.
    is_row = len(shape) == len(record.shape) == 2 and shape[:1] == record.shape[:1] == (1,)
    grows |= effect.update.replaces and is_row and shape[1:] > record.shape[1:]
    is_head = base.names.is_head(base.names.canonical(effect.target))
    if shape != record.shape and not grows and not (effect.update.replaces and is_head):
        message = f"{list(shape)} does not grow {effect.target} {list(record.shape)} by rows"
        return [Problem("shape", message, tensor=name)]
    why = misfit(effect.update, shape)
    fix = "check the base, and how the delta was saved"
    return [Problem("shape", f"{effect.target}: {why}", tensor=name, fix=fix)] if why else []


def _copy_problems(effect: BaseCopy, name: str, base: BaseView) -> list[Problem]:
    record = base.tensors.get(effect.target)
    if record is None:
        return [Problem("unexpected_tensors", f"the base has no {effect.target}", tensor=name)]
    rows = record.shape[:1] if effect.rows is None else (effect.rows,)
    own = effect.tensor.shape
    if own[1:] == record.shape[1:] and (not rows or rows[0] <= min(own[0], record.shape[0])):
        return []
    message = f"{list(own)} is no copy of {effect.target} {list(record.shape)}"
    return [Problem("shape", message, tensor=name)]
