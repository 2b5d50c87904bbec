"""The library's LoRA, VeRA and IA3, checked against config and base and turned into effects."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from deltareg.delta.kind import ActivationHook, BaseView, Tap, WeightUpdate
from deltareg.delta.layouts.adapterhub.bottlenecks import SequenceGate
from deltareg.delta.layouts.adapterhub.hub_kind import Adapter
from deltareg.delta.layouts.adapterhub.lora_config import AdapterLoraConfig
from deltareg.delta.layouts.adapterhub.loras import INPUT, AddLowRank, FusedLowRank, FusedParts, FusedScaled
from deltareg.delta.layouts.adapterhub.parameters import ModuleParameters
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.maths.formula import Tensor, Update
from deltareg.delta.maths.updates import Axis, Factor, LowRank
from deltareg.delta.sites import Layer
from deltareg.errors import Problem

CONTAINER = "loras"
_SHARED = "shared_parameters"
_SHARED_FACTORS = ("lora_A", "lora_B")
# Projections that make q, k and v at once, one third of the outputs each.
_FUSED = frozenset({"c_attn", "in_proj"})
_WHOLE = FusedParts((0,))


@dataclass(frozen=True, slots=True)
class _Site:
    """An adapted projection."""

    number: int
    layer: Layer
    target: str
    names: Mapping[str, str]
    base: BaseView

    @property
    def module(self) -> str:
        """Its path in the running network."""
        return (self.base.names.memory(self.target) or self.target).removesuffix(".weight")

    @property
    def is_fused(self) -> bool:
        return self.module.rpartition(".")[2] in _FUSED

    @property
    def is_transposed(self) -> bool:
        return self.base.names.is_transposed(self.target)

    @property
    def out_in(self) -> tuple[int, int]:
        first, second = self.base.tensors[self.target].shape
        return (second, first) if self.is_transposed else (first, second)

    @property
    def bias(self) -> str:
        return self.base.names.tensor(f"{self.module}.bias") or ""


def plan_lora(plan: EffectPlan, adapter: Adapter, settings: AdapterLoraConfig) -> None:
    """Add the effects of the projections' adapters to a plan.

    Args:
        plan: Receives effects and problems.
        adapter: The tensors and the base.
        settings: The settings of the config.
    """
    sites, lost = _sites(plan, adapter)
    if lost:
        code = "partial_application" if sites else "no_tensor_applied"
        message = f"{len(lost)} of {len(lost) + len(sites)} adapted projections are not in the base"
        plan.refuse(code, f"{message}: {lost[0]}", lost[0], "check the base")
    _check_declared(plan, adapter, settings, sites)
    shared = _shared_factors(plan, adapter, settings)
    if settings.is_vector_based and not shared:
        return
    for site in sites:
        # What all layers share is consumed with the first of them.
        consumed = {tensor.name: role for role, tensor in shared.items() if site is sites[0]}
        _Planner(plan, adapter, settings, site, shared, consumed).run()


def _sites(plan: EffectPlan, adapter: Adapter) -> tuple[list[_Site], list[str]]:
    """Find the projection of every adapter; also return a tensor of each adapter without one."""
    sites: dict[str, _Site] = {}
    lost: list[str] = []
    base = adapter.base
    for holder, names in adapter.within(CONTAINER).items():
        target, place = base.names.tensor(f"{holder}.weight"), adapter.places.layer(holder)
        first = next(iter(names.values()))
        if target is None or place is None or len(base.tensors[target].shape) != 2:
            lost.append(first)
        elif target in sites:
            plan.refuse("unexpected_tensors", f"two adapters are for {target}", first)
        else:
            sites[target] = _Site(place[0], place[1], target, names, base)
    return list(sites.values()), lost


def _check_declared(plan: EffectPlan, adapter: Adapter, settings: AdapterLoraConfig, sites: list[_Site]) -> None:
    """Check each layer's number of projections in the config against the number present."""
    counts_by_layer: dict[int, Counter[str]] = {}
    fused = {site.number for site in sites if site.is_fused}
    for site in sites:
        counts_by_layer.setdefault(site.number, Counter())[_part(site)] += 1
    for number, layer in enumerate(adapter.places.layers):
        is_adapted = number not in settings.leaves_out
        counts = counts_by_layer.get(number, Counter())
        for part, sublayer in layer.parts.items():
            expected = {settings.first + settings.second}
            if sublayer.attention:
                own = 1 if number in fused else len(settings.fused)
                expected = {own, len(settings.matrices)} if settings.attention else {0}
            if counts[part] not in (expected if is_adapted else {0}):
                detail = f"the config asks for {max(expected) if is_adapted else 0} adapted projections"
                code = "missing_tensors" if counts[part] < max(expected) else "unexpected_tensors"
                message = f"{detail} at the {part} of {layer.path}, {counts[part]} came"
                plan.refuse(code, message, layer.path, "save the adapter again with the library")


def _part(site: _Site) -> str:
    """Return the sublayer of a projection."""
    for part, sublayer in site.layer.parts.items():
        if sublayer.attention and f"{site.module}.".startswith(f"{sublayer.attention}."):
            return part
    return "ffn"


def _shared_factors(plan: EffectPlan, adapter: Adapter, settings: AdapterLoraConfig) -> dict[str, Tensor]:
    """Return A and B of VeRA, which all layers share; empty if they are missing."""
    if not settings.is_vector_based:
        return {}
    modules = adapter.within(_SHARED)
    names = next(iter(modules.values()), dict[str, str]())
    if len(modules) != 1 or not names.keys() >= set(_SHARED_FACTORS):
        message = "the layers share lora_A and lora_B, and these did not come"
        plan.refuse("not_self_contained", message, _SHARED, "save them with the adapter")
        return {}
    return {name: adapter.tensors[names[name]] for name in _SHARED_FACTORS}


@dataclass(frozen=True, slots=True)
class _Planner:
    """Builds the effects of one projection."""

    plan: EffectPlan
    adapter: Adapter
    settings: AdapterLoraConfig
    site: _Site
    shared: Mapping[str, Tensor]
    consumed: Mapping[str, str]

    def run(self) -> None:
        site, tensors = self.site, self.adapter.tensors
        parameters = ModuleParameters(f"the adapter of {site.module}", site.names, tensors, self.plan)
        blocks = self._blocks()
        if not blocks.adapted:
            message = "the config names none of q, k and v, and this makes all of them"
            self.plan.refuse("unexpected_tensors", message, next(iter(site.names.values())))
        elif self.settings.is_scaling:
            self._scale(parameters, blocks)
        elif self.settings.is_vector_based:
            self._vectors(parameters)
        else:
            self._factors(parameters, blocks)

    def _blocks(self) -> FusedParts:
        adapted = self.settings.fused
        if not self.site.is_fused:
            return _WHOLE
        return FusedParts(tuple(adapted.index(n) if n in adapted else None for n in "qkv"))

    def _scale(self, parameters: ModuleParameters, blocks: FusedParts) -> None:
        site, scale = self.site, self.settings.scale
        n_out = site.out_in[0] // len(blocks.parts) * blocks.adapted
        factors = parameters.take("lora_B", (n_out, 1))
        if not parameters.finish():
            return
        along: Axis = "columns" if site.is_transposed else "rows"
        update = FusedScaled(factors, blocks, scale, along)
        self.plan.effects.append(WeightUpdate(site.target, update, parameters.roles))
        if site.bias:
            update = FusedScaled(factors, blocks, scale, "rows")
            self.plan.effects.append(WeightUpdate(site.bias, update, {}))

    def _factors(self, parameters: ModuleParameters, blocks: FusedParts) -> None:
        (n_out, n_in), rank = self.site.out_in, self.settings.rank
        rows = n_out // len(blocks.parts) * blocks.adapted
        a = parameters.take("lora_A", (rank * blocks.adapted, n_in))
        b = parameters.take("lora_B", (rows, rank))
        gate = self._gate(parameters, blocks.adapted)
        if not parameters.finish():
            return
        self._warn_of_rank(a)
        is_plain = blocks is _WHOLE
        if gate is not None:
            self._hook(parameters, (b, a), None if is_plain else blocks, gate)
            return
        scale, flipped = self.settings.scale, self.site.is_transposed
        update: Update = FusedLowRank(a, b, blocks, scale, flipped)
        if is_plain:
            left, right = (a, b) if flipped else (b, a)
            update = LowRank(Factor(left, flipped), Factor(right, flipped), scale)
        self.plan.effects.append(WeightUpdate(self.site.target, update, parameters.roles))

    def _vectors(self, parameters: ModuleParameters) -> None:
        (n_out, n_in), rank = self.site.out_in, self.settings.rank
        left, right = self.shared["lora_B"], self.shared["lora_A"]
        if (left.shape, right.shape) != ((n_out, rank), (rank, n_in)) or self.site.is_fused:
            message = f"shared factors {list(left.shape)}, {list(right.shape)} do not fit"
            self.plan.refuse("shape", f"{message} {self.site.module}", left.name)
            return
        outer = parameters.take("vera_B", (n_out, n_out))
        inner = parameters.take("vera_D", (rank, rank))
        gate = self._gate(parameters, 1)
        if parameters.finish():
            self._hook(parameters, (outer, left, inner, right), None, gate)

    def _hook(
        self,
        parameters: ModuleParameters,
        factors: tuple[Tensor, ...],
        blocks: FusedParts | None,
        gate: SequenceGate | None,
    ) -> None:
        consumes = {**parameters.roles, **self.consumed}
        hook, module = AddLowRank(factors, blocks, self.settings.scale, gate), self.site.module
        taps = {INPUT: Tap(module, "input")}
        self.plan.effects.append(ActivationHook(module, "after", taps, consumes, hook))

    def _gate(self, parameters: ModuleParameters, gates: int) -> SequenceGate | None:
        if not self.settings.has_gate:
            return None
        weight = parameters.take("gate.weight", (gates, self.site.out_in[1]))
        return SequenceGate(weight, parameters.take("gate.bias", (gates,)))

    def _warn_of_rank(self, a: Tensor) -> None:
        rank, shape = self.settings.rank, self.site.out_in
        if rank > min(shape):
            message = f"rank {rank} is more than {self.site.target} {list(shape)} can have"
            self.plan.problems.append(Problem("rank", message, "warning", a.name))
