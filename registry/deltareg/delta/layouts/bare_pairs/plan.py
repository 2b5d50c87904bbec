"""Pairs of factors, found in the base: every tensor has a module, every module its pair."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from deltareg.delta.kind import BaseView, Effect, Tensors, WeightUpdate
from deltareg.delta.layouts.bare_pairs.pair import PairUpdate
from deltareg.delta.layouts.originals.original import OriginalModule
from deltareg.delta.layouts.originals.shares import rows_of
from deltareg.delta.layouts.plain_weights import report_unapplied, taken_twice
from deltareg.delta.maths.formula import Tensor
from deltareg.errors import Problem
from deltareg.tensors.header import FLOAT_DTYPES

ROLES = frozenset({"up", "down", "alpha", "core"})
Where = tuple[str, ...]
"""Weights of the base that a module's name fits: one when all is well."""


@dataclass(frozen=True, slots=True)
class PairTensorName:
    """A parsed tensor name.

    Attributes:
        module: The module, as the layout spells it.
        role: One of `ROLES`.
    """

    module: str
    role: str


@dataclass(slots=True)
class PairPlan:
    """Effects and problems as they are found."""

    effects: list[Effect] = field(default_factory=list[Effect])
    problems: list[Problem] = field(default_factory=list[Problem])


def plan_pairs(
    tensors: Tensors,
    base: BaseView,
    *,
    read: Callable[[str], PairTensorName | None],
    find: Callable[[str], Where],
    find_original: Callable[[str], OriginalModule | None] = lambda _: None,
) -> PairPlan:
    """Plan the effects of pairs, and record their problems.

    Args:
        tensors: The delta's tensors; only their shapes are used.
        base: The base.
        read: Parses a tensor's name; None for a name without meaning here.
        find: Returns the weights that a module's name fits.
        find_original: Returns what a module of the model's original code is in the base.
    """
    plan, lost = PairPlan(), list[str]()
    modules = _by_module(tensors, read, plan)
    has_alphas = any("alpha" in roles for roles in modules.values())
    claimed: dict[str, str] = {}
    for module, roles in modules.items():
        name = next(iter(roles.values())).name
        where, original = find(module), find_original(module)
        targets = where if where or original is None else tuple(f"{own}.weight" for own in original.modules)
        taken = next((target for target in targets if target in claimed), "")
        if not targets:
            lost += [tensor.name for tensor in roles.values()]
        elif len(where) > 1:
            plan.problems.append(_unclear(name, where))
        elif taken:
            plan.problems.append(taken_twice(name, claimed[taken], taken))
        else:
            claimed |= dict.fromkeys(targets, name)
            if _is_whole(roles, plan, has_alphas=has_alphas):
                _add_shares(plan, roles, targets, None if where else original, base)
    plan.problems += report_unapplied(lost, is_some_applied=bool(claimed))
    return plan


def ranks_of(shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], PairTensorName | None]) -> set[int]:
    """Return the ranks that occur.

    Args:
        shapes: The shapes of the delta's tensors, by name.
        read: Parses a tensor's name.
    """
    names = {name: parsed for name in shapes if (parsed := read(name)) is not None}
    return {shapes[n][0] for n, parsed in names.items() if parsed.role == "down" and shapes[n]}


def _by_module(
    tensors: Tensors, read: Callable[[str], PairTensorName | None], plan: PairPlan
) -> dict[str, dict[str, Tensor]]:
    modules: dict[str, dict[str, Tensor]] = defaultdict(dict)
    for name in sorted(tensors):
        parsed = read(name)
        if parsed is None or parsed.role in modules[parsed.module]:
            message = "its name says nothing to a LoRA in this layout"
            problem = Problem("unexpected_tensors", message, tensor=name, fix="take it out")
            plan.problems.append(problem)
        else:
            modules[parsed.module][parsed.role] = tensors[name]
    return {module: roles for module, roles in modules.items() if roles}


def _unclear(name: str, where: Where) -> Problem:
    message = f"its name fits {' and '.join(where[:3])} of the base"
    fix = "convert it where the modules are known, to the layout of peft"
    return Problem("ambiguous", message, tensor=name, fix=fix)


def _is_whole(roles: Mapping[str, Tensor], plan: PairPlan, *, has_alphas: bool) -> bool:
    needed = ["up", "down", *(["alpha"] if has_alphas else [])]
    missing = [role for role in needed if role not in roles]
    if missing:
        name = next(iter(roles.values())).name
        elsewhere = ", and other modules have one" if missing == ["alpha"] else ""
        message = f"its {' and '.join(missing)} did not come{elsewhere}"
        plan.problems.append(Problem("missing_tensors", message, tensor=name, fix="save it again"))
    return not missing


def _add_shares(
    plan: PairPlan, roles: Mapping[str, Tensor], targets: Sequence[str], original: OriginalModule | None, base: BaseView
) -> None:
    """Give each weight its rows of the up projection, and the whole of the others."""
    up, ups = roles["up"], [roles["up"]]
    if original is not None and not original.is_renamed_only:
        heights = [base.tensors[target].shape[0] for target in targets]
        if up.shape[:1] != (sum(heights),) or "core" in roles:
            message = f"{list(up.shape)} does not divide among {' and '.join(targets)}"
            plan.problems.append(Problem("shape", message, tensor=up.name, fix="check the base"))
            return
        ups = rows_of(up, original, heights)
    consumes = {tensor.name: f"lora_{role}" for role, tensor in roles.items()}
    for target, own in zip(targets, ups, strict=True):
        _add(plan, {**roles, "up": own}, target, base, consumes)
        consumes = {}  # the first consumes them on behalf of all


def _add(plan: PairPlan, roles: Mapping[str, Tensor], target: str, base: BaseView, consumes: Mapping[str, str]) -> None:
    is_flipped = base.names.is_transposed(target)
    alpha, core = roles.get("alpha"), roles.get("core")
    pair = PairUpdate(roles["up"], roles["down"], alpha, core, is_flipped)
    odd = next((tensor for tensor in roles.values() if tensor.dtype not in FLOAT_DTYPES), None)
    why = pair.misfit(base.tensors[target].shape)
    if odd is not None or why:
        message = why or "it holds no real numbers"
        name = (odd or pair.up).name
        problem = Problem("shape", f"{message} ({target})", tensor=name, fix="check the base")
        plan.problems.append(problem)
        return
    plan.effects.append(WeightUpdate(target, pair, consumes))
