"""Pairs of low-rank factors, module by module: checked against the base and turned into effects."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from deltareg.delta.kind import ActivationHook, BaseView, HookInputs, Tensors, WeightUpdate
from deltareg.delta.layouts.peft.modules import is_stored_transposed, weight_of
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.layouts.peft.suffixes import ModuleNumbers, Suffixes
from deltareg.delta.maths.formula import Array, Ops, Tensor, Update
from deltareg.delta.maths.updates import (
    Factor,
    LowRank,
    OrthonormalRemoval,
    PrincipalRemoval,
    ScaledAddition,
    WeightDecomposed,
)
from deltareg.errors import Problem

MARKERS = frozenset({"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector"})
ROLES: dict[tuple[str, str], str] = {
    ("lora_A", "weight"): "lora_A",
    ("lora_B", "weight"): "lora_B",
    ("lora_B", "bias"): "lora_bias",
    ("lora_embedding_A", ""): "lora_embedding_A",
    ("lora_embedding_B", ""): "lora_embedding_B",
    ("lora_magnitude_vector", ""): "lora_magnitude",
    ("lora_magnitude_vector", "weight"): "lora_magnitude",
}
_PAIRS = (("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B"))


@dataclass(frozen=True, slots=True)
class FactorSettings:
    """Settings of the config for the factors.

    Attributes:
        r: Rank of modules that `ranks` does not name.
        alpha: Numerator of the scale for modules that `alphas` does not name.
        ranks: Ranks of those modules.
        alphas: Numerators of those modules.
        is_rank_stabilised: Whether the scale is alpha / sqrt(r).
        is_decomposed: Whether it is DoRA.
        has_bias: Whether B has a bias.
        start: `pissa` or `olora` if the base is changed before the factors apply.
        is_transposed: Whether weights are stored (in, out), if shape and type do not tell.
        parameters: Parameters that are adapted themselves instead of their modules.
    """

    r: int
    alpha: float
    ranks: ModuleNumbers = field(default_factory=ModuleNumbers)
    alphas: ModuleNumbers = field(default_factory=ModuleNumbers)
    is_rank_stabilised: bool = False
    is_decomposed: bool = False
    has_bias: bool = False
    start: str = ""
    is_transposed: bool = False
    parameters: Suffixes = field(default_factory=Suffixes)

    def rank(self, module: str) -> int:
        """Return the rank that the config gives a module (or parameter)."""
        return int(self.ranks.of(self._find_pattern_name(module), self.r))

    def scale(self, module: str, rank: int) -> float:
        """Return the factor on B·A for a module (or parameter)."""
        alpha = self.alphas.of(self._find_pattern_name(module), self.alpha)
        return alpha / math.sqrt(rank) if self.is_rank_stabilised else alpha / rank

    def _find_pattern_name(self, module: str) -> str:
        """Return the name to match with patterns: the weight's own if the weight was targeted."""
        weight = f"{module}.weight"
        return module if self.parameters.first(weight) is None else weight


@dataclass(frozen=True, slots=True)
class AddVector:
    """h + scale · v over the last dimension: a bias that the layer itself does not have.

    Attributes:
        vector: v.
        scale: The factor on it.
    """

    vector: Tensor
    scale: float

    def apply(self, value: Array, seen: HookInputs, ops: Ops) -> Array:
        """Return the layer's output plus the bias."""
        return value + ops.load(self.vector) * self.scale


@dataclass(frozen=True, slots=True)
class FactorSite:
    """An adapted module.

    Attributes:
        module: By the path that the training process used.
        roles: Role -> tensor name.
        target: The weight that changes.
        reads: The base's weight, when the module only shares it; else empty.
        shape: The weight's shape, including any added rows.
        grown: The same if rows were added; else None.
    """

    module: str
    roles: Mapping[str, str]
    target: str
    reads: str
    shape: tuple[int, ...]
    grown: tuple[int, ...] | None


def plan_factors(
    plan: EffectPlan,
    modules: Mapping[str, Mapping[str, str]],
    factoring: FactorSettings,
    *,
    tensors: Tensors,
    base: BaseView,
) -> None:
    """Add the effects of each module's factors to a plan.

    Args:
        plan: Receives effects and problems.
        modules: Module -> role -> tensor name, for modules that the base has.
        factoring: The settings of the config.
        tensors: The tensors; only their shapes are used.
        base: The base.
    """
    claimed: dict[str, str] = {}
    for module, roles in modules.items():
        target, reads = weight_of(module, base)
        if target in claimed:
            message = f"{module} and {claimed[target]} are both {target} of the base"
            plan.refuse("unexpected_tensors", message, next(iter(roles.values())))
            continue
        claimed[target] = module
        grown = plan.grown.get(target)
        shape = grown or base.tensors[reads or target].shape
        site = FactorSite(module, roles, target, reads, shape, grown)
        _Planner(site, factoring, plan, tensors, base).run()


@dataclass(frozen=True, slots=True)
class _Planner:
    """Builds the effects of one site, or records why it cannot."""

    site: FactorSite
    factoring: FactorSettings
    plan: EffectPlan
    tensors: Tensors
    base: BaseView

    def run(self) -> None:
        pair = self._pair()
        if pair is None or not (self._has_rank(*pair) and self._is_as_told(pair[0])):
            return
        is_flipped = self._is_embedding or self._is_stored_transposed(*pair)
        if not self._fits(*pair, is_flipped=is_flipped):
            return
        self._warn_of_rank(pair[0])
        scale = self.factoring.scale(self.site.module, pair[0].shape[0])
        if self.factoring.start and not self._start(pair[0], scale, is_flipped=is_flipped):
            return
        self._change(*pair, scale=scale, is_flipped=is_flipped)
        if self.factoring.has_bias:
            self._bias(self.site.roles["lora_bias"], scale)

    @property
    def _is_embedding(self) -> bool:
        return "lora_embedding_A" in self.site.roles

    def _pair(self) -> tuple[Tensor, Tensor] | None:
        roles = self.site.roles
        pairs = [pair for pair in _PAIRS if pair[0] in roles or pair[1] in roles]
        if len(pairs) != 1:
            message = f"{self.site.module} has both kinds of factors, or none"
            self._refuse("unexpected_tensors", message, next(iter(roles.values())))
            return None
        lost = [role for role in pairs[0] if role not in roles]
        if lost:
            other = next(roles[role] for role in pairs[0] if role in roles)
            self._refuse(
                "missing_tensors", f"its {lost[0]} is missing", other, "save it whole: model.save_pretrained(FOLDER)"
            )
            return None
        a, b = (self.tensors[roles[role]] for role in pairs[0])
        if min(len(a.shape), len(b.shape)) < 2:
            self._refuse("shape", f"{list(a.shape)}, {list(b.shape)}: no matrices", a.name)
            return None
        return a, b

    def _has_rank(self, a: Tensor, b: Tensor) -> bool:
        rank = self.factoring.rank(self.site.module)
        if a.shape[0] == rank == b.shape[1]:
            return True
        if len(b.shape) > 2 and a.shape[1] > self.site.shape[1] and rank % b.shape[1] == 0:
            detail = f"{self.site.target} is a convolution in groups, which no LoRA here is for"
            self._refuse("unknown_kind", detail, b.name, "leave it out of target_modules")
            return False
        message = f"A {list(a.shape)} and B {list(b.shape)} are not of rank {rank}, as the config says"
        self._refuse("rank", message, a.name, "the config must be the one that was trained with")
        return False

    def _is_as_told(self, a: Tensor) -> bool:
        """Whether the tensors that belong to a flag are there exactly if it is set."""
        for role, flag, is_set in (
            ("lora_magnitude", "use_dora", self.factoring.is_decomposed),
            ("lora_bias", "lora_bias", self.factoring.has_bias),
        ):
            name = self.site.roles.get(role)
            if is_set and name is None:
                self._refuse("missing_tensors", f"{flag} is set, and no {role} came with it", a.name)
            if name is not None and not is_set:
                self._refuse("unexpected_tensors", f"{flag} is not set, and {role} came", name)
            if is_set != (name is not None):
                return False
        return True

    def _is_stored_transposed(self, a: Tensor, b: Tensor) -> bool:
        """Whether W is stored (in, out): by the type, else by the shapes, else by the config."""
        product = (b.shape[0], math.prod(a.shape[1:]))
        declared = self.factoring.is_transposed
        weight = self.site.reads or self.site.target
        return is_stored_transposed(weight, self.site.shape, product, self.base, told=declared)

    def _fits(self, a: Tensor, b: Tensor, *, is_flipped: bool) -> bool:
        product = (a.shape[1], b.shape[0]) if is_flipped else (b.shape[0], *a.shape[1:])
        if product == self.site.shape and all(n == 1 for n in b.shape[2:]):
            return True
        message = f"A {list(a.shape)} and B {list(b.shape)} do not fit {self.site.target}"
        self._refuse("shape", f"{message} {list(self.site.shape)}", b.name)
        return False

    def _warn_of_rank(self, a: Tensor) -> None:
        shape = self.site.shape
        if a.shape[0] > min(shape[0], math.prod(shape[1:])):
            message = f"rank {a.shape[0]} is more than {self.site.target} {list(shape)} can have"
            self.plan.problems.append(Problem("rank", message, "warning", a.name))

    def _start(self, a: Tensor, scale: float, *, is_flipped: bool) -> bool:
        site, rank = self.site, a.shape[0]
        if len(self.base.names.sharers(f"{site.module}.weight")) > 1:
            self._refuse(
                "not_self_contained",
                f"init_lora_weights {self.factoring.start!r} takes a part out of {site.target},"
                " and out of what shares its tensor",
                a.name,
                "save it with path_initial_model_for_weight_conversion, which writes a plain LoRA",
            )
            return False
        is_linear = len(site.shape) == 2 and not self._is_embedding
        first: Update
        if self.factoring.start == "pissa" and is_linear:
            first = PrincipalRemoval(rank)
        elif self.factoring.start == "olora" and is_linear and not is_flipped:
            first = OrthonormalRemoval(rank, scale)
        else:
            message = f"init_lora_weights {self.factoring.start!r} has no meaning for {site.target}"
            self._refuse("bad_config", message, a.name)
            return False
        self.plan.effects.append(WeightUpdate(site.target, first, {}, site.reads))
        return True

    def _change(self, a: Tensor, b: Tensor, *, scale: float, is_flipped: bool) -> None:
        site = self.site
        first, second = (a, b) if is_flipped else (b, a)
        low_rank = LowRank(Factor(first, flipped=is_flipped), Factor(second, flipped=is_flipped), scale)
        update: Update = low_rank
        if self.factoring.is_decomposed:
            magnitude = self.tensors[site.roles["lora_magnitude"]]
            if math.prod(magnitude.shape) != max(magnitude.shape, default=1):
                self._refuse("shape", f"{list(magnitude.shape)} is no vector", magnitude.name)
                return
            update = WeightDecomposed(low_rank, magnitude, "columns" if is_flipped else "rows")
        consumes = {name: role for role, name in site.roles.items() if role != "lora_bias"}
        effect = WeightUpdate(site.target, update, consumes, site.reads, site.grown)
        self.plan.effects.append(effect)

    def _bias(self, name: str, scale: float) -> None:
        vector, names = self.tensors[name], self.base.names
        bias = names.tensor(f"{self.site.module}.bias")
        if bias is not None:
            self.plan.effects.append(WeightUpdate(bias, ScaledAddition(vector, scale), {name: "lora_bias"}))
            return
        weight = names.memory(self.site.target) or self.site.target
        module, hook = weight.removesuffix(".weight"), AddVector(vector, scale)
        self.plan.effects.append(ActivationHook(module, "after", {}, {name: "lora_bias"}, hook))

    def _refuse(self, code: str, message: str, tensor: str, fix: str = "") -> None:
        self.plan.refuse(code, message, tensor, fix)
