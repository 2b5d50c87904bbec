"""LoRA on the fused experts of a mixture (`target_parameters`), checked against the base.

In memory all experts of a layer are one parameter (experts, out, in), and gate and up projections
another; files mostly hold a matrix for each expert and projection. The factors of all experts are
stacked: A (experts · r, in), expert by expert; B (out, r · experts), the expert running fastest.
Two adapted parameters of one module nest, the inner one under `base_layer`.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from deltareg.delta.kind import BaseView, Tensors, WeightUpdate
from deltareg.delta.layouts.peft.factors import FactorSettings
from deltareg.delta.layouts.peft.keys import BASE_LAYER
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.layouts.peft.suffixes import Suffixes
from deltareg.delta.maths.formula import Array, Ops, Tensor
from deltareg.delta.maths.updates import LowRank
from deltareg.errors import Problem, Refused
from deltareg.words import Severity

# The parameters of a module of experts in the order in which networks declare them, and the
# projections that they are made of, by the spellings of files.
_PARAMETERS: dict[str, tuple[tuple[str, ...], ...]] = {
    "gate_up_proj": (("gate_proj", "up_proj"), ("w1", "w3")),
    "down_proj": (("down_proj",), ("w2",)),
}
_NESTED = f".{BASE_LAYER}"
_EXPERT = re.compile(r"(.*\.experts)\.(?:\d+\..*|gate_up_proj|down_proj)")
_ROLES = ("lora_A", "lora_B")


@dataclass(frozen=True, slots=True)
class ExpertIn:
    """The rows of A that belong to one expert, (r, n_in)."""

    stacked: Tensor
    expert: int
    rank: int

    def whole(self, ops: Ops) -> Array:
        return self.rows(0, self.rank, ops)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        first = self.expert * self.rank
        return ops.load(self.stacked, first + start, first + stop, is_part=True)


@dataclass(frozen=True, slots=True)
class ExpertOut:
    """The columns of B that belong to one expert, cut to the rows of one projection, (height, r)."""

    stacked: Tensor
    expert: int
    rank: int
    first: int
    height: int

    def whole(self, ops: Ops) -> Array:
        return self.rows(0, self.height, ops)

    def rows(self, start: int, stop: int, ops: Ops) -> Array:
        factors = ops.load(self.stacked, self.first + start, self.first + stop, is_part=True)
        by_expert = factors.reshape(stop - start, self.rank, -1)[:, :, self.expert : self.expert + 1]
        return by_expert.reshape(stop - start, self.rank)


@dataclass(frozen=True, slots=True)
class ExpertStack:
    """W + scale · B_e A_e for every expert e of a stack (experts, out, in) or (experts, in, out).

    Attributes:
        a: (experts · r, n_in).
        b: (n_out, r · experts).
        rank: r.
        scale: The factor on the products.
        flipped: Whether the stack is stored (experts, in, out).
    """

    a: Tensor
    b: Tensor
    rank: int
    scale: float
    flipped: bool
    needs_whole = False
    replaces = False

    def fold(self, weight: Array, start: int, stop: int, ops: Ops) -> Array:
        a = ops.load(self.a, start * self.rank, stop * self.rank)
        b = ops.load(self.b).reshape(self.b.shape[0], self.rank, -1)[:, :, start:stop]
        right = a.reshape(stop - start, self.rank, self.a.shape[1])
        product = ops.permute(b, 2, 0, 1) @ right
        placed = ops.permute(product, 0, 2, 1) if self.flipped else product
        return weight + placed * self.scale


def plan_experts(
    plan: EffectPlan,
    modules: Mapping[str, Mapping[str, str]],
    factoring: FactorSettings,
    *,
    tensors: Tensors,
    base: BaseView,
) -> set[str]:
    """Add the effects of the factors of fused experts to a plan.

    Args:
        plan: Receives effects and problems.
        modules: Module -> role -> tensor name; those that are no experts are skipped.
        factoring: The settings of the config, with the parameters that it targets.
        tensors: The tensors; only their shapes are used.
        base: The base.

    Returns:
        The modules that were handled, with or without problems.
    """
    containers, targets = _containers(base), factoring.parameters
    levels: dict[str, dict[int, str]] = {}
    for module in modules:
        outer = module
        while outer.endswith(_NESTED):
            outer = outer.removesuffix(_NESTED)
        if base.names.canonical(outer) in containers:
            depth = (len(module) - len(outer)) // len(_NESTED)
            levels.setdefault(outer, {})[depth] = module
    for outer, parameters in levels.items():
        names = [name for name in _PARAMETERS if targets.first(f"{outer}.{name}") is not None]
        if sorted(parameters) != list(range(len(names))):
            message = f"{outer} has factors of {len(parameters)} parameters, and the config targets"
            first = next(iter(modules[parameters[min(parameters)]].values()))
            plan.refuse("unexpected_tensors", f"{message} {len(names)}", first)
            continue
        for depth, name in enumerate(reversed(names)):
            roles = modules[parameters[depth]]
            _plan_parameter(plan, f"{outer}.{name}", roles, factoring, tensors, base)
    lost = containers - {base.names.canonical(outer) for outer in levels}
    plan.problems += [p for name in sorted(lost) for p in _find_unadapted(name, targets, base)]
    plan.problems += _unknown(targets, containers, base)
    return {module for parameters in levels.values() for module in parameters.values()}


def _plan_parameter(
    plan: EffectPlan, path: str, roles: Mapping[str, str], factoring: FactorSettings, tensors: Tensors, base: BaseView
) -> None:
    name = next(iter(roles.values()))
    if set(roles) != set(_ROLES):
        plan.refuse("missing_tensors", f"{path} does not have just A and B", name)
        return
    a, b = (tensors[roles[role]] for role in _ROLES)
    rank = factoring.rank(path)
    site = _Experts(path, a, b, rank, factoring.scale(path, rank), base)
    try:
        plan.effects += site.effects({name: role for role, name in roles.items()})
    except Refused as refused:
        plan.problems += refused.problems


@dataclass(frozen=True, slots=True)
class _Experts:
    """One parameter of a module of experts, with its factors."""

    path: str
    a: Tensor
    b: Tensor
    rank: int
    scale: float
    base: BaseView

    def effects(self, consumes: Mapping[str, str]) -> list[WeightUpdate]:
        if len(self.a.shape) != 2 or len(self.b.shape) != 2:
            raise self._refuse("shape", f"{list(self.a.shape)}, {list(self.b.shape)}: no matrices")
        fused = self.base.names.tensor(self.path)
        if fused is not None:
            return [WeightUpdate(fused, self._stack(fused), consumes)]
        updates: list[WeightUpdate] = []
        for expert, projections in enumerate(self._projections()):
            first = 0
            for target in projections:
                height = self.base.tensors[target].shape[0]
                left = ExpertOut(self.b, expert, self.rank, first, height)
                low_rank = LowRank(left, ExpertIn(self.a, expert, self.rank), self.scale)
                updates.append(WeightUpdate(target, low_rank, {} if updates else consumes))
                first += height
        return updates

    def _stack(self, target: str) -> ExpertStack:
        shape = self.base.tensors[target].shape
        n_out, n_in = self.b.shape[0], self.a.shape[1]
        is_plain, is_flipped = shape[1:] == (n_out, n_in), shape[1:] == (n_in, n_out)
        if is_plain and is_flipped and self.base.names.is_type_known:
            is_flipped = self.base.names.are_experts_in_out
            is_plain = not is_flipped
        if len(shape) != 3 or is_plain == is_flipped:
            message = f"its factors are for {n_in} -> {n_out}, and {target} is {list(shape)}"
            why = ", either way round" if is_plain else ""
            raise self._refuse("shape", message + why)
        self._check_rank(shape[0])
        return ExpertStack(self.a, self.b, self.rank, self.scale, flipped=is_flipped)

    def _projections(self) -> list[list[str]]:
        """Return the base's matrices, by expert and in the order of the rows of B."""
        container, _, name = self.path.rpartition(".")
        for spelling in _PARAMETERS[name]:
            experts: list[list[str]] = []
            while matrices := self._of_expert(container, len(experts), spelling):
                experts.append(matrices)
            if experts:
                self._check_rank(len(experts))
                self._check_shapes(experts)
                return experts
        raise self._refuse("partial_application", f"the base has no {self.path}, fused or not")

    def _of_expert(self, container: str, expert: int, spelling: Iterable[str]) -> list[str]:
        names = [self.base.names.tensor(f"{container}.{expert}.{p}.weight") for p in spelling]
        return [name for name in names if name is not None] if None not in names else []

    def _check_rank(self, experts: int) -> None:
        if not self.a.shape[0] == self.rank * experts == self.b.shape[1]:
            message = f"A {list(self.a.shape)} and B {list(self.b.shape)} are not of rank {self.rank}"
            raise self._refuse("rank", f"{message} for {experts} experts")

    def _check_shapes(self, experts: list[list[str]]) -> None:
        for projections in experts:
            shapes = [self.base.tensors[name].shape for name in projections]
            heights = sum(shape[0] for shape in shapes)
            if heights != self.b.shape[0] or any(s[1:] != self.a.shape[1:] for s in shapes):
                message = f"its factors are for {self.a.shape[1]} -> {self.b.shape[0]}"
                raise self._refuse("shape", f"{message}, and {projections[0]} is {list(shapes[0])}")

    def _refuse(self, code: str, message: str) -> Refused:
        return Refused([Problem(code, f"{self.path}: {message}", tensor=self.a.name)])


def _containers(base: BaseView) -> set[str]:
    """Return the base's modules of experts, by their newest spelling."""
    matches = {_EXPERT.fullmatch(base.names.canonical(name)) for name in base.tensors}
    return {match[1] for match in matches if match is not None}


def _find_unadapted(container: str, wanted: Suffixes, base: BaseView) -> list[Problem]:
    """Find the parameters that the config asks for in a module without factors."""
    spellings = [container, *(f"{prefix}.{container}" for prefix in base.names.rules.strip)]
    lost = [name for name in _PARAMETERS if any(wanted.first(f"{module}.{name}") is not None for module in spellings)]
    fix = "save the delta again from the training process; part of it was lost"
    message = f"has no tensors for {container}.{{}}, and the config targets it"
    return [Problem("missing_tensors", f"it {message.format(name)}", fix=fix) for name in lost]


def _unknown(wanted: Suffixes, containers: Iterable[str], base: BaseView) -> list[Problem]:
    """Find the targeted parameters that the base does not have; the library refuses only if it has none of them."""
    if not wanted.entries:
        return []
    paths = [base.names.canonical(name) for name in base.tensors]
    paths += [f"{container}.{name}" for container in containers for name in _PARAMETERS]
    paths += [f"{prefix}.{path}" for prefix in base.names.rules.strip for path in paths]
    parts = [path.split(".") for path in paths]
    ends = {".".join(path[at:]) for path in parts for at in range(len(path))}
    unknown = [entry.text for entry in wanted.entries if entry.text not in ends]
    severity: Severity = "error" if len(unknown) == len(wanted.entries) else "warning"
    fix = "take it out of target_parameters, or check the base"
    return [Problem("bad_config", f"target_parameters: the base has no {text}", severity, fix=fix) for text in unknown]
