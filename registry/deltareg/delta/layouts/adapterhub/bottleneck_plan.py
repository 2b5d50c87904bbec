"""Bottleneck adapters checked against config and base, and turned into activation hooks."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from deltareg.delta.kind import ActivationHook, Hook, Tap
from deltareg.delta.layouts.adapterhub.bottleneck_config import Bottleneck, Hypercomplex
from deltareg.delta.layouts.adapterhub.bottlenecks import (
    NORM,
    RESIDUAL,
    BottleneckBody,
    InvertibleCoupling,
    KroneckerSum,
    LinearProjection,
    ParallelBottleneck,
    Projection,
    SequenceGate,
    SequentialBottleneck,
)
from deltareg.delta.layouts.adapterhub.hub_kind import Adapter
from deltareg.delta.layouts.adapterhub.parameters import ModuleParameters
from deltareg.delta.layouts.adapterhub.places import BaseLayers, SublayerPlace
from deltareg.delta.layouts.peft.saved import EffectPlan
from deltareg.delta.maths.formula import Tensor

CONTAINER = "adapters"
_INVERTIBLE = "invertible_adapters"
_SHARED = "shared_parameters"
# Types of network that the library has patched by hand. In others it goes through an interface of
# its own, whose residuals are not those of the site table.
_PATCHED = frozenset(
    {
        "albert",
        "bart",
        "beit",
        "bert",
        "bert-generation",
        "clip",
        "deberta",
        "deberta-v2",
        "distilbert",
        "electra",
        "gpt2",
        "gptj",
        "llama",
        "mbart",
        "mistral",
        "mt5",
        "plbart",
        "roberta",
        "t5",
        "vit",
        "whisper",
        "xlm-roberta",
        "xmod",
    }
)
# By the layer's number and the sublayer: where it is, and parameter -> tensor name.
_Found = dict[tuple[int, str], tuple[SublayerPlace, Mapping[str, str]]]


def plan_bottleneck(plan: EffectPlan, adapter: Adapter, settings: Bottleneck) -> None:
    """Add the effects of the bottleneck adapters to a plan.

    Args:
        plan: Receives effects and problems.
        adapter: The tensors and the base.
        settings: The settings of the config.
    """
    model_type = adapter.base.names.model_type
    if adapter.interface is not None:
        sites = adapter.interface.places(adapter.places.sites, adapter.base)
        adapter = replace(adapter, places=BaseLayers(adapter.base, sites))
    elif model_type not in _PATCHED:
        message = f"the library puts bottleneck adapters elsewhere in networks of type {model_type!r}"
        plan.refuse("unknown_kind", message, "", "push its adapter_interface.json, which says where")
        return
    rule = _shared_rule(plan, adapter, settings.hypercomplex)
    sublayers, lost = _find_sublayers(plan, adapter)
    if lost:
        code = "partial_application" if sublayers else "no_tensor_applied"
        message = f"{len(lost)} of {len(lost) + len(sublayers)} adapters belong to layers that the base"
        plan.refuse(code, f"{message} does not have: {lost[0]}", lost[0], "check the base")
    _check_declared(plan, adapter, settings, sublayers)
    if rule is None and settings.hypercomplex is not None and settings.hypercomplex.shares_rule:
        return
    for place, names in sublayers.values():
        _Planner(plan, adapter, settings, rule).run(place, names)
    if settings.invertible:
        _plan_invertible(plan, adapter, settings)


def _find_sublayers(plan: EffectPlan, adapter: Adapter) -> tuple[_Found, list[str]]:
    """Find the sublayer of every adapter; also return a tensor of each adapter without one."""
    sublayers: _Found = {}
    lost: list[str] = []
    for holder, names in adapter.within(CONTAINER).items():
        place, first = adapter.places.part(holder), next(iter(names.values()))
        if place is None:
            lost.append(first)
        elif (place.number, place.part) in sublayers:
            message = f"two adapters are for the {place.part} of {place.layer.path}"
            plan.refuse("unexpected_tensors", message, first, "take one out")
        else:
            sublayers[place.number, place.part] = (place, names)
    return sublayers, lost


def _check_declared(plan: EffectPlan, adapter: Adapter, settings: Bottleneck, found: "_Found") -> None:
    """Check the places that the config asks for against those that have tensors."""
    flags = {"attention": settings.attention, "ffn": settings.ffn, "cross": settings.cross}
    for number, layer in enumerate(adapter.places.layers):
        for part in layer.parts:
            is_wanted = flags[part] and number not in settings.leaves_out
            _, names = found.get((number, part), (None, None))
            if is_wanted and names is None:
                message = f"the config asks for an adapter at the {part} of {layer.path}, none came"
                plan.refuse("missing_tensors", message, layer.path, "save the adapter again")
            elif names is not None and not is_wanted:
                message = f"the config asks for no adapter at the {part} of {layer.path}"
                plan.refuse("unexpected_tensors", message, next(iter(names.values())), "take it out")


@dataclass(frozen=True, slots=True)
class _Planner:
    """Builds the hook of one sublayer."""

    plan: EffectPlan
    adapter: Adapter
    settings: Bottleneck
    rule: "_Rule | None"

    def run(self, place: SublayerPlace, names: Mapping[str, str]) -> None:
        sublayer, settings = place.sublayer, self.settings
        if settings.residual == "sum" and not sublayer.norm:
            message = 'residual_before_ln "post_add" has no meaning where the norm comes first'
            self.plan.refuse("bad_config", message, next(iter(names.values())))
            return
        module = f"the adapter at the {place.part} of {place.layer.path}"
        parameters = ModuleParameters(module, names, self.adapter.tensors, self.plan)
        width = self.adapter.places.width(sublayer) or (*parameters.shape("adapter_up.bias"), 0)[0]
        body = self._body(parameters, width)
        if not parameters.finish():
            return
        hook: Hook = ParallelBottleneck(body)
        taps = {RESIDUAL: sublayer.residual}
        if not settings.is_parallel:
            hook = SequentialBottleneck(body, settings.adds_before, settings.residual)
            taps = taps if settings.adds_before else {}
            if settings.adds_before and sublayer.norm:
                taps[NORM] = Tap(sublayer.norm, "function")
        consumes = {**parameters.roles, **(self.rule.consume() if self.rule else {})}
        self.plan.effects.append(ActivationHook(sublayer.hook, "after", taps, consumes, hook))

    def _body(self, parameters: ModuleParameters, width: int) -> BottleneckBody:
        settings = self.settings
        narrow = self._narrow(parameters)
        down = self._projection(parameters, "adapter_down.0", width, narrow)
        up = self._projection(parameters, "adapter_up", narrow, width)
        scale, gate = settings.scaling, None
        learned = parameters.take("scaling", (1,), (width,)) if scale == "learned" else None
        if settings.has_gate:
            weight, bias = parameters.take("gate.weight", (1, width)), ("gate.bias", (1,))
            gate = SequenceGate(weight, parameters.take(*bias))
        return BottleneckBody(down, up, settings.function, learned or float(scale), gate)

    def _narrow(self, parameters: ModuleParameters) -> int:
        """Return the size of the narrow side, from the first tensor that shows it."""
        if self.settings.hypercomplex is None:
            return (*parameters.shape("adapter_down.0.weight"), 0)[0]
        right = (*parameters.shape("adapter_down.0.W_right"), 0, 0, 0)
        return right[2] * self.settings.hypercomplex.size

    def _projection(self, parameters: ModuleParameters, name: str, n_in: int, n_out: int) -> Projection:
        numbers = self.settings.hypercomplex
        if numbers is None:
            weight = parameters.take(f"{name}.weight", (n_out, n_in))
            return LinearProjection(weight, parameters.take(f"{name}.bias", (n_out,)))
        size, rank = numbers.size, numbers.rank
        return KroneckerSum(
            rule=(self.rule.tensor if self.rule else parameters.take(f"{name}.phm_rule", (size, size, size))),
            left=parameters.take(f"{name}.W_left", (size, n_in // size, rank)),
            right=parameters.take(f"{name}.W_right", (size, rank, n_out // size)),
            bias=parameters.take(f"{name}.b", (n_out,)) if numbers.has_bias else None,
        )


@dataclass(slots=True)
class _Rule:
    """A rule that all layers share, consumed by the first of them."""

    tensor: Tensor
    is_left: bool = True

    def consume(self) -> dict[str, str]:
        is_first, self.is_left = self.is_left, False
        return {self.tensor.name: "phm_rule"} if is_first else {}


def _shared_rule(plan: EffectPlan, adapter: Adapter, numbers: Hypercomplex | None) -> _Rule | None:
    if numbers is None or not numbers.shares_rule:
        return None
    modules = adapter.within(_SHARED)
    names = [names["phm_rule"] for names in modules.values() if "phm_rule" in names]
    if len(names) != 1:
        message = "the layers share a phm_rule, and it did not come" if not names else "two rules came"
        code = "unexpected_tensors" if names else "not_self_contained"
        plan.refuse(code, message, next(iter(names), "phm_rule"), "save it with the adapter")
        return None
    parameters = ModuleParameters("the shared rule", {"phm_rule": names[0]}, adapter.tensors, plan)
    size = numbers.size
    return _Rule(parameters.take("phm_rule", (size, size, size)))


def _plan_invertible(plan: EffectPlan, adapter: Adapter, settings: Bottleneck) -> None:
    holders, sites = adapter.within(_INVERTIBLE), adapter.places.sites
    if len(holders) != 1 or len(sites.embeddings) != 1:
        code = "missing_tensors" if not holders else "unknown_kind"
        message = "the config asks for an invertible adapter, and none came"
        if holders:
            message = f"where {sites.model_type!r} takes an invertible adapter is not known here"
        plan.refuse(code, message, _INVERTIBLE, "save the adapter again")
        return
    (names,) = holders.values()
    parameters = ModuleParameters("the invertible adapter", names, adapter.tensors, plan)
    width = (*parameters.shape("G.2.bias"), 0)[0] + (*parameters.shape("F.2.bias"), 0)[0]
    half = width // 2
    blocks = [
        _coupling(parameters, name, n_in, width - n_in, settings) for name, n_in in (("F", width - half), ("G", half))
    ]
    whole = adapter.places.width(adapter.places.layers[0].parts["ffn"])
    if whole is not None and whole != width and parameters.is_sound:
        message = f"an invertible adapter of {width} features does not fit embeddings of {whole}"
        plan.refuse("shape", message, next(iter(names.values())), "check the base")
    if parameters.finish():
        (module,) = sites.embeddings.values()
        hook = InvertibleCoupling(*blocks)
        plan.effects.append(ActivationHook(module, "after", {}, parameters.roles, hook))


def _coupling(parameters: ModuleParameters, name: str, n_in: int, n_out: int, settings: Bottleneck) -> BottleneckBody:
    narrow = (*parameters.shape(f"{name}.0.bias"), 0)[0]
    down = parameters.take(f"{name}.0.weight", (narrow, n_in))
    down_bias = parameters.take(f"{name}.0.bias", (narrow,))
    up = parameters.take(f"{name}.2.weight", (n_out, narrow))
    up_bias = parameters.take(f"{name}.2.bias", (n_out,))
    return BottleneckBody(
        LinearProjection(down, down_bias), LinearProjection(up, up_bias), settings.function, 1.0, None
    )
